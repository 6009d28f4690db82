"""A room whose calls the test makes itself: what happens there is written down for webhooks, and nothing is relayed of itself."""

from __future__ import annotations

from typing import Any

import redis.asyncio as aioredis

from capacity.protocol.hooks import Event
from capacity.store import keys
from capacity.store.keys import RoomName
from capacity.store.outbox import Outbox
from capacity.store.rooms import Reply, Rooms
from tests.store.test_pieces import RULES
from tests.support.service import ACCOUNT, ROOM

LOOK_MS = 100


class Room:
    """One room on a client of the store, and its outbox."""

    def __init__(self, client: Any, *, room: str = ROOM, hub: str = "h1") -> None:
        self._client = client
        self.name = RoomName(ACCOUNT, room)
        self.outbox = Outbox(client, look_every_ms=LOOK_MS)
        self.rooms = Rooms(client, RULES, hub)
        self.rooms.outbox = self.outbox
        self.wall_ms: int | None = None
        """The time, if not the store's."""

    async def limit(self, seats: int) -> None:
        """Give the account so many seats; the room follows at its next call."""
        fields = {"plan": "p", "seats": seats, "sessions": 10}
        await self._client.hset(keys.account_key(ACCOUNT), mapping=fields)

    async def open(self, seats: int) -> None:
        """Open it with so many seats."""
        await self.limit(seats)
        await self.call("attach", 0, "", 0)
        await self.call("open", 1)

    async def fill_and_end(self, participant: str) -> None:
        """Let it run once, for two events: full, and ended."""
        await self.call("open", 1)
        await self.call("attach", 0, "", 0)
        await self.join(participant)
        await self.call("end", "api")

    async def call(self, verb: str, *arguments: str | int) -> Reply:
        """Make a call."""
        return await self.rooms.call(verb, self.name, arguments, wall_ms=self.wall_ms)

    async def join(self, *participants: str) -> Reply:
        """Let participants come, each with the lease `h1.NAME`."""
        return await self.call("join", *(part for name in participants for part in (name, f"h1.{name}")))

    async def leave(self, *participants: str) -> Reply:
        """Let them go."""
        return await self.call("leave", *(part for name in participants for part in (name, f"h1.{name}")))

    async def told(self) -> list[Event]:
        """Return what was written down, and forget it."""
        piece = await self.outbox.read(ACCOUNT)
        if piece.entries:
            await self.outbox.drop(ACCOUNT, piece)
        return piece.events


def client_of(url: str) -> Any:
    """Return a client of the store."""
    return aioredis.Redis.from_url(url)
