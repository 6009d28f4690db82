"""What is measured of Capacity alone: a raise, growth, churn, the stampede, what the store keeps, and what it is asked."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import redis

from benchmarks.comparison import FOLLOW_SECONDS, IDLE_SECONDS, Figures
from benchmarks.load import Opened, arrive, depart, until
from benchmarks.machine import LOAD_CORES, SERVER_CORES, Store
from benchmarks.machine import store as store_in
from benchmarks.ours import ACCOUNT, Attendee, Service, Tokens, service
from capacity.domain.near_full import Shares
from capacity.hub.lane import BATCH_MAX
from capacity.protocol.messages import Refresh, Waiting
from capacity.store import keys
from capacity.store.keys import RoomName
from capacity.store.redis import Clients
from capacity.store.rooms import Rooms, Rules

WAITING = 10_000
STAMPEDE = 9_000
STAMPEDE_HOLD_SECONDS = 18
"""The spread is half of the hold: 9 s, so that all can be back within 10."""
CHURN_WAITING, CHURN_SEATS, CHURN_A_SECOND, CHURN_SECONDS = 5_000, 1_000, 500, 10
GROWTH = (1_000, 50_000)
GROWTH_JOINS = 5_000
LARGE = 100_000
RULES = Rules(30_000, 120_000, 60_000, 900_000, 3_600_000, Shares(900_000, 800_000))
FILLER = "filler"
SLOW_US = 300
PATIENT = "3600"
"""The hub that makes participants by script alone has no process, and must not be taken for dead."""
SPREAD_OUT = SERVER_CORES | LOAD_CORES

_refresh = msgspec.json.Decoder(Refresh).decode
_waiting = msgspec.json.Decoder(Waiting).decode


async def raise_limit(
    store: Store, tokens: Tokens, *, waiting: int = WAITING, hubs: int = 2, cores: set[int] = SPREAD_OUT
) -> Figures:
    """Raise the limit for all who wait: from the instant at which the store has the event to each one's `refresh`."""
    with _empty(store), service(store, tokens, hubs, cores) as capacity:
        await capacity.in_force(0)
        room = capacity.new_room()
        host = await capacity.host(room)
        people = await arrive(capacity.clients(room, _names("person", waiting)))
        await asyncio.sleep(FOLLOW_SECONDS)
        before, spent, kept = sum(p.heard for p in people), capacity.hub_cpu_seconds(), store.cpu_seconds()
        published = await capacity.plan(waiting)
        await until(lambda: all(b"refresh" in person.at for person in people))
        spent, kept = capacity.hub_cpu_seconds() - spent, store.cpu_seconds() - kept
        told = sorted(person.at[b"refresh"] - published for person in people)
        messages = sum(p.heard for p in people) - before
        await depart([host, *people])
    return {
        "raise_last_ms": told[-1] * 1e3,
        "raise_p99_ms": told[waiting * 99 // 100] * 1e3,
        "raise_p50_ms": told[waiting // 2] * 1e3,
        "raise_message_us": spent / messages * 1e6,
        "raise_store_us": kept / waiting * 1e6,
    }


async def refresh_one_hub(store: Store, tokens: Tokens, *, waiting: int = 5_000) -> Figures:
    """CPU of one hub for each message of a raise (`seat_limit` to all, then `refresh`), the hub on the core of the servers."""
    figures = await raise_limit(store, tokens, waiting=waiting, hubs=1, cores=SERVER_CORES)
    return {"refresh_us": figures["raise_message_us"]}


async def eddsa(store: Store, directory: Path, *, joins: int = 5_000) -> Figures:
    """What a join costs the hub with EdDSA tokens, after a warm-up."""
    with _empty(store), service(store, Tokens(directory, "EdDSA")) as capacity:
        figures: Figures = {}
        for _ in range(2):
            hub, _ = await _joins(capacity, capacity.new_room(), joins, seats=joins // 2)
            figures = {"eddsa_join_us": hub}
    return figures


async def idle_commands(store: Store, tokens: Tokens, *, connections: int = 10_000) -> Figures:
    """Commands a second that a hub with an idle crowd sends to the store, as its MONITOR shows them; not what scripts call."""
    with _empty(store), service(store, tokens) as capacity:
        await capacity.in_force(connections)
        room = capacity.new_room()
        people = [await capacity.host(room), *await arrive(capacity.clients(room, _names("person", connections)))]
        await asyncio.sleep(FOLLOW_SECONDS)
        commands, seconds = await asyncio.to_thread(_watch_commands, capacity.client, IDLE_SECONDS)
        await depart(people)
    return {"idle_commands": commands / seconds}


def _watch_commands(client: redis.Redis, seconds: float) -> tuple[int, float]:
    commands, began = 0, time.perf_counter()
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        for command in monitor.listen():
            took = time.perf_counter() - began
            if took > seconds:  # something comes every second: the beat
                return commands, took
            commands += command["client_type"] != "lua"
    raise RuntimeError("the store stopped telling")


async def stored_bytes(store: Store, *, participants: int = 10_000) -> Figures:
    """Memory of the store for each of those who are seated, and of those who wait; ids of 13 characters."""
    found: Figures = {}
    for what, seats in (("seated", participants), ("waiting", 0)):
        with _empty(store):
            async with _filled(store) as room:
                room.set_seats(seats)
                await room.open()
                before = _used_memory(room.client)
                await room.call("join", 0, participants)
                found[f"{what}_bytes"] = (_used_memory(room.client) - before) / participants
    return found


def _used_memory(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


async def growth(store: Store, tokens: Tokens) -> Figures:
    """µs of a join, hub and store together, with few and with many in the room already: half of them seated."""
    found: Figures = {}
    for size in GROWTH:
        with _empty(store), service(store, tokens, CAPACITY_LEASE_SECONDS=PATIENT) as capacity:
            await _joins(capacity, capacity.new_room(), GROWTH_JOINS, seats=GROWTH_JOINS // 2)  # warm
            await capacity.in_force(size // 2)
            async with _filled(store) as room:
                await room.open()
                await room.call("join", 0, size)
                await capacity.in_force((size + GROWTH_JOINS) // 2)
                await room.settle()
                hub, kept = await _joins(capacity, room.name.room, GROWTH_JOINS)
            found[f"join_at_{size}_us"] = hub + kept
    found["growth"] = found[f"join_at_{GROWTH[1]}_us"] / found[f"join_at_{GROWTH[0]}_us"]
    return found


async def longest_script(directory: Path) -> Figures:
    """The longest script at 100,000 in a room: they come, all are held a seat, come back, leave or are away, and the room ends.

    The server's slow log times them, what it spends on other processes included; each script has run before, in another room. A store of
    its own: one that has served much before may be rewriting its append-only file beside, on the same core.
    """
    with store_in(directory) as store:
        async with _filled(store, "another") as room:
            await _live(room, 10)
        async with _filled(store) as room:
            before = _calls(room.client)
            room.client.config_set("slowlog-log-slower-than", SLOW_US)
            room.client.config_set("slowlog-max-len", 100_000)
            await _live(room, LARGE)
            room.client.config_set("slowlog-log-slower-than", 10_000)
            entries = room.client.slowlog_get(100_000)
            room.client.slowlog_reset()
            scripts = _calls(room.client) - before
    took = [int(entry["duration"]) / 1e3 for entry in entries if entry["command"].startswith(b"EVALSHA")]
    return {"script_ms": max(took), "scripts_over_2_ms": sum(ms > 2 for ms in took) / scripts * 100}


async def _live(room: Filled, people: int) -> None:
    room.set_seats(0)
    await room.open()
    await room.call("join", 0, people)
    room.set_seats(people)
    await room.settle()
    await room.call("join", 0, people)
    await room.call("leave", 0, people // 4)
    await room.call("away", people // 4, people // 2)
    await room.lapse()
    await room.call("inspect", people // 2, people)
    await room.rooms.call("end", room.name, ["api"])


def _calls(client: redis.Redis) -> int:
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


async def churn(store: Store, tokens: Tokens) -> Figures:
    """500 come and 500 leave each second, of a full room with 5,000 in line; who is held a seat claims it."""
    dice = random.Random(1)
    with _empty(store), service(store, tokens) as capacity:
        await capacity.in_force(CHURN_SEATS)
        room = capacity.new_room()
        host = await capacity.host(room)
        here = await arrive(capacity.clients(room, _names("person", CHURN_SEATS + CHURN_WAITING)))
        coming = capacity.clients(room, _names("later", CHURN_A_SECOND * CHURN_SECONDS))
        await asyncio.sleep(FOLLOW_SECONDS)
        claimed: set[Attendee] = set()
        spent, kept, began = capacity.hub_cpu_seconds(), store.cpu_seconds(), time.perf_counter()
        parts = 20
        step = CHURN_A_SECOND // parts
        for turn in range(CHURN_SECONDS * parts):
            late = began + turn / parts - time.perf_counter()
            await asyncio.sleep(max(0.0, late))
            for _ in range(step):
                number = dice.randrange(len(here))
                here[number], here[-1] = here[-1], here[number]
                here.pop().say(b'{"type":"leave"}')
            here += await arrive(coming[turn * step : (turn + 1) * step])
            for person in here:
                if b"refresh" in person.at and person not in claimed:
                    claimed.add(person)
                    person.say(b'{"type":"claim"}')
        seconds = time.perf_counter() - began
        figures = {
            "churn_core": (capacity.hub_cpu_seconds() - spent) / seconds,
            "churn_store_core": (store.cpu_seconds() - kept) / seconds,
            "churn_per_s": CHURN_A_SECOND * CHURN_SECONDS / seconds,
        }
        quiet_at = time.perf_counter() + FOLLOW_SECONDS
        while time.perf_counter() < quiet_at:
            for person in here:
                if b"refresh" in person.at and person not in claimed:
                    claimed.add(person)
                    person.say(b'{"type":"claim"}')
            await asyncio.sleep(0.05)
        line = [person for person in here if b"seated" not in person.at]
        places = sorted(_waiting(person.last[b"waiting"]).position for person in line)
        wrong = sum(place != number for number, place in enumerate(places, 1))
        assert len(here) - len(line) == CHURN_SEATS, f"{len(here) - len(line)} seated of {CHURN_SEATS}"
        await depart([host, *here])
    return {**figures, "churn_wrong_positions": float(wrong)}


async def stampede(store: Store, tokens: Tokens, *, at_once: bool = False) -> Figures:
    """9,000 are told to refresh and come back on fresh connections, at a random moment within their spread or all at once."""
    dice = random.Random(1)
    with _empty(store), service(store, tokens, CAPACITY_HOLD_SECONDS=str(STAMPEDE_HOLD_SECONDS)) as capacity:
        await capacity.in_force(0)
        room = capacity.new_room()
        host = await capacity.host(room)
        names = _names("person", STAMPEDE)
        people = await arrive(capacity.clients(room, names))
        again = capacity.clients(room, names)
        await asyncio.sleep(FOLLOW_SECONDS)
        published = await capacity.plan(STAMPEDE)
        if at_once:
            await until(lambda: all(b"refresh" in person.at for person in people))
            back = await _reload_all(people, again)
        else:
            loop = asyncio.get_running_loop()
            tasks = []
            waiting = dict(enumerate(people))
            while waiting:
                for number, person in list(waiting.items()):
                    if b"refresh" in person.at:
                        del waiting[number]
                        spread = _refresh(person.last[b"refresh"]).spread_ms / 1e3
                        tasks.append(loop.create_task(_reload(person, again[number], dice.random() * spread)))
                await asyncio.sleep(0.005)
            back = await asyncio.gather(*tasks)
        seated = sum(person.is_seated for person in back)
        reloads = sorted(person.first_at - person.started_at for person in back)
        last = max(person.first_at for person in back) - published
        await depart([host, *back])
    kind = "at_once" if at_once else "spread"
    return {
        f"stampede_{kind}_s": last,
        f"stampede_{kind}_p99_ms": reloads[STAMPEDE * 99 // 100] * 1e3,
        f"stampede_{kind}_lost": float(STAMPEDE - seated),
    }


async def _reload(person: Attendee, opened: Opened[Attendee], after: float) -> Attendee:
    await asyncio.sleep(after)
    person.transport.abort()
    return (await arrive([opened], 1))[0]


async def _reload_all(people: list[Attendee], again: list[Opened[Attendee]]) -> list[Attendee]:
    for person in people:
        person.transport.abort()
    return await arrive(again, 1_000)


# ---- rooms


@contextmanager
def _empty(store: Store) -> Iterator[None]:
    """Let a measurement begin with an empty store."""
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    yield


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:05}" for number in range(count)]


async def _joins(capacity: Service, room: str, count: int, *, seats: int | None = None) -> tuple[float, float]:
    """Let people join a room of so many seats, or of as many as there are. Returns µs of the hub and of the store for each."""
    if seats is not None:
        await capacity.in_force(seats)
    host = await capacity.host(room)
    opened = capacity.clients(room, _names("joiner", count))
    spent, kept = capacity.hub_cpu_seconds(), capacity.store.cpu_seconds()
    people = await arrive(opened)
    found = (capacity.hub_cpu_seconds() - spent) / count * 1e6, (capacity.store.cpu_seconds() - kept) / count * 1e6
    await depart([host, *people])
    return found


@dataclass
class Filled:
    """A room whose participants are made by the scripts, as by a hub that has them connected."""

    name: RoomName
    rooms: Rooms
    client: redis.Redis

    def set_seats(self, seats: int) -> None:
        """Change the account's seats without an event; the room learns of it at its next call."""
        self.client.hset(keys.account_key(ACCOUNT), mapping={"plan": "bench", "seats": seats, "sessions": 1000})

    async def open(self) -> None:
        """Open the room."""
        await self.rooms.call("attach", self.name, [0, "", 0])
        await self.rooms.call("open", self.name, [1])

    async def call(self, verb: str, start: int, end: int) -> None:
        """Call a verb for the participants from `start` on, before `end`."""
        for first in range(start, end, BATCH_MAX):
            pairs = [
                (f"person-{number:06}", f"{FILLER}.{number:x}") for number in range(first, min(first + BATCH_MAX, end))
            ]
            await self.rooms.call(verb, self.name, [part for pair in pairs for part in pair])

    async def lapse(self) -> None:
        """Sweep at a later time, until everybody who is away has lost their seat."""
        wall_ms = time.time_ns() // 1_000_000
        while True:
            wall_ms += RULES.step_ms
            reply = await self.rooms.call("sweep", self.name, wall_ms=wall_ms)
            if reply.room is None or not reply.room.away:
                return

    async def settle(self) -> None:
        """Sweep until nothing goes on."""
        while (await self.rooms.call("sweep", self.name)).room.more:  # type: ignore[union-attr]
            pass


@asynccontextmanager
async def _filled(store: Store, name: str = "filled") -> AsyncIterator[Filled]:
    clients = Clients(store.url)
    with redis.Redis.from_url(store.url) as client:
        yield Filled(RoomName(ACCOUNT, name), Rooms(clients.scripts, RULES, FILLER), client)
    await clients.aclose()
