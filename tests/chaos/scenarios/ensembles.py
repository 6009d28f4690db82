"""Faults of stores that have replicas: failover with and without a split brain, a primary killed, a slot that moves."""

from __future__ import annotations

import asyncio
import time

from capacity.store import keys
from tests.chaos.outcome import Scenario
from tests.chaos.world import World

ANY_HUB = -1
SPLIT_SECONDS = 3.0
SETTLE_SECONDS = 4.0
MOVED_WITHIN_SECONDS = 15.0


async def split(world: World) -> None:
    """Freeze the primary until a replica is promoted, then let it wake; then have a replica promoted while it lives."""
    former = world.store.primary()
    world.fault("SIGSTOP primary")
    former.freeze()
    world.bit("promoted", int(await world.store.failed_over(former) > 0))
    await world.wait(SPLIT_SECONDS)
    former.thaw()
    world.over()
    await world.wait(SETTLE_SECONDS)
    if world.scenario.loses_data:
        former, since = world.store.primary(), time.monotonic()
        world.fault("failover of a living primary")
        await asyncio.to_thread(world.store.force_failover)
        world.bit("promoted", int(await world.store.failed_over(former) > 0))
        await world.store.demoted(former)
        world.lost_data()
        world.over()
        world.cut_off(ANY_HUB, since, -world.scenario.grace_seconds)  # two primaries gave seats away
        await world.wait(SETTLE_SECONDS)
        world.bit("generations", world.generations())


async def kill_primary(world: World) -> None:
    """Kill the primary of an account, then that of billing; replicas take over, and the killed come back as replicas."""
    for key in (keys.account_key(world.accounts[0].id), keys.PLAN_CHANGES):
        former = await asyncio.to_thread(world.store.primary_of, key)
        world.fault("kill -9 primary")
        former.kill()
        world.bit("promoted", int(await world.store.failed_over(key, former) > 0))
        world.over()
        await world.wait(SETTLE_SECONDS)
        await asyncio.to_thread(former.start)
        await world.wait(SETTLE_SECONDS)


async def migrate(world: World) -> None:
    """Move the slots of two accounts, of billing and of the hubs to other primaries, while they are used."""
    for key in (*(keys.account_key(account.id) for account in world.accounts[:2]), keys.PLAN_CHANGES, keys.BEATS):
        world.fault("slot moves")
        source = await asyncio.to_thread(world.store.migrate, key)
        await world.store.failed_over(key, source, MOVED_WITHIN_SECONDS)
        world.bit("moved")
        world.over()
        await world.wait(SETTLE_SECONDS / 2)


SCENARIOS = (
    Scenario(
        "split-brain",
        "Sentinel: the primary frozen, a replica promoted, the primary wakes; then one promoted beside a living one",
        split,
        (("promoted",), ("store_unavailable",), ("generations",)),
        store="sentinel",
        loses_data=True,
        refresh_p99_seconds=10.0,
    ),
    Scenario(
        "safe-sentinel",
        "the same with two replicas and min-replicas-to-write 1",
        split,
        (("promoted",), ("store_unavailable",)),
        store="safe sentinel",
        refresh_p99_seconds=10.0,
    ),
    Scenario(
        "cluster-failover",
        "Cluster: primaries killed, replicas take over",
        kill_primary,
        (("promoted",), ("store_unavailable",)),
        store="cluster",
        refresh_p99_seconds=10.0,
    ),
    Scenario(
        "cluster-moves",
        "Cluster: slots move while they are used",
        migrate,
        (("moved",), ("feed_moved",)),
        store="cluster",
    ),
)
