"""The way to an endpoint: once when all is well, again when it is not, a dead letter at the end. Real sockets; the times are short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from capacity.domain.instants import at
from capacity.hooks import courier, endpoint
from capacity.hooks.webhooks import Webhooks
from capacity.store import keys
from capacity.store.hook_queue import HookQueue
from tests.hooks.platform import SECRET, Platform
from tests.hooks.room import Room
from tests.support.logs import recorded
from tests.support.servers import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
NEW_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
SOON = (0.02,) * 3
DAYS_SECONDS = 24 * 3600


@asynccontextmanager
async def sending(
    client: Any, room: Room, *urls: str, secrets: tuple[str, ...] = (SECRET,), **times: Any
) -> AsyncIterator[Webhooks]:
    """Send what happens in the room, with times short enough to wait for."""
    chosen: dict[str, Any] = {"again_seconds": SOON, "every_seconds": 0.05} | times
    webhooks = Webhooks(client, urls, secrets, outbox=room.outbox, **chosen)
    webhooks.start()
    try:
        yield webhooks
    finally:
        await webhooks.stop()


async def fill(room: Room) -> None:
    """Make one event happen: `room.full`."""
    await room.open(1)
    await room.join("ann")


async def settled(webhooks: Webhooks, **outcomes: int) -> None:
    """Wait until tries have had these outcomes, and no others."""
    await wait_until(lambda: dict(webhooks.outcomes) == outcomes, what=f"{outcomes}, not {webhooks.outcomes}")


async def in_ms(client: Any, url: str) -> float:
    """Return in how many ms the one delivery that waits for an address is due."""
    due, _ = keys.hook_queue(endpoint.id_of(url))
    ((_, score),) = await client.zrange(due, 0, -1, withscores=True)
    seconds, microseconds = await client.time()
    return float(score - seconds * 1000 - microseconds / 1000)


def test_ten_tries_in_over_three_days() -> None:
    assert len(courier.AGAIN_SECONDS) + 1 == 10
    assert 3 * DAYS_SECONDS < sum(courier.AGAIN_SECONDS) * (1 + courier.JITTER) < 4 * DAYS_SECONDS
    assert courier.LEASE_MS > endpoint.TIMEOUT_SECONDS * 1000, "nobody else tries while a try may be under way"


async def test_an_event_goes_to_every_address_once(client: Any, room: Room, endpoint: Platform) -> None:
    async with sending(client, room, endpoint.url + "/one", endpoint.url + "/two?key=1") as webhooks:
        await fill(room)
        await settled(webhooks, delivered=2)
        await wait_until(lambda: webhooks.waiting == 0)
    (one,), (two,) = endpoint.at("/one"), endpoint.at("/two")
    assert one.id == two.id and one.event == two.event
    assert (one.type, one.data["occupied"], one.headers["content-type"]) == ("room.full", 1, "application/json")
    assert one.headers["user-agent"].startswith("capacity/")


@pytest.mark.parametrize("secret", [SECRET, NEW_SECRET], ids=["old", "new"])
async def test_while_the_secret_is_rotated_either_is_good(
    client: Any, room: Room, endpoint: Platform, secret: str
) -> None:
    endpoint.secret = secret
    async with sending(client, room, endpoint.url, secrets=(NEW_SECRET, SECRET)) as webhooks:
        await fill(room)
        await settled(webhooks, delivered=1)


@pytest.mark.parametrize("answer", [web.Response(status=500), web.Response(status=307, headers={"location": "/other"})])
async def test_what_is_not_taken_is_sent_again(
    client: Any, room: Room, endpoint: Platform, answer: web.Response
) -> None:
    endpoint.answers["/hooks"] = [answer]
    async with sending(client, room, endpoint.url + "/hooks") as webhooks:
        await fill(room)
        await settled(webhooks, failed=1, delivered=1)
    first, second = endpoint.received
    assert first.path == second.path == "/hooks", "nobody but the settings says where events go"
    assert first.id == second.id and first.event == second.event
    assert await client.xlen(keys.DEAD_HOOKS) == 0


async def test_an_endpoint_that_is_down_gets_it_when_it_is_back(client: Any, room: Room, endpoint: Platform) -> None:
    port = free_port()
    async with sending(client, room, f"http://127.0.0.1:{port}/", again_seconds=(0.02,) * 200) as webhooks:
        await fill(room)
        await wait_until(lambda: webhooks.outcomes["failed"] >= 2)
        came: list[str] = []

        async def take(request: web.BaseRequest) -> web.Response:
            came.append(request.headers["webhook-id"])
            return web.Response()

        server = web.Server(take)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await wait_until(lambda: webhooks.outcomes["delivered"] == 1)
        await runner.cleanup()
    assert len(came) == 1


async def test_what_nobody_takes_becomes_a_dead_letter_and_can_be_sent_again(
    client: Any, room: Room, endpoint: Platform
) -> None:
    url = endpoint.url.replace("http://", "http://user:pa55word@") + "/hooks/5ecret-path?k=5ecret-key"
    endpoint.answers["/hooks/5ecret-path"] = [web.Response(status=500) for _ in range(4)]
    queue = HookQueue(client)
    with recorded() as log:
        async with sending(client, room, url) as webhooks:
            await fill(room)
            await settled(webhooks, failed=3, dead=1)
            (dead,) = await queue.dead()
            assert dead.letter.to == endpoint.url and dead.letter.reason == "500"
            assert (dead.letter.delivery.attempts, dead.letter.delivery.type) == (4, "room.full")
            assert log.events("warning") == ["hook_dead"]
            assert await queue.replay(dead) and not await queue.replay(dead)
            await settled(webhooks, failed=3, dead=1, delivered=1)
    for secret in ("5ecret", "pa55word", SECRET[6:], "v1,"):
        assert secret not in log.text
    assert "authorization" in endpoint.received[0].headers, "credentials in an address are given to its endpoint"
    assert len({one.id for one in endpoint.received}) == 1 and len(endpoint.received) == 5
    assert await queue.dead() == [] and await client.hlen(keys.hook_queue(dead.letter.endpoint)[1]) == 0


async def test_an_endpoint_that_is_gone_is_not_tried_again(client: Any, room: Room, endpoint: Platform) -> None:
    endpoint.answers["/"] = [web.Response(status=410)]
    async with sending(client, room, endpoint.url + "/") as webhooks:
        await fill(room)
        await settled(webhooks, dead=1)
    assert [dead.letter.reason for dead in await HookQueue(client).dead()] == ["410"]


@pytest.mark.parametrize(
    ("status", "after", "least", "most"),
    [
        (503, "100", 100, 100),
        (429, "tomorrow", 0, 60),
        (429, "9" * 400, DAYS_SECONDS, DAYS_SECONDS),
        (503, format_datetime(at(4_000_000_000_000), usegmt=True), DAYS_SECONDS, DAYS_SECONDS),
        (503, "-5", 0, 60),
        (500, "100", 0, 60),
    ],
)
async def test_an_endpoint_says_how_long_it_wants_to_be_left_alone(
    client: Any, room: Room, endpoint: Platform, status: int, after: str, least: int, most: int
) -> None:
    endpoint.answers["/"] = [web.Response(status=status, headers={"retry-after": after})]
    async with sending(client, room, endpoint.url + "/", again_seconds=(50.0,)) as webhooks:
        await fill(room)
        await settled(webhooks, failed=1)
    assert least - 5 <= await in_ms(client, endpoint.url + "/") / 1000 <= most + 5


async def test_a_slow_endpoint_holds_up_no_other_and_is_not_asked_more_than_it_can_take(
    client: Any, room: Room, endpoint: Platform
) -> None:
    endpoint.held["/slow"] = asyncio.Event()
    async with sending(client, room, endpoint.url + "/slow", endpoint.url + "/quick") as webhooks:
        await room.limit(1)
        for number in range(courier.AT_ONCE_MAX + 4):
            await room.fill_and_end(f"p{number}")
        events = 2 * (courier.AT_ONCE_MAX + 4)
        await wait_until(lambda: len(endpoint.at("/quick")) == events)
        assert len(endpoint.at("/slow")) == courier.AT_ONCE_MAX
        endpoint.held["/slow"].set()
        await settled(webhooks, delivered=2 * events)
    assert len({one.id for one in endpoint.at("/slow")}) == len(endpoint.at("/slow")) == events


async def test_an_answer_without_end_is_not_read(client: Any, room: Room, endpoint: Platform) -> None:
    endpoint.answers["/"] = [web.Response(body=b"x" * 50_000_000)]
    async with sending(client, room, endpoint.url + "/") as webhooks:
        await fill(room)
        await settled(webhooks, delivered=1)


async def test_two_processes_send_it_once(client: Any, room: Room, endpoint: Platform) -> None:
    other = Room(client, hub="h2")
    async with sending(client, room, endpoint.url) as ours, sending(client, other, endpoint.url) as theirs:
        await room.limit(1)
        for number in range(10):
            await room.fill_and_end(f"p{number}")
            other.outbox.written(room.name.account)  # as if both had found it
        await wait_until(lambda: ours.outcomes["delivered"] + theirs.outcomes["delivered"] == 20)
    assert len(endpoint.received) == 20 == len({one.id for one in endpoint.received})
