"""Who comes to many rooms and how, on how many hubs and shards, and what is asked of those: by multiplication, without a simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.scale.costs import Costs
from capacity.hub.hub import TICK_SECONDS

PING_SECONDS = 25.0
GRACE_SECONDS = 30.0
"""Both as they are by default."""
HUBS_MAX = 2_000


@dataclass(frozen=True)
class Audience:
    """Who is there, and how they come and go; rates are those of many webinars at once, when the last of their people arrive."""

    people: int = 1_000_000
    rooms: int = 20_000
    accounts: int = 1_000
    fill_seconds: float = 600.0
    """In this time all of them come."""
    stay_seconds: float = 3_000.0
    """How long somebody stays; then they close the page, and are away for the grace."""
    lost_every_seconds: float = 1_200.0
    """How often a connection is lost, and found again."""
    lost_for_seconds: float = 5.0

    @property
    def joins_a_second(self) -> float:
        """Newcomers, while the rooms fill."""
        return self.people / self.fill_seconds + self.people / self.stay_seconds

    @property
    def ends_a_second(self) -> float:
        """Those who close their page."""
        return self.people / self.stay_seconds

    @property
    def losses_a_second(self) -> float:
        """Connections that are lost, and as many that come back."""
        return self.people / self.lost_every_seconds

    @property
    def share_running(self) -> float:
        """The share of the rooms in which somebody is away, so that a time runs."""
        away = self.ends_a_second * GRACE_SECONDS + self.losses_a_second * self.lost_for_seconds
        return 1 - math.exp(-away / self.rooms)


@dataclass(frozen=True)
class Deployment:
    """Hubs and shards. `hubs_an_account`: to how many hubs a balancer sends an account's people, 0 for all."""

    hubs: int
    shards: int
    hubs_an_account: int = 0
    quiet_sweep_seconds: float = TICK_SECONDS
    """How often a hub sweeps a room in which nothing runs; the product does it with every tick."""

    def hubs_a_room(self, audience: Audience) -> float:
        """Return on how many hubs a room is: on those that have somebody of it."""
        among = self.hubs_an_account or self.hubs
        absent = math.pow(1 - 1 / among, audience.people / audience.rooms)
        return among * (1 - absent)

    def sweeps(self, audience: Audience) -> float:
        """Return the sweeps of a tick for each room of a hub."""
        running = audience.share_running
        return running + (1 - running) * TICK_SECONDS / self.quiet_sweep_seconds


def smallest(costs: Costs, audience: Audience, hubs_an_account: int, share: float) -> Deployment | None:
    """Return the fewest hubs, and shards for them, none of which is asked for more than a share of its core; None beyond `HUBS_MAX`."""
    for hubs in range(max(1, hubs_an_account), HUBS_MAX + 1):
        one = Deployment(hubs, 1, hubs_an_account)
        found = asked(costs, one, audience)
        if found.hub_core <= share:
            return Deployment(hubs, math.ceil(found.shard_core / share), hubs_an_account)
    return None


@dataclass(frozen=True)
class Asked:
    """What is asked of each hub and each shard, in cores and bytes; over 1 core it is not done in time."""

    hub_core: float
    shard_core: float
    hub_bytes: float
    shard_bytes: float


def asked(costs: Costs, deployment: Deployment, audience: Audience) -> Asked:
    """Multiply: what the rooms cost by being there, what people cost by being there, and what they cost by coming and going."""
    spread = deployment.hubs_a_room(audience)
    on_hubs = audience.rooms * spread * deployment.sweeps(audience)
    joins = audience.joins_a_second + audience.losses_a_second
    ends = audience.ends_a_second + audience.losses_a_second
    moves = joins + ends
    hubs = (
        on_hubs * costs.of_hub("room_second")
        + audience.people / PING_SECONDS * costs.of_hub("ping")
        + joins * costs.join
        + ends * costs.of_hub("lost")
        + moves * (costs.call + (spread - 1) * costs.of_hub("heard") + costs.of_hub("message"))
    )
    shards = (
        on_hubs * costs.sweep
        + audience.joins_a_second * costs.script("join", 1)
        + audience.losses_a_second * costs.script("back", 1)
        + ends * costs.script("away", 1)
        + moves * spread * costs.publish
    )
    return Asked(
        hub_core=hubs / deployment.hubs + costs.hub["hub_cores_idle"],
        shard_core=shards / deployment.shards,
        hub_bytes=costs.hub["hub_bytes"]
        + audience.people / deployment.hubs * costs.hub["connection_bytes"]
        + audience.rooms * spread / deployment.hubs * costs.hub["room_bytes"],
        shard_bytes=(audience.people * costs.store["bytes_a_seated"] + audience.rooms * costs.store["bytes_a_room"])
        / deployment.shards,
    )
