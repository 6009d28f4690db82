"""Hubs that died: whoever was connected to them becomes away, by those that live.

The first of the living by id reaps; the others do it too if that is not done a second later. Reaping twice is reaping once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

from capacity.hub.liveness import Liveness
from capacity.hub.readiness import DRAINING
from capacity.hub.status import read_status
from capacity.store import keys
from capacity.store.keys import RoomName
from capacity.store.scripts import guarded

if TYPE_CHECKING:
    from capacity.hub.hub import Hub

LAST_RESORT_SECONDS = 1.0
"""How long the first of the living has for reaping a dead hub before the others do it, too."""
ROOMS_AT_ONCE = 32

log = structlog.get_logger(__name__)


class Reaper:
    """What one hub does about the deaths of others."""

    def __init__(self, hub: Hub, liveness: Liveness, lease_seconds: float) -> None:
        self._hub = hub
        self._liveness = liveness
        self._lease_seconds = lease_seconds
        self._reaping: set[str] = set()
        self._strangers: dict[tuple[RoomName, str], float] = {}

    def met(self, room: RoomName, hubs: Iterable[str]) -> None:
        """These hubs act on a room, or somebody there is connected to them.

        One that does not beat may be what a loss of data brought back: it was reaped, and the store has forgotten that. Its beat is gone,
        so nothing would ever show that it is dead.
        """
        for hub in hubs:
            if not self._liveness.knows(hub):
                self._strangers.setdefault((room, hub), self._hub.clock())

    def living(self) -> int:
        """Return how many hubs live, as this one sees it."""
        return len(self._liveness.living())

    def look(self) -> None:
        """Reap whoever died; called after each beat."""
        for dead in self._liveness.dead():
            late = self._liveness.silent_seconds(dead) > self._lease_seconds + LAST_RESORT_SECONDS
            if dead not in self._reaping and (late or self._liveness.living()[:1] == [self._hub.id]):
                self._reaping.add(dead)
                self._hub.spawn(self._reap(dead))
        for (room, hub), since in list(self._strangers.items()):
            if self._liveness.knows(hub):
                del self._strangers[room, hub]
            elif self._hub.clock() - since >= self._lease_seconds:
                del self._strangers[room, hub]
                log.warning("hub_unknown", stranger=hub)
                self._hub.spawn(self._reap_stranger(room, hub))

    async def _reap_stranger(self, room: RoomName, stranger: str) -> None:
        """Reap a hub that does not beat: in the room where it was met, then wherever its index says; that died with it, too."""
        await self._hub.watched(room).reap(stranger)
        if stranger not in self._reaping:
            self._reaping.add(stranger)
            await self._reap(stranger)

    async def _reap(self, dead: str) -> None:
        """Take over the rooms of a dead hub: fence it, make its participants away, and watch the rooms from now on."""
        hub, scripts, index = self._hub, self._hub.clients.scripts, keys.hub_rooms(dead)
        slots = asyncio.Semaphore(ROOMS_AT_ONCE)

        async def reap(member: str) -> bool:
            account, _, room = member.partition(" ")
            async with slots:
                return not hub.draining and await hub.watched(RoomName(account, room)).reap(dead)

        try:
            await self._note(dead)
            members = sorted(member.decode() for member in await guarded(scripts.smembers(index)))
            if not all(await asyncio.gather(*map(reap, members))):
                return  # its beat stays, so it is found dead once more
            await guarded(scripts.delete(index))
            await guarded(scripts.hdel(keys.BEATS, dead))
            await hub.stream.forget_consumer(dead)
            self._liveness.buried(dead)
        finally:
            self._reaping.discard(dead)

    async def _note(self, dead: str) -> None:
        """Tell of it; of one that said at last that it ends, there is nothing to find out."""
        status = read_status(await guarded(self._hub.clients.scripts.get(keys.hub_status(dead))))
        if status is not None and DRAINING in status.problems:
            log.info("hub_ended", ended=dead)
        else:
            self._hub.stats.hub_deaths += 1
            log.warning("hub_dead", dead=dead)
