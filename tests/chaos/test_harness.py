"""The harness itself: a short scenario holds, and the checks find what is wrong when something is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from capacity.store import keys
from capacity.store.keys import RoomName
from tests.chaos import checks, hooks, platform
from tests.chaos.audit import Entry
from tests.chaos.journal import Event
from tests.chaos.outcome import Outcome, Scenario
from tests.chaos.platform import Came
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


async def test_a_seat_that_nobody_uses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "TOLD_WITHIN_SECONDS", SECONDS)  # of what no script did nothing is told
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


@pytest.mark.parametrize(
    ("state", "revision", "later_ms", "found"),
    [
        ("ended", 0, checks.ENDED_MS, False),
        ("ended", 0, checks.ENDED_MS - 1, True),
        ("ended", 1, checks.ENDED_MS, True),
        ("open", 0, checks.ENDED_MS, True),
    ],
)
def test_a_history_may_break_where_a_room_that_ended_is_forgotten(
    state: str, revision: int, later_ms: float, found: bool
) -> None:
    last, anew = snapshot(2, 0, state=state), snapshot(revision, 0, "1:b", at=later_ms)
    audit = list(entries((snapshot(1, 0, state=state), last), (anew, snapshot(revision + 1, 0, "1:b", at=later_ms))))
    assert any("broke" in line for line in checks.audited("room", audit, loses_data=False)) == found


CALLS = (
    ("open", ["1"]),
    ("join", ["ann", "h.1", "ben", "h.2"]),
    ("join", ["cem", "h.3"]),
    ("leave", ["cem", "h.3"]),
    ("end", ["api"]),
)
"""The life of a room with two seats. Its webhooks: full, one turned away, ended."""
NAME = RoomName("acme", "room")


def life(calls: Sequence[tuple[str, list[str]]] = CALLS, first: int = 0) -> list[Entry]:
    """Return the audit of a room's calls, of which the first follows a revision."""
    places = [snapshot(first + number, 0) for number in range(len(calls) + 1)]
    found = entries(*pairwise(places))
    return [
        entry._replace(at=1.0 + entry.at, body=entry.body | {"verb": verb, "arguments": arguments})
        for entry, (verb, arguments) in zip(found, calls, strict=True)
    ]


def came(story: hooks.Story) -> list[Came]:
    """Return everything as it should have come."""
    return [Came(at, str(number), told, True, at) for number, (at, told) in enumerate(story.happened)]


def test_an_audit_implies_what_webhooks_tell() -> None:
    story = hooks.story({NAME: life()})
    assert [(at, told.type, told.revision) for at, told in story.happened] == [
        (2.0, "room.full", 2),
        (4.0, "room.turned_away", 4),
        (5.0, "room.ended", 5),
    ]
    assert '"participants": ["cem"]' in story.happened[1][1].said and not story.unknown
    assert not hooks.untrue(story, came(story))


def test_webhooks_that_are_missing_untrue_or_repeated_are_found() -> None:
    story = hooks.story({NAME: life()})
    full, *others = came(story)

    def found(*all: Came, since: float = 0.0) -> list[str]:
        return [line.rpartition(") ")[2] for line in hooks.untrue(story, all, since)]

    assert found(*others) == found(full._replace(taken=False), *others) == ["was never told"]
    other = full.told._replace(said=full.told.said.replace("2", "3"))
    assert found(full, full._replace(id="x", told=other), *others) == ["did not happen"]
    assert found(full, full, full._replace(id="x"), *others) == ["came under 2 ids"]


def test_of_what_was_before_a_loss_webhooks_may_or_may_not_tell() -> None:
    story = hooks.story({NAME: life()})
    full, *others = came(story)
    of_nobody = full._replace(id="x", told=full.told._replace(revision=9))
    assert not hooks.untrue(story, others, since=3.0) and not hooks.untrue(story, [*others, of_nobody], since=3.0)
    assert hooks.untrue(story, others[1:], since=3.0) and hooks.untrue(
        story, [*others, of_nobody._replace(happened_at=3.5)], since=3.0
    )


def test_a_room_that_lost_its_last_calls_has_two_histories_and_webhooks_of_both() -> None:
    again = [entry._replace(at=entry.at + 9) for entry in life(CALLS[3:], first=2)]
    audit = {NAME: [*life(CALLS[:3]), *again]}
    assert [(shared, len(lineage)) for shared, lineage in hooks.lineages(audit[NAME])] == [(0, 3), (2, 4)]
    assert [told.type for _, told in hooks.story(audit).happened] == ["room.full", "room.ended"]
    unknown = hooks.story({NAME: again})
    assert not unknown.happened and unknown.unknown == {(*NAME, "1:a", 3), (*NAME, "1:a", 4)}


def test_a_scenario_that_cannot_run_says_why_and_fails_nothing() -> None:
    outcome = Outcome("somewhere", skipped="no root")
    assert not outcome.failed
