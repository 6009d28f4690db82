"""docs/scale.md says what its files say, and its simulation still gives what they say."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.scale import document
from benchmarks.scale.audience import Audience, Deployment, asked, smallest
from benchmarks.scale.costs import RESULTS, Costs
from tests.support.installed import missing

if TYPE_CHECKING:
    import simpy

RERUN_HUBS = (1, 8)
"""Of the rows for each number of hubs, those that are simulated again; all of them take a minute."""


@pytest.fixture
def costs() -> Costs:
    return Costs.read()


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return found


@pytest.fixture
def env() -> simpy.Environment:
    """Skip where the simulation's library is missing: it comes with the benchmarks."""
    if importlib.util.find_spec("simpy") is None:
        missing("simpy is not installed (it is in the group bench)")
    import simpy

    return simpy.Environment()


def test_the_page_is_what_the_figures_make_it() -> None:
    written = document.DOCUMENT.read_text("utf-8")
    assert written == document.render(), "docs/scale.md is not what its files say: make scale ARGS=write"


def test_every_figure_has_more_than_one_turn(costs: Costs) -> None:
    assert costs.measured["turns"] >= 3
    assert all(value > 0 for value in (*costs.store.values(), *costs.hub.values()))


def test_a_call_for_more_people_costs_more_and_each_of_them_less(costs: Costs) -> None:
    for price in (costs.joins_call, lambda people: costs.script("join", people), lambda people: costs.inspect(people)):
        calls = [price(people) for people in (1, 10, 40, 100)]
        assert calls == sorted(calls)
        shares = [seconds / people for seconds, people in zip(calls, (1, 10, 40, 100), strict=True)]
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("hubs_an_account", [1, 2, 0])
def test_the_smallest_deployment_is_enough_and_one_less_is_not(costs: Costs, hubs_an_account: int) -> None:
    audience = replace(Audience(), people=200_000, rooms=4_000)
    found = smallest(costs, audience, hubs_an_account, 0.5)
    assert found is not None
    enough = asked(costs, found, audience)
    assert enough.hub_core <= 0.5
    assert enough.shard_core <= 0.5
    for less in (replace(found, hubs=found.hubs - 1), replace(found, shards=found.shards - 1)):
        too_little = asked(costs, less, audience)
        assert max(too_little.hub_core, too_little.shard_core) > 0.5


@pytest.mark.parametrize("hubs", RERUN_HUBS)
def test_a_raise_and_a_steady_room_come_out_as_written(
    env: simpy.Environment, costs: Costs, results: dict[str, Any], hubs: int
) -> None:
    from benchmarks.scale import scenarios

    audience = Audience(people=scenarios.SEATED + scenarios.IN_LINE, rooms=1, accounts=1)
    assert scenarios.raise_limit(costs, hubs, scenarios.LINE) in results["raise"]
    assert scenarios.steady(costs, hubs, audience) in results["one_room"]


def test_the_doors_of_one_hub_come_out_as_written(
    env: simpy.Environment, costs: Costs, results: dict[str, Any]
) -> None:
    from benchmarks.scale import scenarios

    assert scenarios.doors(costs, 1, scenarios.CROWD, min(scenarios.DOORS_SECONDS)) in results["doors"]


def test_a_million_on_few_hubs_come_out_as_written(
    env: simpy.Environment, costs: Costs, results: dict[str, Any]
) -> None:
    from benchmarks.scale import scenarios

    deployment = next(one for one in scenarios.DEPLOYMENTS if one.hubs_an_account == 1)
    assert scenarios.million(costs, [deployment]) == [row for row in results["million"] if row["hubs_an_account"] == 1]


def test_simulation_and_multiplication_agree(env: simpy.Environment, costs: Costs) -> None:
    from benchmarks.scale.cluster import Cluster

    audience = replace(Audience(), people=20_000, rooms=400, accounts=20)
    deployment = Deployment(2, 1, hubs_an_account=2)
    by_hand = asked(costs, deployment, audience)
    simulated = Cluster(costs, deployment, audience).run(20.0)
    assert simulated["shard_core"] == pytest.approx(by_hand.shard_core, rel=0.1)
    assert simulated["hub_core"] == pytest.approx(by_hand.hub_core, rel=0.1)


def test_a_core_does_one_thing_after_another(env: simpy.Environment) -> None:
    from benchmarks.scale.machines import Core

    core = Core(env)
    assert [core.charge(1.0), core.charge(2.0)] == [1.0, 3.0]
    env.run(until=2.0)
    assert core.charge(0.5) == 1.5
    env.run(until=10.0)
    assert core.charge(0.5) == 0.5
    assert core.busy_seconds == 4.0


def test_everybody_is_answered_and_nobody_before_their_work_is_done(env: simpy.Environment, costs: Costs) -> None:
    from benchmarks.scale.machines import Room

    room = Room(env, costs, hubs=3, seats=250)
    for hub in room.hubs:
        hub.arrive(101)
    env.run(until=5.0)
    assert room.answered.people == room.people == 303
    assert sum(hub.waiting for hub in room.hubs) >= 303 - 250 - 100  # a call has one price: its people wait, or none
    least = costs.joins_call(1) + costs.script("join", 1) + 2 * room.one_way_seconds
    assert room.answered.percentile(0.0) >= least


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 1.0), (0.9, 2.0), (0.91, 3.0), (1.0, 3.0)])
def test_percentiles_count_people_and_not_groups(env: simpy.Environment, share: float, expected: float) -> None:
    from benchmarks.scale.machines import Tally

    tally = Tally()
    for seconds, people in ((3.0, 10), (1.0, 80), (2.0, 10)):
        tally.add(seconds, people)
    assert tally.percentile(share) == expected
