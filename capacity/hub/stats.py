"""What the hub counts for the metrics; no account, room or participant is ever part of a count."""

from __future__ import annotations

from collections import Counter


class Stats:
    """Counts since the start of the process."""

    def __init__(self) -> None:
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
        self.reaped = 0
        """Rooms in which this hub made a dead one's participants away."""
        self.taken_over = 0
        """Plan changes that another hub had begun and not finished."""

    def event(self, verdict: str) -> None:
        """Count an event."""
        self.events[verdict] += 1
