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

    def event(self, verdict: str) -> None:
        """Count an event."""
        self.events[verdict] += 1
