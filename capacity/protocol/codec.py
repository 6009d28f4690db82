"""Messages to frames and back. A broadcast is encoded once and the same bytes are written to every socket."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from capacity.protocol.messages import ClientMessage, ServerMessage

MESSAGE_BYTES_MAX = 4096
"""The largest message that either side sends (contract: over it the connection is closed with 1009)."""

_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes | bytearray], ClientMessage] = msgspec.json.Decoder(ClientMessage).decode


class BadMessage(ValueError):
    """A text that is no JSON object, of an unknown type, or with a wrong field."""


def encode(message: ServerMessage) -> bytes:
    """Return the message as UTF-8 JSON."""
    return _encode(message)


def frame(message: ServerMessage) -> bytes:
    """Return the message as one unmasked, unfragmented text frame (RFC 6455, section 5.2)."""
    payload = _encode(message)
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    return bytes((0x81, 126, length >> 8, length & 0xFF)) + payload


def decode(text: bytes | bytearray) -> ClientMessage:
    """Return what a client said. Raises BadMessage, whatever the bytes are."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(str(error)) from None
