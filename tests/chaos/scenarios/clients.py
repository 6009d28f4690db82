"""Clients that mean no good, and a consumer of plan changes that dies with what it took."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from capacity.store import keys
from capacity.store.plan_changes import GROUP
from tests.chaos import times
from tests.chaos.hostile import Hostile
from tests.chaos.outcome import Scenario
from tests.chaos.world import World

ROUNDS = 5
GROWN_MIB_MAX = 64
TAKEN = 8
HEAD_START_SECONDS, PAUSE_SECONDS = 0.05, 1.0
TAKEN_OVER_SECONDS = times.LEASE_SECONDS * 2
PAGE_MIB = 4096 / 2**20


async def be_hostile(world: World) -> None:
    """Let clients never read, flood, babble and drip, at every hub; nobody else is to notice."""
    before = [resident_mib(hub.process.pid) for hub in world.hubs if hub.process is not None]
    guests = []
    began = time.monotonic()
    for hub in world.hubs:
        account = world.chance.choice(world.accounts)
        guest = Hostile(hub.port, account.id, account.rooms[0])
        guests.append(guest)
        for act in (
            guest.stall,
            guest.close_unread,
            guest.flood,
            guest.babble,
            guest.lie,
            guest.drip,
            guest.say_nothing,
        ):
            for _ in range(ROUNDS):
                await act()
                world.fault(act.__name__)
    await world.wait(max(0.0, world.seconds - (time.monotonic() - began)))
    world.bit("cut_by_the_hub", sum(guest.cut() for guest in guests))
    for number, hub in enumerate(world.hubs):
        world.bit("slow_or_silent", int(await world.metric(number, "capacity_drops_total")))
        if hub.process is not None and (grown := resident_mib(hub.process.pid) - before[number]) > GROWN_MIB_MAX:
            world.violate(f"I10 hub {number} grew by {grown:.0f} MiB under hostile clients")
    for guest in guests:
        guest.end()
    world.over()


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB


async def die_with_events(world: World) -> None:
    """Take plan changes as a hub would, and never say what became of them: others take them over."""
    began = time.monotonic()
    while time.monotonic() - began < world.seconds:
        name = f"ghost-{world.chance.getrandbits(32):x}"
        for account in world.chance.sample(world.accounts, 2):
            taking = world.redis.xreadgroup(GROUP, name, {keys.PLAN_CHANGES: ">"}, count=TAKEN, block=1000)
            client_side = asyncio.ensure_future(taking)
            await world.wait(HEAD_START_SECONDS)
            await world.billing.change(account)
            taken = await client_side
            if taken:
                world.fault("consumer died with events", sum(len(entries) for _, entries in taken))
        await world.wait(PAUSE_SECONDS)
    world.over()
    await world.wait(TAKEN_OVER_SECONDS)


SCENARIOS = (
    Scenario(
        "hostile-clients",
        "stalled readers, ping floods, garbage, slow and empty handshakes at every hub",
        be_hostile,
        (("cut_by_the_hub",),),
        refresh_p99_seconds=1.0,
        idle_seconds_max=1.0,
    ),
    Scenario(
        "dead-consumer",
        "plan changes taken by a consumer that dies",
        die_with_events,
        (("event_taken_over",),),
        seconds=6.0,
    ),
)
