"""Webhook signatures, held to the specification's vector and to the library `standardwebhooks` in both directions."""

from __future__ import annotations

import base64
import hmac
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from capacity.errors import ErrorCode, Refused
from capacity.protocol.signatures import secret_key, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret of thirty-two by.").decode()


def headers(**changes: str) -> dict[str, str]:
    found = {"webhook-id": ID, "webhook-timestamp": str(TIMESTAMP), "webhook-signature": SIGNATURE}
    return found | {f"webhook-{name}": value for name, value in changes.items()}


def refused(
    given: dict[str, str], body: bytes = BODY, now: float = TIMESTAMP, secrets: tuple[str, ...] = (SECRET,)
) -> str:
    with pytest.raises(Refused) as caught:
        verify(secrets, given, body, now)
    assert caught.value.code == ErrorCode.INVALID_SIGNATURE
    return caught.value.detail


def test_the_reference_vector() -> None:
    assert sign(SECRET, ID, TIMESTAMP, BODY) == headers()
    verify([SECRET], headers(), BODY, TIMESTAMP + 2.5)


def test_names_of_headers_are_in_any_case() -> None:
    verify([SECRET], {name.title(): value for name, value in headers().items()}, BODY, TIMESTAMP)


@pytest.mark.parametrize("off", [-300, -299.9, 0, 299.9, 300])
def test_five_minutes_are_forgiven(off: float) -> None:
    verify([SECRET], headers(), BODY, TIMESTAMP + off)


@pytest.mark.parametrize("off", [-301, -300.1, 300.1, 301, 10**9])
def test_more_than_five_minutes_are_not(off: float) -> None:
    assert "5 minutes" in refused(headers(), now=TIMESTAMP + off)


def test_the_clock_is_the_argument_alone() -> None:
    """The vector is years old, and a signature of the real now is refused when the argument says so."""
    now = int(time.time())
    refused(sign(SECRET, ID, now, BODY), now=now + 400)


def test_secrets_rotate() -> None:
    verify([OTHER_SECRET, SECRET], headers(), BODY, TIMESTAMP)
    verify([SECRET, OTHER_SECRET], headers(), BODY, TIMESTAMP)
    refused(headers(), secrets=(OTHER_SECRET,))
    refused(headers(), secrets=())


@pytest.mark.parametrize(
    "given",
    [
        f"v1,AAAA {SIGNATURE}",
        f"{SIGNATURE} v1,AAAA",
        f"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== {SIGNATURE}",
        f"  {SIGNATURE}  ",
        f"v1 v1,, v1,%%% , nonsense {SIGNATURE}",
    ],
)
def test_one_good_signature_of_several_is_enough(given: str) -> None:
    verify([SECRET], headers(signature=given), BODY, TIMESTAMP)


@pytest.mark.parametrize(
    "given",
    [
        SIGNATURE.replace("v1,", "v2,"),
        SIGNATURE.replace("v1,", "V1,"),
        SIGNATURE.removeprefix("v1,"),
        SIGNATURE[:-2],
        SIGNATURE.replace("g0", "h0"),
        SIGNATURE.replace(" ", "").replace(",", ", "),
        "v1,",
        "v1,\xff",
        "v1,==",
        ",",
        " ",
        "v1,AAAA " * 16 + SIGNATURE,
    ],
)
def test_no_other_signature_is(given: str) -> None:
    refused(headers(signature=given))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_all_three_headers_are_needed(name: str) -> None:
    for value in (None, ""):
        given = headers() | ({name: value} if value is not None else {})
        if value is None:
            del given[name]
        assert name in refused(given)


@pytest.mark.parametrize(
    "timestamp",
    [
        "1614265330.0",
        "+1614265330",
        "-1614265330",
        " 1614265330",
        "1614265330 ",
        "1e9",
        "nan",
        "inf",
        "0x1",
        "١٦١٤",
        "²",
        "9" * 13,
        "9" * 5000,
        "1614265331",
    ],
)
def test_only_whole_seconds_are_a_timestamp(timestamp: str) -> None:
    refused(headers(timestamp=timestamp))


def test_everything_signed_is_covered() -> None:
    refused(headers(id=ID + "x"))
    refused(headers(id="msg_é"))
    refused(headers(), body=BODY + b" ")
    refused(headers(), body=b"")


def test_a_body_that_is_not_utf8_can_be_signed() -> None:
    """Then it is the event that is malformed, not the signature that is wrong."""
    verify([SECRET], sign(SECRET, ID, TIMESTAMP, b"\xff\xfe"), b"\xff\xfe", TIMESTAMP)


@given(body=st.text(max_size=200), id=st.from_regex(r"[!-~]{1,40}", fullmatch=True))
def test_the_library_and_we_agree(body: str, id: str) -> None:
    now = int(time.time())
    ours = sign(SECRET, id, now, body.encode())
    library = Webhook(SECRET)
    library.verify(body, ours, json_parse=False)
    theirs = library.sign(id, datetime.fromtimestamp(now, UTC), body)
    assert ours["webhook-signature"] == theirs
    verify([SECRET], ours | {"webhook-signature": theirs}, body.encode(), now)


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "Webhook-Id", "other"]),
        st.text(max_size=40)
        | st.sampled_from([ID, str(TIMESTAMP), SIGNATURE])
        | st.text(max_size=30).map(lambda text: "v1," + text),
        max_size=5,
    ),
    st.binary(max_size=60),
)
def test_nothing_but_refused_is_raised(given_headers: dict[str, str], body: bytes) -> None:
    try:
        verify([SECRET], given_headers, body, TIMESTAMP)
    except Refused as error:
        assert error.code == ErrorCode.INVALID_SIGNATURE
    else:
        assert body == BODY


def test_secrets_without_padding_are_the_same() -> None:
    padded = "whsec_" + base64.b64encode(b"x" * 25).decode()
    assert padded.endswith("=")
    assert secret_key(padded) == secret_key(padded.rstrip("=")) == b"x" * 25


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_%%%", "whsec_A", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_é"]
)
def test_what_is_no_secret_is_said_at_once(secret: str) -> None:
    with pytest.raises(ValueError, match="secret") as caught:
        sign(secret, ID, TIMESTAMP, BODY)
    assert "MfKQ" not in str(caught.value)


def test_the_digest_is_that_of_the_specification() -> None:
    signed = f"{ID}.{TIMESTAMP}.".encode() + BODY
    expected = hmac.new(secret_key(SECRET), signed, "sha256").digest()
    assert base64.b64decode(SIGNATURE.removeprefix("v1,")) == expected
