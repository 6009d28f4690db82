"""What clients saw and what was done to the service, in order of the machine's monotonic clock: the material of the checks."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple


class Event(NamedTuple):
    """Something that a client saw or did, or (hub -1, room and participant empty) that was done to the service."""

    at: float
    room: str
    participant: str
    hub: int
    kind: str
    fields: dict[str, Any]


class Journal:
    """All events of one scenario."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()
        self.seated = 0
        """Admissions: how often a client was told that a seat is theirs, and had not been."""

    def note(self, kind: str, room: str = "", participant: str = "", hub: int = -1, **fields: Any) -> None:
        """Write an event down, now."""
        self.events.append(Event(time.monotonic(), room, participant, hub, kind, fields))
        self.counts[kind] += 1
        if kind == "seated":
            self.seated += 1

    def of(self, *kinds: str) -> list[Event]:
        """Return the events of some kinds, in order."""
        return [event for event in self.events if event.kind in kinds]

    def save(self, path: Path) -> None:
        """Write everything as JSON lines."""
        with path.open("w") as file:
            for event in self.events:
                file.write(json.dumps({**event.fields, **event._asdict(), "fields": None}) + "\n")
