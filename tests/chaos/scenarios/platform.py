"""Faults of the platform's endpoint for webhooks, and of the hubs that bring them there."""

from __future__ import annotations

from tests.chaos.outcome import Scenario
from tests.chaos.world import World

DOWN_SECONDS = (0.5, 3.0)
UP_SECONDS = 1.5
SETTLE_SECONDS = 2.0


async def kill_endpoint(world: World) -> None:
    """Kill the endpoint again and again, and while it is down now and then a hub, which has deliveries that it could not make."""
    for number in range(max(2, round(world.seconds / sum(DOWN_SECONDS)))):
        world.fault("kill -9 endpoint")
        world.platform.kill()
        await world.wait(world.chance.uniform(*DOWN_SECONDS))
        if number % 2:
            hub = world.chance.choice(world.hubs)
            world.fault("kill -9 hub")
            hub.kill()
            hub.start()
        await world.platform.start()
        world.over()
        await world.wait(UP_SECONDS)
    await world.wait(SETTLE_SECONDS)
    world.bit("webhooks_late", world.platform.late())
    for number in range(len(world.hubs)):
        await world.hubs[number].ready(world.http)
        world.bit(
            "tries_that_failed", int(await world.metric(number, 'capacity_hook_deliveries_total{outcome="failed"}'))
        )


SCENARIOS = (
    Scenario(
        "kill-endpoint",
        "kill -9 of the platform's endpoint for webhooks, and of hubs while it is down",
        kill_endpoint,
        (("webhooks_late",), ("tries_that_failed",)),
        seconds=15.0,
    ),
)
