"""The questions of docs/scale.md, asked of the simulation: each returns a row for each size of deployment. Deterministic: one seed."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import simpy

from benchmarks.scale.audience import PING_SECONDS, Audience, Deployment
from benchmarks.scale.cluster import Cluster
from benchmarks.scale.costs import RESULTS, Costs
from benchmarks.scale.machines import GROUP_SECONDS, ONE_WAY_SECONDS, Process, Raise, Room

SEED = 1
CROWD = 100_000
LINE = 50_000
SEATED, IN_LINE = 90_000, 10_000
DOORS_SECONDS = (60.0, 10.0)
HUBS = (1, 2, 4, 8, 16, 32)
STEADY_SECONDS = 10.0
FAST_SECONDS = 2.0
PATIENCE_SECONDS = 0.25
FASTEST_STEP, FASTEST_STEPS = 2_000, 96
CLUSTER_SECONDS = 3.0
QUIET_SWEEP_SECONDS = 5.0
DEPLOYMENTS = (
    Deployment(40, 8),
    Deployment(160, 32),
    Deployment(640, 64),
    Deployment(40, 8, quiet_sweep_seconds=QUIET_SWEEP_SECONDS),
    Deployment(640, 64, quiet_sweep_seconds=QUIET_SWEEP_SECONDS),
    Deployment(40, 8, hubs_an_account=4),
    Deployment(40, 8, hubs_an_account=2),
    Deployment(20, 6, hubs_an_account=1),
    Deployment(40, 8, hubs_an_account=2, quiet_sweep_seconds=QUIET_SWEEP_SECONDS),
)
Row = dict[str, Any]


def doors(costs: Costs, hubs: int, people: int, seconds: float, *, even: bool = False) -> Row:
    """The doors of a room open, which has a seat for everybody: people arrive, each at any hub.

    Their rate falls from twice the mean to nothing, or is `even`.
    """
    env = simpy.Environment()
    room = Room(env, costs, hubs, people)
    env.process(_arrivals(room, people, seconds, even=even))
    while room.answered.people < people:
        env.run(until=env.now + 0.25)
    took = max(env.now, seconds)
    return {
        "hubs": hubs,
        "seconds": seconds,
        "people": people,
        "join_p50_ms": _ms(room.answered.percentile(0.5)),
        "join_p99_ms": _ms(room.answered.percentile(0.99)),
        "join_last_ms": _ms(room.answered.percentile(1.0)),
        "joins_a_call": round(people / room.calls, 1),
        "hub_core": _busiest(room, seconds),
        "shard_core": round(room.store.busy_seconds / seconds, 3),
        "unanswered_most": max(hub.unanswered_most for hub in room.hubs),
        "done_seconds": round(took, 1),
    }


def _arrivals(room: Room, people: int, seconds: float, *, even: bool) -> Process:
    dice = random.Random(SEED)
    came, start = 0, room.env.now
    while came < people:
        yield room.env.timeout(GROUP_SECONDS)
        part = min(1.0, (room.env.now - start) / seconds)
        expected = round(people * (part if even else 1 - (1 - part) ** 2))
        for hub, count in sorted(Counter(dice.choices(range(len(room.hubs)), k=expected - came)).items()):
            room.hubs[hub].arrive(count)
        came = expected


def fastest(costs: Costs, hubs: int) -> Row:
    """The most joins a second that a room on so many hubs takes, even for `FAST_SECONDS`, with 99 % answered within `PATIENCE_SECONDS`."""
    low, high = 0, FASTEST_STEPS
    row: Row = {}
    while high - low > 1:
        middle = (low + high) // 2
        found = doors(costs, hubs, round(middle * FASTEST_STEP * FAST_SECONDS), FAST_SECONDS, even=True)
        if found["join_p99_ms"] <= PATIENCE_SECONDS * 1e3:
            low, row = middle, found
        else:
            high = middle
    return {
        "hubs": hubs,
        "joins_a_second": low * FASTEST_STEP,
        **{name: row.get(name) for name in ("joins_a_call", "hub_core", "shard_core")},
    }


def steady(costs: Costs, hubs: int, audience: Audience) -> Row:
    """A room with a line, while people come, go and lose their connection: every freed seat moves the whole line."""
    env = simpy.Environment()
    room = Room(env, costs, hubs, seats=0)
    dice = random.Random(SEED)
    for hub in room.hubs:
        hub.seated, hub.waiting = SEATED // hubs, IN_LINE // hubs

    def come() -> Process:
        rate = audience.ends_a_second + audience.losses_a_second
        while True:
            yield env.timeout(dice.expovariate(rate))
            dice.choice(room.hubs).arrive(1)

    def go() -> Process:
        rate = audience.ends_a_second + audience.losses_a_second
        while True:
            yield env.timeout(dice.expovariate(rate))
            hub = dice.choice(room.hubs)
            hub.core.charge(costs.of_hub("lost") + costs.call)
            room.store.charge(costs.script("away", 1) + costs.publish * hubs)
            room.publish(costs.of_hub("heard"), but=hub)
            for other in room.hubs:
                other.moved = True

    def idle() -> Process:
        pings = (SEATED + IN_LINE) / hubs / PING_SECONDS
        while True:
            for hub in room.hubs:
                hub.core.charge(
                    pings * costs.of_hub("ping") + costs.hub["hub_cores_idle"] + costs.of_hub("room_second")
                )
                room.store.charge(costs.sweep)
            yield env.timeout(1.0)

    for process in (come, go, idle):
        env.process(process())
    env.run(until=STEADY_SECONDS)
    return {
        "hubs": hubs,
        "people_a_hub": (SEATED + IN_LINE) // hubs,
        "hub_core": _busiest(room, STEADY_SECONDS),
        "shard_core": round(room.store.busy_seconds / STEADY_SECONDS, 3),
        "join_p50_ms": _ms(room.answered.percentile(0.5)),
        "join_p99_ms": _ms(room.answered.percentile(0.99)),
    }


def raise_limit(costs: Costs, hubs: int, waiting: int) -> Row:
    """A seat for everybody in a line: from the event in the stream to each one's `refresh`."""
    env = simpy.Environment()
    room = Room(env, costs, hubs, 0)
    raised = Raise(room, waiting)
    env.run(until=60.0)
    last = raised.told.percentile(1.0)
    return {
        "hubs": hubs,
        "waiting": waiting,
        "told_p50_ms": _ms(raised.told.percentile(0.5)),
        "told_p99_ms": _ms(raised.told.percentile(0.99)),
        "told_last_ms": _ms(last),
        "hub_seconds": round(max(hub.core.busy_seconds for hub in room.hubs), 3),
        "shard_seconds": round(room.store.busy_seconds, 3),
    }


def million(costs: Costs, deployments: Iterable[Deployment] = DEPLOYMENTS) -> list[Row]:
    """A million participants in 20,000 rooms, at the moment when the last of them have come."""
    return [Cluster(costs, deployment, Audience(), SEED).run(CLUSTER_SECONDS) for deployment in deployments]


def everything(costs: Costs) -> dict[str, Any]:
    """Answer all questions."""
    one_room = Audience(people=SEATED + IN_LINE, rooms=1, accounts=1)
    audience = Audience()
    return {
        "assumptions": {
            "patience_ms": PATIENCE_SECONDS * 1e3,
            "fast_seconds": FAST_SECONDS,
            "line": LINE,
            "crowd": CROWD,
            "seated": SEATED,
            "in_line": IN_LINE,
            "one_way_ms": ONE_WAY_SECONDS * 1e3,
            "stay_seconds": audience.stay_seconds,
            "lost_every_seconds": audience.lost_every_seconds,
            "lost_for_seconds": audience.lost_for_seconds,
            "fill_seconds": audience.fill_seconds,
            "share_of_rooms_in_which_something_runs": round(audience.share_running, 3),
        },
        "one_room": [steady(costs, hubs, one_room) for hubs in HUBS],
        "doors": [doors(costs, hubs, CROWD, seconds) for seconds in DOORS_SECONDS for hubs in HUBS],
        "fastest": [fastest(costs, hubs) for hubs in HUBS],
        "raise": [raise_limit(costs, hubs, LINE) for hubs in HUBS],
        "million": million(costs),
    }


def write(costs: Costs, path: Path = RESULTS) -> None:
    """Answer all questions, and write the answers down."""
    path.write_text(json.dumps(everything(costs), indent=1) + "\n", "utf-8")


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)


def _busiest(room: Room, seconds: float) -> float:
    return round(max(hub.core.busy_seconds for hub in room.hubs) / seconds, 3)
