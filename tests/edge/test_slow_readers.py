"""Clients that do not read: cut at a bounded buffer, told to the hub once, and never at the others' expense."""

from __future__ import annotations

import asyncio

import pytest

from capacity import errors
from capacity.web.websocket import WRITE_BUFFER_BYTES_MAX
from tests.edge.conftest import Client, RecordingConnection, Served, masked, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

FRAME = b"\x82\x7e\x40\x00" + bytes(0x4000)


async def stall(served: Served, participant: str) -> tuple[Client, RecordingConnection]:
    """Join with a client that does not read, and write until something is left in our own buffer."""
    client, connection = await served.join(participant, receive_bytes=4096, limit=512)
    transport = connection.socket._transport
    for _ in range(4000):
        connection.socket.send(FRAME)
        if transport.get_write_buffer_size() > 2 * len(FRAME):
            break
        await asyncio.sleep(0)
    assert 0 < transport.get_write_buffer_size() < WRITE_BUFFER_BYTES_MAX
    return client, connection


async def test_a_slow_reader_is_cut_and_the_hub_told_afterwards(edge: Served) -> None:
    client, connection = await stall(edge, "slow")
    other, others = await edge.join("other")
    async with client, other:
        before = edge.stats.slow
        socket = connection.socket
        assert WRITE_BUFFER_BYTES_MAX == 256 * 1024
        while socket._transport.get_write_buffer_size() < WRITE_BUFFER_BYTES_MAX - 2 * len(FRAME):
            socket.send(FRAME)
        assert edge.stats.slow == before, "a moment's slowness is forgiven"
        while edge.stats.slow == before:
            assert socket._transport.get_write_buffer_size() <= WRITE_BUFFER_BYTES_MAX
            socket.send(FRAME)
        assert connection.lost_count == 0, "not from within the hub's own send"
        socket.send(FRAME)
        socket.close(errors.LEFT)
        others.socket.send(b"\x81\x02{}")
        assert await other.frame() == (0x81, b"{}")
        await wait_until(lambda: connection.lost_count == 1)
        assert socket not in edge.connections
        assert edge.stats.slow == before + 1
    await wait_until(lambda: others.lost_count == 1)
    assert connection.lost_count == 1


async def test_a_stalled_reader_is_freed_by_the_pings() -> None:
    async with serving(ping_seconds=0.1) as served:
        client, connection = await stall(served, "stalled")
        async with client:
            await wait_until(lambda: connection.lost_count == 1)
            assert served.stats.silent == 1
            assert not served.connections


async def test_a_stalled_reader_that_is_closed_is_freed_by_the_deadline() -> None:
    async with serving(closing_seconds=0.2) as served:
        client, connection = await stall(served, "stalled")
        async with client:
            connection.socket.close(errors.ENDED)
            assert connection.lost_count == 0
            await wait_until(lambda: connection.lost_count == 1)
            assert not served.connections


async def test_a_stalled_reader_that_says_goodbye_is_freed_by_the_deadline() -> None:
    async with serving(closing_seconds=0.2) as served:
        client, connection = await stall(served, "stalled")
        async with client:
            await client.send(masked(0x88, b"\x03\xe8"))
            await wait_until(lambda: connection.lost_count == 1)
            await wait_until(lambda: not served.connections)
        assert connection.lost_count == 1


async def test_a_ping_flood_without_reading_is_cut() -> None:
    async with serving(closing_seconds=0.2) as served:
        client, connection = await served.join("flooder", receive_bytes=4096, limit=512)

        async def flood() -> None:
            try:
                for _ in range(500):
                    await client.send(masked(0x89, b"p" * 125) * 1000)
            except OSError:
                pass

        flooding = asyncio.create_task(flood())
        async with client:
            await wait_until(lambda: connection.lost_count == 1)
            await wait_until(lambda: not served.connections)
            await asyncio.wait([flooding])
        assert connection.lost_count == 1


async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    async with serving(flush_seconds=0.3) as served:
        async with await served.client(receive_bytes=4096, limit=512) as client:
            await client.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            await wait_until(lambda: len(served.watch.flushes) == 1)
            await wait_until(lambda: not served.connections)
            await wait_until(lambda: not served.server.server_state.tasks)
        async with await served.client() as client:
            await client.send(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert (await client.head())[0] == 200
            read = 0
            while data := await client._reader.read(65536):
                read += len(data)
                await asyncio.sleep(0.003)
            assert read > 200 * 65536, "whoever reads gets all of it, however long it takes"
        await wait_until(lambda: not (served.connections or len(served.watch.flushes)))
