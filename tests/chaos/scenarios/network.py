"""Faults of the network, by proxies between clients, hubs and the store: replies lost, silence, slowness, everybody cut off at once."""

from __future__ import annotations

import time

from tests.chaos import times
from tests.chaos.outcome import Scenario
from tests.chaos.proxy import Proxy
from tests.chaos.world import World

LOST_SHARE = 0.05
SETTLE_SECONDS = 2.0
STORE_SILENCES = ((True, True, 5.0), (True, False, 4.0), (False, True, 4.0))
"""To the store, from it, for how long."""
CLIENT_SILENCE_SECONDS = 2 * times.PING_SECONDS + times.LEASE_SECONDS + times.GRACE_SECONDS
DELAY_SECONDS = 0.1
SLICE_BYTES, STORE_SLICE_BYTES = 1, 64
STORM_WITHIN_SECONDS = 30.0


async def lose_replies(world: World) -> None:
    """Let the store do what it is told, and reset the connection instead of the reply, one time in twenty."""
    world.fault("replies lost, p = 5 %")
    for proxy in world.store_proxies:
        proxy.lost_replies = LOST_SHARE
    await world.wait(world.seconds)
    for proxy in world.store_proxies:
        proxy.lost_replies = 0.0
    world.over()
    _count(world, world.store_proxies, "lost_replies")
    await world.wait(SETTLE_SECONDS)


def _count(world: World, proxies: list[Proxy], name: str) -> None:
    world.bit(name, sum(proxy.counts[name] for proxy in proxies))


async def silence_store(world: World) -> None:
    """Cut one hub after the other off from the store without a sign of it, in both directions or in one."""
    for number, (up, down, seconds) in enumerate(STORE_SILENCES):
        way = "both ways" if up and down else "towards the store" if up else "from the store"
        world.fault(f"silence {way} {seconds:g} s")
        proxy = world.store_proxies[number]
        proxy.silence(up=up, down=down)
        since = time.monotonic()
        await world.wait(seconds)
        proxy.silence(up=False, down=False)
        world.over()
        world.cut_off(number, since)
        await world.wait(SETTLE_SECONDS)
    _count(world, world.store_proxies, "held_back")


async def silence_clients(world: World) -> None:
    """Cut the clients of one hub off without a sign of it: first until their seats are lost, then what comes from the hub alone."""
    for number, up, seconds in ((0, True, CLIENT_SILENCE_SECONDS), (1, False, 2 * times.PING_SECONDS)):
        world.fault(f"silence {'both ways' if up else 'from the hub'} {seconds:g} s")
        since = time.monotonic()
        world.hub_proxies[number].silence(up=up, down=True)
        await world.wait(seconds)
        world.hub_proxies[number].silence(up=False, down=False)
        world.over()
        world.cut_off(number, since, times.PING_SECONDS)
        await world.wait(SETTLE_SECONDS)
    for hub in range(len(world.hubs)):
        world.bit("dropped_as_silent", int(await world.metric(hub, 'capacity_drops_total{why="silent"}')))
    _count(world, world.hub_proxies, "held_back")


async def slow_down(world: World) -> None:
    """Delay everything, and cut what one hub sends and gets into single bytes."""
    world.fault(f"{DELAY_SECONDS * 1000:.0f} ms each way, slices of 1 byte")
    for proxy in (*world.hub_proxies, *world.store_proxies):
        proxy.delay_seconds = DELAY_SECONDS / 2
    world.hub_proxies[0].slice_bytes = SLICE_BYTES
    world.store_proxies[1].slice_bytes = STORE_SLICE_BYTES
    await world.wait(world.seconds)
    for proxy in (*world.hub_proxies, *world.store_proxies):
        proxy.delay_seconds, proxy.slice_bytes = 0.0, 0
    world.over()
    _count(world, world.hub_proxies + world.store_proxies, "sliced")
    _count(world, world.hub_proxies + world.store_proxies, "delayed")
    await world.wait(SETTLE_SECONDS)


async def storm(world: World) -> None:
    """Drop everybody at once: all are back within half a minute, and nobody has lost a seat."""
    before = {attendee.name for attendee in world.audience.attendees if attendee.state == "seated"}
    world.fault("all connections dropped")
    dropped = sum(proxy.drop_all() for proxy in world.hub_proxies)
    world.bit("dropped", dropped)
    began = time.monotonic()
    world.over()
    await world.wait(SETTLE_SECONDS)
    await world.heal()
    seconds = time.monotonic() - began
    if seconds > STORM_WITHIN_SECONDS:
        world.violate(f"everybody was back after {seconds:.1f} s, {STORM_WITHIN_SECONDS:g} s are the most")
    after = {attendee.name for attendee in world.audience.attendees if attendee.state == "seated"}
    if lost := before - after:
        world.violate(f"{len(lost)} seats of {len(before)} were lost by reconnecting: {sorted(lost)[:5]}")
    if dropped < len(world.audience.visitors) * 0.9:
        world.violate(f"the fault did not bite: only {dropped} connections stood")


SCENARIOS = (
    Scenario(
        "lost-replies",
        "replies of the store lost after the script ran, p = 5 %",
        lose_replies,
        (("lost_replies",),),
        proxied=True,
    ),
    Scenario(
        "silent-store",
        "no byte between a hub and the store, both ways and either way",
        silence_store,
        (("held_back",), ("store_unavailable", "feed_silent"), ("hub_dead", "room_resynced")),
        proxied=True,
        refresh_p99_seconds=10.0,
    ),
    Scenario(
        "silent-clients",
        "no byte between a hub and its clients",
        silence_clients,
        (("held_back",), ("dropped_as_silent",), ("reconnects",)),
        proxied=True,
    ),
    Scenario("slow-wire", "100 ms and single bytes on the way", slow_down, (("sliced",), ("delayed",)), proxied=True),
    Scenario(
        "storm",
        "2,000 clients cut off at once",
        storm,
        (("dropped",), ("reconnects",)),
        proxied=True,
        seats=(50, 60, 70, 80, 90),
        crowd=1.43,
        calm=True,
        arrival_seconds=8.0,
        grace_seconds=15.0,
    ),
)
