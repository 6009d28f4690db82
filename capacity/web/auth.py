"""Who is asking, and whether they may. A token is verified here; what its claims mean is in `protocol.tokens`.

PyJWT checks the form and the signature; of an HS256 token under a header that it has accepted before, the signature is
compared here, which takes a third of the time. Its claim checks are lenient (an `exp` of text passes), so `exp`, `nbf` and
`aud` are checked here. Neither a token nor a part of one ever stands in a log line or an answer.
"""

from __future__ import annotations

import asyncio
import binascii
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from jwt import PyJWTError
from jwt.api_jws import PyJWS
from starlette.requests import Request

from capacity.errors import ErrorCode, Refused, SettingError
from capacity.protocol.tokens import ANY_ACCOUNT, Claims, claims_of
from capacity.web.token_keys import FILE_PREFIX, KeyFile, Keys, key_ids, secret_keys
from capacity.web.watch import complain

AUDIENCE = "capacity"
LEEWAY_SECONDS = 30
TOKEN_CHARACTERS_MAX = 8192
INSTANT_SECONDS_MAX = 253_402_300_799
"""The end of the year 9999. Beyond it stand instants in ms, a common mistake that would make a token eternal."""
KEY_FILE_CHECK_SECONDS = 1.0
KEY_IDS_LOGGED_MAX = 20

log = structlog.get_logger("capacity.auth")

_jws = PyJWS(algorithms=["HS256", "RS256", "ES256", "EdDSA"])
_decode_payload = msgspec.json.Decoder().decode
_HEADERS_MAX = 16
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")
"""From the alphabet of base64url to that of base64; what is not of the former becomes what is not of the latter."""


class KeyRing:
    """Verifies tokens with the keys of CAPACITY_TOKEN_KEY.

    The keys of a file rotate without a restart: `watch` looks at it every second. While what is there cannot be used,
    because it is half written or damaged, the old keys stay. A key that is gone from the file verifies nothing any more;
    connections that it let in stay.
    """

    def __init__(self, token_key: str, *, clock: Callable[[], float] = time.time) -> None:
        """Raises SettingError for a key that cannot work. `token_key` is a secret, or `file:` and a path."""
        self._clock = clock
        self._file: KeyFile | None = None
        self._complaint = ""
        if token_key.startswith(FILE_PREFIX):
            self._file = KeyFile(Path(token_key.removeprefix(FILE_PREFIX)))
        self._use(self._file.keys if self._file else secret_keys(token_key))

    def __repr__(self) -> str:
        return f"KeyRing({'secret' if self._file is None else self._file.path})"

    async def watch(self) -> None:
        """Keep up with the file, until cancelled. Returns at once for a secret."""
        while self._file is not None:
            await asyncio.sleep(KEY_FILE_CHECK_SECONDS)
            try:
                self.refresh()
            except Exception as error:
                complain("token_keys_failed", error)

    def refresh(self) -> None:
        """Take over what has changed in the file. One log line tells of it, or of what keeps us from it."""
        if self._file is None:
            return
        try:
            changed = self._file.look()
        except SettingError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("token_keys_unusable", reason=self._complaint)
            return
        self._complaint = ""
        if changed:
            self._use(self._file.keys)
            log.info("token_keys_changed", keys=len(self._keys), kids=key_ids(self._keys)[:KEY_IDS_LOGGED_MAX])

    def verify(self, token: str) -> Claims:
        """Return the claims of a valid token.

        Raises Refused: `token_expired`, `invalid_id` for a claim that is no id, `unauthorized` for everything else.
        """
        payload = self._payload(token)
        expires_at = _instant(payload, "exp")
        if expires_at is None:
            raise _unauthorized("The token has no exp.")
        now = self._clock()
        if expires_at <= now - LEEWAY_SECONDS:
            raise Refused(ErrorCode.TOKEN_EXPIRED)
        starts_at = _instant(payload, "nbf")
        if starts_at is not None and starts_at > now + LEEWAY_SECONDS:
            raise _unauthorized("The token is not valid yet (nbf).")
        audience = payload.get("aud")
        if audience != AUDIENCE and not (isinstance(audience, list) and AUDIENCE in audience):
            raise _unauthorized(f"The token's aud must be {AUDIENCE}.")
        return claims_of(payload)

    def _payload(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            raise _unauthorized("This is no token.")
        try:
            signed = self._signed(token)
            payload = _decode_payload(self._judged(token) if signed is None else signed)
        except (PyJWTError, ValueError, TypeError, RecursionError):
            raise _unauthorized("The token is not valid: its form, algorithm or signature is wrong.") from None
        if not isinstance(payload, dict):
            raise _unauthorized("The token's payload must be an object.")
        return payload

    def _signed(self, token: str) -> bytes | None:
        """Return the payload of a token that our secret signed, under a header that PyJWT has accepted before. None: ask PyJWT.

        Nothing is refused here, and nothing accepted that PyJWT would refuse.
        """
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        secret = self._accepted.get(header)
        if secret is None:
            return None
        expected = urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=")
        if not hmac.compare_digest(expected, signature.encode()):
            return None
        try:
            text = payload.encode().translate(_FROM_URL)
            return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
        except binascii.Error:
            return None

    def _judged(self, token: str) -> bytes:
        """Return the payload of a token that PyJWT finds signed with a key of ours. Raises what it raises."""
        if self._only is None:
            # PyJWT has checked that a kid is text.
            key = self._keys.get(_jws.get_unverified_header(token).get("kid"))
            if key is None:
                raise _unauthorized("The token's kid names none of the keys.")
        else:
            key = self._only
        payload: bytes = _jws.decode_complete(token, key, [key.algorithm_name])["payload"]
        if key.algorithm_name == "HS256" and len(self._accepted) < _HEADERS_MAX:
            self._accepted[token.partition(".")[0]] = key.key
        return payload

    def _use(self, keys: Keys) -> None:
        self._keys = keys
        self._accepted: dict[str, bytes] = {}
        self._only = next(iter(keys.values())) if len(keys) == 1 else None


def _instant(payload: dict[str, Any], claim: str) -> float | None:
    """A NumericDate in seconds (RFC 7519, section 2), or None if there is none."""
    value = payload.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= INSTANT_SECONDS_MAX:
        raise _unauthorized(f"The token's {claim} must be a number of seconds since the epoch.")
    return value


def _unauthorized(detail: str) -> Refused:
    return Refused(ErrorCode.UNAUTHORIZED, detail)


# ---- HTTP: who may what (contract, "Tokens")


def bearer(request: Request, keyring: KeyRing) -> Claims:
    """Return the claims of the request's bearer token. Raises Refused as `KeyRing.verify`, also when there is none."""
    headers = request.headers.getlist("authorization")
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise Refused(ErrorCode.UNAUTHORIZED)
    return keyring.verify(token.strip())


def service_account(claims: Claims) -> str | None:
    """Return the account that a service acts on, None for all of them. Raises Refused for who is no service."""
    if claims.role != "service":
        raise Refused(ErrorCode.FORBIDDEN, "Only a service may do this.")
    return None if claims.account == ANY_ACCOUNT else claims.account


def require_room(claims: Claims, account: str, room: str) -> None:
    """Return if the claims may act on the room: a service of its account, or a host of that room. Raises Refused."""
    if claims.role == "service":
        allowed = claims.account in (account, ANY_ACCOUNT)
    else:
        allowed = claims.role == "host" and (claims.account, claims.room) == (account, room)
    if not allowed:
        raise Refused(ErrorCode.FORBIDDEN, "Only a service of the account, or a host of this room, may do this.")


def require_account(claims: Claims, account: str) -> None:
    """Return if the claims may act on the account: its service, or a host of it who may buy. Raises Refused."""
    if claims.role == "service":
        allowed = claims.account in (account, ANY_ACCOUNT)
    else:
        allowed = claims.billing and claims.account == account
    if not allowed:
        raise Refused(ErrorCode.FORBIDDEN, "Only a service of the account, or a host of it who may buy, may do this.")
