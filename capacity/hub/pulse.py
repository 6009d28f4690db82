"""Whether this process stood still: it was stopped, or something blocked its event loop. What it then believes may be old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from capacity.hub.timings import Timings

PULSE_SECONDS = 0.5
STOOD_STILL_SECONDS = 3.0
"""As long as a silence of the feed that counts as its loss: whoever stood still for so long has heard nothing, either."""


class Pulse:
    """A timer that notices when it comes late. `stood_still(seconds)` is called once for each time, `beat` at every one.

    `lag` gets how late each stroke was.
    """

    def __init__(
        self, clock: Callable[[], float], stood_still: Callable[[float], None], beat: Callable[[], None], lag: Timings
    ) -> None:
        self._clock = clock
        self._stood_still = stood_still
        self._beat = beat
        self._lag = lag
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def late(self) -> bool:
        """Whether the process stood still and the timer has not yet noticed."""
        return self._at is not None and self._clock() - self._at > PULSE_SECONDS + STOOD_STILL_SECONDS

    def start(self) -> None:
        """Begin."""
        self._at = self._clock()
        self._timer = asyncio.get_running_loop().call_later(PULSE_SECONDS, self._strike)

    def stop(self) -> None:
        """End."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()

    def _strike(self) -> None:
        late, before = self.late, self._at
        self.start()
        if before is not None and self._at is not None:
            self._lag.add(self._at - before - PULSE_SECONDS)
        if late and before is not None:
            self._stood_still(self._clock() - before)
        self._beat()
