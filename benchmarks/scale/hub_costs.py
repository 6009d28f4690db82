"""What a hub costs: CPU and memory of its process for each join, call, message, place in line, change that it hears, and room.

The hub has a core of its own; the load and the store share the other. Each figure is of real sockets, and a difference: what the same hub
does in the same time without the thing that is measured is taken off.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import redis

from benchmarks.comparison import FOLLOW_SECONDS
from benchmarks.load import arrive, depart, until
from benchmarks.machine import Store, resident_bytes
from benchmarks.machine import store as store_in
from benchmarks.ours import ACCOUNT, Attendee, Service, Tokens, service
from benchmarks.own import PATIENT
from benchmarks.scale.store_costs import PIECE, Filled, spread
from capacity.store.redis import Clients

CROWD = 5_000
FLIGHTS = {1: 800, 16: 3_000, 128: CROWD}
"""How many at a time have no answer yet: how many then come. The more, the more go together in a call."""
IDLE_SECONDS = 4.0
PING_SECONDS = 2
TURNS = 3
BROADCASTS = 8
LEAVES = 4
HEARD = 1_500
PIECES = 30
ROOMS = (500, 1_500)
ROOMS_AN_ACCOUNT = 500
QUIET_SECONDS = 2.0

Table = dict[str, float]
"""Name → value; the name says the unit."""


async def measure(directory: Path) -> tuple[Table, float]:
    """Measure everything. Returns medians of some turns, each with fresh hubs, and how far these went apart (`spread`)."""
    found: dict[str, list[float]] = {}
    with store_in(directory / "store") as store:
        tokens = Tokens(directory)
        for _ in range(TURNS):
            for part in (_crowd, _line, _hears, _idle, _rooms):
                with redis.Redis.from_url(store.url) as client:
                    client.flushall()
                for name, value in (await part(store, tokens)).items():
                    found.setdefault(name, []).append(value)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}, spread(found)


async def _crowd(store: Store, tokens: Tokens) -> Table:
    """Joins alone and in a crowd, lost connections, and messages to everybody; warm."""
    with service(store, tokens) as capacity:
        await capacity.in_force(10 * CROWD)
        room = capacity.new_room()
        host = await capacity.host(room)
        await depart(await arrive(capacity.clients(room, _names("early", CROWD))))
        await _quiet()
        found: Table = {}
        for in_flight, count in FLIGHTS.items():
            spent, calls, people = await _joins(capacity, room, count, in_flight)
            found[f"joins_a_call/{in_flight}"] = count / calls
            found[f"call/{in_flight}_us"] = spent / calls
            if count < CROWD:
                await depart(people)
                await _quiet()
        seats, told, spent = 10 * CROWD, 0, 0.0
        for _ in range(BROADCASTS):
            seats -= 1
            before, cpu = sum(p.heard for p in people), capacity.hub_cpu_seconds()
            await capacity.plan(seats)
            await until(lambda before=before: sum(p.heard for p in people) >= before + CROWD)  # type: ignore[misc]
            spent += capacity.hub_cpu_seconds() - cpu
            told += CROWD
        idle = await _cpu_a_second(capacity)
        cpu, began = capacity.hub_cpu_seconds(), time.perf_counter()
        await depart(people)
        await _quiet()
        lost = capacity.hub_cpu_seconds() - cpu - idle * (time.perf_counter() - began)
        await depart([host])
    return {
        **found,
        "message_us": spent / told * 1e6,
        "lost_us": lost / CROWD * 1e6,
    }


async def _joins(capacity: Service, room: str, count: int, in_flight: int) -> tuple[float, int, list[Attendee]]:
    """Return µs of the hub, calls of scripts, and the people who joined."""
    opened = capacity.clients(room, _names(f"flight-{in_flight}", count))
    spent, calls = capacity.hub_cpu_seconds(), _script_calls(capacity.client)
    people = await arrive(opened, in_flight)
    return (capacity.hub_cpu_seconds() - spent) * 1e6, _script_calls(capacity.client) - calls, people


async def _line(store: Store, tokens: Tokens) -> Table:
    """A line whose first leaves: everybody behind is told another place. Then a raise for all of them."""
    with service(store, tokens) as capacity:
        await capacity.in_force(0)
        room = capacity.new_room()
        host = await capacity.host(room)
        people = await arrive(capacity.clients(room, _names("person", CROWD)))
        await asyncio.sleep(FOLLOW_SECONDS)
        spent, kept, told = 0.0, 0.0, 0
        for _ in range(LEAVES):
            first = people.pop(0)
            behind = len(people)
            before, cpu, store_cpu = sum(p.heard for p in people), capacity.hub_cpu_seconds(), store.cpu_seconds()
            first.say(b'{"type":"leave"}')
            await until(lambda b=before, n=behind: sum(p.heard for p in people) >= b + n)  # type: ignore[misc]
            spent += capacity.hub_cpu_seconds() - cpu
            kept += store.cpu_seconds() - store_cpu
            told += behind
            await asyncio.sleep(1.2)
        cpu = capacity.hub_cpu_seconds()
        before = sum(p.heard for p in people)
        await capacity.plan(len(people))
        await until(lambda: all(b"refresh" in person.at for person in people))
        raised = (capacity.hub_cpu_seconds() - cpu) / (sum(p.heard for p in people) - before) * 1e6
        await depart([host, *people])
    return {
        "place_us": spent / told * 1e6,
        "place_store_us": kept / told * 1e6,
        "raise_message_us": raised,
    }


async def _hears(store: Store, tokens: Tokens) -> Table:
    """A hub with one participant of a room that changes elsewhere: small changes, then the pieces of a raise."""
    with service(store, tokens, CAPACITY_LEASE_SECONDS=PATIENT) as capacity:
        await capacity.in_force(0)
        name = capacity.new_room()
        clients = Clients(store.url)
        room = Filled(store, clients, capacity.client, name)
        room.set_seats(2 * HEARD)
        await room.open()
        people = await arrive(capacity.clients(name, ["person"]))
        await _quiet()
        idle = await _cpu_a_second(capacity)
        cpu, began = capacity.hub_cpu_seconds(), time.perf_counter()
        newcomers = room.newcomers(HEARD)
        await room.call("join", newcomers, 1)
        await asyncio.sleep(0.2)
        small = (capacity.hub_cpu_seconds() - cpu - idle * (time.perf_counter() - began)) / HEARD * 1e6
        room.set_seats(HEARD + 1)
        await room.call("join", room.newcomers(PIECES * PIECE))
        await asyncio.sleep(1.0)
        room.set_seats(HEARD + 1 + PIECES * PIECE)
        cpu, began = capacity.hub_cpu_seconds(), time.perf_counter()
        await room.allot()
        await asyncio.sleep(0.2)
        piece = (capacity.hub_cpu_seconds() - cpu - idle * (time.perf_counter() - began)) / PIECES * 1e6
        await depart(people)
        await clients.aclose()
    return {"heard_us": small, "heard_piece_us": piece}


async def _idle(store: Store, tokens: Tokens) -> Table:
    """A crowd that does nothing: memory, and what a ping and its answer cost."""
    with service(store, tokens, CAPACITY_PING_SECONDS=str(PING_SECONDS)) as capacity:
        await capacity.in_force(CROWD)
        room = capacity.new_room()
        host = await capacity.host(room)
        await _quiet()
        before = await _cpu_a_second(capacity)
        resident = resident_bytes(capacity.hubs[0][1])
        people = await arrive(capacity.clients(room, _names("person", CROWD)))
        await asyncio.sleep(FOLLOW_SECONDS)
        kept = (resident_bytes(capacity.hubs[0][1]) - resident) / CROWD
        spent = await _cpu_a_second(capacity) - before
        await depart([host, *people])
    return {"connection_bytes": kept, "ping_us": spent / (CROWD / PING_SECONDS) * 1e6}


async def _rooms(store: Store, tokens: Tokens) -> Table:
    """Many rooms, each with a host and nobody else: what a room costs the hub and the store each second, and its memory."""
    found: Table = {}
    with service(store, tokens) as capacity:
        accounts = [f"{ACCOUNT}-{number}" for number in range(-(-ROOMS[-1] // ROOMS_AN_ACCOUNT))]
        for account in accounts:
            await capacity.in_force(10, account)
        await _quiet()
        points = [(0, *await _both_a_second(capacity, store), resident_bytes(capacity.hubs[0][1]))]
        hosts: list[Attendee] = []
        for rooms in ROOMS:
            for number in range(len(hosts), rooms):
                account = accounts[number // ROOMS_AN_ACCOUNT]
                hosts += await arrive(capacity.clients(f"room-{number}", ["host"], "host", account), 1)
            await _quiet()
            points.append((rooms, *await _both_a_second(capacity, store), resident_bytes(capacity.hubs[0][1])))
        await depart(hosts)
    (_, hub_0, store_0, bytes_0), *rest = points
    for rooms, hub, kept, _ in rest:
        found[f"hub_cores_at_{rooms}_rooms"] = hub
        found[f"store_cores_at_{rooms}_rooms"] = kept
    rooms, hub, kept, memory = rest[-1]
    found["room_second_us"] = (hub - hub_0) / rooms * 1e6
    found["room_second_store_us"] = (kept - store_0) / rooms * 1e6
    found["room_bytes"] = (memory - bytes_0) / rooms
    found["hub_bytes"] = bytes_0
    found["hub_cores_idle"] = hub_0
    return found


async def _cpu_a_second(capacity: Service) -> float:
    """Return the CPU seconds that the hubs use a second, doing what they do now."""
    cpu, began = capacity.hub_cpu_seconds(), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    return (capacity.hub_cpu_seconds() - cpu) / (time.perf_counter() - began)


async def _both_a_second(capacity: Service, store: Store) -> tuple[float, float]:
    kept, began = store.cpu_seconds(), time.perf_counter()
    hub = await _cpu_a_second(capacity)
    return hub, (store.cpu_seconds() - kept) / (time.perf_counter() - began)


async def _quiet() -> None:
    """Let what was asked for be done, and told."""
    await asyncio.sleep(QUIET_SECONDS)


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:06}" for number in range(count)]


def _script_calls(client: redis.Redis) -> int:
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])
