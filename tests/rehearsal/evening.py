"""Journals as a faultless rehearsal leaves them, for a test to plant one fault in."""

from __future__ import annotations

from capacity.client import Connected
from capacity.protocol.messages import Occupancy, Refresh, Seated, SeatLimit, Waiting
from capacity.rehearsal.journal import HOST, Came, Curtain, Journal, Note, Raised, What
from capacity.rehearsal.script import Script, script_of

ATTENDEES, SEATS = 20, 12
RAISED_AT, OVER_AT = 12.0, 30.0
RAISED_BY_SECONDS = 0.02


def script() -> Script:
    """Twenty attendees, twelve seats, a raise that is enough for all."""
    return script_of(
        account=None, room=None, attendees=ATTENDEES, duration_seconds=OVER_AT, curve="even", seats=SEATS,
        raise_to=None, raise_at=RAISED_AT / OVER_AT, suffix="x",
    )  # fmt: skip


def seated(who: int, limit: int = SEATS, occupied: int = 1) -> Seated:
    """Tell of a seat."""
    return Seated("room", f"rehearsal-{who}", limit, occupied)


def waiting(who: int, position: int = 1) -> Waiting:
    """Tell of a place in the line."""
    return Waiting("room", f"rehearsal-{who}", "full", position, position, SEATS)


def refresh(limit: int = ATTENDEES) -> Refresh:
    """Tell of a held seat."""
    return Refresh("room", "seat_limit_raised", limit, 60.0, 0, 0)


def occupancy(limit: int, occupied: int, waiting: int) -> Occupancy:
    """Tell the host."""
    return Occupancy("room", "open", limit, occupied, occupied, 0, 0, waiting, max(0, limit - occupied), occupied)


class Evening:
    """Notes of a faultless rehearsal, in order of time. A test changes them, and asks for the journal."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        for who in range(ATTENDEES):
            at = who * 0.5
            self.add(at, who, Came())
            self.add(at + 0.01, who, Connected(0.01))
            self.add(at + 0.01, who, seated(who) if who < SEATS else waiting(who, who - SEATS + 1))
            self.add(at + 0.02, HOST, occupancy(SEATS, min(who + 1, SEATS), max(0, who + 1 - SEATS)))
        self.add(RAISED_AT, HOST, Raised(ATTENDEES))
        for who in range(ATTENDEES):
            heard_at = RAISED_AT + RAISED_BY_SECONDS
            self.add(heard_at, who, SeatLimit("room", ATTENDEES, SEATS))
            if who >= SEATS:
                self.add(heard_at + 0.001, who, refresh())
                self.add(heard_at + 1.0, who, seated(who, ATTENDEES))
        self.add(RAISED_AT + 2.0, HOST, occupancy(ATTENDEES, ATTENDEES, 0))
        self.add(OVER_AT, HOST, Curtain())

    def add(self, at: float, who: int, *whats: What) -> None:
        """Let something happen."""
        self.notes += [Note(at, who, what) for what in whats]

    def remove(self, who: int, *kinds: type[What]) -> None:
        """Let somebody not be told."""
        self.notes = [note for note in self.notes if note.who != who or not isinstance(note.what, kinds)]

    def journal(self) -> Journal:
        """Return the journal."""
        journal = Journal(script())
        for note in sorted(self.notes, key=lambda note: note.at):
            journal.note(note.at, note.who, note.what)
        return journal
