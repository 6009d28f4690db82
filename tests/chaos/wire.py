"""One WebSocket as a client has it: an asyncio.Protocol without a task or a library in the way, so that hundreds cost little."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Callable
from typing import Any, cast

KEY = base64.b64encode(os.urandom(16)).decode()
TEXT, CLOSE, PING = 0x81, 0x88, 0x89
PONG = b"\x8a"
GOING_AWAY = 1001

Told = Callable[["Wire", dict[str, Any]], None]
Lost = Callable[["Wire", int, str], None]


def handshake(port: int, token: str) -> bytes:
    """Return what a browser sends."""
    return (
        f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: capacity.v1, bearer.{token}\r\n\r\n"
    ).encode()


def frame(opcode: bytes, payload: bytes) -> bytes:
    """Return a client's frame; its mask is zero, which leaves the payload as it is."""
    length = len(payload)
    if length > 125:
        return opcode + bytes((0xFE,)) + length.to_bytes(2, "big") + bytes(4) + payload
    return opcode + bytes((0x80 | length,)) + bytes(4) + payload


class Wire(asyncio.Protocol):
    """One connection, from the handshake to its end. `lost` is called once: close code (0: none came, negative: the
    status of an HTTP answer) and reason.
    """

    __slots__ = ("_buffer", "_close", "_lost", "_open", "_request", "_told", "_transport", "heard_at", "hub")

    def __init__(self, request: bytes, hub: int, told: Told, lost: Lost) -> None:
        self._request = request
        self._told = told
        self._lost: Lost | None = lost
        self._buffer = b""
        self._open = False
        self._close = (0, "")
        self._transport: asyncio.Transport | None = None
        self.hub = hub
        self.heard_at = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        buffer = self._buffer + data if self._buffer else data
        if not self._open:
            head, separator, rest = buffer.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = buffer
                return
            status = int(head.split(b" ", 2)[1])
            if status != 101:
                self._close = (-status, "")
                self.abort()
                return
            self._open, buffer = True, rest
        while len(buffer) >= 2:
            length, start = buffer[1], 2
            if length == 126:
                length, start = int.from_bytes(buffer[2:4], "big"), 4
            if len(buffer) < start + length:
                break
            self._take(buffer[0], buffer[start : start + length])
            buffer = buffer[start + length :]
        self._buffer = buffer

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            if self._lost is not None:
                self._told(self, json.loads(payload))
        elif opcode == PING:
            self._write(frame(PONG, payload))
        elif opcode == CLOSE:
            self._close = (int.from_bytes(payload[:2], "big"), payload[2:].decode())
            self._write(frame(b"\x88", payload[:2]))
            self._end()
            if self._transport is not None:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end()

    def _end(self) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self, *self._close)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def say(self, kind: str) -> None:
        """Send a message without fields."""
        self._write(frame(b"\x81", b'{"type":"%s"}' % kind.encode()))

    def close(self) -> None:
        """Close as a browser tab does; nothing more is heard of this connection."""
        self._lost = None
        self._write(frame(b"\x88", GOING_AWAY.to_bytes(2, "big")))
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Vanish without a word; nothing more is heard of this connection."""
        self._lost = None
        self.abort()

    def abort(self) -> None:
        """Cut the connection; its end is reported."""
        if self._transport is not None:
            self._transport.abort()
