"""The platform of a simulation: the endpoint of the outbound webhooks, which takes them, or does not, as the seed has drawn it.

Hubs have the product's outbox, relay and courier; of the way to the endpoint only `Endpoint.post` is ours, since no socket is read.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from capacity.hooks import endpoint
from capacity.hooks.endpoint import Answer
from capacity.store import keys
from capacity.store.hook_queue import Delivery
from capacity.store.keys import RoomName
from tests.hooks.implied import Told, decode, implied
from tests.support import checker
from tests.support.service import WEBHOOK_SECRET

if TYPE_CHECKING:
    from tests.simulation.world import World

URL = "https://platform.example.com/hooks"
TIMEOUT_SECONDS = 4.0
TIMES: dict[str, Any] = {
    "again_seconds": (1.0,) * 30,
    "lease_ms": int(2 * TIMEOUT_SECONDS * 1000),
    "every_seconds": 2.0,
}
"""Of the courier: short enough that all is told before a run ends, and in the product's order."""
LOOK_EVERY_MS = 4_000
DOWN_EVERY_SECONDS = 15.0
DOWN_SECONDS = (0.2, 8.0)
WAYS = {"taken": 0.85, "refused": 0.06, "answer_lost": 0.04, "slow": 0.03, "silent": 0.02}
"""What becomes of a try while faults come. Once they are over, every one is taken."""

decode_delivery = msgspec.json.Decoder(Delivery).decode


class Platform:
    """`came` has what was taken: id → what it tells, for each time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = random.Random(f"{world.seed} platform")
        self._down = False
        self.came: list[tuple[str, Told]] = []

    async def run(self) -> None:
        """Be away now and then, until cancelled."""
        try:
            while self._world.scenario.faults:
                await asyncio.sleep(self._random.expovariate(1 / DOWN_EVERY_SECONDS))
                self._down = True
                await asyncio.sleep(self._random.uniform(*DOWN_SECONDS))
                self._down = False
        finally:
            self._down = False

    async def take(self, id: str, body: bytes) -> Answer:
        """Take an event, or not."""
        faults = self._world.scenario.faults and not self._world.quiet
        way = self._random.choices(list(WAYS), list(WAYS.values()))[0] if faults else "taken"
        if self._down:
            way = "away"
        bites = self._world.network.bites
        bites[f"webhook_{way}"] += 1
        if way == "silent":
            await asyncio.sleep(TIMEOUT_SECONDS)
            return Answer("failed", "timeout")
        await asyncio.sleep(self._random.uniform(0.001, TIMEOUT_SECONDS if way == "slow" else 0.05))
        if way == "away":
            return Answer("failed", "not_connected")
        if way == "refused":
            return Answer("failed", "500")
        self.came.append((id, decode(body)))
        return Answer("failed", "no_answer") if way == "answer_lost" else Answer("delivered")

    def found(self, audits: Sequence[tuple[RoomName, list[checker.Entry]]]) -> Iterator[str]:
        """Yield where what came differs from what the audits imply. All but the last of each room ended by a loss of data: what
        they have may have been lost on its way.
        """
        rooms = len(self._world.rooms)
        lost, kept = (
            {told for name, entries in histories for of_entry in implied(name, entries) for told in of_entry}
            for histories in (audits[:-rooms], audits[-rooms:])
        )
        ids = dict[Told, set[str]]()
        for id, told in self.came:
            ids.setdefault(told, set()).add(id)
        self._world.network.bites["webhooks"] += len(ids)
        yield from (f"was never told: {told}" for told in sorted(kept - lost - ids.keys() - self._put_off()))
        yield from (f"told, and did not happen: {told}" for told in sorted(ids.keys() - lost - kept))
        yield from (f"told under {len(of_told)} ids: {told}" for told, of_told in ids.items() if len(of_told) > 1)
        told_by_id = Counter(id for id, _ in set(self.came))
        yield from (f"{id} told {count} things" for id, count in told_by_id.items() if count > 1)

    def _put_off(self) -> set[Told]:
        """Return what waits in the queue for a clock that was set back: by so much longer, which is all that is promised."""
        backend = self._world.network.backend
        due, deliveries = keys.hook_queue(endpoint.id_of(URL))
        ids = backend.read(("ZRANGE", due, backend.wall_ms, "+inf", "BYSCORE")) if self._world.nemesis.steps else []
        return {decode(bytes(decode_delivery(backend.read(("HGET", deliveries, id))).body)) for id in ids}


class SimulatedEndpoint(endpoint.Endpoint):
    """The endpoint as a hub has it; nothing leaves the simulation."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(URL, [WEBHOOK_SECRET])
        self._platform = platform

    async def post(self, session: Any, id: str, body: bytes, now_seconds: int) -> Answer:
        """Try to deliver."""
        return await self._platform.take(id, body)
