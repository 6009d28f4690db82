"""Whatever stands where a token should, the key ring raises Refused and nothing else; the form of its header is no help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity.errors import ErrorCode, Refused, SettingError
from capacity.web.auth import KeyRing
from capacity.web.token_keys import file_keys
from tests.http.conftest import SECRET
from tests.http.test_tokens import EC, ED, KINDS, RSA, claims, jwk, pem, ring, segment, write

SETS: dict[str, dict[str, Any]] = {
    "one": {"keys": [jwk("RS256", RSA, kid="a")]},
    "several": {"keys": [jwk("RS256", RSA, kid="a"), jwk("ES256", EC, kid="b"), jwk("EdDSA", ED, kid="c")]},
}


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KeyRing]:
    """A ring of each kind: a secret, each kind of public key, JWKS of one key and of several."""
    directory = tmp_path_factory.mktemp("keys")
    return (
        {"secret": ring()}
        | {alg: ring(write(directory / alg, pem(key))) for alg, key in KINDS.items()}
        | {name: ring(write(directory / name, content)) for name, content in SETS.items()}
    )


kinds = st.sampled_from(["secret", *KINDS, *SETS])
words = st.sampled_from(["a", "b", "c", "HS256", *KINDS, "none", "JWT", "exp", "b64", "", "\ud800", "\x00"]) | st.text(
    max_size=6
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
algorithms = st.sampled_from(["HS256", *KINDS, "none", "HS512", "PS256", "ES256K"])
headers = (
    st.fixed_dictionaries(
        {},
        optional={
            "alg": algorithms | algorithms | anything,
            "kid": st.sampled_from(["a", "b", "c"]) | anything,
            "typ": st.just("JWT") | anything,
            "crit": st.lists(words, max_size=3) | anything,
            "b64": st.booleans() | anything,
            "jwk": st.just(jwk("EdDSA", ED)) | anything,
            "jku": words,
            "x5c": anything,
            "zip": st.just("DEF"),
        },
    )
    | anything
)
bodies = st.sampled_from([claims(), claims(exp=0), claims(aud="x")]) | anything
parts = st.binary(max_size=80) | bodies | headers
signatures = st.sampled_from([b"", b"\x00" * 32, b"\x00" * 64, b"\xff" * 64, b"\x00" * 256]) | st.binary(max_size=70)


def encoded(part: Any) -> str:
    return segment(part if isinstance(part, bytes) else json.dumps(part).encode("utf-8", "surrogatepass"))


def refused(keyring: KeyRing, token: str) -> None:
    with pytest.raises(Refused) as caught:
        keyring.verify(token)
    assert caught.value.code == ErrorCode.UNAUTHORIZED


@given(kind=kinds, data=st.binary(max_size=300))
def test_any_bytes(rings: dict[str, KeyRing], kind: str, data: bytes) -> None:
    """As the edge reads them."""
    refused(rings[kind], data.decode("latin-1"))


@given(kind=kinds, header=headers, body=parts, signature=signatures)
def test_any_header_with_any_body(
    rings: dict[str, KeyRing], kind: str, header: Any, body: Any, signature: bytes
) -> None:
    refused(rings[kind], f"{encoded(header)}.{encoded(body)}.{segment(signature)}")


@given(
    kind=kinds, header=headers, body=parts, more=st.lists(st.text("AZaz09-_=+/ ", max_size=9), min_size=1, max_size=5)
)
def test_any_number_of_parts(rings: dict[str, KeyRing], kind: str, header: Any, body: Any, more: list[str]) -> None:
    refused(rings[kind], ".".join([encoded(header), encoded(body), *more]))


@given(header=headers, body=parts)
def test_a_good_signature_does_not_make_anything_a_token(header: Any, body: Any) -> None:
    """Signed with the secret: only what is an object with the right claims comes through."""
    signed = f"{encoded(header)}.{encoded(body)}"
    mac = jwt.get_algorithm_by_name("HS256").sign(signed.encode(), SECRET.encode())
    try:
        found = ring().verify(f"{signed}.{segment(mac)}")
    except Refused as error:
        assert error.code in {ErrorCode.UNAUTHORIZED, ErrorCode.TOKEN_EXPIRED, ErrorCode.INVALID_ID}
    else:
        assert body == claims() and header["alg"] == "HS256"
        assert found.account == "acme"


# ---- key files

documents = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=120).map(
        lambda inner: b"-----BEGIN PUBLIC KEY-----\n" + inner + b"\n-----END PUBLIC KEY-----\n"
    ),
    st.tuples(st.sampled_from([pem(key) for key in KINDS.values()]), st.integers(0, 500), st.binary(max_size=3)).map(
        lambda found: found[0][: found[1]] + found[2] + found[0][found[1] + len(found[2]) :]
    ),
    anything.map(lambda found: json.dumps(found).encode("utf-8", "surrogatepass")),
    st.lists(
        st.tuples(
            st.sampled_from([jwk(alg, key, kid="a") for alg, key in KINDS.items()]),
            st.dictionaries(
                st.sampled_from(["kty", "crv", "alg", "use", "key_ops", "kid", "n", "e", "x", "y", "d", "k", "oth"]),
                st.sampled_from(["AQAB", "AQ", "sig", "EC", "OKP", "RSA", "P-256", "Ed448", "X25519"]) | anything,
                max_size=2,
            ),
        ).map(lambda found: found[0] | found[1]),
        max_size=2,
    ).map(lambda keys: json.dumps({"keys": keys}).encode("utf-8", "surrogatepass")),
)


@given(content=documents)
def test_any_key_file_is_read_or_refused_in_one_line_that_does_not_quote_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "a-key-file"
    path.write_bytes(content)
    try:
        assert file_keys(path)
    except SettingError as error:
        line = str(error).replace(str(path), "")
        assert line.isprintable()
        assert not any(word in line for word in content.decode("latin-1").split() if len(word) > 10)
