"""What the rooms' scripts write down, and how it is found again: bounded, once, and nothing where nobody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import redis

from capacity.errors import Unavailable
from capacity.hooks.relay import LOOK_SECONDS, Relay
from capacity.protocol import hooks
from capacity.protocol.hooks import Ending, TurnedAway
from capacity.store import keys
from capacity.store.hook_queue import HookQueue
from capacity.store.outbox import LOOKED_AT_MS, Outbox
from capacity.store.tasks import end
from tests.e2e.test_join_costs import PIECE, SEATED_COSTS, SWEEP_COST, Commands
from tests.hooks.room import LOOK_MS, Room
from tests.store.test_pieces import RULES
from tests.support.service import ACCOUNT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
LONG = "x" * 120
"""Participants' ids may have 128 characters."""


def types(events: list[hooks.Event]) -> list[str]:
    return [hooks.type_of(event) for event in events]


async def test_nothing_is_written_where_nobody_wants_it(client: Any, room: Room) -> None:
    room.rooms.outbox = None
    await room.open(1)
    assert not (await room.join("ann", "ben")).hooked
    assert not (await room.call("end", "api")).hooked
    assert await client.keys("*hooks*") == []


@pytest.mark.parametrize("wanted", [True, False], ids=["with hooks", "without"])
async def test_a_call_that_tells_nothing_has_no_command_more(redis_url: str, room: Room, wanted: bool) -> None:
    """The bounds are those of tests/e2e/test_join_costs.py, which has no hooks."""
    if not wanted:
        room.rooms.outbox = None
    await room.open(10_000)
    people = [part for number in range(PIECE) for part in (f"p{number}", f"h1.{number}")]
    with redis.Redis.from_url(redis_url) as store:
        for _ in range(2):  # from now on the server knows the scripts
            await room.call("join", "ann", "h1.a")
            await room.call("sweep")
        commands = Commands(store)
        for verb, arguments, cost in (("join", people, SEATED_COSTS["join"]), ("sweep", [], SWEEP_COST)):
            before = commands.counted()
            assert not (await room.call(verb, *arguments)).hooked
            called = commands.counted() - before
            assert called.pop("evalsha") == 1
            assert called.total() <= cost.each_call + cost.each_participant * PIECE, called.most_common()


async def test_at_most_a_hundred_are_named_and_all_are_counted(room: Room) -> None:
    await room.open(0)
    people = [f"{LONG}{number:03}" for number in range(300)]
    for start in range(0, 300, 100):
        await room.join(*people[start : start + 100])
    await room.leave(*people[:50])
    await room.call("end", "host")
    events = await room.told()
    left, ended = (event.data for event in events if isinstance(event.data, TurnedAway))
    assert (left.reason, left.count, left.participants) == ("left", 50, people[:50])
    assert (ended.reason, ended.count, ended.participants) == ("ended", 250, people[50:150])
    assert max(len(hooks.encode(event)) for event in events) < 20_000, "Standard Webhooks asks for less than 20 kB"


async def test_who_had_a_seat_or_was_put_out_was_not_turned_away(room: Room) -> None:
    await room.open(1)
    await room.join("ann", "ben", "cem", "dot")
    await room.told()
    await room.call("put_out", "cem")
    assert "room.turned_away" not in types(await room.told())
    await room.leave("ann")  # ben's seat is held
    await room.call("claim", "ben", "h1.ben")
    await room.join("ann")  # back, at the end of the line
    await room.told()
    await room.leave("ann")
    assert types(await room.told()) == []
    await room.call("end", "api")
    (away, ended) = (e.data for e in await room.told())
    assert isinstance(away, TurnedAway) and (away.count, away.participants) == (1, ["dot"])
    assert isinstance(ended, Ending) and (ended.joined, ended.turned_away, ended.peak) == (2, 1, 1)
    assert ended.waited.count == 1


@pytest.mark.parametrize("comes", ["join", "reassert"])
async def test_who_comes_back_in_the_call_that_ends_their_place_waits_again(room: Room, comes: str) -> None:
    room.wall_ms = 1_000_000
    await room.open(0)
    await room.join("ann", "ben")
    await room.call("away", "ann", "h1.ann")
    for _ in range(RULES.place_ms // RULES.step_ms - 1):
        room.wall_ms += RULES.step_ms
        await room.call("sweep")
    room.wall_ms += RULES.step_ms
    had: list[str | int] = ["waiting", 1, 0] if comes == "reassert" else []
    await room.call(comes, "ann", "h1.2", *had)
    assert types(await room.told()) == ["room.full"]
    await room.call("end", "api")
    away, ended = (event.data for event in await room.told())
    assert isinstance(away, TurnedAway) and (away.reason, away.count) == ("ended", 2)
    assert isinstance(ended, Ending) and ended.turned_away == 2


async def test_a_room_that_never_opened_says_so_at_its_end(room: Room) -> None:
    await room.limit(5)
    await room.call("attach", 0, "", 0)
    await room.join("ann")
    await room.call("end", "api")
    (event,) = await room.told()
    assert isinstance(event.data, Ending)
    assert (event.data.opened_at, event.data.turned_away, event.data.reason) == (None, 0, "api")


async def test_the_same_event_has_the_same_id_and_another_has_another(room: Room) -> None:
    await room.open(1)
    await room.join("ann", "ben", "cem")
    await room.leave("ben")
    await room.call("end", "api")
    first, again = await room.outbox.read(ACCOUNT), await room.outbox.read(ACCOUNT)
    ids = [hooks.id_of(event) for event in first.events]
    assert types(first.events) == ["room.full", "room.turned_away", "room.turned_away", "room.ended"]
    assert ids == [hooks.id_of(event) for event in again.events] and len(set(ids)) == 4


async def test_what_is_put_twice_is_there_once_and_a_full_queue_takes_no_more(
    room: Room, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.open(1)
    await room.join("ann", "ben")
    await room.call("end", "api")
    events, queue = (await room.outbox.read(ACCOUNT)).events, HookQueue(client)
    for _ in range(2):
        assert await queue.put(["one", "two"], events) == 0
    assert await queue.waiting("one") == await queue.waiting("two") == len(events)
    monkeypatch.setattr("capacity.store.hook_queue.WAITING_MAX", len(events))
    await room.fill_and_end("cem")
    more = [event for event in (await room.outbox.read(ACCOUNT)).events if event not in events]
    assert await queue.put(["one", "three"], more) == len(more), "one has no room, three has"
    assert (await queue.waiting("one"), await queue.waiting("three")) == (len(events), len(more))


async def test_an_account_is_looked_at_until_nobody_makes_calls_for_it_any_more(room: Room, client: Any) -> None:
    await room.open(1)
    assert await room.outbox.look() == [], "nobody looks at once: whoever wrote relays"

    async def looked_at() -> list[str]:
        return await room.outbox.look()

    assert await wait_until(looked_at) == [ACCOUNT]
    assert await room.outbox.look() == [], "it is somebody else's until the next look"
    long_ago = await client.zscore(keys.HOOK_NOTED, ACCOUNT) - LOOKED_AT_MS - 1
    await client.zadd(keys.HOOK_NOTED, {ACCOUNT: long_ago})
    assert await wait_until(looked_at, within_seconds=5 + LOOK_MS / 1000) == [ACCOUNT]
    assert not await client.exists(keys.HOOK_ACCOUNTS, keys.HOOK_NOTED)


async def test_a_store_that_forgot_what_was_noted_is_told_again(room: Room, client: Any) -> None:
    await room.open(1)
    await client.delete(keys.HOOK_ACCOUNTS, keys.HOOK_NOTED)
    assert await room.outbox.look() == []
    await room.join("ann")
    assert await client.zscore(keys.HOOK_NOTED, ACCOUNT), "a later call for the account notes it anew"
    assert await wait_until(room.outbox.look) == [ACCOUNT]


async def test_a_clock_that_was_set_back_puts_no_look_off(room: Room, client: Any) -> None:
    await room.open(1)
    hour_ms = 3600 * 1000
    await client.zincrby(keys.HOOK_ACCOUNTS, hour_ms, ACCOUNT)  # as if noted before the clock was set back
    assert await room.outbox.look() == [ACCOUNT]
    assert await room.outbox.look() == [], "it is somebody else's until the next look"


async def test_what_could_not_be_relayed_is_relayed_when_the_store_answers_again(client: Any) -> None:
    class Queue(HookQueue):
        away = 2

        async def put(self, endpoints: Sequence[str], events: Sequence[hooks.Event]) -> int:
            if self.away:
                self.away -= 1
                raise Unavailable("the store is away")
            return await super().put(endpoints, events)

    room, put = Room(client), asyncio.Event()
    room.outbox = room.rooms.outbox = Outbox(client)  # which looks for what others left every 30 s alone
    await room.open(1)
    relaying = asyncio.create_task(Relay(room.outbox, Queue(client), ["one"], put.set).run())
    try:
        await room.join("ann")
        async with asyncio.timeout(2 * LOOK_SECONDS + 3):
            await put.wait()
    finally:
        await end([relaying])
    assert await HookQueue(client).waiting("one") == 1


async def test_what_cannot_be_read_holds_nothing_up(room: Room, client: Any) -> None:
    await room.open(1)
    for fields in ({"entry": b"{"}, {"entry": b'{"room":"r"}'}, {"other": b"1"}):
        await client.xadd(keys.hooks(ACCOUNT), fields)
    await room.join("ann")
    assert types(await room.told()) == ["room.full"]
    assert await client.xlen(keys.hooks(ACCOUNT)) == 0
