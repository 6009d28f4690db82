"""Every message of the WebSocket, as types (docs/protocol.md says when each is sent). One JSON object a text frame.

Instants are ms since the epoch and end in `_at` or `_until`; durations end in `_ms` or `_seconds`; counts are plural.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from capacity.domain.money import Money

RoomState = Literal["not_started", "open", "ended"]
WaitingReason = Literal["full", "not_started", "seat_lost"]
RefreshReason = Literal["seat_limit_raised", "seat_freed", "room_opened"]
EndedReason = Literal["host", "api", "idle"]
Level = Literal["near_full", "full"]


class Message(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of all messages; `type` is the tag. Unknown fields are ignored by both sides."""


# ---- server → attendee


class Seated(Message, tag="seated", frozen=True):
    """A seat is theirs: on joining, resuming, claiming."""

    room: str
    participant: str
    seat_limit: int
    occupied: int


class Waiting(Message, tag="waiting", frozen=True):
    """A place in the line. `position` 1 is next; `eta_seconds` is null while no honest estimate exists."""

    room: str
    participant: str
    reason: WaitingReason
    position: int
    waiting: int
    seat_limit: int
    eta_seconds: float | None = None


class Refresh(Message, tag="refresh", frozen=True):
    """A seat is held until `held_until`: reload at a random moment within `spread_ms`, or send `claim`."""

    room: str
    reason: RefreshReason
    seat_limit: int
    hold_seconds: float
    held_until: int
    spread_ms: int


class Pass(Message, tag="pass", frozen=True):
    """A seat pass for the media server: a JWT that ends at `expires_at`."""

    token: str
    expires_at: int


# ---- server → everyone


class SeatLimit(Message, tag="seat_limit", frozen=True):
    """The limit changed; comes before what follows from it."""

    room: str
    seat_limit: int
    previous: int


class Ended(Message, tag="ended", frozen=True):
    """The room ended; close 4410 follows."""

    room: str
    reason: EndedReason


class Error(Message, tag="error", frozen=True):
    """What was refused, and why."""

    code: str
    message: str


# ---- server → host


class Occupancy(Message, tag="occupancy", frozen=True):
    """The room in numbers. occupied = seated + away + held; free is never below 0."""

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


class Upgrade(msgspec.Struct, frozen=True):
    """The plan that would fit, what it costs today (null for hosts who may not buy), and where to buy it."""

    plan: str
    name: str
    seats: int
    due_now: Money | None
    url: str


class NearFull(Message, tag="near_full", frozen=True):
    """The room is nearly full, or full: told once per room and crossing."""

    room: str
    level: Level
    occupied: int
    seat_limit: int
    waiting: int
    upgrade: Upgrade | None = None
    full_in_seconds: float | None = None


class NearFullCleared(Message, tag="near_full_cleared", frozen=True):
    """The room is no longer nearly full."""

    room: str
    occupied: int
    seat_limit: int


class UpgradeRequested(Message, tag="upgrade_requested", frozen=True):
    """A host who may not buy asks those who may."""

    room: str
    participant: str
    name: str | None
    plan: str | None


ServerMessage = (
    Seated
    | Waiting
    | Refresh
    | Pass
    | SeatLimit
    | Ended
    | Error
    | Occupancy
    | NearFull
    | NearFullCleared
    | UpgradeRequested
)


# ---- client → server


class Leave(Message, tag="leave", frozen=True):
    """Gives the seat or place up at once."""


class Claim(Message, tag="claim", frozen=True):
    """Takes the held seat over the open connection."""


class AskPass(Message, tag="pass", frozen=True):
    """Asks for a seat pass."""


class Open(Message, tag="open", frozen=True):
    """A host opens the room."""


class End(Message, tag="end", frozen=True):
    """A host ends the room."""


class RequestUpgrade(Message, tag="request_upgrade", frozen=True):
    """A host who may not buy asks the account's billing hosts to."""


ClientMessage = Leave | Claim | AskPass | Open | End | RequestUpgrade
