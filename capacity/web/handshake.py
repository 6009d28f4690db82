"""The opening handshake (RFC 6455, section 4.2), as a function from a request's header to an offer or a refusal.

Nothing is decided here that needs the connection, the clock or a key: who may connect is decided in `edge`.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from hashlib import sha1
from typing import Final, NamedTuple

import httptools

from capacity.web.origins import split_authority
from capacity.web.refusals import ONLY_GET, UPGRADE_REQUIRED, WEBSOCKET_VERSION, Refusal, malformed

SOCKET_PATH: Final = b"/v1/ws"
SUBPROTOCOL: Final = b"capacity.v1"
TOKEN_PROTOCOL: Final = b"bearer."
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = WEBSOCKET_VERSION.encode()
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)

NO_HOST: Final = malformed("A request must have one Host header (RFC 9112, section 3.2).")
NO_BODY: Final = malformed("A WebSocket handshake has no body.")
NOT_HTTP_1_1: Final = malformed("A WebSocket handshake is made with HTTP/1.1.")
BAD_KEY: Final = malformed("Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455, section 4.1).")


class Head:
    """A request's line and header. `fields` has lower-case names; several of one name are joined by commas."""

    __slots__ = ("complete", "fields", "method", "upgrade", "url", "version")

    def __init__(self) -> None:
        self.url = b""
        self.fields: dict[bytes, bytes] = {}
        self.method = b"GET"
        self.version = "1.1"
        self.upgrade = False
        self.complete = False

    # Called by httptools, which looks them up by name.

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.add(name.lower(), value)

    def on_headers_complete(self) -> None:
        self.complete = True

    def add(self, name: bytes, value: bytes) -> None:
        """Add a field, its name in lower case."""
        fields = self.fields
        if name in fields:
            fields[name] += b"," + value
        else:
            fields[name] = value

    def is_for_socket(self) -> bool:
        """Whether the path is the socket's; the query does not matter."""
        url = self.url
        return url.startswith(SOCKET_PATH) and (len(url) == len(SOCKET_PATH) or url[len(SOCKET_PATH)] in b"?#")


class Offer(NamedTuple):
    """A handshake that is sound. `token` is None if there is none; `accepted` is the 101 to answer with."""

    token: str | None
    host: bytes
    origin: bytes | None
    accepted: bytes


def read(data: bytes) -> Head | None:
    """Return the header of an upgrade request that is `data`, whole and alone; None for everything else."""
    head = Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        if head.complete and upgrade.args[0] == len(data):
            head.method = parser.get_method()
            head.version = parser.get_http_version()
            head.upgrade = True
            return head
    except httptools.HttpParserError:
        pass
    return None


def examine(head: Head) -> Offer | Refusal:
    """Return what the request for the socket's path offers, or why it is refused."""
    fields = head.fields
    if head.method != b"GET":
        return ONLY_GET
    if head.version != "1.1":
        return NOT_HTTP_1_1
    if not (
        head.upgrade and _has(fields.get(b"upgrade"), b"websocket") and _has(fields.get(b"connection"), b"upgrade")
    ):
        return UPGRADE_REQUIRED
    if fields.get(b"content-length", b"0").strip() != b"0" or b"transfer-encoding" in fields:
        return NO_BODY
    host = fields.get(b"host", b"")
    if not split_authority(host.decode("latin-1"))[0]:
        return NO_HOST
    if fields.get(b"sec-websocket-version", b"").strip() != _VERSION:
        return UPGRADE_REQUIRED
    key = fields.get(b"sec-websocket-key", b"").strip()
    try:
        if len(key) != 24 or len(binascii.a2b_base64(key, strict_mode=True)) != 16:
            return BAD_KEY
    except ValueError:
        return BAD_KEY
    token, subprotocol = _protocols(fields.get(b"sec-websocket-protocol"))
    if token is None:
        token = _bearer(fields.get(b"authorization"))
    accept = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    chosen = b"\r\nSec-WebSocket-Protocol: " + SUBPROTOCOL + b"\r\n\r\n" if subprotocol else b"\r\n\r\n"
    return Offer(token, host, fields.get(b"origin"), _SWITCHING + accept + chosen)


def _has(value: bytes | None, token: bytes) -> bool:
    """Whether a comma-separated field has the token, in any case."""
    if value is None:
        return False
    value = value.lower()
    return value == token or any(item.strip() == token for item in value.split(b","))


def _protocols(value: bytes | None) -> tuple[str | None, bool]:
    """Return the token among the offered subprotocols, and whether ours is among them."""
    token, ours = None, False
    if value is not None:
        for item in value.split(b","):
            item = item.strip()
            if item == SUBPROTOCOL:
                ours = True
            elif token is None and item.startswith(TOKEN_PROTOCOL):
                token = item[len(TOKEN_PROTOCOL) :].decode("latin-1")
    return token, ours


def _bearer(value: bytes | None) -> str | None:
    """Return the token of `Authorization: Bearer <token>`; another scheme, such as a proxy's own, is none of ours."""
    if value is None or value[:7].lower() != b"bearer ":
        return None
    return value[7:].strip().decode("latin-1")
