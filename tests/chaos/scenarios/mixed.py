"""Everything that can happen to one store and its hubs, one after the other, at random by the seed."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from tests.chaos.outcome import Scenario
from tests.chaos.world import World

PAUSE_SECONDS = (0.3, 1.5)
REST_SECONDS = 2.0
TERM_WITHIN_SECONDS = 10.0
REPLIES_LOST_SHARE = 0.1


async def kill_hub(world: World, number: int) -> None:
    """Kill a hub and start it again."""
    world.hubs[number].kill()
    await world.wait(world.chance.uniform(0.5, 2))
    world.hubs[number].start()


async def freeze_hub(world: World, number: int) -> None:
    """Freeze a hub for less or more than its lease."""
    since = time.monotonic()
    world.hubs[number].signal(signal.SIGSTOP)
    await world.wait(world.chance.uniform(0.5, 5))
    world.hubs[number].signal(signal.SIGCONT)
    world.cut_off(number, since)


async def restart_hub(world: World, number: int) -> None:
    """Tell a hub to end, and start it again."""
    world.hubs[number].signal(signal.SIGTERM)
    if await world.hubs[number].ended(TERM_WITHIN_SECONDS) is None:
        world.violate(f"hub {number} did not end within {TERM_WITHIN_SECONDS:g} s of SIGTERM")
        world.hubs[number].kill()
    world.hubs[number].start()


async def restart_store(world: World, number: int) -> None:
    """Kill the store and start it with its file."""
    world.store.kill()
    await world.wait(world.chance.uniform(0, 1))
    await asyncio.to_thread(world.store.start)


async def freeze_store(world: World, number: int) -> None:
    """Freeze the store."""
    world.store.freeze()
    await world.wait(world.chance.uniform(0.3, 4))
    world.store.thaw()


async def cut_feed(world: World, number: int) -> None:
    """Cut every subscription."""
    await world.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


async def flush_scripts(world: World, number: int) -> None:
    """Let the store forget its scripts."""
    await world.redis.script_flush()


async def lose_replies(world: World, number: int) -> None:
    """Lose every tenth reply of the store for a while."""
    world.store_proxies[number].lost_replies = REPLIES_LOST_SHARE
    await world.wait(world.chance.uniform(0.5, 2))
    world.store_proxies[number].lost_replies = 0.0


async def silence(world: World, number: int) -> None:
    """Let nothing through between a hub and the store."""
    since = time.monotonic()
    world.store_proxies[number].silence(up=world.chance.random() < 0.7, down=True)
    await world.wait(world.chance.uniform(0.5, 5))
    world.store_proxies[number].silence(up=False, down=False)
    world.cut_off(number, since)


async def drop_clients(world: World, number: int) -> None:
    """Reset every connection of a hub's clients."""
    world.hub_proxies[number].drop_all()


async def kill_endpoint(world: World, number: int) -> None:
    """Kill the platform's endpoint for webhooks, and start it again."""
    world.platform.kill()
    await world.wait(world.chance.uniform(0.5, 3))
    await world.platform.start()


FAULTS: tuple[Callable[[World, int], Awaitable[None]], ...] = (
    kill_hub, freeze_hub, restart_hub, restart_store, freeze_store, cut_feed, flush_scripts, lose_replies, silence, drop_clients,
    kill_endpoint,
)  # fmt: skip


async def mix(world: World) -> None:
    """Inject all faults once in an order of the seed's, then at random until the time is over."""
    began, order = time.monotonic(), list(FAULTS)
    world.chance.shuffle(order)
    while order or time.monotonic() - began < world.seconds:
        fault = order.pop() if order else world.chance.choice(FAULTS)
        world.fault(fault.__name__)
        await fault(world, world.chance.randrange(len(world.hubs)))
        world.over()
        await world.wait(world.chance.uniform(*PAUSE_SECONDS))
    await world.wait(REST_SECONDS)


SCENARIOS = (
    Scenario(
        "nemesis",
        "all of these at random",
        mix,
        (("store_unavailable",), ("room_resynced",), ("reconnects",)),
        seconds=45.0,
        hubs=4,
        proxied=True,
    ),
)
