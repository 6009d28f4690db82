"""A lean WebSocket client for measuring: one asyncio.Protocol a connection, no library in the way, so that the load costs little.

`Client` speaks to every system that answers a handshake with one JSON text message; `dialects.py` has those that want more.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable, Iterable
from typing import Self, TypeVar, cast

KEY = base64.b64encode(os.urandom(16)).decode()
PING = b"\x89\x00"
PONG = b"\x8a\x80\x00\x00\x00\x00"
TEXT, BINARY, CLOSE = 0x81, 0x82, 0x88
IN_FLIGHT = 128

C = TypeVar("C", bound="Client")
Opened = tuple[int, Callable[[Callable[[], None]], C]]
"""A client to be: the port that it connects to, and what makes it of its `told`."""


class Refused(Exception):
    """The server did not upgrade the connection."""


class Client(asyncio.Protocol):
    """One connection: sends the handshake, and notes when it was told what.

    `first`: the message that decided (`seated`, `waiting` or whatever the system says), and `first_at` when it came.
    `heard`: how many messages came after it, and `last_at` when the last one did. Instants are of `time.perf_counter`.
    """

    __slots__ = (
        "_buffer",
        "_open",
        "_opening",
        "_told",
        "closed",
        "first",
        "first_at",
        "heard",
        "last_at",
        "started_at",
        "transport",
    )

    def __init__(self, opening: bytes, told: Callable[[], None] = lambda: None) -> None:
        """`told` is called once: at the decision, or when the connection is gone without one."""
        self._opening = opening
        self._told: Callable[[], None] | None = told
        self._buffer = b""
        self._open = False
        self.transport: asyncio.Transport
        self.started_at = 0.0
        self.first = b""
        self.first_at = 0.0
        self.heard = 0
        self.last_at = 0.0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._opening)

    def data_received(self, data: bytes) -> None:
        if data == PING:
            self.transport.write(PONG)
            return
        buffer = self._buffer + data if self._buffer else data
        if not self._open:
            head, separator, rest = buffer.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = buffer
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.refused(head)
                return
            self._open, buffer = True, rest
        while len(buffer) >= 2:
            length, start = buffer[1], 2
            if length == 126:
                length, start = int.from_bytes(buffer[2:4], "big"), 4
            end = start + length
            if len(buffer) < end:
                break
            if buffer[0] in (TEXT, BINARY):
                self.message(buffer[start:end])
            elif buffer[0] == PING[0]:
                self.transport.write(bytes((PONG[0], 0x80 | length)) + PONG[2:] + buffer[start:end])
            buffer = buffer[end:]
        self._buffer = buffer

    def message(self, payload: bytes) -> None:
        """A message came."""
        if self.first:
            self.heard += 1
            self.last_at = time.perf_counter()
        else:
            self.decided(payload)

    def decided(self, payload: bytes) -> None:
        """The message came that says where this client stands."""
        self.first, self.first_at = payload, time.perf_counter()
        self._tell()

    def refused(self, head: bytes) -> None:
        """The handshake was answered with something else."""
        self.transport.abort()
        raise Refused(head[:120])

    def say(self, payload: bytes) -> None:
        """Send a text message of up to 65,535 bytes."""
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.transport.write(bytes((TEXT,)) + length + b"\0\0\0\0" + payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._tell()

    def _tell(self) -> None:
        told, self._told = self._told, None
        if told is not None:
            told()

    def itself(self) -> Self:
        """Return this: what the event loop asks of a factory of protocols."""
        return self


def handshake(port: int, path: str, fields: str = "") -> bytes:
    """Return what a browser sends. `fields`: further lines of the header, each with its line end."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Origin: http://127.0.0.1:{port}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\nAccept-Language: en\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    ).encode()


async def arrive(clients: Iterable[Opened[C]], in_flight: int = IN_FLIGHT) -> list[C]:
    """Connect everybody; returns when each was told where it stands.

    At most `in_flight` at a time have had no answer.
    """
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(in_flight)
    people: list[C] = []
    for port, make in clients:
        await room.acquire()
        person = make(room.release)
        people.append(person)
        person.started_at = time.perf_counter()
        await loop.create_connection(person.itself, "127.0.0.1", port)
    for _ in range(in_flight):
        await room.acquire()
    return people


async def depart(people: Iterable[Client]) -> None:
    """Drop every connection."""
    people = list(people)
    for person in people:
        person.transport.abort()
    await until(lambda: all(person.closed for person in people))


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the benchmark waited in vain")
        await asyncio.sleep(0.005)
