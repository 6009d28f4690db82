"""What the peers speak, and which peers there are: how each is started and joined, and which versions it has."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

from benchmarks.load import BINARY, Client, handshake

CONTROL = "control"
"""The participant whose messages a peer passes on to everybody else."""

DIRECTORY = Path(__file__).parent / "peers"


Told = Callable[[], None]


class SocketIOClient(Client):
    """Speaks Socket.IO 5 on Engine.IO 4, WebSocket only: https://socket.io/docs/v4/socket-io-protocol/."""

    __slots__ = ("_connect",)

    def __init__(self, port: int, participant: str, told: Told) -> None:
        super().__init__(handshake(port, "/socket.io/?EIO=4&transport=websocket"), told)
        self._connect = b"40" + json.dumps({"id": participant}).encode()

    def message(self, payload: bytes) -> None:
        if payload.startswith(b"42"):
            super().message(payload)
        elif payload == b"2":
            super().say(b"3")
        elif payload.startswith(b"0"):
            super().say(self._connect)

    def say(self, payload: bytes) -> None:
        super().say(b'42["say",' + json.dumps(payload.decode()).encode() + b"]")


class ColyseusClient(Client):
    """Speaks Colyseus 0.18: reserves a place in the room over HTTP, and takes it with a WebSocket on a second connection.

    Codes and layout: `Protocol` of @colyseus/shared-types and @colyseus/core. Messages are of msgpack.
    """

    __slots__ = ("_changing", "_entering", "_port", "_reserving")

    JOIN_ROOM = b"\x0a"
    ROOM_DATA = b"\x0d"

    def __init__(self, port: int, participant: str, told: Told) -> None:
        body = json.dumps({"id": participant})
        request = (
            f"POST /matchmake/joinOrCreate/webinar HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Origin: http://127.0.0.1:{port}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\n"
            "Accept: application/json\r\nAccept-Language: en\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        super().__init__(request.encode(), told)
        self._port = port
        self._reserving = True
        self._changing = False
        self._entering: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        if not self._reserving:
            super().data_received(data)
            return
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or not body.endswith(b"}"):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.refused(self._buffer)
            return
        place = json.loads(body)
        self._buffer = b""
        self._opening = handshake(self._port, f"/{place['processId']}/{place['roomId']}?sessionId={place['sessionId']}")
        self._reserving = False
        self._changing = True
        self.transport.close()
        self._entering = asyncio.get_running_loop().create_task(self._enter())

    async def _enter(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(self.itself, "127.0.0.1", self._port)
        except OSError as error:
            super().connection_lost(error)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._changing:  # the connection of the reservation is gone, which was closed before the other was opened
            self._changing = False
        else:
            super().connection_lost(exc)

    def message(self, payload: bytes) -> None:
        code = payload[:1]
        if code == self.ROOM_DATA:
            super().message(payload)
        elif code == self.JOIN_ROOM:
            self._send(self.JOIN_ROOM)

    def say(self, payload: bytes) -> None:
        self._send(self.ROOM_DATA + _packed(b"say") + _packed(payload))

    def _send(self, payload: bytes) -> None:
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.transport.write(bytes((BINARY,)) + length + b"\0\0\0\0" + payload)


def _packed(text: bytes) -> bytes:
    """Return a text of up to 65,535 bytes in msgpack."""
    size = len(text)
    if size < 32:
        return bytes((0xA0 | size,)) + text
    return (b"\xd9" + bytes((size,)) if size < 256 else b"\xda" + size.to_bytes(2, "big")) + text


def plain(port: int, participant: str, told: Told) -> Client:
    """Return a client of those peers that need no more than the handshake."""
    return Client(handshake(port, f"/?id={participant}"), told)


@dataclass(frozen=True)
class Peer:
    """A system that does the same work as Capacity, as far as it goes."""

    name: str
    command: tuple[str, ...]
    uses_redis: bool
    client: Callable[[int, str, Told], Client] = plain
    """(port, participant, told) -> a client that has not connected."""
    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    npm: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    """Packages of npm and distributions of Python whose versions count."""
    by_default: bool = False
    """Whether `make bench` runs it; `make bench-all` runs all."""

    def environment(self, port: int, seats: int, redis_url: str) -> dict[str, str]:
        """Return the variables that the peer is started with."""
        store = {"REDIS_URL": redis_url} if self.uses_redis else {}
        return {"PORT": str(port), "CAPACITY_SEATS": str(seats), **store, **self.environ}

    def versions(self) -> dict[str, str]:
        """Return the version of each package, "" for one that is not installed."""
        return {**{name: _npm_version(name) for name in self.npm}, **{name: _version(name) for name in self.python}}

    def missing(self) -> list[str]:
        """Return the packages that are not installed, without which the peer does not run."""
        return [name for name, version in self.versions().items() if not version]


def is_seated(client: Client) -> bool:
    """Whether the decision was a seat. Every dialect has the type's word in its text, and nothing else that holds it."""
    return b"seated" in client.first


def _npm_version(name: str) -> str:
    try:
        return cast(str, json.loads((DIRECTORY / "node_modules" / name / "package.json").read_text())["version"])
    except FileNotFoundError:
        return ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _python(file: str) -> tuple[str, ...]:
    return (sys.executable, str(DIRECTORY / file))


def _node(file: str) -> tuple[str, ...]:
    return ("node", str(DIRECTORY / file))


PRODUCTION = MappingProxyType({"NODE_ENV": "production"})

PEERS: Final = (
    Peer("raw write loop", _python("raw.py"), uses_redis=False, python=("uvloop",), by_default=True),
    Peer(
        "ws + Redis",
        _node("ws.mjs"),
        uses_redis=True,
        environ=PRODUCTION,
        npm=("ws", "ioredis"),
        by_default=True,
    ),
    Peer(
        "ws + Redis, frame encoded once",
        _node("ws.mjs"),
        uses_redis=True,
        environ=MappingProxyType({**PRODUCTION, "ENCODE_ONCE": "1"}),
        npm=("ws", "ioredis"),
    ),
    Peer(
        "bare Starlette",
        _python("bare_starlette.py"),
        uses_redis=False,
        python=("starlette", "uvicorn", "uvloop", "httptools", "websockets"),
        by_default=True,
    ),
    Peer(
        "Socket.IO + Redis",
        _node("socketio.mjs"),
        uses_redis=True,
        client=SocketIOClient,
        environ=PRODUCTION,
        npm=("socket.io", "@socket.io/redis-adapter", "ioredis"),
    ),
    Peer(
        "Colyseus + Redis",
        _node("colyseus.mjs"),
        uses_redis=True,
        client=ColyseusClient,
        environ=PRODUCTION,
        npm=(
            "@colyseus/core",
            "@colyseus/ws-transport",
            "@colyseus/redis-presence",
            "@colyseus/redis-driver",
            "ioredis",
        ),
    ),
    Peer(
        "python-socketio + Redis",
        _python("socketio_python.py"),
        uses_redis=True,
        client=SocketIOClient,
        python=("python-socketio", "uvicorn", "uvloop", "httptools", "websockets", "redis", "hiredis"),
    ),
)
"""All peers, in the order of the tables."""
