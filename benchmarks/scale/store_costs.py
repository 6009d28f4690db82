"""What the scripts cost the store: CPU of its process for each call, by verb, by how many go together, by how many are in the room.

Calls go one after the other, so the price of reading a command and writing an answer is in each. Another process on the same core takes
time away and no CPU: so CPU is what is counted.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis

from benchmarks.machine import Store
from benchmarks.machine import store as store_in
from benchmarks.ours import ACCOUNT
from benchmarks.own import FILLER, RULES
from capacity.hub.lane import BATCH_MAX
from capacity.store import keys
from capacity.store.keys import RoomName
from capacity.store.redis import Clients
from capacity.store.rooms import Rooms

SIZES = (1_000, 10_000, 100_000)
BATCHES = (1, 10, 70, 100)
ASKED = (1, 100, 500)
PEOPLE_A_TURN = 200
CALLS_MIN = 5
TURNS = 3
SUBSCRIBERS = 40
IDLE_CALLS = 400
PIECE = 500
"""Of `_prelude.lua`: how many one call holds a seat for."""

Table = dict[str, float]
"""«verb/size/batch» → µs of the store's CPU for each call."""


class Filled:
    """A room whose participants are made by the scripts alone, as by a hub that has them connected."""

    def __init__(self, store: Store, clients: Clients, client: redis.Redis, name: str) -> None:
        self.client = client
        self.name = RoomName(ACCOUNT, name)
        self._store = store
        self._rooms = Rooms(clients.scripts, RULES, FILLER)
        self._numbers = itertools.count()

    def set_seats(self, seats: int) -> None:
        """Change the account's seats without an event; the room learns of it at its next call."""
        self.client.hset(keys.account_key(ACCOUNT), mapping={"plan": "bench", "seats": seats, "sessions": 1000})

    async def open(self) -> None:
        """Open the room."""
        await self._rooms.call("attach", self.name, [0, "", 0])
        await self._rooms.call("open", self.name, [1])

    def newcomers(self, count: int) -> list[str]:
        """Return names that nobody here has."""
        return [f"person-{next(self._numbers):06}" for _ in range(count)]

    async def call(self, verb: str, people: list[str], batch: int = BATCH_MAX) -> float:
        """Call a verb for people in batches; returns µs of the store's CPU for each call."""
        leased = verb != "inspect"
        before = self._store.cpu_seconds()
        calls = 0
        for start in range(0, len(people), batch):
            piece = people[start : start + batch]
            arguments = [part for name in piece for part in (name, f"{FILLER}.{name[7:]}")] if leased else piece
            await self._rooms.call(verb, self.name, list(arguments))
            calls += 1
        return (self._store.cpu_seconds() - before) / max(1, calls) * 1e6

    async def sweeps(self, calls: int) -> float:
        """Sweep a room in which nothing is due; returns µs of the store's CPU for each."""
        before = self._store.cpu_seconds()
        for _ in range(calls):
            await self._rooms.call("sweep", self.name)
        return (self._store.cpu_seconds() - before) / calls * 1e6

    async def allot(self) -> float:
        """Sweep until no allotment goes on; returns µs of the store's CPU for each piece."""
        before, calls = self._store.cpu_seconds(), 0
        while True:
            calls += 1
            reply = await self._rooms.call("sweep", self.name)
            if reply.room is None or not reply.room.more:
                return (self._store.cpu_seconds() - before) / calls * 1e6

    async def end(self) -> None:
        """End the room."""
        await self._rooms.call("end", self.name, ["api"])


@asynccontextmanager
async def filled(store: Store, name: str, people: int, seats: int) -> AsyncIterator[tuple[Filled, list[str]]]:
    """An open room with so many people, and seats for some of them; yields it and their names, in their order."""
    clients = Clients(store.url)
    with redis.Redis.from_url(store.url) as client:
        room = Filled(store, clients, client, name)
        room.set_seats(seats)
        await room.open()
        names = room.newcomers(people)
        await room.call("join", names)
        yield room, names
        await room.end()
    await clients.aclose()


async def measure(directory: Path) -> tuple[Table, float]:
    """Measure everything. Returns medians of some turns, and how far these went apart (`spread`)."""
    found: dict[str, list[float]] = {}
    with store_in(directory) as store, redis.Redis.from_url(store.url) as client:
        async with filled(store, "warm", 1_000, 1_000) as (room, _):
            await _moves(room, "seated/0", {})
        for size in SIZES:
            for turn in range(TURNS):
                await _turn(store, size, turn, found)
        found["publish_to_one"] = [await _publish_to_one(store, client) for _ in range(TURNS)]
        found["bytes_a_seated"], found["bytes_a_waiting"] = await _bytes(store, client)
        found["bytes_a_room"] = [await _bytes_a_room(store, client)]
    return {name: round(statistics.median(values), 2) for name, values in found.items()}, spread(found)


def spread(found: dict[str, list[float]]) -> float:
    """Return by how much the turns of a figure typically went apart: the median of (most − least) / median."""
    apart = [(max(v) - min(v)) / statistics.median(v) for v in found.values() if len(v) > 1 and statistics.median(v)]
    return round(statistics.median(apart), 3)


async def _turn(store: Store, size: int, turn: int, found: dict[str, list[float]]) -> None:
    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    async with filled(store, f"seated-{size}-{turn}", size, 10 * size) as (room, names):
        note(f"sweep/{size}", await room.sweeps(IDLE_CALLS))
        await _moves(room, f"seated/{size}", found)
    async with filled(store, f"waiting-{size}-{turn}", size, 0) as (room, names):
        await _moves(room, f"waiting/{size}", found)
        for asked in ASKED:
            people = names[: asked * max(CALLS_MIN, PEOPLE_A_TURN // asked)]
            note(f"inspect/{size}/{asked}", await room.call("inspect", people, asked))
        room.set_seats(size)
        note(f"piece/{size}", await room.allot())
        note(f"claimed/{size}/{BATCH_MAX}", await room.call("join", names[:1000]))


async def _moves(room: Filled, kind: str, found: dict[str, list[float]]) -> None:
    """Let newcomers come, be away, return and leave, by batches of each size."""
    for batch in BATCHES:
        people = room.newcomers(batch * max(CALLS_MIN, PEOPLE_A_TURN // batch))
        for verb, called in (("join", "join"), ("away", "away"), ("back", "join"), ("leave", "leave")):
            found.setdefault(f"{verb}/{kind}/{batch}", []).append(await room.call(called, people, batch))


async def _publish_to_one(store: Store, client: redis.Redis) -> float:
    """Return µs of the store for each hub that a change goes to: SPUBLISH to many subscribers, less that to none."""
    message, times = b"x" * 300, 500
    spent = []
    for channel, subscribers in (("{bench}silent", 0), ("{bench}heard", SUBSCRIBERS)):
        listeners = [redis.Redis.from_url(store.url).pubsub() for _ in range(subscribers)]  # type: ignore[no-untyped-call]
        for listener in listeners:
            listener.ssubscribe(channel)
            while listener.get_message(timeout=1) is None:
                pass
        before = store.cpu_seconds()
        for _ in range(times):
            client.execute_command("SPUBLISH", channel, message)  # type: ignore[no-untyped-call]
        spent.append(store.cpu_seconds() - before)
        for listener in listeners:
            listener.close()
    return (spent[1] - spent[0]) / times / SUBSCRIBERS * 1e6


async def _bytes(store: Store, client: redis.Redis, people: int = 10_000) -> tuple[list[float], list[float]]:
    found: list[list[float]] = []
    for number, seats in enumerate((people, 0)):
        client.flushall()
        async with filled(store, f"bytes-{number}", 0, seats) as (room, _):
            before = _used(client)
            await room.call("join", room.newcomers(people))
            found.append([(_used(client) - before) / people])
    return found[0], found[1]


async def _bytes_a_room(store: Store, client: redis.Redis, rooms: int = 500) -> float:
    """Return the bytes of an open room with one participant."""
    client.flushall()
    clients = Clients(store.url)
    before = _used(client)
    for number in range(rooms):
        room = Filled(store, clients, client, f"room-{number}")
        room.set_seats(10)
        await room.open()
        await room.call("join", room.newcomers(1))
    bytes_a_room = (_used(client) - before) / rooms
    await clients.aclose()
    return bytes_a_room


def _used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])
