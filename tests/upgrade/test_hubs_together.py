"""Hub processes of the last release and of this one on one store: side by side, rolled forward, rolled back."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from capacity import __version__
from tests.e2e.test_rolling_restart import arrive, line, settled
from tests.support.customer import Customer, new_key
from tests.support.process import HubProcess
from tests.support.service import Billing, Client
from tests.support.waiting import wait_until
from tests.upgrade import frozen

pytestmark = pytest.mark.anyio
SEATS, WAITING = 40, 10
TIMES: dict[str, Any] = {"grace_seconds": 15, "place_seconds": 20, "hold_seconds": 10, "lease_seconds": 5}


async def release(hub: HubProcess) -> str:
    """Return which release a hub says it is of."""
    return str((await hub.http.get("/healthz")).json()["version"])


@pytest.fixture
async def both(redis_url: str, last_release: Path, tmp_path: Path) -> AsyncIterator[tuple[HubProcess, HubProcess]]:
    """A hub of the last release and one of this, on one store."""
    async with (
        HubProcess(redis_url, tmp_path, package=last_release, payments="test") as old,
        HubProcess(redis_url, tmp_path, payments="test") as new,
    ):
        assert (await release(old), await release(new)) == (frozen.VERSION, __version__)
        yield old, new


async def test_a_room_is_one_whichever_release_its_people_are_on(
    both: tuple[HubProcess, HubProcess], billing: Billing
) -> None:
    old, new = both
    await billing.account(10)
    hosts = [await hub.host(f"host-{number}") for number, hub in enumerate(both)]
    seated = [await both[number % 2].join(f"s{number}") for number in range(8)]
    for person in seated:
        await person.told("seated")
    for number in (8, 9):
        seated.append(await both[number % 2].join(f"s{number}"))
        await seated[-1].told("seated")
    waiting = [await both[number % 2].join(f"w{number}") for number in range(4)]
    for person in waiting:
        await person.told("waiting")
    for host in hosts:
        await host.told("near_full", level="near_full", occupied=9)
        await host.told("near_full", level="full", occupied=10)
        assert [message["level"] for message in host.of("near_full")] == ["near_full", "full"]
    for hub in both:
        assert (await hub.occupancy())["waiting"] == 4

    # a seat, a place and a held seat go along to the other release
    moved = await new.join("s0")
    await moved.told("seated")
    assert await seated[0].gone() == (4409, "replaced")
    place = await old.join("w1")
    assert (await place.told("waiting"))["position"] in (1, 2)
    assert await waiting[1].gone() == (4409, "replaced")
    waiting[1] = place
    await billing.publish(12)
    for person in (*seated[1:], moved, *waiting):
        assert (await person.told("seat_limit"))["seat_limit"] == 12
    first, second = [person for person in waiting if await refreshed(person)]
    await first.say("claim")
    await first.told("seated")
    again = await new.join(f"w{waiting.index(second)}")
    await again.told("seated")
    for hub in both:
        numbers = await hub.occupancy()
        assert (numbers["seated"], numbers["held"], numbers["waiting"]) == (12, 0, 2)

    jwks = [(await hub.http.get("/v1/jwks.json")).json() for hub in both]
    assert jwks[0] == jwks[1]
    await hosts[0].say("end")
    for person in (*seated[1:], moved, first, again):
        assert await person.gone() == (4410, "ended")


async def refreshed(client: Client) -> bool:
    """Whether somebody is told of a held seat, or of a new place."""
    await wait_until(lambda: client.of("refresh") or client.messages[-1].get("seat_limit") == 12)
    return bool(client.of("refresh"))


@pytest.mark.parametrize("dies", ["last", "this"])
async def test_a_hub_that_dies_is_reaped_by_the_other_release(
    redis_url: str, billing: Billing, last_release: Path, tmp_path: Path, dies: str
) -> None:
    packages = (last_release, None) if dies == "last" else (None, last_release)
    hubs = [HubProcess(redis_url, tmp_path, package=package, grace_seconds=0.5) for package in packages]
    async with hubs[0] as victim, hubs[1] as survivor:
        versions = (frozen.VERSION, __version__) if dies == "last" else (__version__, frozen.VERSION)
        assert (await release(victim), await release(survivor)) == versions
        await billing.account(2)
        await survivor.host()
        await (await victim.join("gone")).told("seated")
        await (await survivor.join("kept")).told("seated")
        waiting = await survivor.join("next")
        await waiting.told("waiting", position=1)
        victim.process.kill()
        await waiting.told("refresh", within_seconds=10)


async def test_what_is_bought_at_one_release_is_in_force_at_the_other(both: tuple[HubProcess, HubProcess]) -> None:
    for first, second in (both, both[::-1]):
        here = Customer(first)
        there = Customer(second, here.name)
        await here.created("starter")
        quote, key = await there.quoted(plan="growth"), new_key()
        bought = await here.buy(quote, key)
        assert bought.status_code == 200, bought.text
        assert (await there.buy(quote, key)).json() == bought.json()
        state = await here.state()
        assert await there.state() == state and state["plan"] == "growth"
        ledgers = [(await hub.call("GET", f"{here.path}/ledger")).json() for hub in both]
        assert ledgers[0] == ledgers[1] and ledgers[0]["entries"]

        async def in_force(hub: HubProcess = second, customer: Customer = there, seats: int = state["seats"]) -> bool:
            room = await hub.call("GET", hub.room_path(account=customer.name))
            return bool(room.json()["seat_limit"] == seats)

        await wait_until(in_force, what="the seats that were bought")


@pytest.mark.timeout(180)
async def test_rolled_forward_and_back_nobody_loses_a_seat_or_a_place(
    redis_url: str, billing: Billing, last_release: Path, tmp_path: Path
) -> None:
    """As docs/operations.md says: one hub at a time, drained by SIGTERM; first to this release, then back to the last."""
    rng = random.Random(1)
    async with AsyncExitStack() as stack:

        async def begin(package: Path | None) -> HubProcess:
            return await stack.enter_async_context(HubProcess(redis_url, tmp_path, package=package, **TIMES))

        hubs = [await begin(last_release) for _ in range(2)]
        await billing.account(SEATS)
        assert (await hubs[0].call("PUT", hubs[0].room_path())).status_code == 200
        seated = await arrive(hubs, "s", SEATS, rng, "seated")
        waiting = await arrive(hubs, "w", WAITING, rng, "waiting")
        before = await line(billing._client)
        for package, version in ((None, __version__), (last_release, frozen.VERSION)):
            for _ in range(2):
                drained = hubs.pop(0)
                hubs.append(await begin(package))
                drained.process.terminate()
                assert await drained.ended() == 0
                await settled(hubs[0], lambda numbers: numbers["seated"] == SEATS and numbers["away"] == 0)
                await wait_until(
                    lambda drained=drained: all(f.hub is not drained for f in waiting),  # type: ignore[misc]
                    what="those who wait to be elsewhere",
                )
            assert [await release(hub) for hub in hubs] == [version, version]
            assert await line(billing._client) == before
        for follower in seated:
            assert set(follower.states) == {"seated"}, (follower.participant, follower.states)
        for follower in waiting:
            assert set(follower.states) == {"waiting"}, (follower.participant, follower.states)
        report = (await hubs[0].call("GET", f"{hubs[0].room_path()}/report")).json()
        assert (report["peak"], report["joined"]) == (SEATS, SEATS)
        for follower in (*seated, *waiting):
            await follower.stop()


async def test_the_embedded_store_of_either_release_is_read_by_the_other(last_release: Path, tmp_path: Path) -> None:
    """One process with a data directory of its own: stopped, upgraded, rolled back."""
    customer = ""
    for number, package in enumerate((last_release, None, last_release)):
        async with HubProcess(None, tmp_path, package=package, payments="test", **TIMES) as hub:
            if not number:
                customer = Customer(hub).name
                await Customer(hub, customer).created("starter")
                assert (await hub.call("PUT", hub.room_path(account=customer))).status_code == 200
            person = await hub.join("ann", account=customer)
            await person.told("seated")
            room = (await hub.call("GET", hub.room_path(account=customer))).json()
            assert (room["state"], room["seated"], room["peak"]) == ("open", 1, 1)
            assert (await Customer(hub, customer).state())["plan"] == "starter"
            hub.process.terminate()
            assert await hub.ended() == 0
