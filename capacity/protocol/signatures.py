"""Webhook signatures by Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

    signature = "v1," + base64(HMAC-SHA256(secret, id + "." + timestamp + "." + body)), several separated by spaces
    secret    = "whsec_" + base64(key); several are good at once while they are rotated

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
The HMAC is taken here over the raw bytes. The library `standardwebhooks` (1.1) signs text only, has its own clock and
lets odd headers out as ValueError, binascii.Error or UnicodeDecodeError; the tests hold this module to it both ways.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence

from capacity.errors import ErrorCode, Refused

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
SECRET_PREFIX = "whsec_"
TOLERANCE_SECONDS = 300

_TIMESTAMP_DIGITS_MAX = 12
_SIGNATURES_MAX = 16


def secret_key(secret: str) -> bytes:
    """Return the HMAC key of a `whsec_…` secret (its base64 may lack the padding). Raises ValueError if it is none."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret begins with {SECRET_PREFIX}")
    encoded = secret[len(SECRET_PREFIX) :].rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        raise ValueError("the part of a webhook secret after whsec_ must be base64") from None
    if not key:
        raise ValueError("a webhook secret must not be empty")
    return key


def sign(secret: str, id: str, timestamp_seconds: int, body: bytes) -> dict[str, str]:
    """Return the three headers for a body sent now. Raises ValueError for a secret that is none."""
    return sign_with_all([secret], id, timestamp_seconds, body)


def sign_with_all(secrets: Sequence[str], id: str, timestamp_seconds: int, body: bytes) -> dict[str, str]:
    """The same with a signature for each secret, so that who verifies may have any of them while they are rotated."""
    timestamp = str(timestamp_seconds)
    digests = (_digest(secret_key(secret), id, timestamp, body) for secret in secrets)
    signatures = " ".join(f"v1,{base64.b64encode(digest).decode('ascii')}" for digest in digests)
    return {ID_HEADER: id, TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signatures}


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_seconds: float) -> None:
    """Return if one of the signatures was made over this very body with one of the secrets, within 5 minutes of now.

    The names of the headers may be in any case. Whatever headers and body are, all that is raised is
    Refused with `invalid_signature`. The secrets are ours: a wrong one raises ValueError.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    id, timestamp, given = (lower.get(name, "") for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER))
    if not (id and timestamp and given):
        raise _refused(f"The headers {ID_HEADER}, {TIMESTAMP_HEADER} and {SIGNATURE_HEADER} are needed.")
    if not (id.isascii() and timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _TIMESTAMP_DIGITS_MAX):
        raise _refused(f"{TIMESTAMP_HEADER} must be whole seconds since the epoch, and {ID_HEADER} ASCII.")
    if abs(now_seconds - int(timestamp)) > TOLERANCE_SECONDS:
        raise _refused("The timestamp is more than 5 minutes off; sign every attempt anew and check the clocks.")
    signatures = _signatures(given)
    good = False
    for secret in secrets:
        expected = _digest(secret_key(secret), id, timestamp, body)
        for signature in signatures:
            # No early return: how long this takes says nothing about which secret or signature was the right one.
            good |= hmac.compare_digest(expected, signature)
    if not good:
        raise _refused("No v1 signature matches the body.")


def _signatures(header: str) -> list[bytes]:
    """The v1 signatures of the header; other versions (v1a is asymmetric) and what is no base64 are passed over."""
    found: list[bytes] = []
    for item in header.split(" ")[:_SIGNATURES_MAX]:
        version, _, encoded = item.partition(",")
        if version != "v1":
            continue
        try:
            found.append(base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError):
            continue
    return found


def _digest(key: bytes, id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256")


def _refused(detail: str) -> Refused:
    return Refused(ErrorCode.INVALID_SIGNATURE, detail)
