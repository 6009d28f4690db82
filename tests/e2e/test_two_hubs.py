"""Two hub processes: what hosts are told is told once in the whole cluster, and people move between hubs without losing anything."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.service import ROOM, Billing, Hub

pytestmark = pytest.mark.anyio
Hubs = tuple[Hub, Hub]


async def test_each_of_five_hosts_gets_each_crossing_once(hubs: Hubs, billing: Billing) -> None:
    await billing.account(10)
    hosts = [await hubs[number % 2].host(f"host-{number}") for number in range(5)]
    for host in hosts:
        await host.told("occupancy")
    people = await asyncio.gather(*(hubs[number % 2].join(f"p{number}") for number in range(8)))
    for person in people:
        await person.told("seated")
    for number in (8, 9):
        people.append(await hubs[number % 2].join(f"p{number}"))
        await people[-1].told("seated")
    for host in hosts:
        await host.told("near_full", level="near_full", occupied=9)
        await host.told("near_full", level="full", occupied=10)
    for number in (9, 8):  # down to 8: not below ceil(0.8 × 10), so nothing is cleared and nothing is told again
        await people[number].say("leave")
        await people[number].gone()
    for number in (8, 9):
        people[number] = await hubs[number % 2].join(f"p{number}")
        await people[number].told("seated")
    for number in (9, 8, 7):
        await people[number].say("leave")
        await people[number].gone()
    for host in hosts:
        assert (await host.told("near_full_cleared"))["occupied"] == 7
    for number in (7, 8):
        people[number] = await hubs[number % 2].join(f"p{number}")
        await people[number].told("seated")
    for host in hosts:
        await host.told("near_full", level="near_full", count=2)
    await hosts[0].told("occupancy", occupied=9)
    for host in hosts:
        levels = [message["level"] for message in host.of("near_full")]
        assert levels == ["near_full", "full", "near_full"] and len(host.of("near_full_cleared")) == 1


async def test_a_host_who_connects_gets_the_present_state(hubs: Hubs, billing: Billing) -> None:
    await billing.account(1)
    await hubs[0].host()
    ann = await hubs[1].join("ann")
    await ann.told("seated")
    late = await hubs[1].host("late", billing=True)
    near = await late.told("near_full")
    assert late.kinds == ["occupancy", "near_full"]
    assert near["level"] == "full" and near["upgrade"]["seats"] > 1 and near["full_in_seconds"] == 0


async def test_occupancy_comes_at_most_five_times_a_second_and_the_last_change_arrives(
    hubs: Hubs, billing: Billing
) -> None:
    await billing.account(100)
    host = await hubs[0].host()
    await host.told("occupancy")
    began = time.monotonic()
    people = await asyncio.gather(*(hubs[number % 2].join(f"p{number}") for number in range(60)))
    await host.told("occupancy", occupied=60)
    seconds = time.monotonic() - began
    assert len(host.of("occupancy")) <= 2 + 5 * (seconds + 0.2)
    for person in people:
        await person.disconnect()


async def test_a_participant_moves_to_another_hub_and_keeps_the_seat(hubs: Hubs, billing: Billing) -> None:
    await billing.account(1)
    await hubs[0].host()
    first = await hubs[0].join("ann")
    await first.told("seated")
    waiting = await hubs[0].join("ben")
    await waiting.told("waiting")
    second = await hubs[1].join("ann")
    await second.told("seated")
    assert await first.gone() == (4409, "replaced")
    moved = await hubs[1].join("ben")
    assert (await moved.told("waiting"))["position"] == 1
    await second.say("leave")
    await moved.told("refresh")
    back = await hubs[0].join("ben")
    await back.told("seated")


async def test_a_raise_reaches_everybody_on_both_hubs_in_order(hubs: Hubs, billing: Billing) -> None:
    await billing.account(2)
    hosts = [await hub.host() for hub in hubs]
    people = []
    for number in range(12):
        people.append(await hubs[number % 2].join(f"p{number:02}"))
        await people[-1].first()
    await billing.publish(7)
    for person in people:
        assert await person.told("seat_limit") == {"type": "seat_limit", "room": ROOM, "seat_limit": 7, "previous": 2}
    for number, person in enumerate(people):
        if 2 <= number < 7:
            refresh = await person.told("refresh")
            assert refresh["reason"] == "seat_limit_raised" and refresh["spread_ms"] == 25
            assert person.kinds.index("seat_limit") < person.kinds.index("refresh")
        elif number >= 7:
            await person.told("waiting", position=number - 6, waiting=5, seat_limit=7)
            assert not person.of("refresh")
    for host in hosts:
        await host.told("occupancy", occupied=7, held=5, seated=2, waiting=5, seat_limit=7)
        await host.told("near_full", level="full", seat_limit=7)


async def test_ending_on_one_hub_ends_it_on_the_other(hubs: Hubs, billing: Billing) -> None:
    await billing.account(1)
    host = await hubs[0].host()
    ann = await hubs[1].join("ann")
    await ann.told("seated")
    await host.say("end")
    assert await ann.gone() == (4410, "ended")


async def test_putting_out_on_one_hub_closes_on_the_other(hubs: Hubs, billing: Billing) -> None:
    await billing.account(1)
    await hubs[0].host()
    ann = await hubs[1].join("ann")
    await ann.told("seated")
    await hubs[0].call("DELETE", f"{hubs[0].room_path()}/participants/ann")
    assert await ann.gone() == (4410, "ended")
