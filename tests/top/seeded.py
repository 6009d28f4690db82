"""Rooms written into a store by hand, as the scripts leave them, with numbers that are known."""

from __future__ import annotations

from typing import Any

from capacity.store import keys
from capacity.store.keys import RoomName


async def beating(client: Any, hub: str, *rooms: RoomName) -> None:
    """Let there be a hub that watches these rooms, and says nothing of itself."""
    await client.hincrby(keys.BEATS, hub, 1)
    if rooms:
        await client.sadd(keys.hub_rooms(hub), *(f"{name.account} {name.room}" for name in rooms))


async def room(
    client: Any, name: RoomName, *, limit: int = 10, seated: int = 0, away: int = 0, held: int = 0, waiting: int = 0
) -> None:
    """Let an open room have so many people, all of whom came for the first time."""
    state = {"state": "open", "seat_limit": limit, "peak": seated, "told": 0, "opened_at": 1}
    await client.hset(keys.room_key(name, "state"), mapping=state)
    groups = {"": seated, "seat_away": away, "holds": held, "line": waiting}
    for kind, count in groups.items():
        people = [f"{kind or 'seated'}-{number}" for number in range(count)]
        for key in ("people", "met") if people else ():
            await client.hset(keys.room_key(name, key), mapping=dict.fromkeys(people, "x"))
        if kind and people:
            await client.zadd(keys.room_key(name, kind), dict.fromkeys(people, 1))
