"""When there is no room for more: nobody new is let in, who is in stays, and all is well again by itself."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from capacity.protocol.tokens import Claims
from capacity.web.descriptors import Shares, shares
from tests.edge.conftest import Client, Served, handshake, serving, text, verify
from tests.support.waiting import wait_until

FILES_MAX = 144
CONNECTIONS_MAX, SOCKETS_MAX = shares(FILES_MAX)


@pytest.mark.parametrize(
    ("files_max", "connections_max", "sockets_max"),
    [
        (64, 32, 16),
        (256, 160, 128),
        (1024, 928, 800),
        (4096, 4000, 3488),
        (65_536, 65_440, 64_416),
        (1_048_576, 1_048_480, 1_047_456),
    ],
)
def test_how_descriptors_are_shared_out(files_max: int, connections_max: int, sockets_max: int) -> None:
    assert shares(files_max) == Shares(connections_max, sockets_max)


def test_the_limit_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = sys.modules["resource"]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 8192))
    assert shares() == shares(4096)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert shares().sockets_max == sys.maxsize


class Verifier:
    """Counts the tokens that are looked at."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, token: str) -> Claims:
        self.asked += 1
        return verify(token)


async def refused(served: Served, request: bytes) -> dict[str, str]:
    """Send a handshake, and return the headers of the 503 that it gets."""
    async with await served.client() as client:
        await client.send(request)
        status, headers, body = await client.answer()
        assert (status, json.loads(body)["code"]) == (503, "overloaded")
        assert await client.end() == b""
        return headers


async def hello(served: Served) -> bytes:
    async with await served.client() as client:
        await client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        return (await client.answer())[2]


@pytest.mark.anyio
async def test_an_overloaded_hub_gets_nobody_new_and_no_token_is_looked_at() -> None:
    verifier = Verifier()
    async with serving(verify=verifier) as served:
        client, connection = await served.join("ann")
        async with client:
            served.hub.overloaded = True
            slow_way = handshake("good-bob", path="http://rooms.example/v1/ws")
            requests = [handshake("good-bob"), handshake("bad"), handshake(), handshake(Host=None), slow_way]
            for request in requests:
                assert (await refused(served, request))["retry-after"] == "5"
            assert verifier.asked == 1, "Ann's, before"
            assert served.stats.refused == {"hub_overloaded": len(requests)}
            assert await hello(served) == b"hello"
            await client.send(text('{"type":"claim"}'))
            await wait_until(lambda: connection.received)
            served.hub.overloaded = False
            other, _ = await served.join("bob")
            other.reset()


@pytest.mark.anyio
async def test_no_more_websockets_than_descriptors_leave_room_for() -> None:
    verifier = Verifier()
    async with serving(verify=verifier, files_max=FILES_MAX) as served:
        joined = [await served.join(f"p{number}") for number in range(SOCKETS_MAX)]
        for _ in range(3):
            assert (await refused(served, handshake("good-late")))["retry-after"] == "5"
        assert verifier.asked == SOCKETS_MAX
        assert served.stats.refused == {"too_many_sockets": 3}
        assert await hello(served) == b"hello"
        assert all(connection.lost_count == 0 for _, connection in joined)
        joined.pop()[0].reset()
        await wait_until(lambda: served.stats.sockets < SOCKETS_MAX)
        joined.append(await served.join("late"))
        for client, _ in joined:
            client.reset()


@pytest.mark.anyio
async def test_more_connections_than_that_are_cut_before_a_byte_is_read() -> None:
    async with serving(files_max=FILES_MAX) as served:
        kept, connection = await served.join("ann")
        idle = [await served.client() for _ in range(CONNECTIONS_MAX - 1)]
        await wait_until(lambda: len(served.connections) == CONNECTIONS_MAX)
        beyond = [await served.client() for _ in range(20)]
        assert await asyncio.gather(*map(Client.end, beyond)) == [b""] * 20
        assert served.stats.refused == {"too_many_connections": 20}
        await kept.send(text('{"type":"claim"}'))
        await wait_until(lambda: connection.received)
        for client in idle[:1]:
            client.reset()
        await wait_until(lambda: len(served.connections) < CONNECTIONS_MAX)
        assert await hello(served) == b"hello"
        for client in (*idle, *beyond, kept):
            client.reset()
