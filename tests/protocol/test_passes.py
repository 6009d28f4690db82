"""Seat passes: what a media server checks, and that nothing private ever leaves."""

from __future__ import annotations

import json
from typing import Any

import jwt
import msgspec
import pytest
from jwt import PyJWKSet

from capacity.protocol.passes import PassKey
from capacity.protocol.tokens import Claims

NOW_MS = 1_795_521_600_789
CLAIMS = Claims(participant="auth0|ada", account="acme", room="launch", role="attendee", expires_at=NOW_MS)


def checked(key: PassKey, token: str) -> dict[str, Any]:
    """The payload, verified as a media server does it: by the JWKS alone."""
    keys = PyJWKSet.from_json(msgspec.json.encode(key.jwks()).decode())
    kid = jwt.get_unverified_header(token)["kid"]
    payload: dict[str, Any] = jwt.decode(
        token,
        keys[kid],
        algorithms=["EdDSA"],
        audience="capacity-seat",
        options={"verify_exp": False, "verify_iat": False},
    )
    return payload


def test_a_media_server_can_check_a_pass() -> None:
    key = PassKey.generate()
    given = key.issue(CLAIMS, NOW_MS)
    assert checked(key, given.token) == {
        "aud": "capacity-seat",
        "sub": "auth0|ada",
        "account": "acme",
        "room": "launch",
        "iat": 1_795_521_600,
        "exp": 1_795_521_900,
    }
    assert given.expires_at == 1_795_521_900_000


def test_the_pass_of_another_key_is_none() -> None:
    key, other = PassKey.generate(), PassKey.generate()
    assert key.kid != other.kid
    with pytest.raises(KeyError):
        checked(other, key.issue(CLAIMS, NOW_MS).token)


def test_a_service_gets_no_pass() -> None:
    with pytest.raises(ValueError, match="room"):
        PassKey.generate().issue(msgspec.structs.replace(CLAIMS, room=None, role="service"), NOW_MS)


def test_the_kid_is_the_thumbprint_of_rfc_8037() -> None:
    """RFC 8037, appendix A.3."""
    key = PassKey.from_private_jwk(
        json.dumps(
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }
        )
    )
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_key_survives_the_store() -> None:
    key = PassKey.generate()
    same = PassKey.from_private_jwk(key.private_jwk())
    assert same.kid == key.kid
    assert checked(key, same.issue(CLAIMS, NOW_MS).token)["sub"] == "auth0|ada"


def test_only_the_public_half_is_shown() -> None:
    key = PassKey.generate()
    secret = json.loads(key.private_jwk())["d"]
    shown = msgspec.json.encode(key.jwks()).decode()
    assert set(json.loads(shown)["keys"][0]) == {"kty", "crv", "x", "kid", "use", "alg"}
    assert secret not in shown + repr(key) + str(vars(key))


@pytest.mark.parametrize(
    "change",
    [{"d": "AAAA"}, {"d": "%"}, {"d": "é"}, {"x": "AAAA"}, {"kty": "EC"}, {"crv": "X25519"}, {"d": 1}, {"d": None}],
)
def test_a_damaged_key_is_not_used(change: dict[str, Any]) -> None:
    jwk = json.loads(PassKey.generate().private_jwk())
    with pytest.raises(ValueError, match=r"^(not an Ed25519|the public half)") as caught:
        PassKey.from_private_jwk(json.dumps(jwk | change))
    assert jwk["d"] not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"null", b"\xff", b"[" * 100_000, b"{}"])
def test_what_is_no_key_is_not_used(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not an Ed25519"):
        PassKey.from_private_jwk(raw)
