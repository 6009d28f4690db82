"""Honest guesses from what was seen: when a room will be full, and how long somebody will wait. No guess is better than a wild one."""

from __future__ import annotations

from collections import deque

FILLING_WINDOW_SECONDS = 60.0
SERVING_WINDOW_SECONDS = 300.0
SEEN_SECONDS_MIN = 5.0
"""A rate from a shorter time than this is noise."""
SERVED_MIN = 3
"""From fewer seats given to the line than this, no estimate is made."""


class Forecast:
    """What one hub has seen of one room. All instants are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._filled: deque[tuple[float, int]] = deque()
        self._served: deque[tuple[float, int]] = deque()

    def saw(self, now: float, occupied: int, served: int) -> None:
        """Note how many seats are occupied, and how many were given to the line just now."""
        if not self._filled or self._filled[-1][1] != occupied:
            self._filled.append((now, occupied))
        while len(self._filled) > 1 and self._filled[1][0] < now - FILLING_WINDOW_SECONDS:
            self._filled.popleft()
        if served:
            self._served.append((now, served))
        while self._served and self._served[0][0] < now - SERVING_WINDOW_SECONDS:
            self._served.popleft()

    def full_in_seconds(self, now: float, free: int) -> float | None:
        """Return when the room will be full at the rate of the last minute; None without a rise or without enough to see."""
        if free == 0:
            return 0.0
        if not self._filled:
            return None
        since, before = self._filled[0]
        seconds, risen = now - max(since, now - FILLING_WINDOW_SECONDS), self._filled[-1][1] - before
        if seconds < SEEN_SECONDS_MIN or risen <= 0:
            return None
        return round(free * seconds / risen, 1)

    def eta_seconds(self, now: float, position: int) -> float | None:
        """Return how long somebody at a position will wait, at the rate at which the line got seats in the last five minutes."""
        served = sum(count for _, count in self._served)
        if served < SERVED_MIN:
            return None
        seconds = max(now - self._served[0][0], SEEN_SECONDS_MIN)
        return round(position * seconds / served, 1)
