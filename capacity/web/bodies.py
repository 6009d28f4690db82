"""The bodies of requests: read whole, within a size and a time, and decoded as a type."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from starlette.requests import Request

from capacity.errors import ErrorCode, Refused
from capacity.protocol.reasons import reason_of

BODY_SECONDS = 10.0
"""How long a sender may take for the body."""
DRAINED_BYTES_MAX = 1024 * 1024
"""How much of a body that is too large is still read: a sender that is cut off in mid-sentence never sees the 413."""

Body = TypeVar("Body", bound=msgspec.Struct)


async def read_body(request: Request, *, bytes_max: int, seconds: float = BODY_SECONDS) -> bytes:
    """Return the body as it came. Raises Refused: `request_timeout`, or `too_large` after a while of reading on."""
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                received += len(chunk)
                if received <= bytes_max:
                    body += chunk
                elif received > DRAINED_BYTES_MAX:
                    break
    except TimeoutError:
        raise Refused(ErrorCode.REQUEST_TIMEOUT, f"The body must come within {seconds:g} s.") from None
    if received > bytes_max:
        raise Refused(ErrorCode.TOO_LARGE, f"The body may have {bytes_max} bytes at most.")
    return bytes(body)


def decode(body: bytes, kind: type[Body]) -> Body:
    """Return a JSON body as its type. Raises Refused with `malformed`, whatever the bytes are."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(ErrorCode.MALFORMED, f"The body could not be read: {reason_of(error)}.") from None
