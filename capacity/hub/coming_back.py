"""What a hub does in a room after it may have missed something: it was fenced, the feed had a gap, the store was away or lost data.

It says who is connected to it; the answers say where each stands. What differs from what they were told last, they are told now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from capacity.errors import Unavailable
from capacity.hub import telling, verbs
from capacity.hub.lane import BATCH_MAX, Operation
from capacity.store.rooms import Snapshot

if TYPE_CHECKING:
    from capacity.hub.room import LiveRoom

log = structlog.get_logger(__name__)


async def resync(room: LiveRoom) -> None:
    """Say who is connected here, and tell them where they stand if that is not what they were told."""
    try:
        async with room.hub.store.turn():
            await _say_who_is_here(room)
    except Unavailable:
        room.hub.store_lost()


async def _say_who_is_here(room: LiveRoom) -> None:
    await room.hub.index_room(room.name)
    reply = await room.attach()
    if reply.status == "unknown_account" and await room.account.restore():
        reply = await room.attach()
    if reply.status == "ended" and reply.room is not None:
        room.end(reply.room.ended_reason or "api")
        return
    present = [c for c in room.attendees.values() if c.state in ("seated", "waiting", "held")]
    for start in range(0, len(present), BATCH_MAX):
        piece = [c for c in present[start : start + BATCH_MAX] if c.state != "closed"]
        arguments: list[str | int] = []
        for c in piece:
            arguments += [c.claims.participant, c.lease, c.state, c.sequence, c.joined_at]
        reply = await room.call("reassert", arguments)
        verbs.healed(room, piece, reply)
    await _find_strangers(room)
    room.lane.add("host")  # also with none left: a call that said so may have failed
    room.line.moved()  # who was owed a place when the store went away still is
    room.hub.stats.resyncs += 1
    connections = len(present) + len(room.hosts.everybody)
    log.info("room_resynced", **room.fields, connections=connections)


async def _find_strangers(room: LiveRoom) -> None:
    """Who is connected here by what the store says, and is not: it forgot that they left. And hubs that it may have brought back."""
    leases = await room.hub.rooms.leases(room.name)
    asked_for = room.lane.leases()
    gone: list[str | int] = []
    hubs = set(await room.hub.rooms.hubs(room.name))
    for participant, lease in leases:
        hub = lease.partition(".")[0]
        hubs.add(hub)
        if hub == room.hub.id and lease not in room.by_lease and lease not in asked_for:
            gone += (participant, lease)
    for start in range(0, len(gone), 2 * BATCH_MAX):
        await room.call("away", gone[start : start + 2 * BATCH_MAX])
    if gone:
        log.warning("leases_unknown", **room.fields, participants=len(gone) // 2)
    room.hub.reaper.met(room.name, sorted(hubs - {room.hub.id}))


async def look_around(room: LiveRoom) -> None:
    """Find hubs that may act on the room and do not beat; one may have come after it was taken for dead, by a call that lay on its way."""
    room.hub.reaper.met(room.name, sorted(set(await room.hub.rooms.hubs(room.name)) - {room.hub.id}))


def heal(room: LiveRoom, now: Snapshot) -> None:
    """Tell what the feed did not: a new limit, a near-full level that came or went."""
    raised = [host for host in room.hosts.answered() if host.limit < now.seat_limit and now.told]
    telling.heal_limit(room, now)
    room.hosts.heal_level(now, raised)
    room.hosts.changed()


async def reap(room: LiveRoom, run: list[Operation]) -> None:
    """Dead hubs may no longer act here; whoever was connected to them is away from now on."""
    for index, (_, _, dead) in enumerate(run):
        try:
            await room.call("fence", [dead])
            leases = [pair for pair in await room.hub.rooms.leases(room.name) if pair[1].startswith(f"{dead}.")]
            for start in range(0, len(leases), BATCH_MAX):
                piece: list[str | int] = [part for lease in leases[start : start + BATCH_MAX] for part in lease]
                reply = await room.call("away", piece)
                if reply.status == "fenced":
                    room.lane.put_back(run[index:])
                    await resync(room)
                    return
        except Unavailable:
            room.lane.put_back(run[index:])
            room.hub.store_lost()
            return
        room.hub.stats.reaped += 1
        log.info("hub_reaped", dead=dead, **room.fields, participants=len(leases))
        room.reaped(dead, True)
