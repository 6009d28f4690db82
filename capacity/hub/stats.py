"""What the hub counts for the metrics; no account, room or participant is ever part of a count."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from capacity.hub.timings import CallTimes, Timings


class Stats:
    """Counts since the start of the process. `clock`: monotonic, seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.events: Counter[str] = Counter()
        """Plan-changed events by verdict."""
        self.joins: Counter[str] = Counter()
        """Joins by their answer: seated, waiting, held, put_out."""
        self.refreshes = 0
        """Attendees told to refresh."""
        self.store_outages = 0
        self.fenced = 0
        """Calls that a room refused because it did not know this hub: others took it for dead, or the store lost the room."""
        self.gaps = 0
        """Messages of the feed that showed that others before them were lost."""
        self.resyncs = 0
        """Rooms in which this hub said anew who is connected to it."""
        self.hub_deaths = 0
        """Other hubs that stopped counting without having said that they end, and were taken over by this one."""
        self.reaped = 0
        """Rooms in which this hub made a dead one's participants away."""
        self.taken_over = 0
        """Plan changes that another hub had begun and not finished."""
        self.backlog: tuple[int | None, int | None] = (None, None)
        """Of the stream of plan changes, when it was last asked: entries given to no hub yet, and those that one has not settled."""
        self.answers = Timings()
        """From an attendee's arrival to the first answer: where they stand."""
        self.raises = Timings()
        """From the entry of a plan change that raised a limit to the last of a room on this hub who was told (limit_watch.py)."""
        self.loop_lag = Timings()
        """How late the event loop ran what it was to run at an instant (pulse.py)."""
        self.calls = CallTimes(clock)
        """How long the store's scripts took to answer, by verb: the way there and back included."""

    def event(self, verdict: str) -> None:
        """Count an event."""
        self.events[verdict] += 1
