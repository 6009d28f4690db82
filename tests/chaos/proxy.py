"""A TCP proxy on loopback that can lose replies, fall silent, be slow, cut bytes apart, and drop everybody."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter, deque
from typing import cast

RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards what comes to `port` to `target`; its faults are fields, which may be changed at any time."""

    def __init__(self, target: int, seed: int = 0) -> None:
        self.target = target
        self.port = 0
        self.lost_replies = 0.0
        """The probability with which a connection is reset instead of bringing what the server sent."""
        self.silent_up = False
        """Whether nothing goes to the server any more."""
        self.silent_down = False
        """Whether nothing comes back from it."""
        self.delay_seconds = 0.0
        self.slice_bytes = 0
        """Everything is sent on in pieces of so many bytes; 0: as it came."""
        self.counts: Counter[str] = Counter()
        self.pipes: dict[Pipe, None] = {}
        self.chance = random.Random(seed)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Pipe(self), "127.0.0.1", 0, backlog=4096)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.drop_all()

    def silence(self, *, up: bool, down: bool) -> None:
        """Let nothing through to the server, or from it; False lets everything go on that was held back."""
        self.silent_up, self.silent_down = up, down
        for pipe in list(self.pipes):
            pipe.pump()

    def drop_all(self) -> int:
        """Reset every connection; returns how many there were."""
        pipes = list(self.pipes)
        for pipe in pipes:
            pipe.reset()
        return len(pipes)


class _End(asyncio.Protocol):
    """The far end of a pipe: the connection to the server."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.pipe.reached(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self.pipe.came(data, from_server=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self.pipe.came(b"", from_server=True)


class Pipe(asyncio.Protocol):
    """One connection through the proxy, and its near end. What comes stands in line, so that no fault puts it out of order.

    Silence holds everything back, the end of a side too, and lets it go on afterwards, as TCP does over a cut that heals.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._sides: dict[bool, asyncio.Transport | None] = {True: None, False: None}
        """By where what is written there came from: True has the client's side, False the server's."""
        self._lines: dict[bool, deque[tuple[float, bytes]]] = {True: deque(), False: deque()}
        self._dialing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sides[True] = cast(asyncio.Transport, transport)
        self._proxy.pipes[self] = None
        self._dialing = asyncio.get_running_loop().create_task(self._dial())

    def data_received(self, data: bytes) -> None:
        self.came(data, from_server=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sides[True] = None
        self.came(b"", from_server=False)

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: _End(self), "127.0.0.1", self._proxy.target)
        except OSError:
            self.reset()

    def reached(self, transport: asyncio.Transport) -> None:
        """The server's side stands."""
        self._sides[False] = transport
        self.pump()

    def came(self, data: bytes, *, from_server: bool) -> None:
        """Bytes came from one side, or its end (none)."""
        proxy = self._proxy
        if from_server and data and proxy.lost_replies and proxy.chance.random() < proxy.lost_replies:
            proxy.counts["lost_replies"] += 1
            self.reset()
            return
        if from_server and not data:
            self._sides[False] = None
        loop = asyncio.get_running_loop()
        self._lines[from_server].append((loop.time() + proxy.delay_seconds, data))
        if proxy.delay_seconds:
            proxy.counts["delayed"] += 1
            loop.call_later(proxy.delay_seconds, self.pump)
        else:
            self.pump()

    def pump(self) -> None:
        """Send on what may go."""
        proxy, now = self._proxy, asyncio.get_running_loop().time()
        for from_server, line in self._lines.items():
            if proxy.silent_down if from_server else proxy.silent_up:
                proxy.counts["held_back"] += bool(line)
                continue
            side = self._sides[from_server]
            while line and line[0][0] <= now + 0.001 and (side is not None or not line[0][1] or from_server):
                _, data = line.popleft()
                if not data:
                    self._finish(side)
                elif side is not None and not side.is_closing():
                    self._write(side, data)

    def _finish(self, side: asyncio.Transport | None) -> None:
        self._proxy.pipes.pop(self, None)
        if side is not None:
            side.close()
        elif self._dialing is not None and not self._dialing.done():
            self._dialing.cancel()

    def _write(self, side: asyncio.Transport, data: bytes) -> None:
        size = self._proxy.slice_bytes
        if not size:
            side.write(data)
            return
        self._proxy.counts["sliced"] += 1
        for start in range(0, len(data), size):
            side.write(data[start : start + size])

    def reset(self) -> None:
        """End both sides with RST."""
        self._proxy.pipes.pop(self, None)
        for side in self._sides.values():
            if side is not None:
                raw: socket.socket | None = side.get_extra_info("socket")
                if raw is not None:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
                side.abort()
