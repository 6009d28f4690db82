"""What the main job costs: joins a second, CPU a join, and the time from a plan change to the last refresh.

    python -m benchmarks.measure [--joins 5000] [--waiting 1000] [--rounds 3]

Starts Valkey and the hubs itself, on loopback. With two cores the load shares them with what it measures, so the CPU of each process
for each unit of work says more than the rates; run it on a quiet machine, and compare only figures of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis
import uvloop

from benchmarks.load import Attendee, arrive, token
from capacity.protocol import events
from capacity.store import keys
from capacity.store.embedded import EmbeddedValkey
from tests.support.servers import free_port

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@contextlib.contextmanager
def hubs(count: int, redis_url: str, secret: str, **settings: str) -> Iterator[list[tuple[int, int]]]:
    """Run hubs; yields (port, pid) of each when all are ready. `settings`: variables of theirs."""
    environ = {**os.environ, **settings, "CAPACITY_REDIS_URL": redis_url, "CAPACITY_TOKEN_KEY": secret}
    processes = []
    try:
        for _ in range(count):
            port = free_port()
            command = [sys.executable, "-m", "capacity", "serve", "--port", str(port), "--log-level", "warning"]
            processes.append((port, subprocess.Popen(command, env=environ)))
        for port, process in processes:
            deadline = time.monotonic() + 20
            while subprocess.run(["curl", "-fs", "-o", "/dev/null", f"http://127.0.0.1:{port}/readyz"]).returncode:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError("a hub did not become ready")
                time.sleep(0.05)
        yield [(port, process.pid) for port, process in processes]
    finally:
        for _, process in processes:
            process.terminate()
        for _, process in processes:
            process.wait()


def publish(store: redis.Redis, seats: int) -> float:
    """Write a plan-changed event; returns the instant at which the store had it."""
    event = events.build(
        "bench",
        "bench",
        seats,
        source="/bench",
        id=secrets.token_hex(8),
        time_ms=time.time_ns() // 1_000_000,
        concurrent_sessions=1000,
    )
    store.xadd(keys.PLAN_CHANGES, {"event": event})
    return time.perf_counter()


def seats_of(store: redis.Redis) -> int:
    """Return the account's seats, 0 before it exists."""
    return int(store.hget(keys.account_key("bench"), "seats") or 0)


async def until(condition: object, seconds: float = 30.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise RuntimeError("the benchmark waited in vain")
        await asyncio.sleep(0.005)


async def joins(store: redis.Redis, running: list[tuple[int, int]], valkey_pid: int, secret: str, count: int) -> None:
    """Let everybody join a room that has a seat for half of them."""
    publish(store, count // 2)
    await until(lambda: seats_of(store) == count // 2)
    room = f"joins-{secrets.token_hex(3)}"
    ports = [port for port, _ in running]
    host = (await arrive(ports[:1], [token(secret, "host", "host", room)]))[0]
    tokens = [token(secret, f"person-{number}", room=room) for number in range(count)]
    before = [cpu_seconds(pid) for _, pid in running], cpu_seconds(valkey_pid), resident_kib(running[0][1])
    began = time.perf_counter()
    people = await arrive(ports, tokens)
    seconds = time.perf_counter() - began
    hub_cpu = sum(cpu_seconds(pid) - start for (_, pid), start in zip(running, before[0], strict=True))
    store_cpu = cpu_seconds(valkey_pid) - before[1]
    grown = resident_kib(running[0][1]) - before[2]
    waits = sorted(person.first_at - person.started_at for person in people)
    seated = sum(person.first is not None and person.first["type"] == "seated" for person in people)
    assert seated == count // 2, f"{seated} seated of {count // 2}"
    print(
        f"joins: {count} on {len(running)} hub(s): {count / seconds:,.0f}/s, hub {hub_cpu / count * 1e6:.0f} µs CPU, "
        f"store {store_cpu / count * 1e6:.0f} µs CPU a join; p50 {waits[count // 2] * 1000:.1f} ms, "
        f"p99 {waits[count * 99 // 100] * 1000:.1f} ms; {grown / (count / len(running)):.1f} KiB a connection; "
        f"{seated} seated, never more"
    )
    await depart([host, *people])


async def raise_limit(
    store: redis.Redis, running: list[tuple[int, int]], secret: str, waiting: int, rounds: int
) -> None:
    """Raise the limit with so many waiting, for all of them at once."""
    ports = [port for port, _ in running]
    latest: list[float] = []
    halves: list[float] = []
    for _ in range(rounds):
        publish(store, 0)
        await until(lambda: seats_of(store) == 0)
        room = f"raise-{secrets.token_hex(3)}"
        host = (await arrive(ports[:1], [token(secret, "host", "host", room)]))[0]
        people = await arrive(ports, [token(secret, f"person-{number}", room=room) for number in range(waiting)])
        assert all(person.first is not None and person.first["type"] == "waiting" for person in people)
        published = publish(store, waiting)
        await until(lambda people=people: all("refresh" in person.kinds_at for person in people))
        told = sorted(person.kinds_at["refresh"] - published for person in people)
        latest.append(told[-1])
        halves.append(told[len(told) // 2])
        await depart([host, *people])
    print(
        f"raise: {waiting} waiting on {len(running)} hub(s), {rounds} rounds: event in the stream to the last refresh "
        f"{statistics.median(latest) * 1000:.0f} ms (worst {max(latest) * 1000:.0f}), "
        f"median client {statistics.median(halves) * 1000:.0f} ms"
    )


async def depart(people: list[Attendee]) -> None:
    """Drop every connection."""
    for person in people:
        if person.transport is not None:
            person.transport.abort()
    await until(lambda: all(person.closed for person in people))


async def main(arguments: argparse.Namespace) -> None:
    """Run everything."""
    secret = secrets.token_hex(32)
    with tempfile.TemporaryDirectory() as directory, EmbeddedValkey(Path(directory)) as valkey:
        store = redis.Redis.from_url(valkey.url)
        assert valkey.pid is not None
        for count in (1, 2):
            with hubs(count, valkey.url, secret) as running:
                for _ in range(arguments.rounds):
                    await joins(store, running, valkey.pid, secret, arguments.joins)
                await raise_limit(store, running, secret, arguments.waiting, arguments.rounds)
        store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--joins", type=int, default=5000)
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    uvloop.run(main(parser.parse_args()))
