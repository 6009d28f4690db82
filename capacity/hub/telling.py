"""What a change of a room means for its connections: one encoded frame to many sockets.

`concerns` says which connections a change is told to: those that were answered at an earlier revision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from capacity.errors import ENDED, REPLACED, RESTARTING
from capacity.hub.connection import Connection
from capacity.protocol import codec
from capacity.protocol.messages import Ended, Refresh, RefreshReason, SeatLimit
from capacity.store.rooms import Change, Snapshot

if TYPE_CHECKING:
    from capacity.hub.room import LiveRoom

SPREAD_MS_EACH = 5
"""How far apart those who are told to refresh come back: 5 ms each, within half the hold (contract)."""

Concerns = Callable[[Connection], bool]


def tell(room: LiveRoom, change: Change, concerns: Concerns) -> None:
    """Tell attendees what a change means for them; the new limit first, then what follows from it."""
    if change.previous is not None:
        broadcast_limit(room, change.previous, change, concerns)
    if change.opened:
        for connection in room.attendees.values():
            if connection.state == "waiting" and connection.reason == "not_started" and concerns(connection):
                connection.reason = "full"
                room.line.owe(connection)
    for connection in _here(room, change.expired, concerns):
        if connection.state == "held":
            connection.state, connection.reason = "waiting", "full"
            room.line.owe(connection)
            if room.hub.traces is not None:
                room.hub.traces.moved(connection)
    for offer in change.offers:
        told = [c for c in _here(room, offer.participants, concerns) if c.state in ("waiting", "held")]
        refresh(room, told, offer.reason, offer.held_until, offer.told)
    for _, lease in change.replaced:
        if (older := room.by_lease.get(lease)) is not None:
            older.close(REPLACED)
    for _, lease in change.doubted:
        if (other := room.by_lease.get(lease)) is not None:
            other.close(RESTARTING)
    for connection in _here(room, change.put_out, concerns):
        put_out(room, connection)
    if change.ended is not None:
        room.end(change.ended)


def broadcast_limit(room: LiveRoom, previous: int, now: Snapshot, concerns: Concerns) -> None:
    """Tell everybody, attendees and hosts, that the limit changed."""
    frame = codec.frame(SeatLimit(room=room.name.room, seat_limit=now.seat_limit, previous=previous))
    for connection in (*room.attendees.values(), *room.hosts.answered()):
        if concerns(connection):
            connection.limit = now.seat_limit
            connection.socket.send(frame)


def heal_limit(room: LiveRoom, now: Snapshot) -> None:
    """Tell the limit to those who were told another one last: a message of the feed was lost."""
    for connection in (*room.attendees.values(), *room.hosts.answered()):
        if connection.limit != now.seat_limit and connection.revision <= now.revision:
            connection.send(SeatLimit(room=room.name.room, seat_limit=now.seat_limit, previous=connection.limit))
            connection.limit = now.seat_limit


def refresh(
    room: LiveRoom, connections: Iterable[Connection], reason: RefreshReason, held_until: int, told: int
) -> None:
    """Tell connections that a seat is held for them; the frame is the same for all. `told`: how many are in all."""
    hold_ms, traces = room.hub.hold_ms, room.hub.traces
    frame = codec.frame(
        Refresh(
            room=room.name.room,
            reason=reason,
            seat_limit=room.seat_limit,
            hold_seconds=hold_ms / 1000,
            held_until=held_until,
            spread_ms=int(min(hold_ms / 2, SPREAD_MS_EACH * told)) if told > 1 else 0,
        )
    )
    for connection in connections:
        connection.state, connection.limit = "held", room.seat_limit
        room.line.paid(connection)
        connection.socket.send(frame)
        room.hub.stats.refreshes += 1
        if traces is not None:
            traces.moved(connection)


def put_out(room: LiveRoom, connection: Connection) -> None:
    """Tell one connection that the room is over for it."""
    connection.send(Ended(room=room.name.room, reason="api"))
    connection.close(ENDED)


def _here(room: LiveRoom, participants: list[str], concerns: Concerns) -> list[Connection]:
    found = [room.attendees.get(participant) for participant in participants]
    return [connection for connection in found if connection is not None and concerns(connection)]
