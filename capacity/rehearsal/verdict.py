"""What a rehearsal is worth: promises that were held or broken, and figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """Durations of many, in seconds; null where there were none. Percentiles by the nearest rank."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some durations."""
        ordered = sorted(values)

        def rank(share: float) -> float | None:
            return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 4) if ordered else None

        return cls(len(ordered), rank(0.5), rank(0.9), rank(0.99), rank(1.0))


class Promise(msgspec.Struct, frozen=True):
    """One promise. `says` is the figures behind it, in words."""

    name: str
    promise: str
    held: bool
    says: str


class Ending(msgspec.Struct, frozen=True):
    """How often connections ended, or were refused, like this: a close code (1006: none came), or an HTTP status."""

    code: int
    reason: str
    count: int


class Figures(msgspec.Struct, frozen=True):
    """The rehearsal in numbers; durations in seconds."""

    attendees: int
    came: int
    seats: int
    raise_to: int
    occupied_max: int
    waiting_max: int
    seated_at_the_end: int
    waiting_at_the_end: int
    away_at_the_end: int
    came_back: int
    """How often somebody came back who had lost the connection."""
    reloads: int
    connect: Spread
    """From dialling to the first answer."""
    raised: Spread
    """From the publishing of the plan change to the last that somebody heard of it."""
    seat: Spread
    """From arrival to the seat, of those who waited."""
    endings: list[Ending]
    errors: dict[str, int]
    lag: Spread
    """How late this process itself was: where this is large, the machine that rehearsed was too slow to judge."""


class Verdict(msgspec.Struct, frozen=True):
    """`held`: every promise was."""

    held: bool
    promises: list[Promise]
    figures: Figures


def duration(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.2f} s"
