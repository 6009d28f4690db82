"""The ingest console: every event with its verdict, and a rejected one replayed once its cause is gone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis

from capacity.protocol import events
from capacity.store import keys, verdicts
from capacity.store.plan_changes import Entry, PlanChanges
from capacity.store.redis import Clients
from tests.support.service import ACCOUNT, ROOM, Billing, Hub, service_token, serving, settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
ROOM_NAME = keys.RoomName(ACCOUNT, ROOM)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Any]:
    """The store itself."""
    client = aioredis.Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def append(store: Any, event: bytes, **fields: str) -> str:
    """Write an entry to the stream; returns its id."""
    id: bytes = await store.xadd(keys.PLAN_CHANGES, {"event": event} | fields)
    return id.decode()


async def listed(hub: Hub, account: str = "*", **query: Any) -> dict[str, Any]:
    """Return a page of the console as a service of the account sees it."""
    answer = await hub.call("GET", "/v1/events", service_token(account), params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def verdict_on(hub: Hub, entry: str) -> dict[str, Any]:
    """Return what the console says of an entry, waiting for it."""

    async def found() -> list[dict[str, Any]]:
        return [event for event in (await listed(hub, limit=500))["events"] if event["entry"] == entry]

    (event,) = await wait_until(found, what=f"a verdict on {entry}")
    return event  # type: ignore[no-any-return]


async def replay(hub: Hub, entry: str, account: str = "*") -> httpx.Response:
    return await hub.call("POST", f"/v1/events/{entry}/replay", service_token(account))


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_every_verdict_with_what_the_event_said(hub: Hub, billing: Billing, store: Any) -> None:
    time_ms = int(time.time() * 1000) - 5000
    applied = billing.event(5, version=5, time_ms=time_ms, concurrent_sessions=3)
    entries = [
        await append(store, event)
        for event in (applied, applied, billing.event(4, version=4), billing.event(6, "beta"), b"[]")
    ]
    await store.hset(keys.account_key("gamma"), "source", "desk")
    entries.append(await append(store, billing.event(7, "gamma")))
    seen = [await verdict_on(hub, entry) for entry in entries]
    assert [(event["verdict"], event["reason"], event["account"], event["seats"]) for event in seen] == [
        ("applied", None, ACCOUNT, 5),
        ("duplicate", None, ACCOUNT, 5),
        ("stale", None, ACCOUNT, 4),
        ("applied", None, "beta", 6),
        ("rejected", "malformed", None, None),
        ("rejected", "managed_by_desk", "gamma", 7),
    ]
    said = json.loads(applied)
    handled_at, time_said = seen[0].pop("handled_at"), seen[0].pop("time")
    assert events.glance(json.dumps({"time": time_said})).time_ms == time_ms
    assert abs((events.glance(json.dumps({"time": handled_at})).time_ms or 0) / 1000 - time.time()) < 60
    assert seen[0] == {
        "entry": entries[0], "verdict": "applied", "reason": None, "id": said["id"], "source": said["source"],
        "account": ACCOUNT, "plan": "plan-5", "seats": 5, "concurrent_sessions": 3, "version": 5, "replay_of": None,
    }  # fmt: skip
    assert [event["entry"] for event in (await listed(hub))["events"]] == entries[::-1], "newest first"
    await store.delete(keys.account_key("gamma"))


async def test_what_can_be_read_of_an_event_is_shown_to_whose_it_is(hub: Hub, billing: Billing, store: Any) -> None:
    half = json.loads(billing.event(5)) | {"time": "yesterday"}
    other = json.loads(billing.event(6)) | {"type": "something.else"}
    mismatch = json.loads(billing.event(7)) | {"subject": "beta"}
    entries = [await append(store, json.dumps(event).encode()) for event in (half, other, mismatch)]
    seen = [await verdict_on(hub, entry) for entry in entries]
    assert [(event["reason"], event["account"], event["seats"], event["id"]) for event in seen] == [
        ("malformed", ACCOUNT, 5, half["id"]),
        ("unknown_type", ACCOUNT, 6, other["id"]),
        ("subject_mismatch", None, 7, mismatch["id"]),
    ]
    assert [event["entry"] for event in (await listed(hub, ACCOUNT))["events"]] == [entries[1], entries[0]]
    assert (await listed(hub, "beta"))["events"] == []


async def test_pages_and_filters(hub: Hub, billing: Billing, store: Any) -> None:
    wanted = []
    for number in range(1, 8):
        wanted.append(await append(store, billing.event(number, version=number)))
        await append(store, billing.event(number, "beta", version=1))
    await verdict_on(hub, wanted[-1])

    async def pages(**query: Any) -> list[list[str]]:
        found: list[list[str]] = []
        before: dict[str, str] = {}
        while True:
            page = await listed(hub, **query, **before)
            found.append([event["entry"] for event in page["events"]])
            if page["next"] is None:
                return found
            before = {"before": page["next"]}

    assert await pages(account=ACCOUNT, limit=3) == [wanted[6:3:-1], wanted[3:0:-1], wanted[:1]]
    assert [len(page) for page in await pages(limit=7)] == [7, 7, 0]
    assert [len(page) for page in await pages(account="beta", verdict="stale", limit=500)] == [6]
    assert (await listed(hub, "beta", verdict="rejected"))["events"] == []


async def test_a_page_looks_through_so_many_verdicts_at_most(
    hub: Hub, billing: Billing, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "PIECE", 2)
    monkeypatch.setattr(verdicts, "PIECES_MAX", 2)
    wanted = await append(store, billing.event(1, version=1))
    for number in range(1, 7):
        last = await append(store, billing.event(number, "beta", version=number))
    await verdict_on(hub, last)
    page = await listed(hub, account=ACCOUNT)
    assert page["events"] == [] and page["next"] is not None
    page = await listed(hub, account=ACCOUNT, before=page["next"])
    assert [event["entry"] for event in page["events"]] == [wanted] and page["next"] is None


async def test_a_rejected_event_is_replayed_once_when_its_cause_is_gone(hub: Hub, billing: Billing, store: Any) -> None:
    await billing.account(5, version=5)
    await store.hset(keys.account_key(ACCOUNT), "source", "desk")
    entry = await append(store, billing.event(9, version=9))
    assert (await verdict_on(hub, entry))["reason"] == "managed_by_desk"
    refused = await replay(hub, entry, ACCOUNT)
    assert code(refused) == (409, "not_replayable") and "managed_by_desk" in refused.json()["detail"]
    assert len(await billing.rejected()) == 1, "nothing was changed"

    await store.hset(keys.account_key(ACCOUNT), "source", "events")
    assert code(await replay(hub, entry, "beta")) == (404, "unknown_event"), "of which beta learns nothing"
    answers = await asyncio.gather(*(replay(hub, entry, ACCOUNT) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] + [404] * 7
    (accepted,) = [answer.json() for answer in answers if answer.status_code == 202]
    assert accepted["replay_of"] == entry
    again = await verdict_on(hub, accepted["entry"])
    assert (again["verdict"], again["seats"], again["replay_of"]) == ("applied", 9, entry)
    await billing.seats(ACCOUNT, 9)
    assert await billing.rejected() == []
    assert (await verdict_on(hub, entry))["verdict"] == "rejected", "what was said stays"


async def test_what_still_cannot_be_read_is_not_replayed(hub: Hub, billing: Billing, store: Any) -> None:
    half = json.dumps(json.loads(billing.event(5)) | {"time": "yesterday"}).encode()
    for event, reason in ((half, "malformed"), (b"\xff", "malformed")):
        entry = await append(store, event)
        await verdict_on(hub, entry)
        refused = await replay(hub, entry)
        assert code(refused) == (409, "not_replayable") and reason in refused.json()["detail"]
    assert code(await replay(hub, entry, ACCOUNT)) == (404, "unknown_event"), "it names no account"
    assert len(await billing.rejected()) == 2


async def test_only_what_was_rejected_can_be_replayed(hub: Hub, billing: Billing, store: Any) -> None:
    entry = await append(store, billing.event(5))
    assert (await verdict_on(hub, entry))["verdict"] == "applied"
    assert code(await replay(hub, entry)) == (404, "unknown_event")
    assert code(await replay(hub, "1-1")) == (404, "unknown_event")


async def test_a_bug_costs_one_event_until_it_is_mended_and_the_desks_word_is_kept(
    hub: Hub, billing: Billing, store: Any
) -> None:
    await store.set(keys.account_key(ACCOUNT), "no account at all")  # stands for a bug: the script fails on it
    entry = await append(store, billing.event(5), desk='{"paid":4000}')
    assert (await verdict_on(hub, entry))["reason"] == "internal_error"
    await store.delete(keys.account_key(ACCOUNT))
    new = (await replay(hub, entry)).json()["entry"]
    assert (await verdict_on(hub, new))["verdict"] == "applied"
    fields = await store.hgetall(keys.account_key(ACCOUNT))
    assert (fields[b"source"], fields[b"desk"]) == (b"desk", b'{"paid":4000}')


async def test_killed_between_applying_and_settling_it_was_applied_all_the_same(
    redis_url: str, billing: Billing, store: Any
) -> None:
    async with serving(settings(redis_url)) as hub:
        await billing.account(3, version=3)
        assert (await hub.call("PUT", hub.room_path())).json()["seat_limit"] == 3
        before = (await listed(hub))["events"]
    for key in await store.keys("capacity:1:{hubs}:*"):
        await store.delete(key)  # nobody watches the room any more, nor looks after those who did
    event = billing.event(4, version=4)
    entry = await append(store, event)
    ((_, ((taken, _),)),) = await store.xreadgroup("capacity", "a-dead-hub", {keys.PLAN_CHANGES: ">"})
    clients = Clients(redis_url)
    died = PlanChanges(clients, "a-dead-hub")
    assert await died.apply(Entry(taken.decode(), event), events.parse(event)) == "applied"
    async with serving(settings(redis_url)) as hub:
        assert (await verdict_on(hub, entry))["verdict"] == "applied"
        assert await store.hget(keys.room_key(ROOM_NAME, "state"), "seat_limit") == b"4", "the room was swept"
        copied = await append(store, event)
        assert (await verdict_on(hub, copied))["verdict"] == "duplicate"
        assert not await died.settle(Entry(entry, event), "applied", events.parse(event)), "it was only slow, and late"
        assert not await died.settle(Entry(entry, b""), "malformed", None)
        found = (await listed(hub))["events"]
        assert [event["entry"] for event in found[:2]] == [copied, entry] and found[2:] == before
        assert await billing.rejected() == []
    await clients.aclose()


async def test_nothing_in_an_event_makes_it_the_desks(hub: Hub, billing: Billing, store: Any) -> None:
    await billing.account(5, version=5)
    wanting = json.loads(billing.event(9, version=9)) | {"desk": "{}", "source": "desk"}
    wanting["data"]["desk"] = "{}"
    entry = await append(store, json.dumps(wanting).encode(), desk="")
    assert (await verdict_on(hub, entry))["verdict"] == "applied"
    fields = await store.hgetall(keys.account_key(ACCOUNT))
    assert fields[b"source"] == b"events" and b"desk" not in fields


async def test_bytes_that_are_no_text_hold_nothing_up(hub: Hub, billing: Billing, store: Any) -> None:
    entry: bytes = await store.xadd(keys.PLAN_CHANGES, {"event": b"\xff", "desk": b"\xff", "replay_of": b"\xff"})
    await billing.account(5)
    seen = await verdict_on(hub, entry.decode())
    assert (seen["reason"], seen["replay_of"]) == ("malformed", "\ufffd")
