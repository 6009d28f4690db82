"""Parts fail: a hub dies, is frozen or ends; the store dies, freezes or forgets. Everything heals by itself, and nobody is oversold."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis

from capacity.hub import hub as hub_module
from capacity.protocol import events, signatures
from tests.support.logs import recorded
from tests.support.process import HubProcess
from tests.support.servers import Server, binaries
from tests.support.service import ACCOUNT, WEBHOOK_SECRET, Billing, Hub, serving, settings, token
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    """A Valkey that the test may break."""
    server = Server(binaries()["valkey"], tmp_path)
    server.start()
    yield server
    server.kill()


async def test_a_killed_hub_gives_its_seats_back_after_lease_and_grace(
    redis_url: str, billing: Billing, tmp_path: Path
) -> None:
    async with HubProcess(redis_url, tmp_path) as doomed, serving(settings(redis_url)) as survivor:
        await billing.account(2)
        await survivor.host()
        ann, ben = await doomed.join("ann"), await doomed.join("ben")
        await ann.told("seated")
        await ben.told("seated")
        cem = await survivor.join("cem")
        await cem.told("waiting")
        killed = time.monotonic()
        doomed.process.kill()
        async with await survivor.join("ann") as again:
            await again.told("seated")
            await cem.told("refresh", within_seconds=8)
            assert 2.0 <= time.monotonic() - killed <= 1 + 2 + 2
            numbers = await survivor.occupancy()
            assert (numbers["seated"], numbers["held"], numbers["occupied"]) == (1, 1, 2)


@pytest.mark.parametrize(
    ("how", "line", "level", "deaths"), [("kill", "hub_dead", "warning", 1), ("terminate", "hub_ended", "info", 0)]
)
async def test_a_hub_that_ended_is_told_from_one_that_died(
    redis_url: str, billing: Billing, tmp_path: Path, how: str, line: str, level: str, deaths: int
) -> None:
    with recorded() as log:
        async with HubProcess(redis_url, tmp_path) as leaving, serving(settings(redis_url)) as survivor:
            await billing.account(2)
            await survivor.host()
            await (await leaving.join("ann")).told("seated")
            getattr(leaving.process, how)()
            await wait_until(lambda: "hub_reaped" in log.events("info"), within_seconds=10)
            metrics = (await survivor.http.get("/metrics")).text
    told = {name: log.events(name) for name in ("info", "warning")}
    assert told[level].count(line) == 1 and {"hub_dead", "hub_ended"} & {*told["info"], *told["warning"]} == {line}
    assert f"capacity_hub_deaths_total {deaths}.0" in metrics and "capacity_reaped_total 1.0" in metrics


async def test_rooms_of_a_hub_that_died_alone_are_taken_over_by_the_next(
    redis_url: str, billing: Billing, tmp_path: Path
) -> None:
    async with HubProcess(redis_url, tmp_path) as doomed:
        await billing.publish(1)
        await doomed.ready()
        await billing.seats(ACCOUNT, 1)
        await doomed.host()
        ann = await doomed.join("ann")
        await ann.told("seated")
        doomed.process.kill()
        async with serving(settings(redis_url, idle_seconds=1.0)) as successor:

            async def given_back() -> bool:
                return bool((await successor.occupancy())["state"] == "ended")

            await wait_until(given_back, within_seconds=10, what="seat given back, then ended for idleness")


async def test_a_frozen_hub_is_fenced_and_its_people_are_told_the_truth(
    redis_url: str, billing: Billing, tmp_path: Path
) -> None:
    async with HubProcess(redis_url, tmp_path) as frozen, serving(settings(redis_url)) as other:
        await billing.account(1)
        await other.host()
        ann = await frozen.join("ann")
        await ann.told("seated")
        ben = await other.join("ben")
        await ben.told("waiting")
        frozen.process.send_signal(signal.SIGSTOP)
        await ben.told("refresh", within_seconds=8)
        await ben.say("claim")
        await ben.told("seated")
        frozen.process.send_signal(signal.SIGCONT)
        lost = await ann.told("waiting", within_seconds=8)
        assert (lost["reason"], lost["position"]) == ("seat_lost", 1)
        numbers = await other.occupancy()
        assert (numbers["occupied"], numbers["waiting"]) == (1, 1)
        await ben.say("leave")
        await ann.told("refresh", within_seconds=8)


async def test_after_a_crash_of_everything_rooms_lines_and_limits_are_as_they_were(tmp_path: Path) -> None:
    """The embedded Valkey dies with its hub; its append-only file brings everything back."""
    long: dict[str, Any] = {"lease_seconds": 5, "grace_seconds": 20, "place_seconds": 30}
    async with HubProcess(None, tmp_path, **long) as hub:
        assert (await post_event(hub, seats=1)).status_code == 202
        await wait_until(lambda: _known(hub))
        await hub.host()
        ann, ben, cem = await hub.join("ann"), await hub.join("ben"), await hub.join("cem")
        await cem.told("waiting", position=2)
        before = await hub.occupancy()
        assert before["state"] == "open" and before["seat_limit"] == 1
        hub.process.kill()
        await ann.gone()
        await ben.gone()
    async with HubProcess(None, tmp_path, **long) as again:
        assert await again.occupancy() == before
        cem = await again.join("cem")
        assert (await cem.told("waiting"))["position"] == 2
        await (await again.join("ann")).told("seated")
        assert (await (await again.join("ben")).told("waiting"))["position"] == 1


async def post_event(hub: Hub, seats: int) -> httpx.Response:
    """Send a signed plan-changed event to the webhook."""
    event = events.build(ACCOUNT, "plan", seats, source="/tests", id="first", time_ms=int(time.time() * 1000))
    return await hub.http.post(
        "/v1/events", content=event, headers=signatures.sign(WEBHOOK_SECRET, "msg_1", int(time.time()), event)
    )


async def _known(hub: Hub) -> bool:
    return (await hub.call("GET", hub.room_path())).status_code == 200


async def test_sigterm_tells_everybody_to_come_back_and_keeps_their_seats(
    redis_url: str, billing: Billing, tmp_path: Path
) -> None:
    async with HubProcess(redis_url, tmp_path) as ending, serving(settings(redis_url)) as other:
        await billing.account(3)
        await other.host()
        people = {name: await ending.join(name) for name in ("ann", "ben", "cem")}
        for client in people.values():
            await client.told("seated")
        newcomer = await other.join("dot")
        await newcomer.told("waiting")
        ending.process.terminate()
        for client in people.values():
            assert await client.gone() == (1012, "restarting")
        for name in people:
            await (await other.join(name)).told("seated")
        assert await ending.ended() == 0
        assert not newcomer.of("refresh")


async def test_a_store_that_dies_and_forgets_is_filled_again_by_its_hubs(store: Server) -> None:
    async with serving(settings(store.url)) as hub:
        billing = Billing(store.url)
        await billing.account(2)
        host, ann, ben, cem = await hub.host(), await hub.join("ann"), await hub.join("ben"), await hub.join("cem")
        await cem.told("waiting")
        store.kill()
        for client in (host, ann, ben, cem):
            assert (await client.told("error", within_seconds=10))["code"] == "unavailable"
        assert await (await hub.join("dot")).gone() == (1013, "unavailable")
        answer = await hub.http.get("/readyz")
        assert answer.status_code == 503 and "store_unavailable" in answer.json()["problems"]
        assert (await hub.call("GET", hub.room_path())).status_code == 503
        assert (await hub.http.get("/healthz")).status_code == 200
        store.start()

        async def filled() -> bool:
            room = await hub.call("GET", hub.room_path())
            return room.status_code == 200 and room.json()["seated"] == 2 and room.json()["waiting"] == 1

        await wait_until(filled, within_seconds=15)
        await wait_until(lambda: _ready(hub), within_seconds=5)
        for client in (host, ann, ben, cem):
            assert client.closed is None and len(client.of("error")) == 1
        async with await hub.join("dot") as dot:
            assert (await dot.told("waiting"))["position"] == 2
            await ann.say("leave")
            await cem.told("refresh", within_seconds=8)
            assert not dot.of("refresh")
        await billing.close()


async def _ready(hub: Hub) -> bool:
    return (await hub.http.get("/readyz")).status_code == 200


async def test_a_frozen_store_is_noticed_and_what_happened_meanwhile_is_caught_up(store: Server) -> None:
    async with serving(settings(store.url)) as hub:
        billing = Billing(store.url)
        await billing.account(1)
        host, ann, ben = await hub.host(), await hub.join("ann"), await hub.join("ben")
        await ben.told("waiting")
        store.signal(signal.SIGSTOP)
        await ann.say("leave")
        await host.told("error", within_seconds=10)
        assert not await _ready(hub)
        store.signal(signal.SIGCONT)
        await ben.told("refresh", within_seconds=10)
        await wait_until(lambda: _ready(hub), within_seconds=10)
        assert (await hub.occupancy())["occupied"] == 1
        await billing.close()


async def test_who_comes_while_the_store_is_frozen_is_sent_away_to_come_again(store: Server) -> None:
    async with serving(settings(store.url)) as hub:
        billing = Billing(store.url)
        await billing.account(5)
        await hub.host()
        store.signal(signal.SIGSTOP)
        people = [await hub.join(name) for name in ("ann", "ben", "cem")]
        late_host = await hub.connect(token("eve", role="host"))
        for client in (*people, late_host):
            assert await client.gone(within_seconds=10) == (1013, "unavailable")
        store.signal(signal.SIGCONT)
        await wait_until(lambda: _ready(hub), within_seconds=10)
        await (await hub.join("ann")).told("seated")

        async def nobody_counted_twice() -> bool:
            return bool((await hub.occupancy())["occupied"] == 1)

        await wait_until(nobody_counted_twice, within_seconds=6, what="the given-up joins to lose their seats")
        await billing.close()


async def test_a_subscription_that_is_cut_loses_nothing(hub: Hub, billing: Billing, redis_url: str) -> None:
    await billing.account(1)
    host, _, ben = await hub.host(), await hub.join("ann"), await hub.join("ben")
    await ben.told("waiting")
    client: Any = aioredis.Redis.from_url(redis_url)
    assert await client.execute_command("CLIENT KILL TYPE pubsub") >= 1
    await billing.publish(2)
    await ben.told("refresh", within_seconds=6)
    for told in (host, ben):
        assert (await told.told("seat_limit", within_seconds=6))["seat_limit"] == 2
    await wait_until(lambda: _ready(hub), within_seconds=5)
    await client.aclose()


async def test_scripts_that_the_server_forgot_are_sent_again(hub: Hub, billing: Billing, redis_url: str) -> None:
    await billing.account(1)
    client = aioredis.Redis.from_url(redis_url)
    async with await hub.host():
        await client.script_flush()
        async with await hub.join("ann") as ann:
            await ann.told("seated")
    await client.aclose()


async def test_a_room_in_which_too_many_wait_for_an_answer_sends_the_next_away(
    store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ROOM_UNANSWERED_MAX", 5)
    async with serving(settings(store.url)) as hub:
        billing = Billing(store.url)
        await billing.account(5)
        await hub.host()
        store.signal(signal.SIGSTOP)
        people = [await hub.join(f"p{number}") for number in range(20)]
        await wait_until(lambda: any(client.closed == (1013, "overloaded") for client in people))
        store.signal(signal.SIGCONT)
        answered = [client for client in people if client.closed != (1013, "overloaded")]
        assert answered, "those who came before are answered"
        for client in answered:
            await wait_until(lambda client=client: client.messages or client.closed)  # type: ignore[misc]
        await billing.close()


async def test_many_who_come_at_once_are_never_oversold(redis_url: str, billing: Billing) -> None:
    async with serving(settings(redis_url)) as first, serving(settings(redis_url)) as second:
        await billing.account(50)
        host = await first.host()
        people = await asyncio.gather(*((first, second)[number % 2].join(f"p{number}") for number in range(120)))
        for person in people:
            await person.first()
        assert sum(bool(person.of("seated")) for person in people) == 50
        positions = sorted(person.of("waiting")[0]["position"] for person in people if person.of("waiting"))
        assert positions == list(range(1, 71))
        assert all(message["occupied"] <= 50 for message in host.of("occupancy"))
