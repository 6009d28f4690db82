"""One hub, one store, one client on this machine, beside the same in the simulation: how far the simulation is off.

The hub has a core of its own. Store and client share the other, in the simulation too: what the client uses is measured in the real run.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import redis
import simpy

from benchmarks.comparison import FOLLOW_SECONDS, Figures
from benchmarks.load import Opened, arrive, depart, until
from benchmarks.machine import Store
from benchmarks.machine import store as store_in
from benchmarks.ours import Attendee, Tokens, service
from benchmarks.scale.costs import Costs
from benchmarks.scale.machines import GROUP_SECONDS, Core, Process, Raise, Room

ARRIVALS = ((4_000, 2.0), (10_000, 2.5))
"""(people, within so many seconds, evenly)."""
WAITING = 8_000
TURNS = 3


async def compare(directory: Path, costs: Costs) -> dict[str, object]:
    """Return rows, one for each figure: what it is of, what was measured (median, least, most), and what the simulation says.

    `others` is how many processes of this machine wanted a core before it began: they take time from what is measured.
    """
    others, rows = os.getloadavg()[0], list[dict[str, object]]()
    with store_in(directory / "store") as store:
        tokens = Tokens(directory)
        for people, seconds in ARRIVALS:
            turns = [await _arrivals(store, tokens, people, seconds) for _ in range(TURNS)]
            client = statistics.median(turn["client_us"] for turn in turns) / 1e6
            title = f"{people:,} arrive within {seconds:g} s"
            rows += _rows(title, turns, simulated_arrivals(costs, people, seconds, client))
        turns = [await _raise(store, tokens, WAITING) for _ in range(TURNS)]
        client = statistics.median(turn["client_us"] for turn in turns) / 1e6
        rows += _rows(f"a raise for {WAITING:,} who wait", turns, simulated_raise(costs, WAITING, client))
    return {"others": round(others, 1), "cores": os.cpu_count(), "rows": rows}


def _rows(title: str, turns: Sequence[Figures], simulated: Figures) -> list[dict[str, object]]:
    return [
        {
            "what": title,
            "figure": name,
            "measured": round(statistics.median(turn[name] for turn in turns), 3),
            "least": round(min(turn[name] for turn in turns), 3),
            "most": round(max(turn[name] for turn in turns), 3),
            "simulated": round(value, 3),
        }
        for name, value in simulated.items()
    ]


async def _arrivals(store: Store, tokens: Tokens, people: int, seconds: float) -> Figures:
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    with service(store, tokens) as capacity:
        await capacity.in_force(2 * people)
        room = capacity.new_room()
        host = await capacity.host(room)
        warm = await arrive(capacity.clients(room, [f"early-{number}" for number in range(2_000)]))
        await depart(warm)
        opened = capacity.clients(room, [f"person-{number:06}" for number in range(people)])
        await asyncio.sleep(FOLLOW_SECONDS)
        hub, kept, calls = capacity.hub_cpu_seconds(), store.cpu_seconds(), _calls(capacity.client)
        own = time.process_time()
        here = await _at_a_rate(opened, people / seconds)
        figures = {
            "hub CPU, s": capacity.hub_cpu_seconds() - hub,
            "store CPU, s": store.cpu_seconds() - kept,
            "joins a call": people / (_calls(capacity.client) - calls),
            "client_us": (time.process_time() - own) / people * 1e6,
        }
        waits = sorted(person.first_at - person.started_at for person in here)
        figures["join p50, ms"] = waits[people // 2] * 1e3
        figures["join p99, ms"] = waits[people * 99 // 100] * 1e3
        await depart([host, *here])
    return figures


async def _at_a_rate(opened: Sequence[Opened[Attendee]], a_second: float) -> list[Attendee]:
    """Connect people at their instants, whether or not those before have been answered; returns when all have been."""
    loop = asyncio.get_running_loop()
    people: list[Attendee] = []
    connecting: list[asyncio.Task[object]] = []
    began = time.perf_counter()
    for number, (port, make) in enumerate(opened):
        due_at = began + number / a_second
        if (early := due_at - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        person = make(lambda: None)
        person.started_at = due_at
        people.append(person)
        connecting.append(loop.create_task(loop.create_connection(person.itself, "127.0.0.1", port)))
    await asyncio.gather(*connecting)
    await until(lambda: all(person.first for person in people))
    return people


async def _raise(store: Store, tokens: Tokens, waiting: int) -> Figures:
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    with service(store, tokens) as capacity:
        await capacity.in_force(0)
        room = capacity.new_room()
        host = await capacity.host(room)
        people = await arrive(capacity.clients(room, [f"person-{number:06}" for number in range(waiting)]))
        await asyncio.sleep(FOLLOW_SECONDS)
        heard = sum(person.heard for person in people)
        hub, kept, own = capacity.hub_cpu_seconds(), store.cpu_seconds(), time.process_time()
        published = await capacity.plan(waiting)
        await until(lambda: all(b"refresh" in person.at for person in people))
        told = sorted(person.at[b"refresh"] - published for person in people)
        figures = {
            "hub CPU, s": capacity.hub_cpu_seconds() - hub,
            "store CPU, s": store.cpu_seconds() - kept,
            "client_us": (time.process_time() - own) / (sum(person.heard for person in people) - heard) * 1e6,
            "told p50, ms": told[waiting // 2] * 1e3,
            "told p99, ms": told[waiting * 99 // 100] * 1e3,
        }
        await depart([host, *people])
    return figures


def _calls(client: redis.Redis) -> int:
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


def simulated_arrivals(costs: Costs, people: int, seconds: float, client: float) -> Figures:
    """Simulate arrivals at one hub; `client` is the load's seconds for each, on the core of the store."""
    env = simpy.Environment()
    shared = Core(env)
    room = Room(env, costs, 1, 2 * people, store=shared, one_way_seconds=0.0)

    def come() -> Process:
        came = 0
        while came < people:
            yield env.timeout(GROUP_SECONDS)
            due = min(people, round(people * env.now / seconds))
            env.process(group(due - came))
            came = due

    def group(count: int) -> Process:
        yield shared.work(client * count)
        room.hubs[0].arrive(count)

    env.process(come())
    while room.answered.people < people:
        env.run(until=env.now + 0.05)
    return {
        "hub CPU, s": room.hubs[0].core.busy_seconds,
        "store CPU, s": shared.busy_seconds - client * people,
        "joins a call": people / room.calls,
        "join p50, ms": room.answered.percentile(0.5) * 1e3,
        "join p99, ms": room.answered.percentile(0.99) * 1e3,
    }


def simulated_raise(costs: Costs, waiting: int, client: float) -> Figures:
    """Simulate a raise on one hub; `client` is the load's seconds for each message, on the core of the store."""
    env = simpy.Environment()
    shared = Core(env)
    room = Room(env, costs, 1, 0, store=shared, one_way_seconds=0.0)
    raised = Raise(room, waiting, hears=lambda messages: shared.charge(client * messages))
    env.run(until=30.0)
    return {
        "hub CPU, s": room.hubs[0].core.busy_seconds,
        "store CPU, s": shared.busy_seconds - client * raised.messages,
        "told p50, ms": raised.told.percentile(0.5) * 1e3,
        "told p99, ms": raised.told.percentile(0.99) * 1e3,
    }
