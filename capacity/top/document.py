"""What `capacity top` sees at one look, and what `capacity top --json` prints (docs/operations.md lists the fields)."""

from __future__ import annotations

from typing import Literal

import msgspec

from capacity.hub.status import HubStatus
from capacity.protocol.messages import RoomState

Level = Literal["", "near_full", "full"]
LEVELS: tuple[Level, ...] = ("", "near_full", "full")
"""By the number that a room's script keeps."""


class Store(msgspec.Struct, frozen=True):
    """The store that was read."""

    scheme: str
    """Of its address: `unix` for the embedded one."""
    answer_ms: float
    """How long one command took, from here."""


class Hub(msgspec.Struct, frozen=True):
    """One hub, from its first beat until somebody has reaped it."""

    id: str
    silent_seconds: float | None
    """Since its last beat; null if that is over a minute ago, or it is of a release that says nothing of itself."""
    status: HubStatus | None
    """What it said of itself with that beat."""


class Room(msgspec.Struct, frozen=True):
    """One room that a hub watches, as the store has it; the counts are those of the messages (docs/protocol.md)."""

    account: str
    room: str
    state: RoomState
    seat_limit: int
    occupied: int
    seated: int
    away: int
    held: int
    waiting: int
    free: int
    peak: int
    level: Level
    """The near-full level that was told last and stands."""
    opened_at: int | None
    """ms since the epoch; null before the room opened."""
    arrivals_per_second: float | None
    """New participants, seated or not; null after a single look."""
    full_in_seconds: float | None
    """At the rate at which seats were taken in the last minute; 0 for a full room, null without a rise or after less than 5 s."""
    hubs: list[str]
    """Who watches it."""

    @property
    def name(self) -> str:
        """ACCOUNT/ROOM, which no other room has: no id has a slash."""
        return f"{self.account}/{self.room}"


class Top(msgspec.Struct, frozen=True):
    """All of one look. `rooms` may be some of `rooms_total`, those that the filters let through."""

    at: int
    """ms since the epoch, by the clock of who looks."""
    store: Store
    hubs: list[Hub]
    rooms: list[Room]
    rooms_total: int
