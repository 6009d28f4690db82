"""What a seed stands for: how many hubs, rooms and people there are, how patient everybody is, and which faults come."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.support import model

LOSSES = ("emptied", "flushed", "rolled_back")
FAULTS = (
    "noise",
    "messages_lost",
    "subscriptions_cut",
    "subscription_deaf",
    "partition",
    "frozen",
    "scripts_forgotten",
    "full",
    "loading",
    "read_only",
    "hub_killed",
    "hub_paused",
    "hub_stopped",
    "clock_forward",
    "clock_back",
    *LOSSES,
)


@dataclass(frozen=True)
class Scenario:
    """One run, as it was drawn."""

    hubs: int
    rooms: int
    people: int
    hosts: int
    sessions: int
    limit: int
    times: model.Times
    lease_seconds: float
    churn_seconds: float
    arrive_seconds: float
    act_every_seconds: float
    plan_every_seconds: float
    ends: float
    """How probably a host who could end the room does."""
    faults: tuple[str, ...]
    """The kinds that come, none in every eighth run."""
    fault_every_seconds: float

    @property
    def loses_data(self) -> bool:
        """Whether the store forgets something."""
        return any(fault in LOSSES for fault in self.faults)

    @property
    def settle_seconds(self) -> float:
        """How long it takes at the most until nothing is under way any more."""
        times = self.times
        return self.lease_seconds * 2 + (times.grace + times.place + times.hold) / 1000 + 18


def draw(seed: str) -> Scenario:
    """Return the scenario of a seed."""
    dice = random.Random(f"{seed} scenario")
    rooms = dice.choice((1, 2, 2, 3))
    kinds = [fault for fault in FAULTS if fault not in LOSSES]
    faults = dice.sample(kinds, dice.randint(1, 5)) if dice.random() < 0.88 else []
    if dice.random() < 0.12:
        faults = ["messages_lost"]  # alone, so that what is only mended by chance is seen
    elif faults and dice.random() < 0.3:
        faults.append(dice.choice(LOSSES))
    return Scenario(
        hubs=dice.choice((2, 2, 3)),
        rooms=rooms,
        people=dice.randint(8, 15),
        hosts=dice.randint(1, 2),
        sessions=dice.choice((1, rooms, rooms, rooms)),
        limit=dice.randint(1, 5),
        times=model.Times(
            grace=dice.choice((3_000, 6_000, 9_000)),
            place=dice.choice((3_000, 8_000, 12_000)),
            hold=dice.choice((2_000, 6_000, 12_000)),
            step=3_000,
        ),
        lease_seconds=dice.choice((2.0, 3.0, 5.0)),
        churn_seconds=dice.uniform(25, 60),
        arrive_seconds=dice.choice((0.1, 5.0, 20.0)),
        act_every_seconds=dice.choice((3.0, 8.0, 20.0)),
        plan_every_seconds=dice.choice((4.0, 10.0, 1000.0)),
        ends=dice.choice((0.0, 0.0, 0.5)),
        faults=tuple(faults),
        fault_every_seconds=dice.choice((2.0, 5.0, 9.0)),
    )
