"""The raw write loop: a bare protocol on uvloop that checks nothing and remembers little. What no service can go below."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from typing import ClassVar, cast

import uvloop

SEATS = int(os.environ["CAPACITY_SEATS"])
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Client(asyncio.Protocol):
    """One connection."""

    clients: ClassVar[set[Client]] = set()
    seated: ClassVar[set[str]] = set()
    waiting: ClassVar[dict[str, None]] = {}

    __slots__ = ("_buffer", "_id", "_transport")

    def __init__(self) -> None:
        self._buffer = b""
        self._id = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._id == "control":
            self._broadcast(data)
        elif not self._id:
            self._buffer += data
            if self._buffer.endswith(b"\r\n\r\n"):
                request, self._buffer = self._buffer, b""
                self._join(request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.clients.discard(self)
        self.seated.discard(self._id)
        self.waiting.pop(self._id, None)

    def _join(self, request: bytes) -> None:
        """Answer the upgrade, and say where the client stands, in one write."""
        start = request.index(b"?id=") + 4
        self._id = request[start : request.index(b" ", start)].decode()
        start = request.index(b"Sec-WebSocket-Key: ") + 19
        key = request[start : request.index(b"\r", start)]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.clients.add(self)
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
            + frame(self._decide().encode())
        )

    def _decide(self) -> str:
        if len(self.seated) < SEATS:
            self.seated.add(self._id)
            occupied = len(self.seated)
            return f'{{"type":"seated","participant":"{self._id}","seat_limit":{SEATS},"occupied":{occupied}}}'
        self.waiting[self._id] = None
        return f'{{"type":"waiting","participant":"{self._id}","position":{len(self.waiting)}}}'

    def _broadcast(self, data: bytes) -> None:
        """Pass the text messages of the control client on to everybody else."""
        self._buffer += data
        while len(self._buffer) >= 6:
            length, start = self._buffer[1] & 0x7F, 2
            if length == 126:
                length, start = int.from_bytes(self._buffer[2:4], "big"), 4
            end = start + 4 + length
            if len(self._buffer) < end:
                return
            opcode, mask, payload = (
                self._buffer[0] & 0x0F,
                self._buffer[start : start + 4],
                self._buffer[start + 4 : end],
            )
            self._buffer = self._buffer[end:]
            if opcode == 1:
                encoded = frame(bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload)))
                for client in self.clients:
                    if client is not self:
                        client._transport.write(encoded)


def frame(payload: bytes) -> bytes:
    """Return a text message of up to 65,535 bytes as a server sends it."""
    size = len(payload)
    return b"\x81" + (bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", int(os.environ["PORT"]), backlog=2048)
    await server.serve_forever()


uvloop.run(main())
