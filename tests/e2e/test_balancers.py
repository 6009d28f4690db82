"""Three hubs behind nginx and HAProxy, each as docs/operations.md configures it: any participant on any hub, by either."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from capacity.web.auth import TOKEN_CHARACTERS_MAX
from capacity.web.limits import HANDSHAKES
from tests.ops.programs import children
from tests.support.balancer import HUBS, IDLE_SECONDS, Balancer, HAProxy, Nginx
from tests.support.process import HubProcess
from tests.support.service import Billing, Hub, token
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
SEATS, WAITING = 24, 6
TIMES: dict[str, Any] = {"grace_seconds": 15, "place_seconds": 20, "lease_seconds": 1, "ping_seconds": IDLE_SECONDS / 3}
FOREIGN = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Origin": "https://elsewhere.example",
}
"""A handshake that every hub refuses and counts."""


class Follower:
    """A participant who follows the contract: after the end of a connection they come back, by the same balancer."""

    def __init__(self, balancer: Balancer, participant: str) -> None:
        self.told: list[dict[str, Any]] = []
        self.closes: list[int] = []
        self.task = asyncio.create_task(self._follow(balancer, participant))

    async def _follow(self, balancer: Balancer, participant: str) -> None:
        while True:
            client = await balancer.join(participant)
            client.messages = self.told
            await wait_until(lambda client=client: client.closed, within_seconds=60)  # type: ignore[misc]
            assert client.closed is not None
            self.closes.append(client.closed[0])

    @property
    def states(self) -> set[str]:
        """Everything that they were told of themselves."""
        return {message["type"] for message in self.told}


@pytest.fixture
async def billing(redis_url: str) -> AsyncIterator[Billing]:
    """An external billing system that has made the account."""
    system = Billing(redis_url)
    await system.publish(SEATS)
    yield system
    await system.close()


@asynccontextmanager
async def balanced(
    directory: Path, hubs: Sequence[HubProcess], *kinds: type[Balancer]
) -> AsyncIterator[list[Balancer]]:
    """Start balancers before three hubs; afterwards no token may stand in what they logged."""
    async with AsyncExitStack() as stack:
        for each in hubs:
            await stack.enter_async_context(each)
        balancers = [await stack.enter_async_context(kind(directory, hubs)) for kind in kinds]
        yield balancers
    for balancer in balancers:
        assert "/v1/ws" in balancer.said(), "there is an access log"
        assert not re.search(r"bearer|eyJ", balancer.said(), re.IGNORECASE), "a token, or what carries it, was logged"


def hub(redis_url: str, directory: Path, port: int | None = None) -> HubProcess:
    """A hub that trusts the balancers' address; or, with the port of one that ended, that hub again."""
    return HubProcess(redis_url, directory, port=port, trusted_proxies="127.0.0.1/32", **TIMES)


async def connections(hub: HubProcess) -> int:
    """How many participants are connected to a hub."""
    shown = (await hub.http.get("/metrics")).text
    return int(float(re.findall(r"^capacity_connections (\S+)", shown, re.MULTILINE)[0]))


async def test_hubs_come_and_go_behind_both_and_everybody_keeps_their_seat(
    redis_url: str, billing: Billing, tmp_path: Path
) -> None:
    hubs = [hub(redis_url, tmp_path) for _ in range(3)]
    async with balanced(tmp_path, hubs, Nginx, HAProxy) as balancers:
        host = await balancers[0].host()
        seated = [Follower(balancers[number % 2], f"s{number}") for number in range(SEATS)]
        await wait_until(lambda: all(follower.states == {"seated"} for follower in seated))
        waiting = [Follower(balancers[number % 2], f"w{number}") for number in range(WAITING)]
        await host.told("occupancy", seated=SEATS, waiting=WAITING)
        for each in hubs:
            assert await connections(each) >= SEATS // 4, "they are spread"
        await host.disconnect()

        async def newcomers(count: int) -> None:
            """Let so many others come by each balancer; not one may be refused."""
            for number in range(count):
                for balancer in balancers:
                    client = await balancer.join(f"n{number}", room="lobby")
                    assert (await client.first())["reason"] == "not_started"
                    await client.disconnect()

        def closes() -> int:
            return sum(len(follower.closes) for follower in (*seated, *waiting))

        async def everybody_is_there() -> bool:
            numbers = await balancers[1].occupancy()
            there = [await connections(each) for each in hubs if each.process.poll() is None]
            return (numbers["seated"], numbers["waiting"], sum(there)) == (SEATS, WAITING, SEATS + WAITING)

        async def goes(gone: HubProcess, number: int) -> None:
            """End a hub: all of its people are back at once, and nobody of the others noticed."""
            await wait_until(everybody_is_there, within_seconds=10)
            before, closed = await connections(gone), closes()
            gone.process.send_signal(number)
            await newcomers(10)
            await gone.ended()
            await wait_until(everybody_is_there, within_seconds=10)
            assert before > 0 and closes() - closed == before

        await goes(hubs[0], signal.SIGTERM)
        again = hub(redis_url, tmp_path, port=int(hubs[0].address.rpartition(":")[2]))
        async with again:
            hubs.append(again)
            for balancer in balancers:
                before = await connections(again)

                async def comes_to_it(balancer: Balancer = balancer, before: int = before) -> bool:
                    client = await balancer.join(f"n-{time.monotonic_ns()}", room="lobby")
                    await client.first()
                    comes = await connections(again) > before
                    await client.disconnect()
                    return comes

                await wait_until(comes_to_it, what="a participant on the hub that came back")
            await goes(hubs[1], signal.SIGKILL)

            closed = closes()
            for balancer in balancers:
                old = children(balancer.process.pid)
                balancer.reload()
                await wait_until(lambda balancer=balancer, old=old: children(balancer.process.pid) - old)  # type: ignore[misc]
            await newcomers(5)
            assert closes() == closed, "a reload cuts nobody off"

            for follower in (*seated, *waiting):
                assert not follower.task.done(), "they were always let in"
                follower.task.cancel()
            assert {close for follower in (*seated, *waiting) for close in follower.closes} == {1012, 1006}
            assert all(follower.states == {"seated"} for follower in seated)
            assert all(follower.states == {"waiting"} for follower in waiting)
            await asyncio.gather(*(follower.task for follower in (*seated, *waiting)), return_exceptions=True)


async def test_nginx_lets_everybody_through_to_a_hub_that_came_back_though_no_connection_there_has_ended(
    redis_url: str, billing: Billing, tmp_path: Path
) -> None:
    first, second = hubs = [hub(redis_url, tmp_path) for _ in range(2)]
    async with balanced(tmp_path, hubs, Nginx) as (balancer,):
        first.process.kill()
        for number in range(4):
            await (await balancer.join(f"a{number}")).told("waiting", reason="not_started")
        await first.ended()
        async with hub(redis_url, tmp_path, port=int(first.address.rpartition(":")[2])):
            second.process.kill()
            for number in range(8):
                await (await balancer.join(f"b{number}")).told("waiting", reason="not_started")


@pytest.mark.parametrize("kind", [Nginx, HAProxy])
async def test_what_passes_a_balancer_and_what_does_not(
    redis_url: str, billing: Billing, tmp_path: Path, kind: type[Balancer]
) -> None:
    one = hub(redis_url, tmp_path)
    async with balanced(tmp_path, [one], kind) as (balancer,):
        began_at = time.monotonic()
        host = await balancer.host()
        idle = await balancer.join("idle")
        await idle.told("seated")

        filler = "x" * ((TOKEN_CHARACTERS_MAX - len(token("large", filler=""))) * 3 // 4 - 4)
        large = token("large", filler=filler)
        assert TOKEN_CHARACTERS_MAX - 10 < len(large) <= TOKEN_CHARACTERS_MAX
        await (await balancer.connect(large)).told("seated")

        await (await balancer.connect(token("own"), origin=balancer.address)).told("seated")
        for origin in ("https://elsewhere.example", f"https://{HUBS[0]}", "null"):
            with pytest.raises(InvalidStatus) as refused:
                await balancer.connect(token("foreign"), origin=origin)
            assert refused.value.response.status_code == 403
            assert json.loads(refused.value.response.body)["code"] == "foreign_origin"

        for method, path, content, status, code in (
            ("GET", "/v1/nothing", b"", 404, "not_found"),
            ("GET", "/v1/plans", b"", 401, "unauthorized"),
            ("GET", "/v1/ws", b"", 426, "upgrade_required"),
            ("POST", "/v1/events", b"x" * 65_537, 413, "too_large"),
        ):
            answer = await balancer.http.request(method, path, content=content)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert (await balancer.http.get("/metrics")).status_code == 404
        assert (await one.http.get("/metrics")).status_code == 200
        plain = await balancer.http.get(f"http://127.0.0.1:{balancer.plain_port}/join?a=b")
        assert (plain.status_code, plain.headers["location"].endswith("/join?a=b")) == (301, True)
        assert plain.headers["location"].startswith("https://")

        async with at("127.0.0.2", balancer) as flooding, at("127.0.0.3", balancer) as innocent:
            answer = await flooded(flooding)
            assert answer.json()["code"] == "overloaded" and int(answer.headers["retry-after"]) > 0
            assert (await innocent.get("/v1/ws", headers=FOREIGN)).status_code == 403
        assert (await balancer.http.get("/readyz")).status_code == 200, "nobody was put out of service for a 503"

        await wait_until(lambda: time.monotonic() - began_at > 1.5 * IDLE_SECONDS)
        assert host.closed is None and idle.closed is None, "the hub's pings have kept it alive"
        await idle.say("pass")
        await idle.told("pass")


@pytest.mark.parametrize("kind", [Nginx, HAProxy])
async def test_no_post_is_sent_twice(tmp_path: Path, kind: type[Balancer]) -> None:
    got: Counter[str] = Counter()

    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a request and go away without an answer, as a hub that is killed; but be ready."""
        method, path, *_ = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")
        if path == "/readyz":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        else:
            got[method] += 1
        writer.close()

    async with await asyncio.start_server(fail, "127.0.0.1", 0) as server:
        failing = Hub(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with kind(tmp_path, [failing]) as balancer:
            for method in ("POST", "GET"):
                # HAProxy just ends a connection that it had kept: the client knows whether it may repeat its request.
                with contextlib.suppress(httpx.RemoteProtocolError):
                    assert (await balancer.http.request(method, "/v1/events")).status_code in (502, 503)
        await failing.close()
    assert got["POST"] == 1
    assert got["GET"] >= 2


def at(address: str, balancer: Balancer) -> httpx.AsyncClient:
    """Return a client that connects from an address of its own."""
    transport = httpx.AsyncHTTPTransport(verify=balancer.trust, local_address=address)
    return httpx.AsyncClient(base_url=balancer.address, transport=transport, timeout=10)


async def flooded(client: httpx.AsyncClient) -> httpx.Response:
    """Fail handshakes until one is answered 503, and return that. In vain each says that it came from somewhere else."""
    for number in range(100):
        lies = [FOREIGN | {"X-Forwarded-For": f"198.51.{number}.{host}"} for host in range(HANDSHAKES.burst // 10)]
        answers = await asyncio.gather(*(client.get("/v1/ws", headers=lie) for lie in lies))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {answer.status_code for answer in answers} <= {403, 503}
        if refused:
            return refused[0]
    raise AssertionError("every handshake counted for another address")
