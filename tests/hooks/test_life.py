"""From what happens in real rooms to the platform, over two hub processes; and what a dead process leaves to the others."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from capacity.hooks.webhooks import Webhooks
from capacity.store.outbox import Outbox
from tests.hooks.platform import SECRET, Platform
from tests.hooks.room import LOOK_MS, Room
from tests.support.process import HubProcess
from tests.support.service import ROOM, Billing
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
PATHS = ("/one", "/two")
SEATS = 10


async def test_all_five_events_of_a_rooms_life_are_told_once(
    redis_url: str, endpoint: Platform, client: Any, tmp_path: Path
) -> None:
    """Over two hubs; another room that nobody watches is told of as well."""
    settings: dict[str, Any] = {"hook_urls": " ".join(endpoint.url + path for path in PATHS), "hook_secret": SECRET}
    billing, silent = Billing(redis_url), Room(client, room="silent")
    silent.rooms.outbox = None
    async with HubProcess(redis_url, tmp_path, **settings) as one, HubProcess(redis_url, tmp_path, **settings) as two:
        await billing.account(SEATS, version=1, concurrent_sessions=2)
        await silent.call("open", 1)
        host = await one.host()
        await host.told("occupancy", state="open")
        for number in range(SEATS):
            await (await (one, two)[number % 2].join(f"p{number}")).told("seated")
        hopeful, patient = await two.join("hopeful"), await one.join("patient")
        await hopeful.told("waiting")
        await patient.told("waiting")
        await hopeful.say("leave")
        await hopeful.gone()
        await billing.publish(SEATS + 1, version=2)
        await patient.told("refresh")
        assert (await two.call("DELETE", two.room_path())).status_code == 200
        await wait_until(lambda: all(len(endpoint.at(path)) == 8 for path in PATHS), within_seconds=10)

        async def all_are_counted() -> bool:  # which is done when it is written down, a little after they came
            texts = [(await hub.http.get("/metrics")).text for hub in (one, two)]
            assert all("capacity_hook_waiting " in text for text in texts)
            lines = [line for text in texts for line in text.splitlines() if 'outcome="delivered"' in line]
            return sum(float(line.split()[1]) for line in lines) == 8 * len(PATHS)

        await wait_until(all_are_counted)
    await billing.close()
    expected: dict[str, list[dict[str, Any]]] = {
        "room.near_full": [{"seat_limit": SEATS, "occupied": SEATS - 1, "waiting": 0}],
        "room.full": [
            {"seat_limit": SEATS, "occupied": SEATS, "waiting": 0},
            {"seat_limit": SEATS + 1, "occupied": SEATS + 1, "waiting": 0},
        ],
        "room.seat_limit_raised": [
            {"previous": SEATS, "seat_limit": SEATS + 1, "told": 1, "occupied": SEATS + 1, "waiting": 0}
        ],
        "room.turned_away": [
            {"reason": "left", "count": 1, "participants": ["hopeful"]},
            {"reason": "ended", "count": 1, "participants": ["patient"]},
        ],
        "room.ended": [{"reason": "api", "peak": SEATS, "joined": SEATS, "turned_away": 2, "limit_changes": 1}],
    }
    for path in PATHS:
        came = endpoint.at(path)
        assert len({one.id for one in came}) == 8
        (raised,) = [one for one in came if one.data["room"] == "silent"]
        assert raised.type == "room.seat_limit_raised" and raised.data["seat_limit"] == SEATS + 1
        told = sorted((one for one in came if one.data["room"] == ROOM), key=lambda one: one.data["revision"])
        assert Counter(one.type for one in told) == {type: len(events) for type, events in expected.items()}
        for type, events in expected.items():
            found = [one.data for one in told if one.type == type]
            assert [{name: data[name] for name in event} for data, event in zip(found, events, strict=True)] == events
    assert {one.id for one in endpoint.at("/one")} == {one.id for one in endpoint.at("/two")}


async def dying(redis_url: str, url: str, what: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.hooks.process", redis_url, url, what)


async def test_what_a_process_wrote_before_it_was_killed_is_delivered_by_another(
    redis_url: str, client: Any, endpoint: Platform
) -> None:
    process = await dying(redis_url, endpoint.url, "write")
    assert await process.wait() == -signal.SIGKILL
    webhooks = Webhooks(client, [endpoint.url], [SECRET], outbox=Outbox(client, look_every_ms=LOOK_MS))
    webhooks.start()
    await wait_until(lambda: [one.type for one in endpoint.received] == ["room.full"])
    await webhooks.stop()


async def test_what_a_process_was_delivering_when_it_was_killed_is_delivered_by_another(
    redis_url: str, client: Any, endpoint: Platform, room: Room
) -> None:
    endpoint.held["/"] = asyncio.Event()
    await room.open(1)
    await room.join("ann")
    process = await dying(redis_url, endpoint.url, "deliver")
    await wait_until(lambda: endpoint.received, within_seconds=10)
    process.kill()
    await process.wait()
    endpoint.held["/"].set()
    webhooks = Webhooks(client, [endpoint.url], [SECRET], every_seconds=0.05)
    webhooks.start()
    await wait_until(lambda: webhooks.outcomes["delivered"] == 1)
    await webhooks.stop()
    first, second = endpoint.received
    assert first.id == second.id and first.event == second.event, "at least once: the id says that it is the same"
