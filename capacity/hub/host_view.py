"""The hosts of a room. What they are told: the occupancy while it changes, at most five times a second, and near-full notices at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from capacity.errors import ErrorCode, Unavailable
from capacity.protocol import codec
from capacity.protocol.messages import (
    AskPass,
    Claim,
    ClientMessage,
    End,
    Error,
    NearFull,
    NearFullCleared,
    Open,
    RequestUpgrade,
    SeatLimit,
    Upgrade,
)
from capacity.store.keys import RoomName
from capacity.store.rooms import AccountChange, Near, Snapshot

if TYPE_CHECKING:
    from capacity.hub.connection import Connection
    from capacity.hub.room import LiveRoom

OCCUPANCY_EVERY_SECONDS = 0.2
OTHER_ROOMS_MAX = 50
"""Of how many other rooms a host who may buy is told on connecting."""


class HostView:
    """The hosts of a room that are connected to this hub; `everybody` includes those that were not answered yet."""

    def __init__(self, room: LiveRoom) -> None:
        self._room = room
        self.everybody: dict[Connection, None] = {}
        self._shown_at = 0.0
        self._shown = b""
        self._timer: asyncio.TimerHandle | None = None

    def answered(self) -> Iterable[Connection]:
        """Return the hosts that have had their first message."""
        return [connection for connection in self.everybody if connection.state == "host"]

    def welcome(self, connection: Connection, snapshot: Snapshot) -> None:
        """Send a host the present state; one who is new to the room also which levels stand, there and in other rooms."""
        self._shown = b""
        heard = self._room.snapshot
        if heard is not None and heard.epoch == snapshot.epoch and heard.revision > snapshot.revision:
            snapshot = heard  # the feed overtook the answer; what it said is not said again
        new = connection.state == "joining"
        limit, level = connection.limit, connection.level
        connection.state = "host"
        connection.revision = snapshot.revision
        if not new and limit != snapshot.seat_limit:
            connection.send(SeatLimit(room=self._room.name.room, seat_limit=snapshot.seat_limit, previous=limit))
        connection.limit = snapshot.seat_limit
        connection.send(snapshot.occupancy(self._room.name.room))
        # What the answer knows before the feed is told here, for the feed will not tell it to this host again.
        near = standing(snapshot)
        if near is None and level:
            connection.send(self._cleared(snapshot.occupied, snapshot.seat_limit))
        elif near is not None and (new or (level, limit) != (snapshot.told, snapshot.seat_limit)):
            connection.send(self.notice(near, billing=connection.claims.billing))
        connection.level = snapshot.told
        if new and connection.claims.billing:
            self._room.hub.spawn(self._tell_of_other_rooms(connection))

    async def _tell_of_other_rooms(self, connection: Connection) -> None:
        """Tell a host who may buy which of the account's other rooms stand near full."""
        room = self._room
        for other in (await room.hub.rooms.open_rooms(room.account.id))[:OTHER_ROOMS_MAX]:
            if other == room.name.room:
                continue
            reply = await room.hub.rooms.call("inspect", RoomName(room.account.id, other))
            near = standing(reply.room) if reply.room is not None else None
            if near is not None and connection.state == "host":
                connection.send(self.notice(near, billing=True, room=other))

    def says(self, connection: Connection, message: ClientMessage) -> None:
        """Take what a host said, but for leave."""
        room = self._room
        if not room.hub.usable:
            connection.refuse(ErrorCode.UNAVAILABLE)
        elif isinstance(message, Open | End):
            if connection.claims.expires_at <= room.hub.now_ms():
                connection.refuse(ErrorCode.TOKEN_EXPIRED)
            else:
                room.lane.add("open" if isinstance(message, Open) else "end", connection)
        elif isinstance(message, RequestUpgrade) and connection.claims.billing:
            connection.send(Error(code=ErrorCode.NOT_ALLOWED, message="You may buy the upgrade yourself."))
        elif isinstance(message, RequestUpgrade):
            room.hub.spawn(self._request_upgrade(connection))
        elif isinstance(message, Claim):
            connection.refuse(ErrorCode.NOTHING_HELD)
        else:
            assert isinstance(message, AskPass)
            connection.refuse(ErrorCode.NOT_SEATED)

    async def _request_upgrade(self, connection: Connection) -> None:
        """Ask the account's billing hosts, wherever they are."""
        room = self._room
        near = standing(room.snapshot) if room.snapshot is not None else None
        wanted = near.occupied + near.waiting if near is not None else 0
        upgrade = room.hub.offer(room.account.known, room.seat_limit, wanted)
        request = AccountChange(
            room=room.name.room,
            requested_by=connection.claims.participant,
            requested_name=connection.claims.name,
            plan=upgrade.plan if upgrade is not None else None,
        )
        try:
            await room.hub.rooms.announce(room.account.id, request)
        except Unavailable:
            connection.refuse(ErrorCode.UNAVAILABLE)
            raise

    def changed(self) -> None:
        """Show the occupancy: now, or as soon as a fifth of a second has passed since the last time."""
        if not self.everybody or self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(max(loop.time(), self._shown_at + OCCUPANCY_EVERY_SECONDS), self._show)

    def cancel(self) -> None:
        """Show nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tell_near(self, near: Near, now: Snapshot) -> None:
        """Tell every host of a near-full crossing, but for those whose first message had it."""
        self._tell(lambda billing: self.notice(near, billing=billing), now)

    def tell_cleared(self, now: Snapshot) -> None:
        """Tell every host that the room is no longer near full."""
        cleared = self._cleared(now.occupied, now.seat_limit)
        self._tell(lambda _: cleared, now)

    def heal_level(self, now: Snapshot, raised: list[Connection]) -> None:
        """Tell the level to those who were told another one last, and to those who did not hear that the limit was `raised`."""
        near = standing(now)
        for connection in self.answered():
            if connection.revision > now.revision:
                continue
            if not now.told and connection.level:
                connection.send(self._cleared(now.occupied, now.seat_limit))
            elif near is not None and (now.told != connection.level or connection in raised):
                connection.send(self.notice(near, billing=connection.claims.billing))
            connection.level = now.told

    def _cleared(self, occupied: int, seat_limit: int) -> NearFullCleared:
        return NearFullCleared(room=self._room.name.room, occupied=occupied, seat_limit=seat_limit)

    def notice(self, near: Near, *, billing: bool, room: str | None = None) -> NearFull:
        """Return the notice as a host sees it: with today's price only for those who may buy."""
        live = self._room
        upgrade = live.hub.offer(live.account.known, near.seat_limit, near.occupied + near.waiting)
        if upgrade is not None and not billing:
            upgrade = Upgrade(plan=upgrade.plan, name=upgrade.name, seats=upgrade.seats, due_now=None, url=upgrade.url)
        return NearFull(
            room=room or live.name.room,
            level=near.level,
            occupied=near.occupied,
            seat_limit=near.seat_limit,
            waiting=near.waiting,
            upgrade=upgrade,
            full_in_seconds=live.full_in_seconds(max(0, near.seat_limit - near.occupied)) if room is None else None,
        )

    def _tell(self, message_for: Callable[[bool], NearFull | NearFullCleared], now: Snapshot) -> None:
        frames: dict[bool, bytes] = {}
        for connection in self.answered():
            if connection.revision >= now.revision:
                continue
            connection.level = now.told
            billing = connection.claims.billing
            if billing not in frames:
                frames[billing] = codec.frame(message_for(billing))
            connection.socket.send(frames[billing])

    def _show(self) -> None:
        self._timer = None
        self._shown_at = asyncio.get_running_loop().time()
        snapshot = self._room.snapshot
        if snapshot is None:
            return
        frame = codec.frame(snapshot.occupancy(self._room.name.room))
        if frame == self._shown:
            return  # what changed is nothing that hosts see
        self._shown = frame
        for connection in self.answered():
            if snapshot.revision > connection.revision:
                connection.socket.send(frame)


def standing(snapshot: Snapshot) -> Near | None:
    """Return the near-full level that holds in a room, if one does and there is somebody to tell it for."""
    if snapshot.state != "open" or snapshot.told == 0 or (snapshot.seat_limit == 0 and snapshot.waiting == 0):
        return None
    # As _prelude.lua does: the room as it will be when the allotment under way is done.
    coming = min(snapshot.free, snapshot.waiting) if snapshot.more else 0
    return Near(
        level="full" if snapshot.free == coming else "near_full",
        occupied=snapshot.occupied + coming,
        waiting=snapshot.waiting - coming,
        seat_limit=snapshot.seat_limit,
    )
