"""Clients that mean no good, or are broken: they never read, flood, talk nonsense, or never finish what they began."""

from __future__ import annotations

import asyncio
import os
import socket

from tests.chaos.wire import frame, handshake
from tests.support.service import token

BUFFER_BYTES = 2048
DRIP_SECONDS = 0.2
FLOOD_SECONDS = 0.01
FLOOD_FRAMES = 50


class Hostile:
    """Plays one room's worst guests, by raw sockets; they come as hosts, who take no seat and hear the most."""

    def __init__(self, port: int, account: str, room: str) -> None:
        self._port = port
        self._account = account
        self._room = room
        self._number = 0
        self._sockets: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def _connect(self, *, shake: bool = True) -> socket.socket:
        loop = asyncio.get_running_loop()
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._sockets.append(raw)
        await loop.sock_connect(raw, ("127.0.0.1", self._port))
        if shake:
            self._number += 1
            name = f"hostile-{self._number}"
            text = token(name, role="host", account=self._account, room=self._room)
            await loop.sock_sendall(raw, handshake(self._port, text))
        return raw

    async def stall(self) -> None:
        """Connect, and never read."""
        await self._connect()

    async def close_unread(self) -> None:
        """Connect, say goodbye, and never read."""
        raw = await self._connect()
        await asyncio.get_running_loop().sock_sendall(raw, frame(b"\x88", b"\x03\xe8"))

    async def flood(self) -> None:
        """Connect, and send pings without reading a pong."""
        self._keep_sending(await self._connect(), frame(b"\x89", bytes(125)) * FLOOD_FRAMES, FLOOD_SECONDS)

    async def babble(self) -> None:
        """Connect, and send what is no frame."""
        raw = await self._connect()
        await asyncio.get_running_loop().sock_sendall(raw, os.urandom(512))

    async def lie(self) -> None:
        """Connect, and send messages that are none."""
        raw = await self._connect()
        await asyncio.get_running_loop().sock_sendall(raw, frame(b"\x81", b'{"type":["claim"]}') * 3)

    async def drip(self) -> None:
        """Send a handshake byte by byte, without an end."""
        self._keep_sending(await self._connect(shake=False), b"G", DRIP_SECONDS)

    async def say_nothing(self) -> None:
        """Connect, and send not a byte."""
        await self._connect(shake=False)

    def _keep_sending(self, raw: socket.socket, data: bytes, pause_seconds: float) -> None:
        async def run() -> None:
            try:
                while True:
                    await asyncio.get_running_loop().sock_sendall(raw, data)
                    await asyncio.sleep(pause_seconds)
            except OSError:
                return

        self._tasks.append(asyncio.create_task(run()))

    def cut(self) -> int:
        """Return how many of the connections the server has ended."""
        count = 0
        for raw in self._sockets:
            try:
                while raw.recv(65536, socket.MSG_DONTWAIT):
                    pass
                count += 1
            except BlockingIOError:
                continue
            except OSError:
                count += 1
        return count

    def end(self) -> None:
        """Let everything go."""
        for task in self._tasks:
            task.cancel()
        for raw in self._sockets:
            raw.close()
