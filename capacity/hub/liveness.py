"""Which hubs live. Each counts up once a second; whose counter stands still for the lease, on the observer's own monotonic clock, is dead.

No wall clock is read, so that a clock that steps cannot free a seat. A hub that was only paused finds itself fenced in every room, and
comes back by re-asserting its connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from capacity.errors import Unavailable
from capacity.store import keys, scripts
from capacity.store.scripts import Timer

BEAT_SECONDS_MAX = 1.0
LOOK_SECONDS_MIN = 0.05
LEAVE_SECONDS = 0.5
STATUS_MS = 60_000
"""How long what a hub said of itself is kept after its last beat: `capacity top` shows it until somebody reaps the hub."""


class Liveness:
    """The beats of this hub and what it sees of the others."""

    def __init__(
        self,
        client: Any,
        hub: str,
        lease_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        timer: Timer | None = None,
    ) -> None:
        self._client = client
        self._hub = hub
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._timer = timer
        self._seen: dict[str, tuple[int, float]] = {}
        self._mine = 0
        self.interval_seconds = min(BEAT_SECONDS_MAX, lease_seconds / 4)

    async def beat(self, status: bytes) -> bool:
        """Count up, say `status` of this hub, and note what the others count. False if the own counter is not what was left there:
        the store lost it, or others took this hub for dead. Raises Unavailable.
        """
        flat = await scripts.BEAT.run(
            self._client,
            (keys.BEATS, keys.hub_status(self._hub)),
            [self._hub, status, STATUS_MS],
            self._timer,
        )
        now = self._clock()
        counters = {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}
        for hub in self._seen.keys() - counters.keys():
            del self._seen[hub]
        for hub, counter in counters.items():
            known = self._seen.get(hub)
            if known is None or known[0] != counter:
                self._seen[hub] = (counter, now)
        mine = counters[self._hub]
        continued = mine > self._mine
        self._mine = mine
        return continued

    async def leave(self, status: bytes) -> None:
        """Beat for the last time, if that can be done soon: whoever takes the rooms over sees that this hub ended, and did not die."""
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self.beat(status)

    def dead(self) -> list[str]:
        """Return the hubs whose counter has stood still for the lease."""
        now = self._clock()
        return [
            hub for hub, (_, since) in self._seen.items() if hub != self._hub and now - since >= self._lease_seconds
        ]

    def knows(self, hub: str) -> bool:
        """Whether a hub's counter was there at the last beat."""
        return hub in self._seen

    def look_in_seconds(self) -> float:
        """Return when to look again: at the next beat, or when the lease of a silent hub runs out."""
        now = self._clock()
        ends = (self._lease_seconds - (now - since) for hub, (_, since) in self._seen.items() if hub != self._hub)
        coming = min((end for end in ends if end > 0), default=self.interval_seconds)
        return min(self.interval_seconds, max(LOOK_SECONDS_MIN, coming))

    def silent_seconds(self, hub: str) -> float:
        """Return for how long a hub's counter has stood still; 0 for one that is not known."""
        known = self._seen.get(hub)
        return self._clock() - known[1] if known is not None else 0.0

    def living(self) -> list[str]:
        """Return all other hubs that are not dead, and this one, sorted."""
        dead = set(self.dead())
        return sorted(hub for hub in self._seen if hub not in dead)

    def buried(self, hub: str) -> None:
        """Forget a hub that was reaped."""
        self._seen.pop(hub, None)
