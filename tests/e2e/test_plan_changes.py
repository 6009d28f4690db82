"""Plan-changed events, by stream and by webhook: at least once, in any order, and only what is newer acts."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis

from capacity.protocol import signatures
from capacity.store import keys
from tests.support.service import ACCOUNT, WEBHOOK_SECRET, Billing, Client, Hub, serving, settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
Hubs = tuple[Hub, Hub]


async def post(hub: Hub, event: bytes, **changes: str) -> httpx.Response:
    headers = signatures.sign(WEBHOOK_SECRET, f"msg_{uuid.uuid4().hex}", int(time.time()), event)
    return await hub.http.post(
        "/v1/events", content=event, headers=headers | {"content-type": "application/json"} | changes
    )


async def limit(hub: Hub) -> int:
    return int((await hub.occupancy())["seat_limit"])


async def settled(redis_url: str) -> None:
    """Wait until every event in the stream was handled."""
    client = aioredis.Redis.from_url(redis_url)

    async def done() -> bool:
        groups = await client.xinfo_groups(keys.PLAN_CHANGES)
        return bool(groups) and groups[0]["pending"] == 0 and groups[0]["lag"] == 0

    await wait_until(done, what="the consumer group to have handled everything")
    await client.aclose()


async def test_a_hundred_seats_for_a_hundred_and_thirty_then_twenty_more_then_five(
    hubs: Hubs, billing: Billing
) -> None:
    """The main job of the product, over two hubs, by stream and by webhook."""
    await billing.account(100, version=1)
    host = await hubs[0].host(billing=True)
    await host.told("occupancy", state="open")
    people: list[Client] = []
    for number in range(130):
        people.append(await hubs[number % 2].join(f"p{number:03}"))
        await people[-1].first()
    assert [p.kinds[0] for p in people] == ["seated"] * 100 + ["waiting"] * 30
    assert [p.messages[0]["position"] for p in people[100:]] == list(range(1, 31))

    async def told_to_refresh(first: int, last: int) -> None:
        told = [await person.told("refresh") for person in people[first:last]]
        assert {refresh["reason"] for refresh in told} == {"seat_limit_raised"}
        assert not any(person.of("refresh") for person in people[last:])
        assert (await hubs[1].occupancy())["held"] == last - first

    async def reload(first: int, last: int) -> None:
        for number in range(first, last):
            fresh = await hubs[(number + 1) % 2].join(f"p{number:03}")
            await fresh.told("seated")
            assert await people[number].gone() == (4409, "replaced")
            people[number] = fresh

    await billing.publish(120, version=2)
    await told_to_refresh(100, 120)
    newcomer = await hubs[0].join("newcomer")
    assert (await newcomer.told("waiting"))["position"] == 11
    await reload(100, 120)
    assert (await hubs[0].occupancy())["seated"] == 120

    answer = await post(hubs[1], billing.event(125, version=3))
    assert answer.status_code == 202
    await told_to_refresh(120, 125)
    await reload(120, 125)
    numbers = await hubs[0].occupancy()
    assert (numbers["seated"], numbers["occupied"], numbers["waiting"], numbers["peak"]) == (125, 125, 6, 125)
    assert all(message["occupied"] <= message["seat_limit"] for message in host.of("occupancy"))
    for number in range(125, 130):
        await people[number].told("waiting", position=number - 124)


async def test_duplicates_late_and_reordered_events_change_nothing(hub: Hub, billing: Billing, redis_url: str) -> None:
    await billing.account(5, version=5)
    newest = await billing.publish(7, version=7)
    await settled(redis_url)
    client = aioredis.Redis.from_url(redis_url)
    await client.xadd(keys.PLAN_CHANGES, {"event": newest})
    await client.aclose()
    await billing.publish(6, version=6)
    await billing.publish(3, version=7)
    for _ in range(2):
        assert (await post(hub, newest)).status_code == 202
    await settled(redis_url)
    assert await limit(hub) == 7
    await billing.publish(8, version=8)
    await billing.seats(ACCOUNT, 8)


async def test_without_a_version_the_later_time_counts_and_equal_times_go_by_the_stream(
    hub: Hub, billing: Billing, redis_url: str
) -> None:
    await billing.account(5, time_ms=1_000_000)
    await billing.publish(6, time_ms=999_999)
    await settled(redis_url)
    assert await limit(hub) == 5
    await billing.publish(7, time_ms=1_000_000)
    await settled(redis_url)
    assert await limit(hub) == 7


async def test_what_cannot_be_applied_is_set_aside_with_the_reason_and_the_rest_goes_on(
    hub: Hub, billing: Billing, redis_url: str
) -> None:
    mismatch = json.loads(billing.event(5)) | {"subject": "somebody-else"}
    bad = [b"", b"[]", b"\xff\xfe", b'{"specversion":"1.0"}', json.dumps(mismatch).encode(), b"[" * 60_000]
    client = aioredis.Redis.from_url(redis_url)
    for event in bad:
        await client.xadd(keys.PLAN_CHANGES, {"event": event})
    await client.xadd(keys.PLAN_CHANGES, {"something": "else"})
    await billing.account(5)
    await settled(redis_url)
    rejected = await billing.rejected()
    assert [event for event, _ in rejected] == [*bad, b""]
    assert [reason for _, reason in rejected] == ["malformed"] * 4 + ["subject_mismatch", "malformed", "malformed"]
    assert await client.exists(keys.account_key("somebody-else")) == 0
    await client.aclose()


async def test_an_event_for_a_desk_account_is_rejected(hub: Hub, billing: Billing, redis_url: str) -> None:
    await billing.account(5)
    client = aioredis.Redis.from_url(redis_url)
    await client.hset(keys.account_key(ACCOUNT), "source", "desk")
    await billing.publish(9)
    await settled(redis_url)
    assert [reason for _, reason in await billing.rejected()] == ["managed_by_desk"]
    assert await limit(hub) == 5
    await client.aclose()


async def test_what_a_dead_consumer_left_is_taken_over(redis_url: str, billing: Billing) -> None:
    client: Any = aioredis.Redis.from_url(redis_url)
    await client.xgroup_create(keys.PLAN_CHANGES, "capacity", id="0", mkstream=True)
    await billing.publish(4)
    taken = await client.xreadgroup("capacity", "a-dead-hub", {keys.PLAN_CHANGES: ">"})
    assert len(taken[0][1]) == 1
    await client.aclose()
    async with serving(settings(redis_url)):
        await billing.seats(ACCOUNT, 4)
        await settled(redis_url)


async def test_the_webhook_refuses_what_is_not_signed_and_stores_nothing(
    hub: Hub, billing: Billing, redis_url: str
) -> None:
    event = billing.event(5)
    old = signatures.sign(WEBHOOK_SECRET, "msg_old", int(time.time()) - 600, event)
    for headers in (
        {},
        old,
        {"webhook-signature": "v1,nonsense", "webhook-id": "m", "webhook-timestamp": str(int(time.time()))},
    ):
        answer = await hub.http.post("/v1/events", content=event, headers=headers)
        assert answer.status_code == 401 and answer.json()["code"] == "invalid_signature"
    malformed = await post(hub, b"{}")
    assert malformed.status_code == 400 and malformed.json()["code"] == "malformed"
    assert (await post(hub, b" " * 70_000)).status_code == 413
    client = aioredis.Redis.from_url(redis_url)
    assert await client.xlen(keys.PLAN_CHANGES) == 0
    await client.aclose()


async def test_a_raise_is_told_within_a_second_of_its_event(hubs: Hubs, billing: Billing) -> None:
    """Not a benchmark: the promise of the contract, with room to spare on a busy machine (benchmarks/ has the figures)."""
    await billing.account(1)
    await hubs[0].host()
    people = await asyncio.gather(*(hubs[number % 2].join(f"p{number:03}") for number in range(200)))
    for person in people:
        await person.first()
    assert (await hubs[0].occupancy())["waiting"] == 199
    published = time.monotonic()
    await billing.publish(150)

    async def everybody_told() -> bool:
        return sum(bool(person.of("refresh")) for person in people) == 149

    await wait_until(everybody_told)
    latest = max(person.arrived_at[person.kinds.index("refresh")] for person in people if person.of("refresh"))
    assert latest - published < 1.0
