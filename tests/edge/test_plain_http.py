"""Everything that is not the socket is still plain HTTP, and no log line ever has a query string or a token in it."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
from structlog.testing import capture_logs

from capacity.web.plain_http import PIPELINED_MAX
from tests.edge.conftest import Served, handshake, serving, text
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

GET = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_an_ordinary_client_is_served(edge: Served) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{edge.port}", trust_env=False) as client:
        assert (await client.get("/hello?a=b")).text == "hello"
        assert (await client.post("/echo", content=bytes(100_000))).content == bytes(100_000)
        assert (await client.head("/hello")).status_code == 200
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.options("/v1/ws")).status_code == 404, "OPTIONS is the application's"

        async def pieces() -> object:
            for _ in range(3):
                yield b"piece"

        assert (await client.post("/echo", content=pieces())).content == b"piecepiecepiece"  # type: ignore[arg-type]
        answers = await asyncio.gather(*(client.get("/slow") for _ in range(20)))
        assert {answer.text for answer in answers} == {"slow"}


async def test_pipelined_requests_are_answered_in_order(edge: Served) -> None:
    async with await edge.client() as client:
        echo = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
        await client.send(GET + echo + b"one" + echo + b"tw")
        assert (await client.answer())[2] == b"hello"
        assert (await client.answer())[2] == b"one"
        await client.send(b"o" + GET)
        assert (await client.answer())[2] == b"two"
        assert (await client.answer())[2] == b"hello"


@pytest.mark.parametrize("slices", [1, 7, 10_000])
async def test_an_upgrade_to_http_2_is_ignored_as_javas_client_expects(edge: Served, slices: int) -> None:
    request = (
        b"POST /echo HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 7\r\nHost: a\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n\r\npayload"
    )
    async with await edge.client() as client:
        for _ in range(2):
            for i in range(0, len(request), slices):
                await client.send(request[i : i + slices])
            status, _, body = await client.answer()
            assert (status, body) == (200, b"payload")


async def test_nonsense_behind_a_request_does_not_spoil_its_answer(edge: Served) -> None:
    for nonsense in (b"nonsense\r\n\r\n", handshake("good-ann"), handshake(), b"x" * 20_000):
        async with await edge.client() as client:
            await client.send(SLOW + nonsense)
            status, _, body = await client.answer()
            assert (status, body) == (200, b"slow")
            assert await client.end() == b""
    assert not edge.hub.connections


async def test_requests_that_wait_are_not_late() -> None:
    async with serving(head_seconds=0.1) as served, await served.client() as client:
        begun = GET[:-2] + b"X: " + b"y" * 16_000
        await client.send(SLOW + GET * PIPELINED_MAX + begun)
        assert (await client.answer())[2] == b"slow"
        for _ in range(PIPELINED_MAX):
            assert (await client.answer())[2] == b"hello"


async def test_too_many_requests_at_once_are_not_kept(edge: Served) -> None:
    for request in (GET, GET[:-2] + b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\n"):
        async with await edge.client() as client:
            await client.send(SLOW + request * 5000)
            status, headers, body = await client.answer()
            assert (status, headers["connection"], body) == (200, "close", b"slow")
            assert await client.end() == b""


async def test_nonsense_in_a_body_is_refused(edge: Served) -> None:
    async with await edge.client() as client:
        await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await wait_until(lambda: edge.server.server_state.tasks)
        await client.send(b"nonsense\r\n")
        assert (await client.answer())[0] == 400
        assert await client.end() == b""
    await wait_until(lambda: not edge.server.server_state.tasks, what="the handler does not wait for ever")


async def test_nothing_secret_is_logged(edge: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        for request in (
            handshake("good-s3cret"),
            handshake("bad-s3cret"),
            handshake("broken-s3cret"),
            handshake("badid-s3cret"),
            handshake("good-s3cret2", path="/v1/ws?token=s3cret"),
            handshake(path="/v1/ws?token=s3cret"),
            handshake("good-s3cret", path="/elsewhere?token=s3cret"),
            handshake("good-s3cret", Origin="null"),
            handshake("good-s3cret", Sec_WebSocket_Version="8"),
            b"GET /hello?token=s3cret HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\nConnection: close\r\n\r\n",
            b"GET /v1/ws?s3cret HTTP/1.1\r\n\r\n",
            b"s3cret\r\n\r\n",
        ):
            async with await edge.client() as client:
                await client.send(request + text("s3cret"))
                assert (await client.head())[0] in (101, 200, 400, 403, 404, 426)
        await wait_until(lambda: not edge.connections)
    assert '"GET /hello HTTP/1.1" 200' in caplog.text, "the access log is there, without the query"
    assert "s3cret" not in caplog.text
    assert lines
    assert "s3cret" not in str(lines)
    assert "Traceback" not in caplog.text


async def test_a_client_that_goes_while_requests_wait_leaves_no_trace(
    edge: Served, caplog: pytest.LogCaptureFixture
) -> None:
    for rest in (GET, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", GET + b"nonsense\r\n\r\n"):
        async with await edge.client() as client:
            await client.send(SLOW + rest)
            await wait_until(lambda: edge.server.server_state.tasks)
            client.reset()
            await wait_until(lambda: not edge.connections)
            await wait_until(lambda: not edge.server.server_state.tasks)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.text
