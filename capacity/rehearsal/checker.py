"""Holds what happened against what Capacity promises (docs/guarantees.md), from outside. Pure.

Everything is judged by what attendees and host were told, on one clock, so each promise is checked in the form in which
somebody outside can be sure of it:

- never oversold: those who are connected and were told last that a seat is theirs or held are never more than the
  largest limit that anybody was told; nor is what the host is told ever beyond its own limit.
- in order: whoever had been told that they wait before another even began to connect, and had a connection all the
  time, is served before the other, or at most LATE_SECONDS after: messages to two people have no order between them.
- the raise: counted for everybody who was there when it was published, from the first byte sent to the last message
  that it had for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate

from capacity.client.errors import CLOSE_CODES
from capacity.rehearsal.course import (
    Evening,
    answer_seconds,
    before_the_curtain,
    evening_of,
    raise_seconds,
    seat_seconds,
    there_at_the_raise,
)
from capacity.rehearsal.journal import Hall, Journal
from capacity.rehearsal.verdict import Ending, Figures, Promise, Spread, Verdict, duration

RAISE_SECONDS_MAX = 1.0
CONNECT_SECONDS_MAX = 1.0
LATE_SECONDS = 1.0
UNANSWERED_SECONDS = 10.0
"""Who came, or lost a connection, less than so long before the end may still be on the way."""
_BY_OTHERS = frozenset({502, 504})
"""What a load balancer says while a process behind it is replaced."""


def verdict_of(journal: Journal) -> Verdict:
    """Return the verdict on a rehearsal that came to its curtain."""
    evening = evening_of(journal)
    figures = _figures(journal, evening)
    promises = [
        _never_oversold(journal, evening),
        _raise_in_time(evening, figures),
        _in_order(evening),
        _no_seat_lost(evening, figures),
        _nobody_refused(evening),
        _no_seat_left_empty(evening),
        _connected_in_time(evening, figures),
    ]
    return Verdict(all(promise.held for promise in promises), promises, figures)


def _never_oversold(journal: Journal, evening: Evening) -> Promise:
    hall = Hall()
    limit = journal.script.seats
    most = over = 0
    for note in before_the_curtain(journal):
        hall.follow(note)
        limit = max(limit, getattr(note.what, "seat_limit", 0))
        taken = hall.places["seated"] + hall.places["held"]
        most = max(most, taken)
        over = max(over, taken - limit)
    host_over = max((told.occupied - told.seat_limit for _, told in evening.occupancies), default=0)
    says = f"at most {most:,} of {limit:,} seats were taken at once, by what attendees were told"
    if over > 0:
        says = f"{over:,} more had a seat, or one held, than the limit allowed"
    elif host_over > 0:
        says = f"the host was told {host_over:,} more occupied than the limit allowed"
    return Promise("never_oversold", "Never oversold", over <= 0 and host_over <= 0, says)


def _raise_in_time(evening: Evening, figures: Figures) -> Promise:
    name, promise = "raise_within_a_second", "A raise reaches everybody within a second (p99)"
    if evening.raised_at is None:
        return Promise(name, promise, False, "the plan was not raised")
    if not figures.raised.count:
        return Promise(name, promise, False, "nobody was there to hear of it")
    unheard = sum(course.limit_at is None for course in there_at_the_raise(evening))
    p99 = figures.raised.p99 or 0.0
    said = f"p50 {duration(figures.raised.p50)}, p99 {duration(p99)}, for {figures.raised.count:,} who were there"
    said = f"{unheard:,} of {figures.raised.count:,} did not hear of it; {said}" if unheard else said
    return Promise(name, promise, p99 <= RAISE_SECONDS_MAX and not unheard, said)


def _in_order(evening: Evening) -> Promise:
    waited = sorted(
        (course.waiting_since, course.served_at if course.served_at is not None else evening.over_at)
        for course in evening.courses
        if course.waiting_since is not None and not course.absences and course.gone is None
    )
    since = [waiting_since for waiting_since, _ in waited]
    last_served = list(accumulate((served_at for _, served_at in waited), max))
    compared = passed = 0
    for course in evening.courses:
        before = bisect_left(since, course.came_at)
        if course.served_at is None or not before:
            continue
        compared += 1
        passed += course.served_at + LATE_SECONDS < last_served[before - 1]
    says = f"nobody was served before one who had waited longer; {compared:,} were compared"
    if passed:
        says = f"{passed:,} of {compared:,} were served before somebody who had waited longer"
    return Promise("in_order", "First come, first served", not passed, says)


def _no_seat_lost(evening: Evening, figures: Figures) -> Promise:
    lost = sum(course.seat_lost_at is not None for course in evening.courses)
    longest_ago = evening.over_at - UNANSWERED_SECONDS
    missing = sum(left < longest_ago and back > evening.over_at for c in evening.courses for left, back in c.absences)
    says = f"{figures.came_back:,} lost connections came back" if figures.came_back else "no connection was lost"
    says += f", {figures.reloads:,} pages reloaded"
    if lost or missing:
        says = f"{lost:,} lost a seat, or one that was held; {missing:,} could not come back; {says}"
    return Promise("no_seat_lost", "Nobody lost a seat", not lost and not missing, says)


def _nobody_refused(evening: Evening) -> Promise:
    refused = Counter[str]()
    for course in evening.courses:
        refused.update({f"error {code}": count for code, count in course.errors.items()})
        for (code, reason), count in course.closes.items():
            if _refuses(code):
                refused[f"{code} {reason}".strip()] += count
        late = evening.over_at - course.came_at > UNANSWERED_SECONDS
        refused["no answer"] += course.answered_at is None and course.gone is None and late
    refused = +refused
    says = ", ".join(f"{count:,} × {what}" for what, count in refused.most_common(5))
    return Promise("nobody_refused", "Nobody was refused", not refused, says or f"all {len(evening.courses):,} got in")


def _refuses(code: int) -> bool:
    """Whether an end says no, and not only that the connection was lost or shall be made anew."""
    if code < 1000:
        return code not in _BY_OTHERS
    return code in CLOSE_CODES and CLOSE_CODES[code] != "soon"


def _no_seat_left_empty(evening: Evening) -> Promise:
    name, promise = "no_seat_left_empty", "Nobody waits beside a free seat"
    if not evening.occupancies:
        return Promise(name, promise, False, "the host was told nothing")
    last = evening.occupancies[-1][1]
    says = f"at the end {last.waiting:,} waited and {last.free:,} seats were free"
    return Promise(name, promise, not (last.waiting and last.free), says)


def _connected_in_time(evening: Evening, figures: Figures) -> Promise:
    p99 = figures.connect.p99
    says = f"p50 {duration(figures.connect.p50)}, p99 {duration(p99)}, max {duration(figures.connect.max)}"
    held = p99 is not None and p99 <= CONNECT_SECONDS_MAX
    return Promise("answered_within_a_second", "Everybody is answered within a second (p99)", held, says)


def _figures(journal: Journal, evening: Evening) -> Figures:
    courses = evening.courses
    closes: Counter[tuple[int, str]] = Counter()
    errors: Counter[str] = Counter()
    for course in courses:
        closes.update(course.closes)
        errors.update(course.errors)
    over = Hall()
    for note in before_the_curtain(journal):
        over.follow(note)
    told = [occupancy for _, occupancy in evening.occupancies]
    return Figures(
        attendees=journal.script.attendees,
        came=len(courses),
        seats=journal.script.seats,
        raise_to=journal.script.raise_to,
        occupied_max=max((occupancy.occupied for occupancy in told), default=0),
        waiting_max=max((occupancy.waiting for occupancy in told), default=0),
        seated_at_the_end=over.places["seated"],
        waiting_at_the_end=over.places["waiting"],
        away_at_the_end=over.away,
        came_back=over.came_back,
        reloads=sum(course.reloads for course in courses),
        connect=Spread.of(answer_seconds(evening)),
        raised=Spread.of(raise_seconds(evening)),
        seat=Spread.of(seat_seconds(evening)),
        endings=[Ending(code, reason, count) for (code, reason), count in closes.most_common()],
        errors=dict(errors.most_common()),
        lag=Spread.of(journal.lags),
    )
