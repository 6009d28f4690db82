"""The server stops: everybody is told, and no client, stalled or hostile, holds it up."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from capacity import errors
from tests.edge.conftest import Served, handshake, masked, serving
from tests.edge.test_slow_readers import stall
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio


async def test_nobody_holds_up_the_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(closing_seconds=1.0) as served:
        innocents = [await served.join(f"innocent-{i}") for i in range(3)]
        stalled, _ = await stall(served, "stalled")
        hostile, hostiles = await stall(served, "hostile")
        await hostile.send(masked(0x88, b"\x03\xe8"))
        await wait_until(lambda: hostiles.lost_count == 1)
        closing, closings = await served.join("closing")
        closings.socket.close(errors.ENDED)
        mute, mutes = await served.join("mute")
        unborn, half, idle, refused = [await served.client() for _ in range(4)]
        await half.send(handshake("good-half")[:40])
        await idle.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await idle.answer())[0] == 200
        await refused.send(b"nonsense\r\n\r\n")
        assert (await refused.answer())[0] == 400
        bodiless = await served.client()
        await bodiless.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        unread = await served.client(receive_bytes=4096, limit=512)
        await unread.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_until(lambda: len(served.watch.flushes) == 1)
        assert len(served.connections) == 13

        begun = time.monotonic()
        stopping = asyncio.create_task(served.stop())
        for client, connection in innocents:
            assert await client.close_code() == (1012, "restarting")
            await client.send(masked(0x88, b"\x03\xf4"))
            assert await client.end() == b""
            await wait_until(lambda connection=connection: connection.lost_count == 1)  # type: ignore[misc]
        assert time.monotonic() - begun < 1.0, "they do not wait for the others"
        await stopping
        assert time.monotonic() - begun < 3.0
        assert served.shut_down, "the lifespan came to its end"
        assert not served.connections
        assert mutes.lost_count == closings.lost_count == hostiles.lost_count == 1
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.text
        clients = [stalled, hostile, closing, mute, unborn, half, idle, refused, bodiless, unread]
        for client in (*clients, *(client for client, _ in innocents)):
            client.reset()


async def test_an_answer_in_the_making_is_made() -> None:
    async with serving() as served, await served.client() as client:
        await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_until(lambda: served.server.server_state.tasks)
        stopping = asyncio.create_task(served.stop())
        status, headers, body = await client.answer()
        assert (status, headers["connection"], body) == (200, "close", b"slow")
        await stopping


async def test_requests_that_wait_behind_another_leave_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(closing_seconds=0.1) as served, await served.client() as client:
        await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
        await wait_until(lambda: len(served.watch.bodies) == 1)
        await served.stop()
        assert await client.end() == b""
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.text


async def test_shutdown_may_come_twice_and_in_any_state(edge: Served) -> None:
    client, connection = await edge.join("ann")
    async with client:
        connection.socket.shutdown()
        connection.socket.shutdown()
        assert await client.close_code() == (1012, "restarting")
        await client.send(masked(0x88, b"\x03\xf4"))
        assert await client.end() == b""
    await wait_until(lambda: connection.lost_count == 1)
    connection.socket.shutdown()
    assert connection.lost_count == 1
