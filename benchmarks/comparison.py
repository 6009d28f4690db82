"""What is measured of Capacity and of its peers alike: joins, fan-out, memory, idleness.

One run of a system is one fresh process of it: 10,000 join it and stay (memory, idleness), leave, 5,000 join it warm (joins), and
hear 20 broadcasts (fan-out). Runs of different systems take turns, so that a slow minute of the machine meets all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import redis

from benchmarks import dialects
from benchmarks.dialects import CONTROL, Peer
from benchmarks.load import Client, Opened, arrive, depart, until
from benchmarks.machine import SERVER_CORES, Store, cpu_seconds, free_port, resident_bytes, running
from benchmarks.ours import Service, Tokens, service

IDLE_CLIENTS = 10_000
JOINS = 5_000
ROUNDS = 20
IDLE_SECONDS = 25.0
"""One default period of our pings: every connection is pinged once."""
SETTLE_SECONDS = 3.0
FOLLOW_SECONDS = 6.0
"""Until those in line were told the last of what follows from the joins: how many wait, at the latest after 5 s (contract)."""
PAYLOAD = b'{"type":"news","text":"' + b"x" * 175 + b'"}'
"""What peers broadcast: 200 bytes, as long as a `refresh`."""

Figures = dict[str, float]
"""Name of a figure → its value; the names are those of `report.COLUMNS` and of the functions here."""


class System(Protocol):
    """A running server, and how people come to it."""

    pid: int

    async def clients(self, names: Sequence[str]) -> list[Opened[Client]]:
        """Return clients of a room that has a seat for half of them."""

    def is_seated(self, client: Client) -> bool:
        """Whether the client was given a seat."""

    async def broadcast(self) -> None:
        """Have everybody told something."""

    async def gone(self) -> None:
        """Everybody has left. Returns when the server has dealt with it: it tells nobody, so after some seconds."""


@dataclass
class PeerRunning:
    """A peer's process."""

    pid: int
    _peer: Peer
    _port: int
    _seats: int
    _control: Client

    async def clients(self, names: Sequence[str]) -> list[Opened[Client]]:
        assert len(names) == 2 * self._seats
        return [(self._port, partial(self._peer.client, self._port, name)) for name in names]

    def is_seated(self, client: Client) -> bool:
        return dialects.is_seated(client)

    async def broadcast(self) -> None:
        self._control.say(PAYLOAD)

    async def gone(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)


@asynccontextmanager
async def peer_running(peer: Peer, store: Store, count: int) -> AsyncIterator[System]:
    """Run a peer whose room has seats for half of `count`."""
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    port, seats = free_port(), count // 2
    environ = peer.environment(port, seats + 1, store.url)  # one is the control's
    with running(peer.command, SERVER_CORES, port, environ) as pid:
        control = (await arrive([(port, partial(peer.client, port, CONTROL))]))[0]
        yield PeerRunning(pid, peer, port, seats, control)
        await depart([control])


@dataclass
class OursRunning:
    """One hub of ours."""

    pid: int
    _service: Service
    _host: Client | None = None
    _seats: int = 0

    async def clients(self, names: Sequence[str]) -> list[Opened[Client]]:
        self._seats = len(names) // 2
        await self._service.in_force(self._seats)
        room = self._service.new_room()
        self._host = await self._service.host(room)
        return list(self._service.clients(room, names))

    def is_seated(self, client: Client) -> bool:
        return dialects.is_seated(client)

    async def broadcast(self) -> None:
        """Change the limit by less than there are away from it: everybody is told, nobody gets a seat."""
        self._seats -= 1
        await self._service.plan(self._seats)

    async def gone(self) -> None:
        assert self._host is not None
        await depart([self._host])
        await asyncio.sleep(SETTLE_SECONDS)


@asynccontextmanager
async def ours_running(tokens: Tokens, store: Store) -> AsyncIterator[System]:
    """Run a hub."""
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    with service(store, tokens) as running_service:
        yield OursRunning(running_service.hubs[0][1], running_service)


async def measure_crowd(system: System, *, idle: bool, crowd: int = IDLE_CLIENTS) -> Figures:
    """Measure a fresh server with a crowd that does nothing: KiB a connection, and with `idle` the ms of CPU a second."""
    before = resident_bytes(system.pid)
    people = await arrive(await system.clients([f"cold-{number}" for number in range(crowd)]))
    await asyncio.sleep(FOLLOW_SECONDS)
    figures = {"memory_kib": (resident_bytes(system.pid) - before) / crowd / 1024}
    if idle:
        began, spent = time.perf_counter(), cpu_seconds(system.pid)
        await asyncio.sleep(IDLE_SECONDS)
        figures["idle_ms"] = (cpu_seconds(system.pid) - spent) / (time.perf_counter() - began) * 1e3
    assert not any(person.closed for person in people)
    await depart(people)
    await system.gone()
    return figures


async def warm_up(system: System, joins: int = JOINS) -> None:
    """Let people join and leave: Node compiles what it runs often, and takes half the time then."""
    await depart(await arrive(await system.clients([f"early-{number}" for number in range(joins)])))
    await system.gone()


async def measure_warm(system: System, store: Store, joins: int = JOINS) -> Figures:
    """Measure joins and fan-out of a server that has seen people before. µs and ms are CPU or time of a join or a message."""
    opened = await system.clients([f"warm-{number}" for number in range(joins)])
    server, kept, own, began = cpu_seconds(system.pid), store.cpu_seconds(), time.process_time(), time.perf_counter()
    people = await arrive(opened)
    seconds = time.perf_counter() - began
    waits = sorted(person.first_at - person.started_at for person in people)
    seated = sum(system.is_seated(person) for person in people)
    if seated != joins // 2:
        raise RuntimeError(f"{seated} of {joins} were seated, and there were {joins // 2} seats")
    figures = {
        "join_us": (cpu_seconds(system.pid) - server) / joins * 1e6,
        "store_us": (store.cpu_seconds() - kept) / joins * 1e6,
        "joins_per_s": joins / seconds,
        "p50_ms": waits[joins // 2] * 1e3,
        "p99_ms": waits[joins * 99 // 100] * 1e3,
        "load_us": (time.process_time() - own) / joins * 1e6,
    }
    figures |= await _fan_out(system, people)
    await depart(people)
    await system.gone()
    return figures


async def _fan_out(system: System, people: list[Client]) -> Figures:
    """Broadcast, and again when the last has heard it."""
    await asyncio.sleep(FOLLOW_SECONDS)
    spent, lasts = 0.0, []
    for _ in range(ROUNDS):
        heard = {person: person.heard for person in people}
        server, began = cpu_seconds(system.pid), time.perf_counter()
        await system.broadcast()
        await until(lambda heard=heard: all(person.heard > heard[person] for person in people))  # type: ignore[misc]
        lasts.append(max(person.last_at for person in people) - began)
        spent += cpu_seconds(system.pid) - server
    return {"message_us": spent / ROUNDS / len(people) * 1e6, "last_ms": sorted(lasts)[ROUNDS // 2] * 1e3}
