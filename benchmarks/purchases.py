"""What the billing desk costs: CPU and time of a quote with its purchase, and the time from a purchase to the last refresh.

    python -m benchmarks.purchases [--accounts 500] [--waiting 900] [--rounds 3]

Starts Valkey and two hubs itself, on loopback, with the test card: five written steps a purchase, as with any gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import uvloop

from benchmarks.load import arrive, depart, until
from benchmarks.machine import LOAD_CORES, SERVER_CORES, store
from benchmarks.ours import Service, Tokens, service

AT_ONCE = 8
SPREAD_OUT = SERVER_CORES | LOAD_CORES
STARTER_SEATS, SCALE_SEATS = 25, 1000
"""Of the plans of the built-in catalogue that are bought here."""


class Platform:
    """A platform's backend, at one hub."""

    def __init__(self, port: int, tokens: Tokens) -> None:
        headers = {"Authorization": f"Bearer {tokens.token('backend', 'service', account='*')}"}
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)

    async def create(self, account: str, plan: str) -> None:
        """Bring an account to the desk."""
        await self._ask("PUT", account, "", {"plan": plan})

    async def buy(self, account: str, plan: str) -> float:
        """Ask for a quote and buy it; returns the seconds that the purchase alone took to be in force."""
        quote = await self._ask("POST", account, "/quotes", {"plan": plan})
        began = time.perf_counter()
        key = {"Idempotency-Key": secrets.token_hex(8)}
        bought = await self._ask("POST", account, "/purchases", {"quote": quote["id"]}, key)
        assert bought["status"] == "completed"
        return time.perf_counter() - began

    async def _ask(
        self, method: str, account: str, path: str, body: object, headers: dict[str, str] | None = None
    ) -> Any:
        answer = await self._http.request(method, f"/v1/accounts/{account}{path}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()


async def purchases(platforms: list[Platform], capacity: Service, count: int) -> None:
    """Let many accounts buy, a few at a time."""
    accounts = [f"account-{secrets.token_hex(4)}-{number}" for number in range(count)]
    for account in accounts:
        await platforms[0].create(account, "starter")
    spent, kept = capacity.hub_cpu_seconds(), capacity.store.cpu_seconds()
    began, took, queue = time.perf_counter(), [], iter(enumerate(accounts))

    async def customer() -> None:
        for number, account in queue:
            took.append(await platforms[number % len(platforms)].buy(account, "growth"))

    await asyncio.gather(*(customer() for _ in range(AT_ONCE)))
    seconds = time.perf_counter() - began
    spent, kept = capacity.hub_cpu_seconds() - spent, capacity.store.cpu_seconds() - kept
    took.sort()
    print(
        f"purchases: {count} by {AT_ONCE} at once on {len(capacity.hubs)} hubs: {count / seconds:,.0f}/s, "
        f"hub {spent / count * 1e3:.2f} ms CPU, store {kept / count * 1e6:.0f} µs CPU for a quote and its purchase; "
        f"in force after p50 {took[count // 2] * 1000:.0f} ms, p99 {took[count * 99 // 100] * 1000:.0f} ms"
    )


async def line(platform: Platform, capacity: Service, waiting: int, rounds: int) -> None:
    """Buy seats for a full room in which people wait."""
    latest: list[float] = []
    for number in range(rounds):
        account, room = f"line-{secrets.token_hex(4)}-{number}", capacity.new_room()
        await platform.create(account, "starter")
        host = await capacity.host(room, account)
        names = [f"person-{name}" for name in range(STARTER_SEATS + waiting)]
        people = await arrive(capacity.clients(room, names, account=account))
        last = [person for person in people if not person.is_seated]
        assert len(last) == waiting
        began = time.perf_counter()
        await platform.buy(account, "scale")
        told = min(waiting, SCALE_SEATS - STARTER_SEATS)
        await until(lambda last=last, told=told: sum(b"refresh" in person.at for person in last) == told)  # type: ignore[misc]
        latest.append(max(person.at[b"refresh"] for person in last if b"refresh" in person.at) - began)
        await depart([host, *people])
    print(
        f"line: {waiting} waiting on {len(capacity.hubs)} hubs, {rounds} rounds: asked for the quote to the last refresh "
        f"{statistics.median(latest) * 1000:.0f} ms (worst {max(latest) * 1000:.0f})"
    )


async def main(arguments: argparse.Namespace) -> None:
    """Run everything."""
    os.sched_setaffinity(0, LOAD_CORES)
    with tempfile.TemporaryDirectory() as name, store(Path(name) / "store") as valkey:
        tokens = Tokens(Path(name))
        with service(valkey, tokens, 2, SPREAD_OUT, CAPACITY_PAYMENTS="test") as capacity:
            platforms = [Platform(port, tokens) for port, _ in capacity.hubs]
            for _ in range(arguments.rounds):
                await purchases(platforms, capacity, arguments.accounts)
            await line(platforms[0], capacity, arguments.waiting, arguments.rounds)
            for platform in platforms:
                await platform.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--waiting", type=int, default=900)
    parser.add_argument("--rounds", type=int, default=3)
    uvloop.run(main(parser.parse_args()))
