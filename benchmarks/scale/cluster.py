"""Many small rooms on many hubs and shards: what they do by being there, and what their people do.

Each hub that has a room sweeps it once a second, so what counts is on how many hubs a room is: on nearly all if a balancer sends everybody
anywhere, on a few if it sends an account's people to the same few.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import simpy

from benchmarks.scale.audience import PING_SECONDS, Audience, Deployment
from benchmarks.scale.costs import Costs
from benchmarks.scale.machines import ONE_WAY_SECONDS, Core, Process, Tally
from capacity.hub.hub import TICK_SECONDS
from capacity.hub.rounds import ROUND_SECONDS

CHUNK = 50
"""How many sweeps of a tick are one event here."""
BACKGROUND_SECONDS = 0.1


class Cluster:
    """A deployment under an audience, for some seconds after the last have come."""

    def __init__(self, costs: Costs, deployment: Deployment, audience: Audience, seed: int = 1) -> None:
        self.env = simpy.Environment()
        self.answered = Tally()
        self._costs, self._deployment, self._audience = costs, deployment, audience
        self._dice = random.Random(seed)
        self.hubs = [Core(self.env) for _ in range(deployment.hubs)]
        self.shards = [Core(self.env) for _ in range(deployment.shards)]
        self._spread = deployment.hubs_a_room(audience)
        self.rooms_a_hub = audience.rooms * self._spread / deployment.hubs
        self.people_a_hub = audience.people / deployment.hubs

    def run(self, seconds: float) -> dict[str, Any]:
        """Run; returns what is asked of the busiest hub and shard, in cores, and how long people waited. Over 1: it is not done in time."""
        env = self.env
        for hub in self.hubs:
            env.process(self._tick(hub))
            env.process(self._background(hub))
        for rate, verb, price in self._moves():
            env.process(self._come_and_go(rate, verb, price))
        env.run(until=seconds)
        return {
            **asdict(self._deployment),
            "hubs_a_room": round(self._spread, 1),
            "rooms_a_hub": round(self.rooms_a_hub),
            "people_a_hub": round(self.people_a_hub),
            "sweeps_a_second": round(self._audience.rooms * self._spread * self._deployment.sweeps(self._audience)),
            "hub_core": round(max(hub.busy_seconds for hub in self.hubs) / seconds, 3),
            "shard_core": round(max(shard.busy_seconds for shard in self.shards) / seconds, 3),
            "join_p50_ms": round(self.answered.percentile(0.5) * 1e3, 2),
            "join_p99_ms": round(self.answered.percentile(0.99) * 1e3, 2),
        }

    def _moves(self) -> Iterator[tuple[float, str, float]]:
        """Yield how many a second, the verb, and what it costs a hub beside the call."""
        audience, costs = self._audience, self._costs
        yield audience.joins_a_second, "join", costs.join
        yield audience.losses_a_second, "back", costs.join
        yield audience.losses_a_second + audience.ends_a_second, "away", costs.of_hub("lost")

    def _tick(self, hub: Core) -> Process:
        """Sweep the hub's rooms each second, spread over the round as the product does."""
        env, costs = self.env, self._costs
        sweeps = self.rooms_a_hub * self._deployment.sweeps(self._audience)
        parts = max(1, round(sweeps / CHUNK))
        yield env.timeout(self._dice.random() * TICK_SECONDS)
        while True:
            for _ in range(parts):
                hub.charge(sweeps / parts * costs.of_hub("room_second"))
                for shard in self.shards:
                    shard.charge(sweeps / parts / len(self.shards) * costs.sweep)
                yield env.timeout(ROUND_SECONDS / parts)
            yield env.timeout(TICK_SECONDS - ROUND_SECONDS)

    def _background(self, hub: Core) -> Process:
        pings = self.people_a_hub / PING_SECONDS * BACKGROUND_SECONDS
        while True:
            hub.charge(pings * self._costs.of_hub("ping") + self._costs.hub["hub_cores_idle"] * BACKGROUND_SECONDS)
            yield self.env.timeout(BACKGROUND_SECONDS)

    def _come_and_go(self, rate: float, verb: str, price: float) -> Process:
        while True:
            yield self.env.timeout(self._dice.expovariate(rate))
            self.env.process(self._move(verb, price))

    def _move(self, verb: str, price: float) -> Process:
        """One participant's call, alone as it is in a small room; every hub of the room hears of it, and the room's host."""
        env, costs, dice = self.env, self._costs, self._dice
        here, shard = dice.choice(self.hubs), dice.choice(self.shards)
        began = env.now
        yield here.work(price + costs.call / 2)
        yield env.timeout(ONE_WAY_SECONDS)
        yield shard.work(costs.script(verb, 1) + costs.publish * self._spread)
        yield env.timeout(ONE_WAY_SECONDS)
        others = int(self._spread - 1 + dice.random())
        for other in dice.sample(self.hubs, min(others, len(self.hubs))):
            other.charge(costs.of_hub("heard"))
        dice.choice(self.hubs).charge(costs.of_hub("message"))
        yield here.work(costs.call / 2)
        if verb != "away":
            self.answered.add(env.now - began)
