"""Frames of the WebSocket (RFC 6455, section 5): the numbers, and what needs no connection to be known."""

from __future__ import annotations

from typing import Final

from capacity import errors

try:
    from websockets.speedups import apply_mask as unmask
except ImportError:  # no wheel of websockets for this platform
    from websockets.utils import apply_mask as unmask

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "FIN",
    "PING",
    "PING_FRAME",
    "PONG",
    "PONG_HEAD",
    "TEXT",
    "close_frame",
    "find_close",
    "unmask",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN: Final = 0x80
PING_FRAME: Final = b"\x89\x00"
PONG_HEAD: Final = b"\x8a\x80"
"""Of the answer to it, masked: a mask of four bytes follows, and no payload."""


def close_frame(close: errors.Close) -> bytes:
    """Return an unmasked close frame (RFC 6455, section 5.5.1). The reason is shorter than 124 bytes."""
    reason = close.reason.encode()
    return bytes((FIN | CLOSE, len(reason) + 2, close.code >> 8, close.code & 0xFF)) + reason


def find_close(data: bytes, offset: int) -> tuple[bool, int]:
    """Return whether a close frame begins among the frames from `offset` on, and where the search goes on.

    Nothing is checked and no payload is looked at. The second value is behind the end of `data` if a payload is not
    complete, and before it if the last frame's header is not.
    """
    size = len(data)
    while size - offset >= 2:
        length = data[offset + 1] & 0x7F
        start = offset + 2
        if length >= 126:
            width = 2 if length == 126 else 8
            if size - start < width:
                break
            length = int.from_bytes(data[start : start + width], "big")
            start += width
        if data[offset] & 0x0F == CLOSE:
            return True, offset
        offset = start + length + (4 if data[offset + 1] & 0x80 else 0)
    return False, offset
