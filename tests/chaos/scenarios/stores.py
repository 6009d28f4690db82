"""Faults of one store: killed with and without its file, frozen, busy, full, forgetful of scripts, with a clock that steps."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from redis.exceptions import RedisError

from capacity.store.keys import RoomName
from capacity.store.rooms import STEP_MS
from tests.chaos import mounts, times
from tests.chaos.monitor import room_people
from tests.chaos.outcome import Scenario
from tests.chaos.stores import Store, faketime_missing
from tests.chaos.world import World

SETTLE_SECONDS = 3.0
DOWN_SECONDS = (0.0, 2.0)
FREEZES_SECONDS = (1.0, 6.0)
CUT_EVERY_SECONDS = 2.5
FLUSH_EVERY_SECONDS = 1.0
FULL_SECONDS = 4.0
BUSY_SECONDS = 6.0
STEPS_SECONDS = (45, -3600, 0)
FOREVER = "while true do end"


async def kill(world: World) -> None:
    """Kill the store and start it with its file, at once and after two seconds."""
    for down_seconds in DOWN_SECONDS:
        world.fault(f"kill -9 store, {down_seconds:g} s down")
        world.store.kill()
        await world.wait(down_seconds)
        await asyncio.to_thread(world.store.start)
        world.over()
        await world.wait(SETTLE_SECONDS)


async def empty(world: World) -> None:
    """Kill the store and start it without its file: hubs bring back what they know."""
    for down_seconds in DOWN_SECONDS:
        world.fault(f"store emptied, {down_seconds:g} s down")
        world.store.kill()
        await world.wait(down_seconds)
        await asyncio.to_thread(world.store.start, with_data=False)
        world.lost_data()
        world.over()
        await world.wait(SETTLE_SECONDS + SETTLE_SECONDS)
    world.bit("generations", world.generations())


async def freeze(world: World) -> None:
    """Stop the store in its tracks, for a moment and for longer than anybody waits."""
    for seconds in FREEZES_SECONDS:
        world.fault(f"SIGSTOP store {seconds:g} s")
        world.store.freeze()
        await world.wait(seconds)
        world.store.thaw()
        world.over()
        await world.wait(SETTLE_SECONDS)


async def busy(world: World) -> None:
    """Keep the store busy with a script that does not end, until it is killed."""
    for seconds in (times.LEASE_SECONDS, BUSY_SECONDS):
        world.fault(f"busy script {seconds:g} s")
        running = asyncio.create_task(_run_forever(world.store))
        await world.wait(seconds)
        await _stop_script(world)
        await running
        world.over()
        await world.wait(SETTLE_SECONDS)
    world.bit("BUSY", await world.store_errors("BUSY"))


async def _run_forever(store: Store) -> None:
    client = store.client()
    with contextlib.suppress(RedisError, OSError):
        await client.eval(FOREVER, 0)
    await client.aclose()


async def _stop_script(world: World) -> None:
    while True:
        try:
            await world.redis.script_kill()
        except RedisError as error:
            if "NOTBUSY" in str(error) or "No scripts" in str(error):
                return
        await asyncio.sleep(times.SLACK_SECONDS)


async def cut_feed(world: World) -> None:
    """Cut every subscription, again and again."""
    began = time.monotonic()
    while time.monotonic() - began < world.seconds:
        await world.wait(CUT_EVERY_SECONDS)
        world.fault("CLIENT KILL TYPE pubsub")
        world.bit("connections_cut", int(await world.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")))
    world.over()
    await world.wait(SETTLE_SECONDS)


async def flush_scripts(world: World) -> None:
    """Let the store forget every script, again and again."""
    before, began = await world.store_errors("NOSCRIPT"), time.monotonic()
    while time.monotonic() - began < world.seconds:
        await world.wait(FLUSH_EVERY_SECONDS)
        world.fault("SCRIPT FLUSH")
        await world.redis.script_flush()
    world.bit("NOSCRIPT", await world.store_errors("NOSCRIPT") - before)
    world.over()


async def fill_memory(world: World) -> None:
    """Let the store have less memory than it uses: nobody comes in, but who leaves still frees a seat."""
    before = await world.store_errors("OOM")
    world.fault("maxmemory below used")
    began = time.monotonic()
    await world.redis.config_set("maxmemory", "1")
    await world.wait(FULL_SECONDS)
    await _left_are_gone(world, began, "a full memory")
    await world.redis.config_set("maxmemory", "0")
    world.over()
    world.bit("OOM", await world.store_errors("OOM") - before)
    await world.wait(SETTLE_SECONDS)


async def _left_are_gone(world: World, since: float, what: str) -> None:
    """Hold that who left since then, and a second ago or more, has no seat any more, whatever else does not work."""
    until = time.monotonic() - 1
    left = [e for e in world.journal.of("departs") if since < e.at < until and e.fields["way"] == "leave"]
    accounts = {room: account.id for account in world.accounts for room in account.rooms}
    stuck, freed = [], 0
    for event in left:
        attendee = next(a for a in world.audience.attendees if a.name == event.participant)
        if attendee.state not in ("absent", "leaving") and attendee.answered:
            continue  # they are back already
        people = await room_people(world.redis, RoomName(accounts[event.room], event.room))
        if event.participant in people:
            stuck.append(event.participant)
        else:
            freed += 1
    world.bit("left_and_freed", freed)
    if stuck:
        world.violate(
            f"I2 {len(stuck)} who left during {what} still have a seat or place a second later: {sorted(stuck)[:5]}"
        )


async def fill_disk(world: World) -> None:
    """Fill the disk under the store's file; then make room."""
    ballast = Path(world.store.data) / "ballast"
    before = await world.store_errors("MISCONF")
    world.fault("disk full")
    mounts.fill(ballast)
    await world.wait(FULL_SECONDS)
    ballast.unlink()
    world.over()
    await world.wait(SETTLE_SECONDS)
    world.bit("MISCONF", await world.store_errors("MISCONF") - before)


async def step_clock(world: World) -> None:
    """Step the store's clock forward by 45 s, back by an hour, and to the truth again: no seat may be lost by it."""
    for seconds in STEPS_SECONDS:
        world.fault(f"clock at {seconds:+} s")
        world.store.set_clock(seconds)
        await world.wait(times.SLACK_SECONDS)
        off = (await world.redis.time())[0] - time.time()
        world.bit("clock_was_off", int(abs(off - seconds) < 2))
        world.over()
        await world.wait(SETTLE_SECONDS)
    if world.outcome.bites["clock_was_off"] < len(STEPS_SECONDS):
        world.violate("the fault did not bite: the store's clock did not step")


SCENARIOS = (
    Scenario(
        "kill-store",
        "kill -9 of the store, started with its file after 0 and 2 s",
        kill,
        (("store_unavailable",),),
        refresh_p99_seconds=10.0,
    ),
    Scenario(
        "empty-store",
        "kill -9 of the store, started without its file",
        empty,
        (("store_unavailable",), ("generations",)),
        loses_data=True,
        refresh_p99_seconds=10.0,
    ),
    Scenario(
        "freeze-store",
        "SIGSTOP of the store for 1 and 6 s",
        freeze,
        (("store_unavailable",),),
        refresh_p99_seconds=10.0,
    ),
    Scenario(
        "busy-store",
        "a script that does not end, for 2 and 6 s",
        busy,
        (("BUSY", "store_unavailable"),),
        refresh_p99_seconds=10.0,
    ),
    Scenario(
        "cut-feed", "every subscription cut, every 2.5 s", cut_feed, (("feed_lost", "feed_live"), ("connections_cut",))
    ),
    Scenario("flush-scripts", "SCRIPT FLUSH every second", flush_scripts, (("NOSCRIPT",),), refresh_p99_seconds=1.0),
    Scenario("full-memory", "maxmemory below what is used", fill_memory, (("OOM",), ("left_and_freed",))),
    Scenario(
        "full-disk",
        "no room for the append-only file",
        fill_disk,
        (("MISCONF",),),
        store="small disk",
        needs=mounts.missing,
    ),
    Scenario(
        "clock-steps",
        "the store's clock +45 s, −1 h, and right again",
        step_clock,
        (("clock_was_off",),),
        store="clock",
        needs=faketime_missing,
        grace_seconds=6.0,
        clock_slack_seconds=STEP_MS / 1000,
        errors=("clock_off",),
    ),
)
