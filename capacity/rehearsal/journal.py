"""What happened in a rehearsal, in the order in which it was seen, by one clock. Pure: it is told what time it is."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from capacity.client import AttendeeMessage, Change, Connected, HostMessage, Lost, Reloading
from capacity.protocol.messages import Refresh, Seated, Waiting
from capacity.rehearsal.script import Script

HOST = -1
"""The host's number; attendees have 0 and up, in the order of their arrival."""


class Came(msgspec.Struct, frozen=True):
    """An attendee begins to connect for the first time."""


class Gone(msgspec.Struct, frozen=True):
    """A connection does not come back; `code` is that of the close, or the HTTP status of a handshake that was refused."""

    code: int
    reason: str


class Raised(msgspec.Struct, frozen=True):
    """The plan change is being published."""

    seats: int


class Curtain(msgspec.Struct, frozen=True):
    """The rehearsal is over: what follows is its taking down."""


What = AttendeeMessage | HostMessage | Change | Came | Gone | Raised | Curtain


class Note(msgspec.Struct, frozen=True):
    """One thing that happened: when, in seconds from the beginning, and to whom."""

    at: float
    who: int
    what: What


class Hall:
    """Who is where, as they were told last and while they are connected. Follows the notes one by one."""

    def __init__(self) -> None:
        self.came = 0
        self.places: Counter[Place] = Counter()
        self.came_back = 0
        self._place: dict[int, Place] = {}
        self._away: set[int] = set()

    def follow(self, note: Note) -> None:
        """Take one more note."""
        who, what = note.who, note.what
        if who == HOST:
            return
        if isinstance(what, Came):
            self.came += 1
        elif isinstance(what, Seated):
            self._put(who, "seated")
        elif isinstance(what, Refresh):
            self._put(who, "held")
        elif isinstance(what, Waiting):
            self._put(who, "waiting")
        elif isinstance(what, Lost):
            if self._put(who, None):
                self._away.add(who)
        elif isinstance(what, Reloading | Gone):
            self._put(who, None)
        elif isinstance(what, Connected) and who in self._away:
            self._away.remove(who)
            self.came_back += 1

    @property
    def away(self) -> int:
        """How many have lost their connection and are not back."""
        return len(self._away)

    def _put(self, who: int, place: Place | None) -> bool:
        """Put somebody somewhere; returns whether they were anywhere before."""
        before = self._place.pop(who, None)
        if before is not None:
            self.places[before] -= 1
        if place is not None:
            self._place[who] = place
            self.places[place] += 1
        return before is not None


Place = Literal["seated", "held", "waiting"]


class Journal:
    """All notes, and who is where at the moment. `lags`: how late this process itself was, in seconds, sample by sample."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.notes: list[Note] = []
        self.hall = Hall()
        self.lags: list[float] = []

    def note(self, at: float, who: int, what: What) -> None:
        """Write something down."""
        note = Note(at, who, what)
        self.notes.append(note)
        self.hall.follow(note)
