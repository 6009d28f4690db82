"""The checker holds a faultless rehearsal to be one, and finds each fault that is planted, and that one alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from capacity.client import Connected, Lost, Reloading
from capacity.protocol.messages import Error, Refresh, Seated, SeatLimit
from capacity.rehearsal.checker import verdict_of
from capacity.rehearsal.journal import HOST, Came, Curtain, Gone, Raised
from capacity.rehearsal.verdict import Spread, duration
from tests.rehearsal.evening import ATTENDEES, OVER_AT, RAISED_AT, SEATS, Evening, occupancy, refresh, seated, waiting

Fault = Callable[[Evening], None]
LAST = ATTENDEES - 1


def broken(fault: Fault) -> set[str]:
    """Return the promises that are broken by a fault."""
    evening = Evening()
    fault(evening)
    verdict = verdict_of(evening.journal())
    names = {promise.name for promise in verdict.promises if not promise.held}
    assert verdict.held == (not names)
    return names


def oversold(evening: Evening) -> None:
    """One more than the limit has a seat before the raise."""
    evening.add(11.0, 15, seated(15))


def oversold_by_holds(evening: Evening) -> None:
    """A seat is held for one more than there are seats, before the raise."""
    evening.add(11.0, SEATS, refresh(SEATS))


def oversold_for_the_host(evening: Evening) -> None:
    """The host is told more than the limit."""
    evening.add(11.0, HOST, occupancy(SEATS, SEATS + 1, 0))


def a_late_raise(evening: Evening) -> None:
    """One of twenty hears of the raise late: that is p99."""
    evening.remove(3, SeatLimit)
    evening.add(RAISED_AT + 1.1, 3, SeatLimit("room", ATTENDEES, SEATS))


def a_late_refresh(evening: Evening) -> None:
    """All hear of the limit in time, and one of the held seat late."""
    evening.remove(LAST, Refresh, Seated)
    evening.add(RAISED_AT + 1.01, LAST, refresh())
    evening.add(RAISED_AT + 1.02, LAST, seated(LAST, ATTENDEES))


def a_raise_unheard(evening: Evening) -> None:
    """One who was there never hears of it."""
    evening.remove(3, SeatLimit)


def no_raise(evening: Evening) -> None:
    """It did not come to a raise."""
    evening.remove(HOST, Raised)


def overtaken(evening: Evening) -> None:
    """The first in line gets the seat after all others."""
    evening.remove(SEATS, Refresh, Seated)
    evening.add(RAISED_AT + 0.5, SEATS, refresh())
    evening.add(RAISED_AT + 4.0, SEATS, seated(SEATS, ATTENDEES))
    for note in [note for note in evening.notes if note.who == SEATS and isinstance(note.what, Refresh)]:
        evening.notes.remove(note)


def a_newcomer_before_the_line(evening: Evening) -> None:
    """Somebody comes late, to a full room, and takes a free seat while others wait."""
    evening.remove(3, Seated, Connected, Came)
    evening.add(9.8, 3, Came(), seated(3))


def a_seat_lost(evening: Evening) -> None:
    """Somebody comes back to the line."""
    evening.add(20.0, 3, Lost(1006, "", 1.0))
    evening.add(21.0, 3, Connected(0.1), waiting(3))
    evening.add(22.0, 3, seated(3, ATTENDEES))


def a_hold_lost(evening: Evening) -> None:
    """A held seat is not there any more when the page has reloaded."""
    evening.remove(LAST, Seated)
    evening.add(RAISED_AT + 1.0, LAST, Reloading(), Connected(0.01), waiting(LAST))
    evening.add(RAISED_AT + 2.0, LAST, seated(LAST, ATTENDEES))


def a_connection_that_does_not_come_back(evening: Evening) -> None:
    """Somebody is away for good."""
    evening.add(15.0, 3, Lost(1006, "", 1.0))


def refused(evening: Evening) -> None:
    """Somebody is sent away."""
    evening.add(20.0, 3, Gone(4404, "unknown_account"))


def overloaded(evening: Evening) -> None:
    """Somebody is told to come back later, and is let in then."""
    evening.add(20.0, 3, Lost(1013, "overloaded", 1.0))
    evening.add(21.0, 3, Connected(0.1), seated(3, ATTENDEES))


def an_error(evening: Evening) -> None:
    """Somebody is told an error."""
    evening.add(20.0, 3, Error("unavailable", "…"))


def an_empty_seat(evening: Evening) -> None:
    """A seat is free, and one waits."""
    evening.add(29.0, HOST, occupancy(ATTENDEES, ATTENDEES - 1, 1))


def a_slow_answer(evening: Evening) -> None:
    """One of twenty is answered late: that is p99."""
    evening.remove(0, Seated)
    evening.add(1.2, 0, seated(0))


@pytest.mark.parametrize(
    ("fault", "promises"),
    [
        (lambda evening: None, set()),
        (oversold, {"never_oversold", "in_order"}),
        (oversold_by_holds, {"never_oversold"}),
        (oversold_for_the_host, {"never_oversold"}),
        (a_late_raise, {"raise_within_a_second"}),
        (a_late_refresh, {"raise_within_a_second"}),
        (a_raise_unheard, {"raise_within_a_second"}),
        (no_raise, {"raise_within_a_second"}),
        (overtaken, {"in_order"}),
        (a_newcomer_before_the_line, {"in_order"}),
        (a_seat_lost, {"no_seat_lost"}),
        (a_hold_lost, {"no_seat_lost"}),
        (a_connection_that_does_not_come_back, {"no_seat_lost"}),
        (refused, {"nobody_refused"}),
        (overloaded, {"nobody_refused"}),
        (an_error, {"nobody_refused"}),
        (an_empty_seat, {"no_seat_left_empty"}),
        (a_slow_answer, {"answered_within_a_second"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_planted_fault_is_found(fault: Fault, promises: set[str]) -> None:
    assert broken(fault) == promises


def test_who_is_never_answered_is_refused_and_late() -> None:
    def unanswered(evening: Evening) -> None:
        evening.remove(3, Seated, SeatLimit, Connected)

    assert broken(unanswered) == {"nobody_refused", "answered_within_a_second"}


def restarted(evening: Evening) -> None:
    """A hub is replaced: some lose their connection, some cannot make one at first, and all come back to what they had."""
    for who in (2, 3, SEATS, LAST):
        evening.add(11.0, who, Lost(1012, "restarting", 0.5))
        evening.add(11.2, who, Lost(1006, "", 0.5))
        evening.add(11.3, who, Lost(502, "", 0.5))
        evening.add(11.6, who, Connected(0.01), seated(who) if who < SEATS else waiting(who))


def test_a_rolling_restart_breaks_nothing_and_is_counted() -> None:
    evening = Evening()
    restarted(evening)
    verdict = verdict_of(evening.journal())
    assert verdict.held, verdict.promises
    assert verdict.figures.came_back == 4
    assert [(end.code, end.count) for end in verdict.figures.endings] == [(1012, 4), (1006, 4), (502, 4)]


def test_what_follows_the_curtain_does_not_count() -> None:
    evening = Evening()
    for who in range(ATTENDEES):
        evening.add(OVER_AT + 0.1, who, Gone(4410, "ended"))
    verdict = verdict_of(evening.journal())
    assert verdict.held and verdict.figures.endings == []


def test_the_figures_are_those_of_the_evening() -> None:
    figures = verdict_of(Evening().journal()).figures
    assert (figures.came, figures.seated_at_the_end, figures.waiting_at_the_end) == (ATTENDEES, ATTENDEES, 0)
    assert (figures.occupied_max, figures.waiting_max) == (ATTENDEES, ATTENDEES - SEATS)
    assert figures.raised.count == ATTENDEES and figures.raised.p99 == pytest.approx(0.021)
    assert figures.seat.count == ATTENDEES - SEATS and figures.connect.max == pytest.approx(0.01)


def test_a_room_that_ends_too_early_refuses() -> None:
    evening = Evening()
    evening.notes = [note for note in evening.notes if not isinstance(note.what, Curtain)]
    evening.add(29.0, 3, Gone(4410, "ended"))
    evening.add(OVER_AT, HOST, Curtain())
    assert {p.name for p in verdict_of(evening.journal()).promises if not p.held} == {"nobody_refused"}


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        ([], Spread(0, None, None, None, None)),
        ([3.0], Spread(1, 3.0, 3.0, 3.0, 3.0)),
        ([float(n) for n in range(1, 101)], Spread(100, 50.0, 90.0, 99.0, 100.0)),
        ([float(n) for n in range(1000, 0, -1)], Spread(1000, 500.0, 900.0, 990.0, 1000.0)),
    ],
)
def test_percentiles_are_by_the_nearest_rank(values: list[float], spread: Spread) -> None:
    assert Spread.of(values) == spread


@pytest.mark.parametrize(("seconds", "text"), [(None, "–"), (0.0123, "12 ms"), (0.9, "900 ms"), (1234.5, "1,234.50 s")])
def test_durations_are_written_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
