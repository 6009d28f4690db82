"""A server that is older than Capacity takes: none is at hand, so a real one, behind a proxy that changes the version it says it has."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Self

_VERSION = re.compile(rb"((?:redis|valkey)_version:)\d\.")


class AgedServer:
    """The server on a port of the loopback, which calls itself MAJOR.something for as long as `major` is set."""

    def __init__(self, port: int, major: int | None = 6) -> None:
        self._port = port
        self.major = major
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._proxy = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._proxy.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._proxy.close()
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += (writer, to_server)
        await asyncio.gather(self._copy(reader, to_server), self._copy(from_server, writer, lying=True))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, lying: bool = False) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                if lying and self.major is not None:
                    piece = _VERSION.sub(rb"\g<1>%d." % self.major, piece)
                writer.write(piece)
                await writer.drain()
        writer.close()
