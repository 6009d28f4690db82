"""A lean WebSocket client for measuring: one asyncio.Protocol a connection, no library in the way, so that the load costs little."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from functools import partial
from typing import Any, cast

import jwt

KEY = base64.b64encode(os.urandom(16)).decode()


class Attendee(asyncio.Protocol):
    """One connection: sends the handshake, and notes when it was told what."""

    __slots__ = (
        "_buffer",
        "_open",
        "_request",
        "_told",
        "closed",
        "first",
        "first_at",
        "kinds_at",
        "started_at",
        "transport",
    )

    def __init__(self, request: bytes, told: asyncio.Semaphore | None = None) -> None:
        self._request = request
        self._told = told
        self._buffer = b""
        self._open = False
        self.transport: asyncio.Transport | None = None
        self.started_at = time.perf_counter()
        self.first: dict[str, Any] | None = None
        self.first_at = 0.0
        self.kinds_at: dict[str, float] = {}
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        if not self._open:
            head, separator, rest = buffer.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = buffer
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(f"refused: {head[:60]!r}")
            self._open, buffer = True, rest
        while len(buffer) >= 2:
            length, start = buffer[1], 2
            if length == 126:
                length, start = int.from_bytes(buffer[2:4], "big"), 4
            if len(buffer) < start + length:
                break
            if buffer[0] == 0x81:
                self._message(buffer[start : start + length])
            buffer = buffer[start + length :]
        self._buffer = buffer

    def _message(self, payload: bytes) -> None:
        now = time.perf_counter()
        message = json.loads(payload)
        self.kinds_at.setdefault(message["type"], now)
        if self.first is None:
            self.first, self.first_at = message, now
            if self._told is not None:
                self._told.release()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self.first is None and self._told is not None:
            self._told.release()


def token(secret: str, participant: str, role: str = "attendee", room: str | None = "bench", **claims: Any) -> str:
    """Return a token for the benchmark's account."""
    payload = {
        "sub": participant,
        "account": "bench",
        "role": role,
        "aud": "capacity",
        "exp": int(time.time()) + 3600,
        **claims,
    }
    return jwt.encode(payload | ({"room": room} if room else {}), secret, algorithm="HS256")


def handshake(port: int, text: str) -> bytes:
    """Return what a browser sends."""
    return (
        f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Origin: http://127.0.0.1:{port}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\nAccept-Language: en\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: capacity.v1, bearer.{text}\r\n\r\n"
    ).encode()


async def arrive(ports: list[int], tokens: list[str], in_flight: int = 128) -> list[Attendee]:
    """Connect everybody, at most so many at a time without a first message; returns when all had one."""
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(in_flight)
    people: list[Attendee] = []
    for number, text in enumerate(tokens):
        await room.acquire()
        port = ports[number % len(ports)]
        person = Attendee(handshake(port, text), room)
        people.append(person)
        await loop.create_connection(partial(_itself, person), "127.0.0.1", port)
    for _ in range(in_flight):
        await room.acquire()
    return people


def _itself(person: Attendee) -> Attendee:
    return person
