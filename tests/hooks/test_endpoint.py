"""What an endpoint may answer, down to the bytes, and what is made of it: never more than a word."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from capacity.hooks import endpoint
from capacity.hooks.endpoint import Answer, Endpoint, new_session, shown
from tests.hooks.platform import SECRET
from tests.support.certificates import certificates
from tests.support.servers import free_port

pytestmark = pytest.mark.anyio
OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def answering(raw: bytes, *, stay: bool = False, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answer everybody with these bytes, and then hang up, or `stay` silent; yields the port."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(raw)
        if stay:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    yield server.sockets[0].getsockname()[1]
    over.set()
    server.close()
    await server.wait_closed()


async def post(url: str) -> Answer:
    async with new_session() as session:
        return await Endpoint(url, [SECRET]).post(session, "msg_1", b"{}", int(time.time()))


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (OK + b"Content-Length: 0\r\n\r\n", Answer("delivered")),
        (OK + b"Content-Length: 100\r\n\r\ncut", Answer("delivered")),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nnonsense", Answer("failed", "no_answer")),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz", Answer("delivered")),
        (b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n", Answer("failed", "418")),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", Answer("failed", "302")),
        (b"", Answer("failed", "no_answer")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Answer("failed", "no_answer")),
        (OK + b"x: " + b"y" * 100_000 + b"\r\n\r\n", Answer("failed", "no_answer")),
    ],
)
async def test_any_bytes_are_an_answer(raw: bytes, answer: Answer) -> None:
    async with answering(raw) as port:
        assert await post(f"http://127.0.0.1:{port}/hooks") == answer


@pytest.mark.parametrize(
    ("raw", "answer"),
    [(b"", Answer("failed", "timeout")), (OK + b"Content-Length: 9\r\n\r\n", Answer("delivered"))],
    ids=["nothing", "a body that never comes"],
)
async def test_nobody_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch, raw: bytes, answer: Answer) -> None:
    monkeypatch.setattr(endpoint, "TIMEOUT_SECONDS", 0.2)
    async with answering(raw, stay=True) as port:
        assert await post(f"http://127.0.0.1:{port}/") == answer


async def test_nobody_there_and_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    assert await post(f"http://127.0.0.1:{free_port()}/") == Answer("failed", "not_connected")
    made = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    async with answering(OK + b"Content-Length: 0\r\n\r\n", tls=context) as port:
        assert await post(f"https://127.0.0.1:{port}/") == Answer("failed", "tls")
    async with answering(b"no TLS at all") as port:
        assert (await post(f"https://127.0.0.1:{port}/")).outcome == "failed"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:p@h.example:8443/a?b=c", "https://h.example:8443"),
        ("http://[::1]:80/x", "http://[::1]:80"),
        ("https://h.example", "https://h.example"),
    ],
)
def test_what_is_shown_of_an_address(url: str, expected: str) -> None:
    assert shown(url) == expected
