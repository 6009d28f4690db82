"""Looking at a store without hurting it: nothing is searched for, and what one look asks for is bounded.

The hubs' beats say which hubs there are; each says of itself how it is, and has an index of the rooms that it watches. A
room costs one call of `lua/look.lua`, six commands of constant time.
Where there are more rooms than one look may ask for, those on the screen are asked for at each, and the rest in turn.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

from redis.exceptions import RedisClusterException, RedisError

from capacity.errors import Unavailable
from capacity.hub.forecast import Forecast
from capacity.hub.liveness import STATUS_MS
from capacity.hub.status import read_status
from capacity.redis_url import parse
from capacity.store import keys, scripts
from capacity.store.keys import RoomName
from capacity.store.redis import Clients
from capacity.store.scripts import ScriptError, guarded
from capacity.top.document import LEVELS, Hub, Room, Store, Top

ROOMS_A_LOOK_MAX = 500
"""The store takes about 15 µs for each."""
INDEX_MEMBERS_PER_SECOND = 5000
"""The longer an index the less often it is read: one of 20,000 rooms takes the store 2 ms, every 4 s."""
CALLS_AT_ONCE = 16
"""Below the connections of a client, so that none has to wait for one."""
ARRIVALS_WINDOW_SECONDS = 10.0
COUNTED = ("state", "people", "line", "holds", "seat_away", "met")

FAILURES = (Unavailable, RedisError, RedisClusterException, ScriptError, OSError)
"""What a look raises when the store cannot be read: it does not answer, or does not let this user."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Seen:
    """What was seen of one room, look after look."""

    def __init__(self) -> None:
        self.room: Room | None = None
        self._forecast = Forecast()
        self._arrived: deque[tuple[float, int]] = deque()
        self._opened_at: int | None = None

    def saw(self, name: RoomName, counts: list[Any], hubs: list[str], now: float) -> None:
        """Note the answer of look.lua; a room that the store does not know is none."""
        if counts[0] is None:
            self.room = None
            return
        seat_limit, peak, told, opened_at = (int(count or 0) for count in counts[1:5])
        people, line, held, away, arrived = counts[5:]
        if self._opened_at != opened_at:  # it began afresh
            self._forecast, self._arrived, self._opened_at = Forecast(), deque(), opened_at
        occupied = people - line
        free = max(0, seat_limit - occupied)
        self._forecast.saw(now, occupied, 0)
        state = counts[0].decode()
        self.room = Room(
            account=name.account,
            room=name.room,
            state=state,
            seat_limit=seat_limit,
            occupied=occupied,
            seated=occupied - held - away,
            away=away,
            held=held,
            waiting=line,
            free=free,
            peak=peak,
            level=LEVELS[told],
            opened_at=opened_at or None,
            arrivals_per_second=self._arrival_rate(now, arrived),
            full_in_seconds=self._forecast.full_in_seconds(now, free) if state == "open" else None,
            hubs=hubs,
        )

    def _arrival_rate(self, now: float, arrived: int) -> float | None:
        looks = self._arrived
        while len(looks) > 1 and looks[1][0] <= now - ARRIVALS_WINDOW_SECONDS:
            looks.popleft()
        looks.append((now, arrived))
        since, before = looks[0]
        return round(max(0, arrived - before) / (now - since), 1) if now > since else None


class Reader:
    """Looks at one store. `matches`: which rooms are asked for, by name; it may change from look to look."""

    def __init__(
        self, url: str, matches: Callable[[RoomName], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._scheme = parse(url).scheme
        self.matches = matches
        self._clock = clock
        self._clients: Clients | None = None
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self._indexes: dict[str, set[RoomName]] = {}
        self._index_due_at: dict[str, float] = {}
        self._seen: dict[RoomName, _Seen] = {}
        self._turn: deque[RoomName] = deque()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._clients is not None:
            clients, self._clients = self._clients, None
            await clients.aclose()

    async def look(self, shown: Collection[RoomName] = ()) -> Top:
        """Return what is there now, of at most ROOMS_A_LOOK_MAX rooms, those that are shown first; of others, what was seen last.

        Raises one of FAILURES; the next look then begins with new connections.
        """
        return await self._look(lambda there: self._choose(there, shown))

    async def look_at_all(self) -> Top:
        """Return what is there now, of all rooms. Raises one of FAILURES."""
        return await self._look(lambda there: there)

    async def _look(self, choose: Callable[[dict[RoomName, list[str]]], Iterable[RoomName]]) -> Top:
        try:
            self._clients = self._clients or Clients(self._url)
            client = self._clients.scripts
            began = self._clock()
            beats = await guarded(client.hgetall(keys.BEATS))
            answer_ms = round((self._clock() - began) * 1000, 3)
            ids = sorted(hub.decode() for hub in beats)
            hubs = await self._each(partial(self._hub, client), ids)
            await self._read_indexes(client, ids)
            there: dict[RoomName, list[str]] = {}
            for id in ids:
                for name in self._indexes[id]:
                    if self.matches(name):
                        there.setdefault(name, []).append(id)
            for name in self._seen.keys() - there.keys():
                del self._seen[name]
            await self._each(lambda name: self._room(client, name, there[name]), choose(there))
        except FAILURES:
            await self.aclose()
            raise
        return Top(
            at=time.time_ns() // 1_000_000,
            store=Store(self._scheme, answer_ms),
            hubs=hubs,
            rooms=[seen.room for seen in self._seen.values() if seen.room is not None],
            rooms_total=len(there),
        )

    def _choose(self, there: dict[RoomName, list[str]], shown: Collection[RoomName]) -> list[RoomName]:
        """Return the rooms to ask for: those shown, then the others, each once a round."""
        chosen = dict.fromkeys(itertools.islice((name for name in shown if name in there), ROOMS_A_LOOK_MAX))
        waiting = set(self._turn)
        self._turn.extend(name for name in there if name not in waiting)
        for _ in range(len(self._turn)):
            if len(chosen) >= ROOMS_A_LOOK_MAX:
                break
            name = self._turn.popleft()
            if name in there:
                chosen[name] = None
                self._turn.append(name)
        return list(chosen)

    async def _each(self, call: Callable[[Item], Coroutine[Any, Any, Answer]], items: Iterable[Item]) -> list[Answer]:
        """Return the answers for all, CALLS_AT_ONCE at a time, in their order. The first failure ends them all, and is raised."""

        async def one(item: Item) -> Answer:
            async with self._calls:
                return await call(item)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(item)) for item in items]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _hub(self, client: Any, id: str) -> Hub:
        key = keys.hub_status(id)
        said, left_ms = await guarded(client.get(key)), await guarded(client.pttl(key))
        known = said is not None and left_ms >= 0
        return Hub(id, round(max(0, STATUS_MS - left_ms) / 1000, 1) if known else None, read_status(said))

    async def _read_indexes(self, client: Any, ids: list[str]) -> None:
        for gone in self._indexes.keys() - set(ids):
            del self._indexes[gone], self._index_due_at[gone]
        for id in ids:
            if self._index_due_at.get(id, 0.0) > self._clock():
                continue
            members = await guarded(client.smembers(keys.hub_rooms(id)))
            self._indexes[id] = {RoomName(*member.decode().split(" ", 1)) for member in members}
            self._index_due_at[id] = self._clock() + len(members) / INDEX_MEMBERS_PER_SECOND

    async def _room(self, client: Any, name: RoomName, hubs: list[str]) -> None:
        counts = await scripts.LOOK.run(client, tuple(keys.room_key(name, kind) for kind in COUNTED), [])
        self._seen.setdefault(name, _Seen()).saw(name, counts, hubs, self._clock())
