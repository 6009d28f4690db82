"""Seat passes: short-lived JWTs by which a media server knows that somebody has a seat right now.

Signed with Ed25519 by a key that all hub processes share (`store.pass_keys`); the public half is at `/v1/jwks.json`.
A pass and a token cannot be taken for each other: the audience is `capacity-seat` and the key another one.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from capacity.protocol.messages import Pass
from capacity.protocol.tokens import Claims

AUDIENCE = "capacity-seat"
ALGORITHM = "EdDSA"
PASS_SECONDS = 300


class PublicKey(msgspec.Struct, frozen=True):
    """A public Ed25519 key as JWK (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"] = "sig"
    alg: Literal["EdDSA"] = "EdDSA"


class PublicKeys(msgspec.Struct, frozen=True):
    """A JWK set (RFC 7517, section 5)."""

    keys: list[PublicKey]


class _PrivateKey(msgspec.Struct, frozen=True):
    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    d: str
    x: str


class PassKey:
    """The key that signs seat passes. `kid` is its RFC 7638 thumbprint, so equal keys have equal ids on all hubs."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        x = _base64url(private.public_key().public_bytes_raw())
        # RFC 7638, section 3: the required members, sorted by name, without white space.
        thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
        self.kid = _base64url(thumbprint)
        self._public = PublicKey("OKP", "Ed25519", x, self.kid)

    def __repr__(self) -> str:
        return f"PassKey(kid={self.kid!r})"

    @classmethod
    def generate(cls) -> PassKey:
        """Return a new random key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_private_jwk(cls, text: bytes | str) -> PassKey:
        """Return the key that `private_jwk` wrote. Raises ValueError for anything else, and never quotes it."""
        try:
            jwk = msgspec.json.decode(text, type=_PrivateKey)
            key = cls(Ed25519PrivateKey.from_private_bytes(_unbase64url(jwk.d)))
        except (ValueError, RecursionError):
            raise ValueError("not an Ed25519 private key as JWK") from None
        if key._public.x != jwk.x:
            raise ValueError("the public half of the JWK is not that of its private half")
        return key

    def private_jwk(self) -> bytes:
        """Return the private key as JWK. A secret: it belongs nowhere but into the store."""
        return msgspec.json.encode(
            _PrivateKey("OKP", "Ed25519", d=_base64url(self._private.private_bytes_raw()), x=self._public.x)
        )

    def issue(self, claims: Claims, now_ms: int) -> Pass:
        """Return a pass for the participant's seat in the room of the claims; it ends 5 minutes after `now_ms`.

        Raises ValueError for claims without a room: a service has no seat.
        """
        if claims.room is None:
            raise ValueError("only a participant of a room gets a seat pass")
        issued = now_ms // 1000
        expires = issued + PASS_SECONDS
        payload = {
            "aud": AUDIENCE,
            "sub": claims.participant,
            "account": claims.account,
            "room": claims.room,
            "iat": issued,
            "exp": expires,
        }
        token = jwt.encode(payload, self._private, algorithm=ALGORITHM, headers={"kid": self.kid})
        return Pass(token=token, expires_at=expires * 1000)

    def jwks(self) -> PublicKeys:
        """Return the key set for `/v1/jwks.json`: the public half only."""
        return PublicKeys([self._public])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _unbase64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
