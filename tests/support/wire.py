"""HTTP as bytes, for requests that no client library would send, and the rules for every answer."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import httpx

from capacity.web.problems import STATUS

ANSWER_SECONDS = 20.0


async def exchange(address: str, request: bytes) -> bytes:
    """Send bytes as they are, and return the first answer whole.

    The request should not ask for the end of the connection: a server that answers before it has read a long body would
    then reset it, and the answer may be lost on its way.
    """
    parts = urlsplit(address)
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = response(head).headers.get("content-length", "0")
            return head + (b"" if request.startswith(b"HEAD ") else await reader.readexactly(int(length)))
        finally:
            writer.transport.abort()


def response(raw: bytes) -> httpx.Response:
    """Return an answer that came as bytes."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return httpx.Response(int(first.split(" ", 2)[1]), headers=headers, content=body)


def check(raw: bytes) -> None:
    """Hold an answer as it came over the wire to the rules for answers."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    assert status < 500, head
    if b"Invalid HTTP request received" in body:
        assert status == 400, "said by the server before the routes are asked"
    elif status >= 400:
        assert b"application/problem+json" in head
        if body:
            assert STATUS[json.loads(body)["code"]] == status
