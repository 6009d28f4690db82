"""What each verb of a room's lane sends to its script, and what the answer means for the connections that asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capacity.errors import LEFT, REPLACED, UNAVAILABLE, ErrorCode
from capacity.hub import telling
from capacity.hub.connection import Connection
from capacity.hub.lane import Operation
from capacity.protocol.messages import Seated
from capacity.store.rooms import Reply, Snapshot

if TYPE_CHECKING:
    from capacity.hub.room import LiveRoom


def arguments(room: LiveRoom, verb: str, run: list[Operation]) -> list[str | int]:
    """Return the script's own arguments for a run of one verb, as the head of its file says."""
    if verb in ("join", "leave", "away", "claim"):
        leases: list[str | int] = []
        for operation in run:
            assert operation.connection is not None
            leases += (operation.connection.claims.participant, operation.connection.lease)
        return leases
    if verb == "host":
        came = [
            o.connection.claims.participant for o in run if o.connection is not None and o.connection.state == "joining"
        ]
        return [len(room.hosts.everybody), int(bool(came)), *came]
    if verb == "open":
        return [0]
    if verb == "end":
        return ["host"]
    return []


def answer(room: LiveRoom, verb: str, run: list[Operation], reply: Reply | None) -> None:
    """Tell the connections of a run what came of it."""
    if verb == "pass":
        for operation in run:
            answer_pass(room, operation.connection)
        return
    assert reply is not None and reply.room is not None
    if verb == "leave":
        for operation in run:
            if operation.connection is not None:
                operation.connection.close(LEFT)
    if reply.status == "ended":
        room.end(reply.room.ended_reason or "api")
    elif verb == "join":
        for operation, result in zip(run, reply.results, strict=True):
            assert operation.connection is not None
            if operation.connection.state == "joining":
                _joined(room, operation.connection, result, reply.room)
            else:  # closed while the call was under way; what it was given is only kept for its time
                room.lane.add("away", operation.connection)
    elif verb == "claim":
        for operation, word in zip(run, reply.results, strict=True):
            if operation.connection is not None and operation.connection.state != "closed":
                _claimed(room, operation.connection, word, reply.room)
    elif verb in ("host", "open"):
        refusal = ErrorCode(reply.results[0]) if reply.results else None
        for operation in run:
            if operation.connection is not None and operation.connection.state != "closed":
                if refusal is not None:
                    operation.connection.refuse(refusal)
                room.hosts.welcome(operation.connection, reply.room)
    elif verb == "detach" and reply.results == ["detached"]:
        room.hub.spawn(room.detached())


def fail(room: LiveRoom, verb: str, run: list[Operation]) -> None:
    """The store did not answer a run: what frees seats is kept for later, whoever asked for something is told."""
    if verb in ("leave", "away"):
        room.lane.put_back(run)
        return
    for operation in run:
        connection = operation.connection
        if connection is None or connection.state == "closed":
            continue
        if verb == "join":
            connection.close(UNAVAILABLE)
            room.lane.add("away", connection)  # the join may have been done
        elif verb == "host" and connection.state == "joining":
            connection.close(UNAVAILABLE)
            room.lane.add("host")
        else:
            connection.refuse(ErrorCode.UNAVAILABLE)


def healed(room: LiveRoom, connections: list[Connection], reply: Reply) -> None:
    """Tell connections where they stand after a resync, if that is not what they were told last."""
    if reply.room is None:
        return
    newest = room.newest(reply.room)
    if reply.status == "ended":
        room.end(reply.room.ended_reason or "api")
        return
    found_held: dict[int, list[Connection]] = {}
    for connection, result in zip(connections, reply.results, strict=True):
        if connection.state == "closed":
            continue
        connection.revision = reply.room.revision  # a lower one than before, if the store lost that history
        word = result[0]
        if word == "replaced":
            connection.close(REPLACED)
        elif word == "put_out":
            telling.put_out(room, connection)
        elif word == "held" and connection.state != "held":
            found_held.setdefault(result[1], []).append(connection)
        elif word == "waiting":
            connection.sequence = result[2]
            if result[3] and connection.state in ("seated", "held"):
                connection.reason = "seat_lost"
            elif reply.room.state == "open" and connection.reason == "not_started":
                connection.reason = "full"
            elif connection.state == "waiting" and result[1] == connection.position:
                continue
            connection.state = "waiting"
            room.line.tell(connection, result[1], newest.waiting, newest.seat_limit)
        elif word == "seated" and connection.state != "seated":
            _seated(room, connection, newest)
    for held_until, told in found_held.items():
        telling.refresh(room, told, "seat_freed", held_until, len(told))
    telling.heal_limit(room, newest)  # the feed says no more what is older than this answer


def _joined(room: LiveRoom, connection: Connection, result: list[Any], snapshot: Snapshot) -> None:
    participant = connection.claims.participant
    older = room.attendees.get(participant)
    if older is not None and older is not connection:
        older.close(REPLACED)
    room.attendees[participant] = connection
    connection.revision = connection.joined_at = snapshot.revision
    word = result[0]
    room.hub.stats.joins[word] += 1
    if word == "put_out":
        telling.put_out(room, connection)
    elif word == "seated":
        _seated(room, connection, snapshot)
    else:
        connection.state = "waiting"
        connection.reason = "full" if snapshot.state == "open" else "not_started"
        position = result[1] if word == "waiting" else 1
        connection.sequence = int(result[2]) if word == "waiting" else 0
        room.line.tell(connection, position, snapshot.waiting, snapshot.seat_limit)
        if word == "held":
            telling.refresh(room, [connection], result[2], result[1], result[3])
    room.hub.stats.answers.add(room.hub.clock() - connection.arrived_at)


def _claimed(room: LiveRoom, connection: Connection, word: str, snapshot: Snapshot) -> None:
    if word == "seated":
        connection.revision = snapshot.revision
        _seated(room, connection, room.newest(snapshot))
    elif word == "nothing_held":
        connection.refuse(ErrorCode.NOTHING_HELD)


def _seated(room: LiveRoom, connection: Connection, snapshot: Snapshot) -> None:
    connection.state, connection.limit = "seated", snapshot.seat_limit
    room.line.paid(connection)
    connection.send(
        Seated(
            room=room.name.room,
            participant=connection.claims.participant,
            seat_limit=snapshot.seat_limit,
            occupied=snapshot.occupied,
        )
    )
    if room.hub.traces is not None:
        room.hub.traces.moved(connection)


def answer_pass(room: LiveRoom, connection: Connection | None) -> None:
    """Give somebody who is seated their pass."""
    if connection is None or connection.state == "closed":
        return
    if connection.state != "seated":
        connection.refuse(ErrorCode.NOT_SEATED)
    elif (seat_pass := room.hub.issue_pass(connection.claims)) is not None:
        connection.send(seat_pass)
    else:
        connection.refuse(ErrorCode.UNAVAILABLE)
