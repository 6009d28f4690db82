"""The evening of one attendee, out of the journal: what every promise is checked on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from capacity.client import Connected, Lost, Reloading
from capacity.protocol.messages import Error, Occupancy, Refresh, Seated, SeatLimit, Waiting
from capacity.rehearsal.journal import HOST, Came, Curtain, Gone, Journal, Note, Raised

HEARING_SECONDS = 1.0
"""Who is told of a raise is expected to keep their connection for so long after it."""


class Course(msgspec.Struct):
    """Instants in seconds from the beginning; None for what did not happen before the curtain."""

    who: int
    came_at: float
    answered_at: float | None = None
    """The first answer: seated or waiting."""
    waiting_since: float | None = None
    served_at: float | None = None
    """A seat was theirs, or was held for them."""
    seated_at: float | None = None
    limit_at: float | None = None
    """They heard of the raise."""
    refresh_at: float | None = None
    """They were told to refresh because of the raise."""
    seat_lost_at: float | None = None
    """They had a seat, or one was held, and were told that they wait."""
    gone: Gone | None = None
    absences: list[tuple[float, float]] = []
    """From when to when they had lost their connection; reloads are none."""
    reloads: int = 0
    closes: Counter[tuple[int, str]] = msgspec.field(default_factory=Counter)
    """How connections ended, or were refused, by code and reason."""
    errors: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def raise_at(self) -> float | None:
        """When they had heard all that the raise had for them."""
        return self.limit_at if self.refresh_at is None else max(self.refresh_at, self.limit_at or 0.0)

    def there(self, since: float, until: float) -> bool:
        """Whether they were answered before, and had a connection all the time between two instants."""
        if self.answered_at is None or self.answered_at > since or self.gone is not None:
            return False
        return not any(left <= until and back >= since for left, back in self.absences)


class Evening(msgspec.Struct, frozen=True):
    """The whole rehearsal, taken apart. `raised_at` is None where it did not come to that."""

    courses: list[Course]
    occupancies: list[tuple[float, Occupancy]]
    raised_at: float | None
    over_at: float


def evening_of(journal: Journal) -> Evening:
    """Return the courses of all who came, in order of arrival; what follows the curtain is left out."""
    courses: dict[int, Course] = {}
    occupancies: list[tuple[float, Occupancy]] = []
    away_since: dict[int, float] = {}
    raised_at: float | None = None
    over_at = 0.0
    for note in before_the_curtain(journal):
        over_at = note.at
        what = note.what
        if isinstance(what, Raised):
            raised_at = note.at
        elif isinstance(what, Occupancy):
            occupancies.append((note.at, what))
        elif isinstance(what, Came):
            courses[note.who] = Course(note.who, note.at)
        elif note.who != HOST:
            _follow(courses[note.who], note, raised_at, journal.script.raise_to, away_since)
    for who, since in away_since.items():
        courses[who].absences.append((since, float("inf")))
    return Evening(list(courses.values()), occupancies, raised_at, over_at)


def before_the_curtain(journal: Journal) -> Iterator[Note]:
    """Yield the notes of the rehearsal itself, the curtain included."""
    for note in journal.notes:
        yield note
        if isinstance(note.what, Curtain):
            return


def _follow(course: Course, note: Note, raised_at: float | None, raise_to: int, away_since: dict[int, float]) -> None:
    at, what = note.at, note.what
    if isinstance(what, Seated):
        course.answered_at = _first(course.answered_at, at)
        course.served_at = _first(course.served_at, at)
        course.seated_at = _first(course.seated_at, at)
    elif isinstance(what, Waiting):
        course.answered_at = _first(course.answered_at, at)
        course.waiting_since = _first(course.waiting_since, at)
        if course.served_at is not None:
            course.seat_lost_at = _first(course.seat_lost_at, at)
    elif isinstance(what, Refresh):
        course.served_at = _first(course.served_at, at)
        if raised_at is not None and what.reason == "seat_limit_raised":
            course.refresh_at = _first(course.refresh_at, at)
    elif isinstance(what, SeatLimit):
        if raised_at is not None and what.seat_limit == raise_to:
            course.limit_at = _first(course.limit_at, at)
    elif isinstance(what, Error):
        course.errors[what.code] += 1
    elif isinstance(what, Lost):
        course.closes[what.code, what.reason] += 1
        away_since.setdefault(course.who, at)
    elif isinstance(what, Connected):
        if (since := away_since.pop(course.who, None)) is not None:
            course.absences.append((since, at))
    elif isinstance(what, Reloading):
        course.reloads += 1
    elif isinstance(what, Gone):
        course.closes[what.code, what.reason] += 1
        course.gone = what


def _first(before: float | None, at: float) -> float:
    return at if before is None else before


def there_at_the_raise(evening: Evening) -> list[Course]:
    """Who had a connection when the raise was published, and in the second after."""
    at = evening.raised_at
    if at is None:
        return []
    return [course for course in evening.courses if course.there(at, min(at + HEARING_SECONDS, evening.over_at))]


def raise_seconds(evening: Evening) -> list[float]:
    """How long the raise took to each who was there; for who did not hear of it, as long as was waited."""
    at = evening.raised_at or 0.0
    return [(course.raise_at or evening.over_at) - at for course in there_at_the_raise(evening)]


def answer_seconds(evening: Evening) -> list[float]:
    """How long the first answer took; for who had none, as long as they waited for it."""
    over_at = evening.over_at
    return [(over_at if c.answered_at is None else c.answered_at) - c.came_at for c in evening.courses]


def seat_seconds(evening: Evening) -> list[float]:
    """How long it took from arrival to the seat, of those who waited for one and got it."""
    waited = (course for course in evening.courses if course.waiting_since is not None)
    return [course.seated_at - course.came_at for course in waited if course.seated_at is not None]
