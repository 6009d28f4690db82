"""The key ring: which tokens are let in, which are not, and that no token can choose how it is checked."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from structlog.testing import capture_logs

from capacity.errors import ErrorCode, Refused, SettingError
from capacity.protocol.passes import PassKey
from capacity.protocol.tokens import Claims
from capacity.web import token_keys
from capacity.web.auth import KeyRing
from capacity.web.token_keys import secret_keys
from tests.http.conftest import SECRET

NOW = 1_795_521_600
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
KINDS: dict[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}
JWK = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def claims(**changes: Any) -> dict[str, Any]:
    """The payload of a good token; a change to None leaves the claim out."""
    found = {
        "sub": "auth0|ada",
        "account": "acme",
        "room": "launch",
        "role": "attendee",
        "aud": "capacity",
        "exp": NOW + 60,
        "name": "Ada",
    }
    return {name: value for name, value in (found | changes).items() if value is not None}


def ring(token_key: str = SECRET) -> KeyRing:
    return KeyRing(token_key, clock=lambda: NOW)


def segment(data: object) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(payload: object, *, secret: str = SECRET, **header: Any) -> str:
    """An HS256 token with any bytes as its payload."""
    signing = f"{segment({'alg': 'HS256', 'typ': 'JWT'} | header)}.{segment(payload)}"
    algorithm = jwt.get_algorithm_by_name("HS256")
    return f"{signing}.{segment(algorithm.sign(signing.encode(), secret.encode()))}"


def pem(private: Any) -> bytes:
    data: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return data


def private_pem(private: Any) -> bytes:
    data: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


def jwk(algorithm: str, private: Any, **members: Any) -> dict[str, Any]:
    public: dict[str, Any] = JWK[algorithm].to_jwk(private.public_key(), as_dict=True)  # type: ignore[attr-defined]
    public.pop("key_ops", None)
    return public | members


def write(path: Path, data: bytes | dict[str, Any]) -> str:
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return f"file:{path}"


def refused(keyring: KeyRing, token: str) -> ErrorCode:
    with pytest.raises(Refused) as caught:
        keyring.verify(token)
    assert len(token) < 20 or token not in caught.value.detail
    return caught.value.code


def test_a_good_token() -> None:
    found = ring().verify(jwt.encode(claims(), SECRET, "HS256"))
    assert found == Claims("auth0|ada", "acme", "launch", "attendee", (NOW + 60) * 1000, "Ada", False)


def test_the_token_of_a_service() -> None:
    found = ring().verify(jwt.encode(claims(role="service", account="*", room=None), SECRET, "HS256"))
    assert (found.role, found.account, found.room) == ("service", "*", None)


@pytest.mark.parametrize(
    "change",
    [
        {"exp": NOW - 29},
        {"exp": NOW + 0.5},
        {"nbf": NOW + 30},
        {"nbf": NOW - 1},
        {"nbf": 12.25},
        {"iat": NOW + 10_000},
        {"aud": ["capacity"]},
        {"aud": ["other", "capacity"]},
        {"aud": ["capacity", 7]},
        {"jti": 7, "iss": ["x"], "anything": {"a": 1}},
    ],
)
def test_good_claims(change: dict[str, Any]) -> None:
    assert ring().verify(signed(claims(**change))).participant == "auth0|ada"


@pytest.mark.parametrize("exp", [NOW - 30, NOW - 10_000, 0, 0.25])
def test_expired(exp: float) -> None:
    assert refused(ring(), signed(claims(exp=exp))) == ErrorCode.TOKEN_EXPIRED


@pytest.mark.parametrize(
    "change",
    [
        {"exp": None},
        {"exp": str(NOW + 60)},
        {"exp": True},
        {"exp": [NOW + 60]},
        {"exp": {}},
        {"exp": -1},
        {"exp": 1e308},
        {"exp": 10**400},
        {"exp": (NOW + 60) * 1000},
        {"nbf": NOW + 31},
        {"nbf": "soon"},
        {"nbf": False},
        {"aud": None},
        {"aud": "capacity-seat"},
        {"aud": "Capacity"},
        {"aud": []},
        {"aud": ["capacity-seat"]},
        {"aud": {"capacity": 1}},
        {"aud": 1},
        {"aud": ["cap", "acity"]},
        {"sub": None},
        {"account": None},
        {"room": None},
        {"role": None},
        {"role": "admin"},
        {"role": ["host"]},
        {"name": 5},
        {"billing": "yes"},
    ],
)
def test_wrong_claims(change: dict[str, Any]) -> None:
    assert refused(ring(), signed(claims(**change))) == ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize(
    "change",
    [
        {"sub": "a b"},
        {"sub": 7},
        {"sub": ""},
        {"account": ".."},
        {"account": "*"},
        {"account": "a|b"},
        {"room": "a/b"},
        {"room": "x" * 129},
        {"room": {}},
    ],
)
def test_wrong_ids(change: dict[str, Any]) -> None:
    assert refused(ring(), signed(claims(**change))) == ErrorCode.INVALID_ID


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1" * 50_000, "01", "0x10"])
def test_numbers_that_json_has_not(number: str) -> None:
    raw = json.dumps(claims(exp=0)).replace('"exp": 0', f'"exp": {number}').encode()
    assert number.encode() in raw
    assert refused(ring(), signed(raw)) == ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"x"', b"\xff", b"{", b"[" * 3000, b'{"a":' * 1000, b'{"sub":"\\ud800"}']
)
def test_payloads_that_are_no_object(payload: bytes) -> None:
    assert refused(ring(), signed(payload)) == ErrorCode.UNAUTHORIZED


# ---- the algorithm is the key's


def test_alg_none() -> None:
    for alg in ("none", "None", "NONE", "nOnE", ""):
        unsigned = f"{segment({'alg': alg, 'typ': 'JWT'})}.{segment(claims())}."
        assert refused(ring(), unsigned) == ErrorCode.UNAUTHORIZED
        assert refused(ring(), unsigned + segment(b"x" * 32)) == ErrorCode.UNAUTHORIZED


def test_other_hmacs_with_the_right_secret() -> None:
    for alg in ("HS384", "HS512"):
        token = jwt.encode(claims(), SECRET * 2, alg)
        assert refused(ring(SECRET * 2), token) == ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("alg", KINDS)
def test_an_hmac_with_the_public_key_as_secret(alg: str, tmp_path: Path) -> None:
    public = pem(KINDS[alg])
    keyring = ring(write(tmp_path / "key.pem", public))
    for secret in (public, public.strip(), public.replace(b"\n", b"")):
        signing = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{segment(claims())}"
        mac = jwt.get_algorithm_by_name("HS256").sign(signing.encode(), secret)
        assert refused(keyring, f"{signing}.{segment(mac)}") == ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("alg", KINDS)
def test_each_kind_of_public_key(alg: str, tmp_path: Path) -> None:
    keyring = ring(write(tmp_path / "key.pem", pem(KINDS[alg])))
    assert keyring.verify(jwt.encode(claims(), KINDS[alg], alg)).account == "acme"
    for other, private in KINDS.items():
        if other != alg:
            assert refused(keyring, jwt.encode(claims(), private, other)) == ErrorCode.UNAUTHORIZED
    assert refused(keyring, jwt.encode(claims(), SECRET, "HS256")) == ErrorCode.UNAUTHORIZED


def test_other_rsa_algorithms_with_the_right_key(tmp_path: Path) -> None:
    keyring = ring(write(tmp_path / "key.pem", pem(RSA)))
    for alg in ("RS384", "RS512", "PS256"):
        assert refused(keyring, jwt.encode(claims(), RSA, alg)) == ErrorCode.UNAUTHORIZED


def test_a_key_in_the_header_is_not_used() -> None:
    token = jwt.encode(claims(), ED, "EdDSA", headers={"jwk": jwk("EdDSA", ED), "jku": "http://127.0.0.1:9/"})
    assert refused(ring(), token) == ErrorCode.UNAUTHORIZED


def test_unknown_critical_headers() -> None:
    assert refused(ring(), signed(claims(), crit=["exp2"], exp2=1)) == ErrorCode.UNAUTHORIZED
    assert refused(ring(), signed(claims(), b64=False, crit=["b64"])) == ErrorCode.UNAUTHORIZED


def test_a_seat_pass_is_no_token(tmp_path: Path) -> None:
    key = PassKey.generate()
    public = {"keys": [{name: getattr(key.jwks().keys[0], name) for name in ("kty", "crv", "x", "kid")}]}
    keyring = ring(write(tmp_path / "jwks.json", public))
    given = key.issue(ring().verify(signed(claims())), NOW * 1000)
    assert refused(keyring, given.token) == ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("kid", [None, "", "b ", "B", "../a", "a\x00", 7, ["a"], {"a": 1}, True])
def test_with_several_keys_the_kid_must_name_one(kid: Any, tmp_path: Path) -> None:
    keyring = ring(write(tmp_path / "jwks.json", {"keys": [jwk("EdDSA", ED, kid="a"), jwk("ES256", EC, kid="b")]}))
    assert keyring.verify(jwt.encode(claims(), ED, "EdDSA", headers={"kid": "a"}))
    assert keyring.verify(jwt.encode(claims(), EC, "ES256", headers={"kid": "b"}))
    header = {"alg": "EdDSA", "typ": "JWT"} | ({} if kid is None else {"kid": kid})
    signing = f"{segment(header)}.{segment(claims())}"
    assert refused(keyring, f"{signing}.{segment(ED.sign(signing.encode()))}") == ErrorCode.UNAUTHORIZED


def test_a_kid_does_not_lend_its_algorithm(tmp_path: Path) -> None:
    keyring = ring(write(tmp_path / "jwks.json", {"keys": [jwk("EdDSA", ED, kid="a"), jwk("ES256", EC, kid="b")]}))
    assert refused(keyring, jwt.encode(claims(), EC, "ES256", headers={"kid": "a"})) == ErrorCode.UNAUTHORIZED
    assert refused(keyring, jwt.encode(claims(), ED, "EdDSA", headers={"kid": "b"})) == ErrorCode.UNAUTHORIZED
    assert refused(keyring, jwt.encode(claims(), SECRET, "HS256", headers={"kid": "a"})) == ErrorCode.UNAUTHORIZED


def test_one_key_alone_needs_no_kid(tmp_path: Path) -> None:
    keyring = ring(write(tmp_path / "jwks.json", {"keys": [jwk("RS256", RSA, kid="a", alg="RS256", use="sig")]}))
    assert keyring.verify(jwt.encode(claims(), RSA, "RS256"))
    assert keyring.verify(jwt.encode(claims(), RSA, "RS256", headers={"kid": "renamed"}))


def test_keys_of_another_use_or_kind_are_passed_over(tmp_path: Path) -> None:
    keys = [
        jwk("RS256", RSA, kid="e", use="enc"),
        jwk("RS256", RSA, kid="o", alg="RSA-OAEP"),
        jwk("RS256", RSA, kid="w", key_ops=["encrypt"]),
        {"kty": "OKP", "crv": "X25519", "x": "AAAA", "kid": "x"},
        {"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"},
        {"kty": "new"},
        jwk("EdDSA", ED, kid="a", key_ops=["verify"]),
    ]
    keyring = ring(write(tmp_path / "jwks.json", {"keys": keys}))
    assert keyring.verify(jwt.encode(claims(), ED, "EdDSA", headers={"kid": "a"}))
    assert refused(keyring, jwt.encode(claims(), RSA, "RS256", headers={"kid": "e"})) == ErrorCode.UNAUTHORIZED


# ---- form


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "é.b.c",
        "\ud800.a.b",
        "x" * 9000,
        "eyJ" * 2000,
        "e30.e30.",
        " . . ",
        "a" * 8192,
    ],
)
def test_what_is_no_token(token: str) -> None:
    assert refused(ring(), token) == ErrorCode.UNAUTHORIZED


@given(
    st.text(max_size=200) | st.tuples(*[st.binary(max_size=60)] * 3).map(lambda parts: ".".join(map(segment, parts)))
)
def test_no_text_raises_anything_but_refused(token: str) -> None:
    refused(ring(), token)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "account", "room", "role", "aud", "exp", "nbf", "name", "billing"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=10)
        | st.sampled_from(["host", "service", "*", "capacity", ["capacity"], NOW + 60, {"a": 1}]),
    )
)
def test_no_claims_raise_anything_but_refused(change: dict[str, Any]) -> None:
    """`claims_of` in protocol.tokens stands on what the key ring lets through."""
    try:
        found = ring().verify(signed(claims() | change))
    except Refused as error:
        assert error.code in {ErrorCode.UNAUTHORIZED, ErrorCode.TOKEN_EXPIRED, ErrorCode.INVALID_ID}
    else:
        assert isinstance(found.expires_at, int)


@given(st.integers(0, 400), st.sampled_from("ABC_-.=é \x00"))
def test_no_changed_character_is_overlooked(position: int, character: str) -> None:
    token = signed(claims())
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    if changed != token:
        refused(ring(), changed)


# ---- the short way, under a header that was accepted before


def warm() -> KeyRing:
    """A key ring that knows the header of `signed` and those of PyJWT's own tokens."""
    keyring = ring()
    keyring.verify(signed(claims()))
    keyring.verify(jwt.encode(claims(), SECRET, "HS256"))
    return keyring


def outcome(keyring: KeyRing, token: str) -> Claims | ErrorCode:
    try:
        return keyring.verify(token)
    except Refused as error:
        return error.code


def sealed(payload: str, *, secret: str = SECRET) -> str:
    """An HS256 token whose payload is this text as it stands."""
    signing = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{payload}"
    mac = jwt.get_algorithm_by_name("HS256").sign(signing.encode(), secret.encode())
    return f"{signing}.{segment(mac)}"


GOOD_PAYLOAD = segment(claims())


@given(
    st.integers(0, 400),
    st.text("AZaz09-_=+/ .!\n", max_size=3),
    st.integers(0, 2),
)
def test_the_short_way_says_of_any_signed_text_what_pyjwt_says(position: int, inserted: str, cut: int) -> None:
    position %= len(GOOD_PAYLOAD) + 1
    token = sealed(GOOD_PAYLOAD[:position] + inserted + GOOD_PAYLOAD[position + cut :])
    assert outcome(warm(), token) == outcome(ring(), token)


@given(st.integers(0, 400), st.sampled_from("ABC_-.=é \x00"), st.sampled_from(["", "=", "==", "A", ".A"]))
def test_the_short_way_overlooks_no_changed_character(position: int, character: str, more: str) -> None:
    token = signed(claims())
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :] + more
    assert outcome(warm(), changed) == outcome(ring(), changed)


@pytest.mark.parametrize(
    "token",
    [
        sealed(GOOD_PAYLOAD, secret="another" * 8),
        sealed(segment(claims(exp=NOW - 60))),
        sealed(segment(claims(aud="other"))),
        sealed(segment(claims(sub="a b"))),
        sealed(segment(b"[]")),
        sealed(segment(b"\xff")),
        sealed(""),
        sealed(GOOD_PAYLOAD) + ".",
        "." + sealed(GOOD_PAYLOAD),
    ],
    ids=["secret", "expired", "audience", "id", "list", "bytes", "nothing", "four parts", "five parts"],
)
def test_the_short_way_refuses_as_the_long_one(token: str) -> None:
    assert isinstance(outcome(warm(), token), ErrorCode)
    assert outcome(warm(), token) == outcome(ring(), token)


def test_a_header_that_was_accepted_is_forgotten_with_its_key(tmp_path: Path) -> None:
    keyring = warm()
    keyring._use(secret_keys("another" * 8))
    assert refused(keyring, signed(claims())) == ErrorCode.UNAUTHORIZED


# ---- keys that cannot work


@pytest.mark.parametrize(
    "secret",
    ["", "short", "x" * 31, pem(ED).decode(), json.dumps(jwk("EdDSA", ED))],
    ids=["empty", "short", "31-characters", "pem", "jwk"],
)
def test_useless_secrets(secret: str) -> None:
    with pytest.raises(SettingError, match=r"^CAPACITY_TOKEN_KEY cannot work: [^\n]+$") as caught:
        ring(secret)
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "neither"),
        (b"hello", "neither"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "neither"),
        (b"\xff" * 100, "neither"),
        (private_pem(RSA), "private"),
        (private_pem(ED), "private"),
        (pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (b"{", "JSON"),
        (b"{" * 100_000, "JSON"),
        ({}, "JWKS"),
        ({"keys": {}}, "JWKS"),
        ({"keys": ["x"]}, "JWKS"),
        ({"keys": []}, "no public"),
        ({"keys": [{"kty": "new"}]}, "no public"),
        (jwk("EdDSA", ED), "JWKS"),
        ({"keys": [OKPAlgorithm.to_jwk(ED, as_dict=True)]}, "private"),
        ({"keys": [{"kty": "oct", "k": segment(b"x" * 32)}]}, "secret"),
        ({"keys": [jwk("RS256", rsa.generate_private_key(65537, 1024))]}, "1024 bits"),
        ({"keys": [jwk("EdDSA", ED, x="AAAA")]}, "damaged"),
        ({"keys": [jwk("RS256", RSA, n=7)]}, "damaged"),
        ({"keys": [jwk("ES256", EC, y=segment(b"y" * 32))]}, "damaged"),
        ({"keys": [jwk("EdDSA", ED), jwk("ES256", EC)]}, "kid"),
        ({"keys": [jwk("EdDSA", ED, kid="a"), jwk("ES256", EC, kid="a")]}, "kid"),
        ({"keys": [jwk("EdDSA", ED, kid="a"), jwk("ES256", EC, kid=7)]}, "kid"),
    ],
)
def test_useless_files(content: bytes | dict[str, Any], word: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^CAPACITY_TOKEN_KEY cannot work: [^\n]+$") as caught:
        ring(write(tmp_path / "key", content))
    assert word in str(caught.value)
    assert "AAAA" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "missing", ".", "a\x00b"])
def test_files_that_cannot_be_read(path: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        ring(f"file:{tmp_path / path if path else ''}")


# ---- rotation (the whole service does it in tests/ops/test_key_rotation.py)


def replaced(path: Path, data: bytes | dict[str, Any]) -> None:
    """Put a new file in the place of the old one, in one step."""
    write(path.with_suffix(".new"), data)
    path.with_suffix(".new").replace(path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    keyring = ring(write(path, pem(RSA)))
    old, new = jwt.encode(claims(), RSA, "RS256"), jwt.encode(claims(), ED, "EdDSA")
    replaced(path, pem(ED))
    assert keyring.verify(old), "no token makes us look"
    with capture_logs() as logs:
        keyring.refresh()
        keyring.refresh()
    assert keyring.verify(new)
    assert refused(keyring, old) == ErrorCode.UNAUTHORIZED
    assert logs == [{"event": "token_keys_changed", "log_level": "info", "keys": 1, "kids": []}]


def test_the_ids_of_the_new_keys_are_logged_and_no_more_of_them(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    keyring = ring(write(path, {"keys": [jwk("EdDSA", ED, kid="a")]}))
    keys = [jwk("EdDSA", ED, kid=f"k{number}") for number in range(30)]
    with capture_logs() as logs:
        for content in ({"keys": keys[:2]}, {"keys": keys}, {"keys": keys[:1]}):
            write(path, content)
            keyring.refresh()
    assert [(line["keys"], line["kids"]) for line in logs] == [
        (2, ["k0", "k1"]),
        (30, [f"k{number}" for number in range(20)]),
        (1, ["k0"]),
    ]
    assert not any(key["x"] in repr(logs) for key in keys)


def test_a_touched_file_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    keyring = ring(write(path, pem(RSA)))
    with capture_logs() as logs:
        for _ in range(3):
            path.touch()
            keyring.refresh()
            replaced(path, pem(RSA))
            keyring.refresh()
    assert not logs
    assert keyring.verify(jwt.encode(claims(), RSA, "RS256"))


def test_a_change_that_keeps_size_and_instant_is_seen_at_the_next_look(tmp_path: Path) -> None:
    """Two writes within a tick of the file system's clock: the first may be what was read."""
    path = tmp_path / "key.pem"
    one, other = (pem(ed25519.Ed25519PrivateKey.generate()) for _ in range(2))
    keyring = ring(write(path, pem(ED)))
    write(path, one)
    keyring.refresh()
    kept = path.stat()
    with path.open("r+b") as file:
        file.write(other)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert path.stat().st_size == kept.st_size
    keyring._file._stamp = token_keys._stamp(path)  # type: ignore[union-attr]  # as if nothing told of it
    with capture_logs() as logs:
        keyring.refresh()
        keyring.refresh()
    assert [line["event"] for line in logs] == ["token_keys_changed"]


def test_a_broken_or_missing_new_file_keeps_the_old_keys(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    keyring = ring(write(path, pem(RSA)))
    old = jwt.encode(claims(), RSA, "RS256")
    with capture_logs() as logs:
        for break_it in (lambda: write(path, b"half a fi"), lambda: write(path, private_pem(RSA)), path.unlink):
            break_it()
            for _ in range(3):
                keyring.refresh()
                assert keyring.verify(old)
    assert [line["event"] for line in logs] == ["token_keys_unusable"] * 3, "one line for each change"
    assert "PRIVATE KEY-----" not in repr(logs) and "half a fi" not in repr(logs)
    write(path, pem(ED))
    keyring.refresh()
    assert keyring.verify(jwt.encode(claims(), ED, "EdDSA"))


def test_a_file_that_comes_back_as_it_was_is_good_again(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    keyring = ring(write(path, pem(RSA)))
    with capture_logs() as logs:
        for _ in range(2):
            path.unlink()
            keyring.refresh()
            write(path, pem(RSA))
            keyring.refresh()
            keyring.refresh()
    assert [line["event"] for line in logs] == ["token_keys_unusable"] * 2
    assert keyring.verify(jwt.encode(claims(), RSA, "RS256"))


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(ring())
