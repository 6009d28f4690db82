"""What the billing desk costs: CPU and time of a quote with its purchase, and the time from a purchase to the last refresh.

    python -m benchmarks.purchases [--accounts 500] [--waiting 900] [--rounds 3]

Starts Valkey and two hubs itself, on loopback, with the test card: five written steps a purchase, as with any gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import uvloop

from benchmarks.load import arrive, token
from benchmarks.measure import cpu_seconds, depart, hubs, until
from capacity.store.embedded import EmbeddedValkey

AT_ONCE = 8


class Platform:
    """A platform's backend, at one hub."""

    def __init__(self, port: int, secret: str) -> None:
        claims = {"aud": "capacity", "sub": "backend", "account": "*", "role": "service", "exp": time.time() + 3600}
        headers = {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"}
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


async def purchases(platforms: list[Platform], pids: list[int], valkey_pid: int, count: int) -> None:
    """Let many accounts buy, a few at a time."""
    accounts = [f"account-{secrets.token_hex(4)}-{number}" for number in range(count)]
    for account in accounts:
        await platforms[0].create(account, "starter")
    before = [cpu_seconds(pid) for pid in pids], cpu_seconds(valkey_pid)
    began, took, queue = time.perf_counter(), [], iter(enumerate(accounts))

    async def customer() -> None:
        for number, account in queue:
            took.append(await platforms[number % len(platforms)].buy(account, "growth"))

    await asyncio.gather(*(customer() for _ in range(AT_ONCE)))
    seconds = time.perf_counter() - began
    hub_cpu = sum(cpu_seconds(pid) - start for pid, start in zip(pids, before[0], strict=True))
    store_cpu = cpu_seconds(valkey_pid) - before[1]
    took.sort()
    print(
        f"purchases: {count} by {AT_ONCE} at once on {len(pids)} hubs: {count / seconds:,.0f}/s, "
        f"hub {hub_cpu / count * 1e3:.2f} ms CPU, store {store_cpu / count * 1e6:.0f} µs CPU for a quote and its purchase; "
        f"in force after p50 {took[count // 2] * 1000:.0f} ms, p99 {took[count * 99 // 100] * 1000:.0f} ms"
    )


async def line(platform: Platform, ports: list[int], secret: str, waiting: int, rounds: int) -> None:
    """Buy seats for a full room in which people wait."""
    latest: list[float] = []
    for number in range(rounds):
        account = f"line-{secrets.token_hex(4)}-{number}"
        await platform.create(account, "starter")
        host = (await arrive(ports[:1], [token(secret, "host", "host", "full", account=account)]))[0]
        people = await arrive(
            ports, [token(secret, f"person-{number}", room="full", account=account) for number in range(25 + waiting)]
        )
        last = [person for person in people if person.first is not None and person.first["type"] == "waiting"]
        assert len(last) == waiting
        began = time.perf_counter()
        await platform.buy(account, "scale")
        told = min(waiting, 975)
        await until(lambda last=last, told=told: sum("refresh" in person.kinds_at for person in last) == told)
        latest.append(max(person.kinds_at["refresh"] for person in last if "refresh" in person.kinds_at) - began)
        await depart([host, *people])
    print(
        f"line: {waiting} waiting on {len(ports)} hubs, {rounds} rounds: asked for the quote to the last refresh "
        f"{statistics.median(latest) * 1000:.0f} ms (worst {max(latest) * 1000:.0f})"
    )


async def main(arguments: argparse.Namespace) -> None:
    """Run everything."""
    secret = secrets.token_hex(32)
    with tempfile.TemporaryDirectory() as directory, EmbeddedValkey(Path(directory)) as valkey:
        assert valkey.pid is not None
        with hubs(2, valkey.url, secret, CAPACITY_PAYMENTS="test") as running:
            platforms = [Platform(port, secret) for port, _ in running]
            for _ in range(arguments.rounds):
                await purchases(platforms, [pid for _, pid in running], valkey.pid, arguments.accounts)
            await line(platforms[0], [port for port, _ in running], secret, arguments.waiting, arguments.rounds)
            for platform in platforms:
                await platform.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--waiting", type=int, default=900)
    parser.add_argument("--rounds", type=int, default=3)
    uvloop.run(main(parser.parse_args()))
