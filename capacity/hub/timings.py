"""How long things took: a histogram since the start of the process for `/metrics`, and the last ten seconds for `capacity top`.

`add` is on the way of every call, so it only counts: a search in fifteen bounds, no object that stays. What is asked for
once a second pays for the rest: `Recent` compares the counts of now with those of ten seconds ago.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

BOUNDS_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
RECENT_TURNS = 10
"""How many turns `Recent` goes back; there is one with each beat of the hub, so about ten seconds."""


class Timings:
    """Durations of one kind, in seconds, by the bounds of BOUNDS_SECONDS.

    `counts[i]` is how many took at most `BOUNDS_SECONDS[i]` and longer than the bound before; the last counts what took longer
    than all. They are not cumulative: for Prometheus add them up.
    """

    __slots__ = ("_peak", "counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECONDS) + 1)
        self.sum = 0.0
        self._peak = 0.0

    def add(self, seconds: float) -> None:
        """Count one; what is below 0, because a clock is coarse, counts as 0."""
        self.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        if seconds > 0.0:
            self.sum += seconds
            if seconds > self._peak:
                self._peak = seconds

    def take_peak(self) -> float:
        """Return the longest since this was asked for last, 0.0 if there was none. One `Recent` alone asks."""
        peak, self._peak = self._peak, 0.0
        return peak


class CallTimes:
    """Calls of the store by verb, failed ones included; the verbs are the names of the scripts, so there are few."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.by_verb: dict[str, Timings] = {}

    def began(self) -> float:
        """Return the instant, for `ended`."""
        return self._clock()

    def ended(self, verb: str, began: float) -> None:
        """Count a call that began at an instant and ends now."""
        timings = self.by_verb.get(verb)
        if timings is None:
            timings = self.by_verb[verb] = Timings()
        timings.add(self._clock() - began)


class Spread(msgspec.Struct, frozen=True):
    """What the durations of about ten seconds were like. Without any, `count` is 0 and the rest null.

    The percentiles are read off the histogram, as Prometheus does: exact to the bucket, straight inside it, and never above `max_ms`.
    """

    count: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


class Recent:
    """The last RECENT_TURNS turns of some timings, which may become more."""

    def __init__(self, timings: Callable[[], Iterable[Timings]]) -> None:
        self._timings = timings
        width = len(BOUNDS_SECONDS) + 1
        self._past: deque[tuple[list[int], float]] = deque([([0] * width, 0.0)], RECENT_TURNS)
        self._peaks: deque[float] = deque(maxlen=RECENT_TURNS)

    def turn(self) -> Spread:
        """Return the spread since RECENT_TURNS turns ago, and begin a new turn."""
        every = list(self._timings())
        counts = [sum(column) for column in zip(*(timings.counts for timings in every), strict=True)]
        total = sum(timings.sum for timings in every)
        self._peaks.append(max((timings.take_peak() for timings in every), default=0.0))
        before, total_before = self._past[0]
        self._past.append((counts or before, total))
        recent = [now - then for now, then in zip(counts, before, strict=bool(counts))]
        count = sum(recent)
        if count == 0:
            return Spread()
        longest = max(self._peaks)
        return Spread(
            count=count,
            mean_ms=_ms((total - total_before) / count),
            p50_ms=_ms(min(longest, _percentile(recent, count * 0.5))),
            p99_ms=_ms(min(longest, _percentile(recent, count * 0.99))),
            max_ms=_ms(longest),
        )


def _percentile(counts: Sequence[int], rank: float) -> float:
    """Return the duration that `rank` of the counted do not exceed; the last bound for what lies beyond it."""
    below = 0.0
    for bound, count in zip(BOUNDS_SECONDS, counts, strict=False):
        if count and rank <= count:
            return below + (bound - below) * rank / count
        rank -= count
        below = bound
    return float("inf")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
