"""HTTP/1.1 for everything that is not the socket: uvicorn's protocol, with the deadlines and limits that it lacks.

uvicorn 0.54 takes a header of any size and waits for its end for ever, answers an unknown upgrade with silence, waits
for ever for a client that does not read, and logs the query string. All of that is closed here; the rest is uvicorn's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from capacity.web.handshake import Head
from capacity.web.refusals import (
    BODY_TOO_LATE,
    HEAD_BYTES_MAX,
    HEAD_TOO_LARGE,
    HEAD_TOO_LATE,
    NO_UPGRADE_HERE,
    UNREADABLE,
    Parting,
    Refusal,
)

if TYPE_CHECKING:
    from capacity.web.edge import Door

PIPELINED_MAX: Final = 100
"""Requests that may wait behind the one that is being answered; a client that sends more at once is not served further."""


class PlainHttp(HttpToolsProtocol):
    """A connection that speaks HTTP. Any request may turn out to be for the socket; then the edge takes over.

    `cycle` is the newest request, `_running` the one being answered; others may wait between them. `_deaf`: what
    comes is thrown away, because the connection ends with the answer that is being made.
    """

    def __init__(
        self,
        edge: Door,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_logger = cast(logging.Logger, _PathLog(self.access_logger))
        self._edge = edge
        self._watch = edge.watch
        self._running: RequestResponseCycle | None = None
        self._head_awaited = True
        self._head_bytes = 0
        self._socket_head: Head | None = None
        self._refusal: Refusal | None = None
        self._unwanted_upgrade = False
        self._refused_to_head = False
        self._deaf = False
        self._leaving = False

    # ---- what the event loop tells

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.forget(self.transport)
        if self._running is not None:
            # uvicorn tells the newest request alone, and an older one then writes to what is closed.
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch.flushes.add(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._watch.flushes.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data and not self._deaf:
            room = HEAD_BYTES_MAX
            if self._head_awaited:
                # Begun by the first byte of a request, whatever it is, and not moved by those that follow.
                self._watch.heads.add(self.transport)
                room -= self._head_bytes
                self._head_bytes += min(room, len(data))
            piece, data = data[:room], data[room:]
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                self._upgrade_asked(piece[upgrade.args[0] :] + data)
                return
            except httptools.HttpParserError:
                self._refuse(UNREADABLE)
                return
            if self._refusal is not None:
                self._refuse(self._refusal)
                return
            if self._head_awaited and self._head_bytes >= HEAD_BYTES_MAX:
                self._refuse(HEAD_TOO_LARGE)
                return
            if len(self.pipeline) > PIPELINED_MAX and self._running is not None:
                self._end_after_answer(self._running)

    # ---- what the parser tells

    def on_headers_complete(self) -> None:
        self._head_awaited = False
        if self._refusal is not None:
            return
        self._watch.heads.discard(self.transport)
        upgrade = self.parser.should_upgrade()
        method = self.parser.get_method()
        head = Head()
        head.url = self.url
        if head.is_for_socket() or b"://" in self.url or upgrade:
            head.method, head.version, head.upgrade = method, self.parser.get_http_version(), upgrade
            for name, value in self.headers:
                head.add(name, value)
            head.url = httptools.parse_url(self.url).path or b"/" if method != b"CONNECT" else self.url
            if head.is_for_socket() and method != b"OPTIONS":
                self._socket_head = head
            elif upgrade and (method == b"CONNECT" or b"websocket" in head.fields.get(b"upgrade", b"").lower()):
                self._refusal = NO_UPGRADE_HERE
            elif upgrade:
                self._unwanted_upgrade = True
        if self._socket_head is not None and not upgrade:
            self._refusal = self._edge.refusal(self._socket_head)
        self._refused_to_head = self._refusal is not None and method == b"HEAD"
        if not self._apart():
            self._watch.bodies.add(self.transport)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._apart():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_awaited = True
        self._head_bytes = 0
        self._watch.bodies.discard(self.transport)
        if not self._apart():
            super().on_message_complete()

    def _apart(self) -> bool:
        """Whether the request that is being parsed has no cycle of its own."""
        return self._socket_head is not None or self._refusal is not None or self._unwanted_upgrade

    def _should_upgrade(self) -> bool:
        return False

    # ---- upgrades

    def _upgrade_asked(self, rest: bytes) -> None:
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._running is not None and not self._running.response_complete:
            self._end_after_answer(self._running)
        elif self._unwanted_upgrade:
            self._ignore_upgrade(rest)
        elif self._socket_head is not None:
            self.connections.discard(self)
            self._watch.forget(self.transport)
            self._edge.receive_handshake(self.transport, self.connections, self._socket_head, rest)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the request again as if it asked for no upgrade, as a server may (RFC 9110, section 7.8).

        Java's HttpClient asks for `h2c` with every first request. The parser takes what follows for the other protocol,
        the request's body included, so it gets the header a second time without the fields that made it do so.
        """
        self._unwanted_upgrade = False
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [
            name + b": " + value
            for name, value in self.headers
            if name not in (b"upgrade", b"connection", b"http2-settings")
        ]
        self.parser = httptools.HttpRequestParser(self)
        self._head_awaited = True
        self._head_bytes = 0
        self.data_received(b"\r\n".join((*lines, b"", b"")) + rest)

    # ---- refusals and ends

    def head_expired(self) -> None:
        """The header is not complete in time. Without a byte of it the connection just ends: nobody asked anything."""
        if self.pipeline:
            # We do not read on while requests wait for their turn; the client may have sent it all.
            self._watch.heads.add(self.transport)
        elif self._head_bytes or self._answering():
            self._refuse(HEAD_TOO_LATE)
        else:
            self.transport.abort()

    def body_expired(self) -> None:
        """The body is not complete in time."""
        if self.flow.read_paused:
            self._watch.bodies.add(self.transport)
        elif self._answering():
            self._refuse(BODY_TOO_LATE)
        else:
            self.transport.abort()  # answered long ago

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            (self._watch.closings if self._leaving else self._watch.flushes).add(self.transport)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch.flushes.add(self.transport)

    def shutdown(self) -> None:
        """The server stops: an answer that is being made is made, but nobody waits for a client."""
        self._leaving = True
        super().shutdown()
        if self.transport.is_closing() or self.flow.write_paused or self.cycle.more_body:
            self._watch.closings.add(self.transport)

    def _answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _end_after_answer(self, running: RequestResponseCycle) -> None:
        """Let the answer in the making be the last; what follows is not read."""
        self._deaf = True
        self.pipeline.clear()
        running.keep_alive = False

    def _refuse(self, refusal: Refusal) -> None:
        self._watch.stats.refuse(refusal.counted)
        running = self._running
        if running is not None and not running.response_complete:
            if running is not self.cycle or not running.more_body:
                # The refused request comes behind one that is whole and gets its answer.
                self._end_after_answer(running)
                return
            if running.response_started:
                self._deaf = True
                self.transport.abort()
                return
            running.disconnected = True
            running.message_event.set()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        Parting(self.transport, self.connections, self._watch, refusal.response(body=not self._refused_to_head))


class _PathLog:
    """The access log without query strings, where a token may stand that somebody put there."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def info(self, message: str, client: str, method: str, path: str, *rest: object) -> None:
        self._logger.info(message, client, method, path.partition("?")[0], *rest)
