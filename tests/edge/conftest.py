"""A real uvicorn server with the edge in front, a hub that records, and a client that says exactly what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from capacity.errors import ErrorCode, Refused
from capacity.protocol.messages import ClientMessage
from capacity.protocol.tokens import Claims
from capacity.web.edge import Gate, protocol_class
from capacity.web.watch import Stats
from capacity.web.websocket import WebSocket
from tests.support.waiting import wait_until

PATIENCE_SECONDS = 5.0
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The key and the answer to it that RFC 6455 gives as an example (section 1.3)."""


def verify(token: str) -> Claims:
    """Tokens of the tests: `good-<participant>`, `service-…`, and those that are refused or break something."""
    kind, _, participant = token.partition("-")
    match kind:
        case "good":
            return Claims(participant, "acme", "town-hall", "attendee", 0)
        case "service":
            return Claims(participant, "acme", None, "service", 0)
        case "expired":
            raise Refused(ErrorCode.TOKEN_EXPIRED)
        case "badid":
            raise Refused(ErrorCode.INVALID_ID, "The token's room is not a room id.")
        case "broken":
            raise RuntimeError(token)
        case _:
            raise Refused(ErrorCode.UNAUTHORIZED)


class RecordingConnection:
    """What the hub sees of one connection."""

    def __init__(self, socket: WebSocket, claims: Claims) -> None:
        self.socket = socket
        self.claims = claims
        self.received: list[ClientMessage] = []
        self.lost_count = 0
        self.on_receive: Callable[[ClientMessage], None] | None = None

    def receive(self, message: ClientMessage) -> None:
        self.received.append(message)
        if self.on_receive:
            self.on_receive(message)

    def lost(self) -> None:
        self.lost_count += 1


class RecordingHub:
    """The hub's side of the edge, recorded. `on_connect` may answer at once, or raise."""

    def __init__(self) -> None:
        self.overloaded = False
        self.connections: dict[str, list[RecordingConnection]] = {}
        self.on_connect: Callable[[WebSocket, Claims], None] | None = None

    def connect(self, socket: WebSocket, claims: Claims) -> RecordingConnection:
        if self.on_connect:
            self.on_connect(socket, claims)
        connection = RecordingConnection(socket, claims)
        self.connections.setdefault(claims.participant, []).append(connection)
        return connection

    async def connection(self, participant: str) -> RecordingConnection:
        """Return the participant's newest connection, once there is one."""
        found = await wait_until(lambda: self.connections.get(participant), what=f"{participant} connected")
        newest: RecordingConnection = found[-1]
        return newest


class Client:
    """A connection to the server, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Return status and headers (lower case) of the next answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            raw = await self._reader.readuntil(b"\r\n\r\n")
        line, *fields = raw.decode().split("\r\n")[:-2]
        return int(line.split()[1]), {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)
        }

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the next answer."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return status, headers, await self._reader.readexactly(int(headers["content-length"]))

    async def frame(self) -> tuple[int, bytes]:
        """Return the first byte and the payload of the server's next frame, which must not be masked."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            first, length = await self._reader.readexactly(2)
            assert length < 128, "a server's frame is not masked"
            if length == 126:
                length = int.from_bytes(await self._reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self._reader.readexactly(8), "big")
            return first, await self._reader.readexactly(length)

    async def close_code(self) -> tuple[int, str]:
        """Return code and reason of the server's close frame; it must be next, pings aside."""
        first, payload = await self.frame()
        while first == 0x89:
            first, payload = await self.frame()
        assert first == 0x88, (first, payload)
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def end(self) -> bytes:
        """Return what comes before the server ends the connection."""
        rest = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            with contextlib.suppress(ConnectionResetError):
                while data := await self._reader.read(1 << 20):
                    rest.append(data)
        return b"".join(rest)

    def reset(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()

    async def half_close(self) -> None:
        """Send no more, but read on."""
        self._writer.write_eof()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def handshake(token: str | None = None, path: str = "/v1/ws", **fields: str | None) -> bytes:
    """Return a handshake as a browser sends it. A field of None is left out; underscores stand for hyphens."""
    values: dict[str, str | None] = {
        "Host": "rooms.example",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY.decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": f"capacity.v1, bearer.{token}" if token else None,
    }
    values.update({name.replace("_", "-"): value for name, value in fields.items()})
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in values.items() if value is not None)]
    return "\r\n".join((*lines, "", "")).encode()


def masked(first: int, payload: bytes = b"", mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """Return a client's frame; `first` is FIN, the reserved bits and the opcode."""
    length = len(payload)
    if length < 126:
        size = bytes((0x80 | length,))
    elif length < 65536:
        size = b"\xfe" + length.to_bytes(2, "big")
    else:
        size = b"\xff" + length.to_bytes(8, "big")
    return bytes((first,)) + size + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def text(message: str) -> bytes:
    """Return a whole text message."""
    return masked(0x81, message.encode())


class Served:
    """A running server."""

    def __init__(self, protocol: type[Gate], hub: RecordingHub, server: _Server, port: int) -> None:
        self.hub = hub
        self.server = server
        self.port = port
        self.stats: Stats = protocol.edge.watch.stats
        self.watch = protocol.edge.watch
        self.task: asyncio.Task[None] | None = None
        self.shut_down = False

    @property
    def connections(self) -> set[Any]:
        """What the server would wait for."""
        return self.server.server_state.connections

    async def client(self, receive_bytes: int | None = None, limit: int = 65536) -> Client:
        """Connect. `receive_bytes` makes the client's own buffer small, for clients that do not read."""
        raw = sockets.socket()
        raw.setblocking(False)
        if receive_bytes:
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        return Client(*await asyncio.open_connection(sock=raw, limit=limit))

    async def join(self, participant: str, **options: Any) -> tuple[Client, RecordingConnection]:
        """Connect a participant through a whole handshake."""
        client = await self.client(**options)
        try:
            await client.send(handshake(f"good-{participant}"))
            status, _ = await client.head()
            assert status == 101
            return client, await self.hub.connection(participant)
        except BaseException:
            client.reset()
            raise

    async def stop(self) -> None:
        """As SIGTERM does."""
        self.server.should_exit = True
        self.server.ending.set()
        assert self.task
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals belong to pytest."""
        yield

    async def main_loop(self) -> None:
        """As uvicorn's, which looks every 0.1 s whether it should end."""
        await self.on_tick(0)
        await self.ending.wait()


async def _hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def _echo(request: Request) -> Response:
    try:
        return Response(await request.body())
    except ClientDisconnect:
        return Response(status_code=499)


async def _big(_: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield bytes(65536)

    return StreamingResponse(pieces())


async def _slow(_: Request) -> Response:
    await asyncio.sleep(0.25)
    return PlainTextResponse("slow")


@contextlib.asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Served]:
    """Run a server; the options are `protocol_class`'s."""
    hub = RecordingHub()
    protocol = protocol_class(**{"hub": hub, "verify": verify, **options})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        served.shut_down = True

    app = Starlette(
        routes=[
            Route("/hello", _hello),
            Route("/echo", _echo, methods=["POST"]),
            Route("/big", _big),
            Route("/slow", _slow),
        ],
        lifespan=lifespan,
    )
    listener = sockets.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=protocol, ws="none", proxy_headers=False, log_config=None, lifespan="on")
    served = Served(protocol, hub, _Server(config), listener.getsockname()[1])
    served.task = asyncio.create_task(served.server.serve(sockets=[listener]))
    try:
        await wait_until(lambda: served.server.started, what="the server started")
        yield served
    finally:
        if not served.task.done():
            await served.stop()
        listener.close()


@pytest.fixture(scope="module")
async def edge() -> AsyncIterator[Served]:
    """A server with the contract's defaults, shared by the tests of a module."""
    async with serving() as served:
        yield served
