"""Outbound webhooks: what happened in a room, told to the platform, in the shape of Standard Webhooks.

{"type": "room.full", "timestamp": RFC 3339, "data": {"account": …, "room": …, "epoch": …, "revision": …, …}}

`epoch` and `revision` are the room's own count of its changes: within an epoch a greater revision is later.
Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

import msgspec

from capacity.protocol.messages import EndedReason
from capacity.protocol.reports import Waited

NAMED_MAX = 100
"""The most participants who are named in one event."""


class Crossing(msgspec.Struct, frozen=True):
    """The `data` of `room.near_full` and `room.full`: the room when the level was crossed."""

    account: str
    room: str
    epoch: str
    revision: int
    seat_limit: int
    occupied: int
    waiting: int


class Raise(msgspec.Struct, frozen=True):
    """The `data` of `room.seat_limit_raised`. `told`: how many in line are given a held seat and told to refresh; `occupied`
    and `waiting` are the room's counts when they are."""

    account: str
    room: str
    epoch: str
    revision: int
    previous: int
    seat_limit: int
    told: int
    occupied: int
    waiting: int


class TurnedAway(msgspec.Struct, frozen=True):
    """The `data` of `room.turned_away`: who never had a seat, and left the line, or still stood in it at the end."""

    account: str
    room: str
    epoch: str
    revision: int
    reason: Literal["left", "ended"]
    count: int
    participants: list[str]
    """At most NAMED_MAX of them."""


class Ending(msgspec.Struct, frozen=True):
    """The `data` of `room.ended`: the report of the room's run. `opened_at` is null for a room that ended unopened."""

    account: str
    room: str
    epoch: str
    revision: int
    reason: EndedReason
    opened_at: datetime | None
    ended_at: datetime
    peak: int
    joined: int
    waited: Waited
    turned_away: int
    limit_changes: int


class NearFull(msgspec.Struct, frozen=True, tag_field="type", tag="room.near_full"):
    """A room came near its seat limit."""

    timestamp: datetime
    data: Crossing


class Full(msgspec.Struct, frozen=True, tag_field="type", tag="room.full"):
    """A room has no free seat."""

    timestamp: datetime
    data: Crossing


class SeatLimitRaised(msgspec.Struct, frozen=True, tag_field="type", tag="room.seat_limit_raised"):
    """An open room has more seats than before."""

    timestamp: datetime
    data: Raise


class ParticipantsTurnedAway(msgspec.Struct, frozen=True, tag_field="type", tag="room.turned_away"):
    """Participants went without having had a seat."""

    timestamp: datetime
    data: TurnedAway


class Ended(msgspec.Struct, frozen=True, tag_field="type", tag="room.ended"):
    """A room ended."""

    timestamp: datetime
    data: Ending


Event = NearFull | Full | SeatLimitRaised | ParticipantsTurnedAway | Ended


def type_of(event: Event) -> str:
    """Return the `type` of an event on the wire."""
    return str(event.__struct_config__.tag)


def id_of(event: Event) -> str:
    """Return the event's `webhook-id`: the same whoever finds it, and however often."""
    data = event.data
    reason = data.reason if isinstance(data, TurnedAway) else ""
    text = "\0".join((data.account, data.room, data.epoch, str(data.revision), type_of(event), reason))
    return f"msg_{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Event).decode
