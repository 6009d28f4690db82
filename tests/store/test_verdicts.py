"""Settling and replaying, on each server: each is done once, whoever else does it, and what is old goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from capacity.protocol import events
from capacity.store import keys, scripts
from capacity.store.plan_changes import GROUP, KEPT_MS, Entry, PlanChanges
from capacity.store.redis import Clients
from capacity.store.verdicts import Verdicts

pytestmark = pytest.mark.anyio
EVENT = events.build("acme", "pro", 100, source="/t", id="e1", time_ms=1)


@pytest.fixture
async def clients(each_redis_url: str) -> AsyncIterator[Clients]:
    """An empty store."""
    found = Clients(each_redis_url)
    yield found
    await found.aclose()


async def delivered(clients: Clients, stream: PlanChanges) -> Entry:
    """Return an entry that the group was given."""
    await stream.join_group()
    id = await stream.append(EVENT)
    await clients.reads.xreadgroup(GROUP, "test", {keys.PLAN_CHANGES: ">"})
    return Entry(id, EVENT, desk="{}")


async def test_of_many_who_settle_an_entry_one_does(clients: Clients) -> None:
    stream = PlanChanges(clients, "test")
    entry = await delivered(clients, stream)
    settled = await asyncio.gather(*(stream.settle(entry, outcome, None) for outcome in ("applied", "malformed") * 4))
    assert settled.count(True) == 1
    assert await clients.scripts.xlen(keys.VERDICTS) == 1
    assert await clients.scripts.xlen(keys.REJECTED) == settled.index(True) % 2


async def test_of_many_who_replay_an_entry_one_does(clients: Clients) -> None:
    stream, store = PlanChanges(clients, "test"), clients.scripts
    entry = await delivered(clients, stream)
    assert await stream.settle(entry, "internal_error", events.parse(EVENT))
    ((aside, fields),) = await store.xrange(keys.REJECTED)
    assert fields == {b"event": EVENT, b"reason": b"internal_error", b"desk": b"{}"}
    assert 0 < await store.pttl(keys.set_aside(entry.id)) <= KEPT_MS
    moved = (keys.PLAN_CHANGES, keys.REJECTED, keys.set_aside(entry.id))
    answers: list[Any] = [await scripts.REPLAY.run(store, moved, [aside, "event", EVENT]) for _ in range(2)]
    assert answers[0] is not None and answers[1] is None, "both had found it set aside"
    assert await store.xlen(keys.PLAN_CHANGES) == 2
    assert await store.exists(keys.set_aside(entry.id), keys.REJECTED) == 1, "the empty stream stays"


async def test_what_is_older_than_seven_days_is_trimmed(clients: Clients) -> None:
    stream, store = PlanChanges(clients, "test"), clients.scripts
    await stream.join_group()
    streams = (keys.PLAN_CHANGES, keys.VERDICTS, keys.REJECTED)
    entries = [f"{number}-1" for number in range(1, 401)]
    for name in streams:
        for entry in entries:
            await store.xadd(name, {"event": EVENT}, id=entry)
    await clients.reads.xreadgroup(GROUP, "test", {keys.PLAN_CHANGES: ">"})
    await store.xack(keys.PLAN_CHANGES, GROUP, *entries)
    await stream.trim(KEPT_MS)
    assert [await store.xlen(name) for name in streams] == [400] * 3
    await stream.trim(KEPT_MS + 300)
    for name in streams:
        assert 100 <= await store.xlen(name) < 400, "the store drops whole pieces"


async def test_an_empty_store_has_no_verdicts(clients: Clients) -> None:
    page = await Verdicts(clients.scripts).page(account=None, verdict=None, limit=1, before=None)
    assert (page.verdicts, page.next) == ([], None)
