"""Whether the store can be used, as one hub sees it, and the way back when it could not.

usable    everything goes
lost      no answer, or a word for «not now»; the feed is silent, or this process stood still: connections stay and are told once,
          calls wait, nobody new is let in
full      it answers and has no memory left: as lost, but what frees seats goes on
settling  it answers again: every room says who is there. Nobody new is let in yet if it is another server than before, which may have
          lost what the last one had acknowledged: other hubs have until then, too

usable ──► lost ──► full ──► settling ──► usable        any ──► lost
             └───────────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import structlog

from capacity.errors import ErrorCode, StoreFull, Unavailable
from capacity.hub.lane import Lane
from capacity.protocol import codec
from capacity.protocol.messages import Error
from capacity.store.redis import CONNECTIONS_MAX

if TYPE_CHECKING:
    from capacity.hub.hub import Hub

RECOVER_EVERY_SECONDS = 0.25
SETTLE_SECONDS = 3.0
"""After another server answered than before: for how long nobody new is let in, so that every hub can say who was there."""
TURNS = CONNECTIONS_MAX // 2
"""How many rooms may talk to the store at length; the other half of the connections is for the rooms that are at work."""
FREES = frozenset({"leave", "away", "sweep", "detach", "reap", "resync"})
"""The verbs of a room whose scripts run without memory (`flags=allow-oom`)."""

log = structlog.get_logger(__name__)


class Availability:
    """The store's state."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._state: Literal["usable", "lost", "full", "settling"] = "lost"
        self._settled_at = 0.0
        self._answers_since = 0.0
        self._lost_since = hub.clock()
        self._recovering = False
        self._turns = asyncio.Semaphore(TURNS)

    @property
    def usable(self) -> bool:
        """Whether anybody new may come."""
        return self._state == "usable"

    @property
    def answers(self) -> bool:
        """Whether calls are answered, if only those that free something."""
        return self._state != "lost"

    @property
    def answers_seconds(self) -> float:
        """For how long the store has answered."""
        return self._hub.clock() - self._answers_since

    def let(self, lane: Lane) -> None:
        """Let those calls of a room go that can be made."""
        if self._state == "full":
            lane.hold(but=FREES)
        elif self._state == "lost":
            lane.hold()
        else:
            lane.open()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a room may talk to the store at length: TURNS rooms at once, first come, first served.

        Thousands of rooms that all begin, or all come back, would else wait for a connection for so long that the store counts as
        lost, and again when it has come back. Raises Unavailable where it was lost meanwhile.
        """
        async with self._turns:
            if not self.answers:
                raise Unavailable("the store was lost before it was this room's turn")
            yield

    def start(self) -> None:
        """Begin to look for the store."""
        if not self._recovering:
            self._recovering = True
            self._hub.spawn(self._recover())

    def lose(self, why: str) -> None:
        """The store cannot be used."""
        hub, before = self._hub, self._state
        if before == "lost" or hub.draining:
            return
        self._state = "lost"
        if before == "usable":
            self._lost_since = hub.clock()
        if hub.clients.cluster:
            # A primary that does not answer is often followed by its replica, and that may be one that was met before.
            self._settled_at = hub.clock() + SETTLE_SECONDS
        if before != "full":
            hub.stats.store_outages += 1
            log.warning("store_unavailable", why=why, connections=hub.connections)
        frame = codec.frame(Error(code=ErrorCode.UNAVAILABLE, message=ErrorCode.UNAVAILABLE.message))
        for room in hub.live_rooms():
            room.lane.hold()
            room.refuse_waiting()
            if before != "usable":
                continue  # they know
            for connection in room.connections():
                if connection.state != "joining":  # that one will be closed
                    connection.socket.send(frame)
        self.start()

    def other_server(self) -> None:
        """Another server answers than before, or the same after a restart; what the last one acknowledged may be lost."""
        log.warning("store_replaced", settle_seconds=SETTLE_SECONDS)
        self._settled_at = self._hub.clock() + SETTLE_SECONDS
        self.lose("another server")
        self._hub.feed.renew()

    async def _recover(self) -> None:
        """Try until the store can be used; the only way out of `lost`."""
        hub = self._hub
        try:
            while not self.usable:
                await self._await_answer()
                self._state, self._answers_since = "settling", hub.clock()
                log.info("store_answers", rooms=len(hub.live_rooms()))
                hub.came_back()
                for room in hub.live_rooms():
                    if room.started:
                        room.resync()
                        room.lane.open()
                await asyncio.sleep(max(0.0, self._settled_at - hub.clock()))
                if self._state == "settling":  # else it was lost again meanwhile
                    self._state = "usable"
                    log.info("store_usable", after_seconds=round(hub.clock() - self._lost_since, 1))
        finally:
            self._recovering = False

    async def _await_answer(self) -> None:
        while True:
            try:
                await self._hub.reach_store()
                return
            except StoreFull:
                if self._state == "lost":
                    self._state, self._answers_since = "full", self._hub.clock()
                    log.warning("store_full")
                    for room in self._hub.live_rooms():
                        if room.started:
                            room.lane.hold(but=FREES)
            except Unavailable:
                self.lose("no answer")
            except Exception as error:  # whatever it is: a hub that gave up would never come back
                log.error("recovery_failed", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(RECOVER_EVERY_SECONDS)
