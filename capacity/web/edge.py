"""The front door of a process: an `http=` class for uvicorn that takes `GET /v1/ws` itself and leaves it the rest.

A connection begins at `Gate`, which does as little as it can. A handshake that comes whole, as browsers send it, is
read at once and becomes a `WebSocket`; everything else goes to `PlainHttp`, which finds the odd handshake too. There is
one place that decides on handshakes: `Edge.receive_handshake`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from uvicorn.config import Config
from uvicorn.server import ServerState

from capacity import errors
from capacity.errors import ErrorCode, Refused
from capacity.protocol import codec
from capacity.protocol.messages import Error
from capacity.protocol.tokens import Claims
from capacity.web import limits
from capacity.web.descriptors import Shares, shares
from capacity.web.handshake import SOCKET_PATH, Head, examine, read
from capacity.web.origins import DIRECT, Network, Origins, Proxies, Route
from capacity.web.plain_http import PlainHttp
from capacity.web.refusals import (
    FOREIGN_ORIGIN,
    HEAD_BYTES_MAX,
    HUB_OVERLOADED,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_SOCKETS,
    Parting,
    Refusal,
    flooded,
    malformed,
)
from capacity.web.watch import Stats, Watch, complain
from capacity.web.websocket import Connection, WebSocket

_FAST_PREFIX = b"GET " + SOCKET_PATH
_HEAD_END = b"\r\n\r\n"

_CLOSES = {
    ErrorCode.UNAUTHORIZED: errors.UNAUTHORIZED,
    ErrorCode.TOKEN_EXPIRED: errors.TOKEN_EXPIRED,
    ErrorCode.INVALID_ID: errors.INVALID_ID,
}


class Hub(Protocol):
    """What the edge needs of the hub."""

    @property
    def overloaded(self) -> bool:
        """Whether nobody new should be let in: more have come already than were answered."""

    def connect(self, socket: WebSocket, claims: Claims) -> Connection:
        """A verified participant has connected. Answers through the socket, now or later."""


class Door(Protocol):
    """What the connections of a port need of its edge: `Edge`, or that of a port without sockets (`private_port`)."""

    watch: Watch
    connections_max: int

    def refusal(self, head: Head) -> Refusal:
        """Return the answer to a request for the socket's path that asks for no upgrade."""

    def receive_handshake(
        self, transport: asyncio.Transport, connections: set[Any], head: Head, rest: bytes = b""
    ) -> None:
        """Answer a handshake; `rest` came after the header."""


class Edge:
    """What all connections of a process share, and the decision on a handshake."""

    def __init__(
        self,
        hub: Hub,
        verify: Callable[[str], Claims],
        origins: Origins,
        proxies: Proxies,
        watch: Watch,
        descriptors: Shares,
    ) -> None:
        self.watch = watch
        self.connections_max, self.sockets_max = descriptors
        self._hub = hub
        self._verify = verify
        self._origins = origins
        self._proxies = proxies
        self._addresses = limits.Throttle(limits.HANDSHAKES)
        self._participants = limits.Window(limits.CONNECTIONS_MAX, limits.CONNECTIONS_SECONDS)
        self._loop: asyncio.AbstractEventLoop | None = None

    def refusal(self, head: Head) -> Refusal:
        """Return the answer to a request for the socket's path that asks for no upgrade."""
        verdict = examine(head)
        return verdict if isinstance(verdict, Refusal) else malformed("A WebSocket handshake must ask for an upgrade.")

    def receive_handshake(
        self, transport: asyncio.Transport, connections: set[Any], head: Head, rest: bytes = b""
    ) -> None:
        """Answer a handshake: 101 and the hub, 101 and a close code, or a refusal. `rest` came after the header.

        The token is verified before the 101: a flood of bad ones is answered 503, and only theirs. Nothing is looked at
        while nobody can be let in.
        """
        self.watch.heads.discard(transport)
        if self._hub.overloaded:
            self._part(transport, connections, HUB_OVERLOADED, head.method != b"HEAD")
            return
        if self.watch.stats.sockets >= self.sockets_max:
            self._part(transport, connections, TOO_MANY_SOCKETS, head.method != b"HEAD")
            return
        offer = examine(head)
        if isinstance(offer, Refusal):
            self._turn_away(transport, connections, head, offer)
            return
        if offer.origin is not None and not self._origins.admits(
            offer.origin, offer.host, self._route(transport, head) if self._proxies else DIRECT
        ):
            self._turn_away(transport, connections, head, FOREIGN_ORIGIN)
            return
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()  # asked for once: it costs a system call
        close, error = None, b""
        try:
            if offer.token is None:
                raise Refused(ErrorCode.UNAUTHORIZED)
            claims = self._verify(offer.token)
        except Refused as refused:
            if wait_seconds := self._take(transport, head):
                self._part(transport, connections, flooded(wait_seconds))
                return
            close = _CLOSES.get(refused.code, errors.UNAUTHORIZED)
            if close is errors.INVALID_ID:
                error = codec.frame(Error(refused.code, refused.detail))
        except Exception as exception:
            complain("verify_failed", exception)
            close = errors.OVERLOADED
        else:
            if claims.role == "service":
                close = errors.UNAUTHORIZED
            elif not self._participants.admit((claims.account, claims.room, claims.participant), loop.time()):
                close = errors.RATE_LIMITED
        socket = WebSocket(transport, connections, self.watch, loop, offer.accepted)
        if close is None:
            self._connect(socket, claims)
        else:
            self.watch.stats.refuse(close.reason)
            if error:
                socket.send(error)
            socket.close(close)
        if rest:
            socket.data_received(rest)

    def _connect(self, socket: WebSocket, claims: Claims) -> None:
        try:
            connection = self._hub.connect(socket, claims)
        except Exception as error:
            complain("connect_failed", error)
            socket.close(errors.OVERLOADED)
        else:
            self.watch.stats.accepted += 1
            socket.attach(connection)

    def _turn_away(self, transport: asyncio.Transport, connections: set[Any], head: Head, refusal: Refusal) -> None:
        """Refuse a handshake before the 101; it counts as one that failed."""
        wait_seconds = self._take(transport, head)
        self._part(transport, connections, flooded(wait_seconds) if wait_seconds else refusal, head.method != b"HEAD")

    def _part(self, transport: asyncio.Transport, connections: set[Any], refusal: Refusal, body: bool = True) -> None:
        self.watch.stats.refuse(refusal.counted)
        Parting(transport, connections, self.watch, refusal.response(body=body))

    def _take(self, transport: asyncio.Transport, head: Head) -> float:
        """Count a failed handshake of the client's address. Returns 0, or the seconds to wait after too many."""
        key = limits.address_key(self._route(transport, head).address)
        return self._addresses.take(key, asyncio.get_running_loop().time())

    def _route(self, transport: asyncio.Transport, head: Head) -> Route:
        """Return how the request came. The kernel is asked for the address only here; most handshakes do without."""
        peer = transport.get_extra_info("peername")
        return self._proxies.route(str(peer[0]) if isinstance(peer, tuple | list) else "", head.fields)


class Gate(asyncio.Protocol):
    """A new connection, until its first bytes show what it is."""

    __slots__ = ("_app_state", "_config", "_loop", "_server_state", "_transport")

    edge: ClassVar[Door]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn calls it, once a connection."""
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        if len(self._server_state.connections) >= self.edge.connections_max:
            self.edge.watch.stats.refuse(TOO_MANY_CONNECTIONS)
            transport.abort()
            return
        self._server_state.connections.add(self)  # type: ignore[arg-type]
        self.edge.watch.heads.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        self.edge.watch.forget(self._transport)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        connections: set[Any] = self._server_state.connections
        connections.discard(self)
        if data.startswith(_FAST_PREFIX) and data.endswith(_HEAD_END) and len(data) <= HEAD_BYTES_MAX:
            head = read(data)
            if head is not None and head.is_for_socket():
                self.edge.receive_handshake(transport, connections, head)
                return
        http = PlainHttp(self.edge, self._config, self._server_state, self._app_state, self._loop)
        transport.set_protocol(http)
        http.connection_made(transport)
        http.data_received(data)

    def head_expired(self) -> None:
        """Not a byte in time: browsers open connections that they may not use."""
        self._transport.abort()

    def shutdown(self) -> None:
        """The server stops."""
        self._transport.close()
        self.edge.watch.closings.add(self._transport)


def protocol_class(
    *,
    hub: Hub,
    verify: Callable[[str], Claims],
    allowed_origins: Sequence[str] = (),
    trusted_proxies: Sequence[Network] = (),
    ping_seconds: float = 25.0,
    head_seconds: float = 5.0,
    body_seconds: float = 30.0,
    flush_seconds: float = 30.0,
    closing_seconds: float = 2.0,
    files_max: int | None = None,
    stats: Stats | None = None,
) -> type[Gate]:
    """Return the class for `uvicorn.Config(http=…)`; one for each process, and its counts in `stats`.

    `head_seconds`: until a request's header is complete. `body_seconds`: until its body is. `flush_seconds`: how long
    an answer waits for a client that does not read. `closing_seconds`: from our goodbye to the end of the connection.
    `files_max`: the file descriptors to make do with; None: all that this process may have open now.
    `verify` raises Refused (`unauthorized`, `token_expired`, `invalid_id`).
    """
    watch = Watch(
        ping_seconds=ping_seconds,
        head_seconds=head_seconds,
        body_seconds=body_seconds,
        flush_seconds=flush_seconds,
        closing_seconds=closing_seconds,
        stats=stats or Stats(),
    )
    proxies = Proxies(trusted_proxies)
    edge = Edge(hub, verify, Origins(allowed_origins), proxies, watch, shares(files_max))
    return type("EdgeProtocol", (Gate,), {"__slots__": (), "edge": edge})
