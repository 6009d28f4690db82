"""The harness itself: a short scenario holds, and the checks find what is wrong when something is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from capacity.store import keys
from capacity.store.keys import RoomName
from tests.chaos import checks, hooks
from tests.chaos.audit import Entry
from tests.chaos.journal import Event
from tests.chaos.outcome import Outcome, Scenario
from tests.chaos.runner import play
from tests.chaos.scenarios import ALL
from tests.chaos.verdict import STARVED_LAG_MS
from tests.chaos.world import World

pytestmark = pytest.mark.anyio
SEATS, ROOMS = (5, 8), 2
SECONDS = 3.0


def small(scenario: Scenario) -> Scenario:
    """Return the scenario in a small world: two hubs, four rooms, forty people."""
    return replace(scenario, hubs=2, seats=SEATS, rooms=ROOMS)


def named(name: str) -> Scenario:
    """Return a scenario of the run."""
    return next(scenario for scenario in ALL if scenario.name == name)


async def test_a_killed_hub_costs_nobody_a_seat() -> None:
    outcome = await play(small(named("kill-hub")), seed=7, seconds=SECONDS)
    if outcome.violations and outcome.machine.get("lag_worst_ms", STARVED_LAG_MS) >= STARVED_LAG_MS:
        pytest.skip(f"the machine is too busy for times this short: {outcome.notes}")
    assert outcome.violations == [] and outcome.leaks == 0
    assert outcome.faults["kill -9 hub"] and outcome.bites["seats_freed"] and outcome.bites["hub_dead"]
    assert outcome.admissions > sum(SEATS) and outcome.freed_seconds and outcome.refresh_p99_seconds


async def give_seats_away(world: World) -> None:
    """Write somebody into a room as no script would."""
    name = world.rooms[0]
    await world.redis.hset(keys.room_key(name, "people"), "nobody", "nowhere.1")
    await world.wait(SECONDS / SECONDS)


async def test_a_seat_that_nobody_uses_is_found() -> None:
    scenario = Scenario(
        "tampering", "a seat that no script gave", give_seats_away, (("never_seen",),), settle_seconds=SECONDS / 2
    )
    outcome = await play(small(scenario), seed=7, seconds=SECONDS)
    text = "\n".join(outcome.violations)
    assert outcome.leaks >= 1 and "nobody is nothing by the client, seated in the store" in text
    assert "audit of a0r0" in text, "the audit shows that something changed which no call wrote down"
    assert "did not bite" in text


# ---- the checks alone


def event(at: float, participant: str, kind: str, hub: int = 0, **fields: Any) -> Event:
    """Return an event of the room."""
    return Event(at, "room", participant, hub, kind, fields)


FULL = checks.Ceilings([(0.0, 2)])


def test_clients_who_have_more_seats_than_there_are_are_found() -> None:
    log = [event(1, "ann", "seated"), event(2, "ben", "seated"), event(3, "cem", "seated", hub=1)]
    assert len(checks.clients_oversold("room", log, FULL)) == 1
    assert not checks.clients_oversold("other", log, FULL)


def test_who_stood_up_before_has_no_seat_any_more() -> None:
    log = [event(1, "ann", "seated"), event(2, "ben", "seated"), event(3, "ann", "unseated"), event(4, "cem", "seated")]
    assert not checks.clients_oversold("room", log, FULL)


def test_a_hub_that_is_cut_off_is_excused_and_no_other() -> None:
    log = [event(1, "ann", "seated"), event(2, "ben", "seated"), event(9, "cem", "seated", hub=1)]
    assert not checks.clients_oversold("room", log, FULL, lambda hub, at: hub == 0 and at > 8)
    assert checks.clients_oversold("room", log, FULL, lambda hub, at: hub == 1 and at > 9)


def test_a_lowered_limit_counts_from_when_the_seats_are_empty() -> None:
    ceilings = checks.Ceilings([(0.0, 3), (10.0, 2)])
    assert (ceilings.around(5), ceilings.around(10.5), ceilings.around(12)) == (3, 3, 2)


def test_differences_at_the_end_are_found_and_leaks_counted() -> None:
    found = checks.unsettled("room", {"ann": "seated", "ben": "away", "cem": "held"}, {"ann": "waiting", "cem": "held"})
    assert len(found) == 2 and checks.leaks(found) == 2


def test_a_level_told_twice_is_found_unless_it_was_crossed_twice() -> None:
    log = [
        event(1, "host", "welcomed"),
        event(2, "host", "near_full", level="full"),
        event(9, "host", "near_full", level="full"),
    ]
    assert checks.repeated_notices(log, {"room": [2.0]})
    assert not checks.repeated_notices(log, {"room": [2.0, 5.0]})


def test_a_seat_lost_within_the_grace_is_found_unless_data_was_lost() -> None:
    log = [event(5, "ann", "seat_not_kept", lost_at=4.0, lost_by=1)]
    assert checks.broken_promises(log, loses_data=False)
    assert not checks.broken_promises(log, loses_data=True)
    assert not checks.broken_promises(log, loses_data=False, excused=lambda hub, at: hub == 1)


def snapshot(revision: int, seated: int, epoch: str = "1:a", **fields: Any) -> dict[str, Any]:
    """Return a room with two seats."""
    return {
        "epoch": epoch, "revision": revision, "at": 0, "state": "open", "seat_limit": 2, "seated": seated, "away": 0, "held": 0,
        "waiting": 0, "peak": seated, "told": 0, **fields,
    }  # fmt: skip


def entries(*pairs: tuple[dict[str, Any], dict[str, Any]]) -> Iterator[Entry]:
    """Return sweeps with these rooms before and after."""
    for number, (before, after) in enumerate(pairs):
        body = {
            "verb": "sweep",
            "hub": "h",
            "operation": number,
            "before": before,
            "after": after,
            "seats": 2,
            "now": 0,
            "wall": 0,
        }
        yield Entry(float(number), f"{number}-0", body | {"grace_ms": 1, "place_ms": 1, "hold_ms": 1, "idle_ms": 1})


def test_a_call_that_oversells_and_a_history_that_breaks_are_found() -> None:
    oversold = list(entries((snapshot(1, 2), snapshot(2, 3))))
    assert any("3 seats of 2" in line for line in checks.audited("room", oversold, loses_data=False))
    broken = list(entries((snapshot(1, 1), snapshot(2, 2)), (snapshot(1, 1), snapshot(2, 2))))
    assert len(checks.histories(broken)) == 2
    assert any("broke" in line for line in checks.audited("room", broken, loses_data=False))
    assert not checks.audited("room", broken, loses_data=True)


def test_webhooks_that_are_missing_untrue_or_repeated_are_found() -> None:
    (crossed,) = entries((snapshot(1, 1), snapshot(2, 2)))
    crossed.body["near"] = {"level": "full"}
    audit = {RoomName("acme", "room"): [crossed]}
    told = hooks.Told("acme", "room", "1:a", 2, "room.full")
    assert hooks.wanted(audit) == {told}

    def found(*taken: hooks.Told, loses_data: bool = False) -> list[str]:
        return hooks.untrue(audit, {str(number): one for number, one in enumerate(taken)}, [], loses_data=loses_data)

    gone, never = told._replace(type=hooks.TURNED_AWAY), told._replace(revision=3)
    assert not found(told) and not found(told, gone, gone), "who left, and who was there at the end"
    assert [line.rpartition(") ")[2] for line in found()] == ["was never told"]
    assert [line.rpartition(") ")[2] for line in found(told, told)] == ["came under 2 ids"]
    assert [line.rpartition(") ")[2] for line in found(told, never)] == ["did not happen"]
    assert [line.rpartition(") ")[2] for line in found(told, gone._replace(revision=3))] == ["did not happen"]
    assert not found(never, loses_data=True) and found(told, told, loses_data=True)
    assert hooks.untrue(audit, {"0": told}, ["no signature"], loses_data=True) == ["webhooks: no signature"]


def test_a_scenario_that_cannot_run_says_why_and_fails_nothing() -> None:
    outcome = Outcome("somewhere", skipped="no root")
    assert not outcome.failed
