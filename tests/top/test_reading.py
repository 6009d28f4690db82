"""Looking at a store: the right numbers, no more commands than were promised, and through outages."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from capacity.hub.status import HubStatus
from capacity.store import keys
from capacity.store.keys import RoomName
from capacity.top.document import Hub, Room
from capacity.top.reading import FAILURES, ROOMS_A_LOOK_MAX, Reader
from tests.support.servers import Server, binaries
from tests.top import seeded

pytestmark = pytest.mark.anyio
LAUNCH, TALK = RoomName("acme", "launch"), RoomName("beta", "talk")


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def anything(_: RoomName) -> bool:
    return True


async def test_a_room_in_numbers(store: Any, redis_url: str) -> None:
    await seeded.room(store, LAUNCH, limit=50, seated=7, away=3, held=2, waiting=11)
    await store.hset(keys.room_key(LAUNCH, "state"), mapping={"told": 1, "peak": 9})
    await seeded.beating(store, "h1", LAUNCH, TALK)
    await seeded.beating(store, "h2", LAUNCH)
    async with aclosing(Reader(redis_url, anything)) as reader:
        top = await reader.look()
    assert top.rooms == [
        Room(
            account="acme", room="launch", state="open", seat_limit=50, occupied=12, seated=7, away=3, held=2, waiting=11,
            free=38, peak=9, level="near_full", opened_at=1, arrivals_per_second=None, full_in_seconds=None,
            hubs=["h1", "h2"],
        )
    ]  # fmt: skip
    assert top.rooms_total == 2, "one of them is watched and was never written"
    assert top.hubs == [Hub("h1", None, None), Hub("h2", None, None)], "as a hub of the last release is seen"
    assert top.store.scheme == "redis" and top.store.answer_ms > 0


async def test_rates_and_forecasts_are_of_what_was_seen_meanwhile(store: Any, redis_url: str) -> None:
    clock = Clock()
    await seeded.beating(store, "h1", LAUNCH)
    async with aclosing(Reader(redis_url, anything, clock)) as reader:
        found = []
        for seated, waiting in ((0, 0), (4, 2), (10, 5), (10, 5)):
            await seeded.room(store, LAUNCH, limit=40, seated=seated, waiting=waiting)
            (room,) = (await reader.look()).rooms
            found.append((room.arrivals_per_second, room.full_in_seconds))
            clock.seconds += 3
        clock.seconds += 60
        (room,) = (await reader.look()).rooms
        assert room.arrivals_per_second == 0.0
        await store.hset(keys.room_key(LAUNCH, "state"), "opened_at", 2)
        (room,) = (await reader.look()).rooms
        assert (room.arrivals_per_second, room.full_in_seconds) == (None, None), "it was opened afresh"
    assert found == [(None, None), (2.0, None), (2.5, 18.0), (1.7, 27.0)]


async def test_a_hub_says_how_it_is_and_how_long_ago(store: Any, redis_url: str) -> None:
    for hub, said in (("h1", b'{"version":"9","connections":4,"later":[1]}'), ("h2", b'{"connections":"many"}')):
        await seeded.beating(store, hub)
        await store.set(keys.hub_status(hub), said, px=50_000)
    async with aclosing(Reader(redis_url, anything)) as reader:
        first, second = (await reader.look()).hubs
    assert first.status == HubStatus(version="9", connections=4)
    assert first.silent_seconds is not None and 10.0 <= first.silent_seconds < 12.0
    assert second.status is None


async def test_a_look_asks_for_so_many_rooms_and_in_turn_for_all(store: Any, redis_url: str) -> None:
    names = [RoomName(f"a{number % 7}", f"r{number}") for number in range(2 * ROOMS_A_LOOK_MAX + 10)]
    await seeded.beating(store, "h1", *names)
    pipeline = store.pipeline(transaction=False)
    for name in names:
        pipeline.hset(keys.room_key(name, "state"), mapping={"state": "open", "seat_limit": 1})
    await pipeline.execute()

    async def called() -> dict[str, int]:
        counted = await store.info("commandstats")
        return {name.removeprefix("cmdstat_"): of["calls"] for name, of in counted.items()}

    async with aclosing(Reader(redis_url, lambda name: name != names[0])) as reader:
        await reader.look()
        seen = []
        for shown in ([], names[:3], names[-3:]):
            before = await called()
            top = await reader.look(shown)
            after = await called()
            seen.append(len(top.rooms))
            grown = {name: calls - before.get(name, 0) for name, calls in after.items() if calls > before.get(name, 0)}
            assert grown["evalsha"] == ROOMS_A_LOOK_MAX
            assert not {"keys", "scan", "sscan", "hscan"} & grown.keys()
            assert sum(grown.values()) <= 7 * ROOMS_A_LOOK_MAX + 20
        assert seen[0] == 2 * ROOMS_A_LOOK_MAX and seen[1] == seen[2] == top.rooms_total == len(names) - 1
        reader.matches = lambda name: name == names[1]
        assert [room.room for room in (await reader.look()).rooms] == ["r1"]
        reader.matches = anything
        assert len((await reader.look_at_all()).rooms) == len(names)


async def test_a_store_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    server = Server(binaries()["valkey"], tmp_path, cluster=False)
    async with aclosing(Reader(server.url, anything)) as reader:
        for _ in range(2):
            with pytest.raises(FAILURES):
                await reader.look()
            server.start()
            try:
                assert (await reader.look()).hubs == []
            finally:
                server.kill()
