"""What the edge itself answers over HTTP, and how it takes leave: RFC 9457 problems, written whole, then the end.

A server that closes while the client is still sending makes the kernel discard the answer (RFC 9112, section 9.6). So
the refused client is heard out, without listening, until it goes or the closing deadline does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from capacity.errors import ErrorCode
from capacity.protocol.answers import Problem
from capacity.web.problems import MEDIA_TYPE, TYPE_PREFIX
from capacity.web.watch import Watch

WEBSOCKET_VERSION: Final = "13"
HEAD_BYTES_MAX: Final = 16_384
BUSY_SECONDS: Final = 5
TOO_MANY_CONNECTIONS: Final = "too_many_connections"
"""What the metrics call a connection that is cut before a byte of it is read."""


class Refusal(NamedTuple):
    """An answer of the edge. `reason` is the problem's `code`; the metrics count `cause`, where a code has several."""

    status: int
    reason: str
    title: str
    detail: str
    headers: Mapping[str, str] = MappingProxyType({})
    cause: str = ""

    @property
    def counted(self) -> str:
        """What the metrics call it."""
        return self.cause or self.reason

    def response(self, *, body: bool = True) -> bytes:
        """Return the whole answer; the connection ends with it. `body` False: to HEAD."""
        phrase = HTTPStatus(self.status).phrase
        content = msgspec.json.encode(
            Problem(TYPE_PREFIX + self.reason, self.title, self.status, self.detail, self.reason)
        )
        lines = [
            f"HTTP/1.1 {self.status} {phrase}",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(content)}",
            "cache-control: no-store",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        if "connection" not in self.headers:
            lines.append("connection: close")
        return "\r\n".join((*lines, "", "")).encode() + (content if body else b"")


def _coded(
    status: int, code: ErrorCode, detail: str, headers: Mapping[str, str] | None = None, cause: str = ""
) -> Refusal:
    return Refusal(status, code.value, code.message, detail, headers or {}, cause)


def malformed(detail: str) -> Refusal:
    """400, for what is not the HTTP or the handshake that the standards describe."""
    return _coded(400, ErrorCode.MALFORMED, detail)


def flooded(wait_seconds: float) -> Refusal:
    """503: the address has failed too many handshakes."""
    seconds = max(1, -int(-wait_seconds // 1))
    detail = "Too many failed handshakes from this address; try again after the time in Retry-After."
    return _coded(503, ErrorCode.OVERLOADED, detail, {"retry-after": str(seconds)})


def _busy(cause: str, detail: str) -> Refusal:
    """503: not now, whoever asks."""
    headers = {"retry-after": str(BUSY_SECONDS)}
    return _coded(503, ErrorCode.OVERLOADED, f"{detail}; try again after the time in Retry-After.", headers, cause)


TOO_MANY_SOCKETS = _busy("too_many_sockets", "This process has as many connections as it can hold")
HUB_OVERLOADED = _busy("hub_overloaded", "More people come at the moment than can be let in")
UNREADABLE = malformed("The request is not valid HTTP/1.1.")
FOREIGN_ORIGIN = _coded(
    403, ErrorCode.FOREIGN_ORIGIN, "The page's origin is neither the server's own nor an allowed one."
)
NO_UPGRADE_HERE = _coded(404, ErrorCode.NOT_FOUND, "The WebSocket is at /v1/ws.")
NO_SOCKET_HERE = _coded(
    404, ErrorCode.NOT_FOUND, "This port has metrics and health alone; the WebSocket is on the public one."
)
ONLY_GET = _coded(405, ErrorCode.METHOD_NOT_ALLOWED, "The WebSocket takes GET alone.", {"allow": "GET"})
HEAD_TOO_LATE = _coded(408, ErrorCode.REQUEST_TIMEOUT, "The request's header was not complete in time.")
BODY_TOO_LATE = _coded(408, ErrorCode.REQUEST_TIMEOUT, "The request's body was not complete in time.")
UPGRADE_REQUIRED = _coded(
    426,
    ErrorCode.UPGRADE_REQUIRED,
    "Send Connection: Upgrade, Upgrade: websocket and Sec-WebSocket-Version: 13; a proxy in between must pass them on.",
    {"upgrade": "websocket", "connection": "upgrade, close", "sec-websocket-version": WEBSOCKET_VERSION},
)
HEAD_TOO_LARGE = _coded(431, ErrorCode.HEADER_TOO_LARGE, f"It may have {HEAD_BYTES_MAX} bytes.")


class Parting(asyncio.Protocol):
    """A connection that got its last answer. Whatever still comes is thrown away."""

    __slots__ = ("_connections", "_transport", "_watch")

    def __init__(self, transport: asyncio.Transport, connections: set[Any], watch: Watch, answer: bytes) -> None:
        """Takes the connection over, writes the answer and ends it."""
        self._transport = transport
        self._connections = connections
        self._watch = watch
        connections.add(self)
        watch.forget(transport)
        watch.closings.add(transport)
        transport.set_protocol(self)
        transport.write(answer)
        if transport.can_write_eof() and not transport.is_closing():
            transport.resume_reading()
            transport.write_eof()
        else:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._watch.forget(self._transport)

    def shutdown(self) -> None:
        """The server stops: nothing to do, the closing deadline runs already."""

    def head_expired(self) -> None:
        """Nothing is awaited any more."""

    body_expired = head_expired
