"""Deadlines: a connection that gets nowhere is answered and ended, whatever it sends meanwhile. Pings, too."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

import pytest

from capacity import errors
from capacity.web.edge import protocol_class
from capacity.web.watch import Beat, Deadlines
from tests.edge.conftest import Client, handshake, masked, serving
from tests.support.waiting import wait_until

HEAD = b"GET /hello HTTP/1.1\r\nHost: rooms.example\r\nX-Slow: "


def test_the_defaults_are_the_contracts() -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(protocol_class).parameters.items()
        if name.endswith("_seconds")
    }
    assert (defaults["head_seconds"], defaults["ping_seconds"]) == (5.0, 25.0)
    assert 1 <= defaults["closing_seconds"] <= 5


class FakeLoop:
    """A loop whose time the test turns. `timers`: when, and what."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Any, tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Any, *args: Any) -> object:
        self.timers.append((self.now + delay, callback, args))
        return object()

    def turn(self, *, late: float = 0.0) -> None:
        """Run the one timer there is, when it is due or later."""
        ((due_at, callback, args),) = self.timers
        self.timers.clear()
        self.now = due_at + late
        callback(*args)


def test_a_thousand_deadlines_take_one_timer() -> None:
    loop, expired = FakeLoop(), dict[object, float]()
    deadlines = Deadlines(5.0, lambda transport: expired.__setitem__(transport, loop.now))
    deadlines._loop = loop  # type: ignore[assignment]
    begun = {}
    for i in range(1000):
        transport: Any = ("transport", i)
        begun[transport] = loop.now
        deadlines.add(transport)
        loop.now += 0.004
        deadlines.add(transport)  # does not begin it anew
        if i % 2:
            deadlines.discard(transport)
    turns = 0
    while loop.timers:
        loop.turn()
        turns += 1
    assert list(expired) == [("transport", i) for i in range(0, 1000, 2)]
    assert all(4.999 <= expired[transport] - begun[transport] <= 5.26 for transport in expired)
    assert turns <= 25
    assert len(deadlines) == 0


class FakeConnection:
    def __init__(self) -> None:
        self.beat = -1
        self.pings = 0

    def ping(self) -> None:
        self.pings += 1


def test_everyone_is_pinged_once_a_round_and_not_all_at_once() -> None:
    loop, beat = FakeLoop(), Beat(25.0)
    beat._loop = loop  # type: ignore[assignment]
    connections = [FakeConnection() for _ in range(1000)]
    for connection in connections:
        beat.add(connection)
    for connection in connections[:100]:
        beat.discard(connection)
        beat.discard(connection)
    begun, most = loop.now, 0
    while loop.now < begun + 24.99:
        before = sum(connection.pings for connection in connections)
        loop.turn()
        most = max(most, sum(connection.pings for connection in connections) - before)
    assert [connection.pings for connection in connections] == [0] * 100 + [1] * 900
    assert most <= 10
    for connection in connections[100:]:
        beat.discard(connection)
    assert len(beat) == 0
    loop.turn()
    assert not loop.timers, "nobody to ping, no timer"


def test_after_a_pause_nobody_is_judged_before_the_pongs_were_read() -> None:
    loop, beat = FakeLoop(), Beat(0.2)
    beat._loop = loop  # type: ignore[assignment]
    connection = FakeConnection()
    beat.add(connection)
    loop.turn()
    assert connection.pings == 1
    loop.turn(late=60.0)
    assert connection.pings == 1
    loop.turn(late=60.0)
    assert connection.pings == 2, "a loop that is always late still finds the dead"


# ---- on the wire


async def seconds_to_end(client: Client) -> tuple[float, bytes]:
    begun = time.monotonic()
    rest = await client.end()
    return time.monotonic() - begun, rest


@pytest.mark.anyio
async def test_without_a_byte_the_connection_just_ends() -> None:
    async with serving(head_seconds=0.3) as served, await served.client() as client:
        seconds, rest = await seconds_to_end(client)
        assert 0.2 < seconds < 2.0
        assert rest == b""
        await wait_until(lambda: not served.connections)


@pytest.mark.anyio
@pytest.mark.parametrize("start", [HEAD, handshake("good-ann")[:-2], b"GET /v1/w", b"\r\n"])
async def test_a_header_that_trickles_is_answered_and_ended(start: bytes) -> None:
    async with serving(head_seconds=0.3, closing_seconds=0.3) as served, await served.client() as client:
        await client.send(start)

        async def trickle() -> None:
            try:
                while True:
                    await client.send(b"\r\n" if start == b"\r\n" else b"a")
                    await asyncio.sleep(0.03)
            except OSError:
                pass

        trickling = asyncio.create_task(trickle())
        seconds, rest = await seconds_to_end(client)
        assert 0.2 < seconds < 2.0
        assert rest.startswith(b"HTTP/1.1 408 ")
        await wait_until(
            lambda: not served.connections, what="the trickle is not heard for longer than the closing deadline"
        )
        trickling.cancel()
        assert served.stats.refused == {"request_timeout": 1}
        assert not (len(served.watch.heads) or len(served.watch.closings))


@pytest.mark.anyio
@pytest.mark.parametrize("start", [HEAD, b"\r\n"])
async def test_a_later_request_has_the_deadline_too(start: bytes) -> None:
    async with serving(head_seconds=0.3) as served, await served.client() as client:
        for _ in range(2):
            await client.send(b"GET /hello HTTP/1.1\r\nHost: rooms.example\r\n\r\n")
            assert (await client.answer())[2] == b"hello"
            assert len(served.watch.heads) == 0
        await client.send(start)
        seconds, rest = await seconds_to_end(client)
        assert 0.2 < seconds < 2.0
        assert rest.startswith(b"HTTP/1.1 408 ")


@pytest.mark.anyio
async def test_a_body_has_a_deadline_too() -> None:
    async with serving(body_seconds=0.3) as served, await served.client() as client:
        await client.send(b"POST /echo HTTP/1.1\r\nHost: rooms.example\r\nContent-Length: 9\r\n\r\nhalf")
        seconds, rest = await seconds_to_end(client)
        assert 0.2 < seconds < 2.0
        assert rest.startswith(b"HTTP/1.1 408 ")
        assert served.stats.refused == {"request_timeout": 1}


@pytest.mark.anyio
async def test_a_slow_header_does_not_cut_the_answer_before_it() -> None:
    async with serving(head_seconds=0.1) as served, await served.client() as client:
        await client.send(b"GET /slow HTTP/1.1\r\nHost: rooms.example\r\n\r\n")
        await wait_until(lambda: served.server.server_state.tasks)
        await client.send(HEAD)
        status, headers, body = await client.answer()
        assert (status, body) == (200, b"slow")
        assert headers["connection"] == "close"
        assert await client.end() == b""


@pytest.mark.anyio
async def test_a_header_over_16_kb_is_refused_while_it_comes() -> None:
    async with serving(closing_seconds=0.5) as served:
        for request in (
            handshake("good-ann", X_Padding="x" * 17_000),
            b"GET /hello HTTP/1.1\r\nHost: a\r\n" + b"X-Padding: y\r\n" * 2000 + b"\r\n",
            b"GET /" + b"z" * 1_000_000,
        ):
            async with await served.client() as client:
                await client.send(request)  # not reset while we send
                status, headers, body = await client.answer()
                assert (status, headers["connection"]) == (431, "close")
                assert b'"header_too_large"' in body
                assert await client.end() == b""
                for _ in range(5):
                    await client.send(b"z" * 1000)  # still heard out: a reset could overtake the answer
                    await asyncio.sleep(0.01)
        async with await served.client() as client:
            await client.send(b"GET /")
            with pytest.raises(OSError):
                while True:  # not heard out for ever, either
                    await client.send(b"z" * 100_000)
        assert served.stats.refused == {"header_too_large": 4}
        assert not served.hub.connections
        await wait_until(lambda: not served.connections)


@pytest.mark.anyio
async def test_a_long_request_line_and_many_fields_within_16_kb_are_fine() -> None:
    async with serving() as served:
        for i, request in enumerate(
            (
                handshake("good-0", path="/v1/ws?" + "q" * 9000),
                handshake("good-1").replace(b"Upgrade: w", b"X-A: b\r\n" * 500 + b"Upgrade: w"),
            )
        ):
            async with await served.client() as client:
                await client.send(request)
                assert (await client.head())[0] == 101
                await served.hub.connection(str(i))


@pytest.mark.anyio
async def test_two_unanswered_pings_are_a_lost_connection_and_any_pong_is_life() -> None:
    async with serving(ping_seconds=0.15) as served:
        silent, lost = await served.join("silent")
        alive, kept = await served.join("alive")
        async with silent, alive:
            begun = time.monotonic()
            answered = 0
            while lost.lost_count == 0 or answered < 6:
                assert await alive.frame() == (0x89, b"")
                await alive.send(masked(0x8A, b"any"))
                answered += 1
                if lost.lost_count == 0:
                    assert time.monotonic() - begun < 3
            assert await silent.end() == b"\x89\x00\x89\x00"
            assert kept.lost_count == 0
            assert served.stats.silent == 1
            assert served.stats.sockets == 1
        await wait_until(lambda: kept.lost_count == 1)
        assert lost.lost_count == 1
        assert len(served.watch.beat) == 0


@pytest.mark.anyio
async def test_a_client_that_ignores_our_close_is_cut() -> None:
    async with serving(closing_seconds=0.3) as served:
        client, connection = await served.join("ann")
        async with client:
            connection.socket.close(errors.ENDED)
            assert await client.close_code() == (4410, "ended")
            seconds, _ = await seconds_to_end(client)
            assert 0.2 < seconds < 2.0
        await wait_until(lambda: connection.lost_count == 1)
