"""The billing system of the simulation: plan-changed events, twice and in any order, as at-least-once delivery brings them."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from capacity.protocol import events
from capacity.store.keys import PLAN_CHANGES
from tests.simulation.backend import EPOCH_MS

if TYPE_CHECKING:
    from tests.simulation.world import World


class Billing:
    """Publishes straight to the stream."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = random.Random(f"{world.seed} billing")
        self._version = 0
        self._late: list[bytes] = []
        self.seats = 0
        """What the last version said."""
        self.published_at: list[tuple[float, int]] = []

    async def run(self) -> None:
        """Change the plan now and then."""
        scenario = self._world.scenario
        while True:
            await asyncio.sleep(self._random.expovariate(1 / scenario.plan_every_seconds))
            self.publish(self._random.choice((0, *range(1, scenario.limit * 2 + 2))))

    def publish(self, seats: int) -> None:
        """Say how many seats there are from now on; the event may come later than its successors, and again."""
        self._version += 1
        self.seats = seats
        self.published_at.append((self._world.loop.time(), seats))
        event = self._event(self._version, seats)
        if self._version > 1 and self._random.random() < 0.3:
            self._late.append(event)
            return
        self._append(event)
        if self._random.random() < 0.3:
            self._append(event)
        if self._late and self._random.random() < 0.7:
            self._append(self._late.pop(self._random.randrange(len(self._late))))

    def settle(self) -> None:
        """Deliver what is late; after a loss of data say once more what holds."""
        for event in self._late:
            self._append(event)
        if self._world.nemesis.losses:
            self._version += 1
            self._append(self._event(self._version, self.seats))

    def _event(self, version: int, seats: int) -> bytes:
        return events.build(
            "acme", "plan", seats, id=f"evt-{version}", source="/billing", version=version,
            time_ms=EPOCH_MS + version, concurrent_sessions=self._world.scenario.sessions,
        )  # fmt: skip

    def _append(self, event: bytes) -> None:
        network = self._world.network
        try:
            network.backend.run(("XADD", PLAN_CHANGES, "*", "event", event), {})
        except RedisError:
            self._late.append(event)
        else:
            network.new_entry()
