"""What those in line are told: their place, when it changed, and not too often.

A change of reason and a lost hold are told at once; mere changes of position at most once a second, and the number of those who wait
at the latest after five. The store is asked for the places (`inspect.lua`): the feed only says that they moved.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from capacity.errors import Unavailable
from capacity.protocol.messages import Waiting

if TYPE_CHECKING:
    from capacity.hub.connection import Connection
    from capacity.hub.room import LiveRoom

MOVED_EVERY_SECONDS = 1.0
COUNTED_EVERY_SECONDS = 5.0
ASKED_MAX = 500

log = structlog.get_logger(__name__)


class WaitingLine:
    """The part of a room's line that is connected to this hub."""

    def __init__(self, room: LiveRoom) -> None:
        self._room = room
        self._owed: dict[Connection, None] = {}
        self._moved = False
        self._counted = False
        self._asked_at = self._counted_at = -COUNTED_EVERY_SECONDS
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def owe(self, connection: Connection) -> None:
        """The connection must be told its place at once."""
        self._owed[connection] = None
        self._wake()

    def paid(self, connection: Connection) -> None:
        """The connection was told something that makes its place void."""
        self._owed.pop(connection, None)

    def moved(self) -> None:
        """Places changed."""
        self._moved = True
        self._wake()

    def counted(self) -> None:
        """The number of those who wait changed, and nobody's place."""
        self._counted = True
        self._wake()

    def tell(self, connection: Connection, position: int, waiting: int, seat_limit: int) -> None:
        """Send one connection its place in a room of that many who wait, and that many seats."""
        room = self._room
        connection.position, connection.shown_waiting, connection.limit = position, waiting, seat_limit
        connection.send(
            Waiting(
                room=room.name.room,
                participant=connection.claims.participant,
                reason=connection.reason,
                position=position,
                waiting=waiting,
                seat_limit=seat_limit,
                eta_seconds=room.eta_seconds(position) if connection.reason != "not_started" else None,
            )
        )

    def cancel(self) -> None:
        """Tell nothing more."""
        if self._task is not None:
            self._task.cancel()

    def _wake(self) -> None:
        self._woken.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._owed or self._moved or self._counted:
                next_at = self._counted_at + COUNTED_EVERY_SECONDS
                if self._moved:
                    next_at = min(next_at, self._asked_at + MOVED_EVERY_SECONDS)
                if self._owed:
                    await self._ask(list(self._owed), count=False)
                elif next_at > loop.time():
                    self._woken.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), next_at - loop.time())
                else:
                    count = loop.time() >= self._counted_at + COUNTED_EVERY_SECONDS
                    self._moved, self._asked_at = False, loop.time()
                    if count:
                        self._counted, self._counted_at = False, loop.time()
                    await self._ask([c for c in self._room.attendees.values() if c.state == "waiting"], count=count)
        except Unavailable:
            self._room.hub.store_lost()  # whoever is owed a place gets it from the resync that follows
        except Exception as error:  # a bug must cost this round, and leave no traceback
            log.error("line_not_told", **self._room.fields, error=f"{type(error).__name__}: {error}")
        finally:
            self._task = None

    async def _ask(self, connections: list[Connection], *, count: bool) -> None:
        """Tell those whose place changed; with `count`, also those who were told another number of waiting."""
        for start in range(0, len(connections), ASKED_MAX):
            piece = connections[start : start + ASKED_MAX]
            reply = await self._room.hub.rooms.call("inspect", self._room.name, [c.claims.participant for c in piece])
            if reply.room is None or not reply.results:
                for connection in piece:
                    self._owed.pop(connection, None)
                continue
            newest = self._room.newest(reply.room)
            waiting = newest.waiting
            for connection, (state, position, lease) in zip(piece, reply.results, strict=True):
                owed = connection in self._owed
                self._owed.pop(connection, None)
                if connection.state != "waiting" or state != "waiting" or lease != connection.lease:
                    continue  # held, replaced or gone meanwhile: the feed tells what
                if owed or position != connection.position or (count and waiting != connection.shown_waiting):
                    self.tell(connection, position, waiting, newest.seat_limit)
