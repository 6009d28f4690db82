"""The billing system of the accounts: versions of their limits, published twice, out of order, by the stream and by the webhook."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import httpx
from redis.exceptions import RedisError

from capacity.protocol import events, signatures
from capacity.store import keys
from tests.chaos.audience import Account, Audience
from tests.chaos.journal import Journal
from tests.support.service import WEBHOOK_SECRET

RETRY_SECONDS = 0.2
NEVER_SECONDS = 3600.0
SPAN = (-3, 9)
"""How far the seats of a version may be from those of the beginning."""


class Billing:
    """Publishes until it is taken. `expected` has what each account ends with: the seats of its highest version."""

    def __init__(
        self, store: Any, http: httpx.AsyncClient, ports: list[int], audience: Audience, journal: Journal, seed: int
    ) -> None:
        self._store = store
        self._http = http
        self._ports = ports
        self._audience = audience
        self._journal = journal
        self._chance = random.Random(seed)
        self._versions: dict[str, int] = {}
        self._used: dict[str, set[int]] = {}
        self.expected: dict[str, int] = {}
        self.raises_published = 0

    async def open_accounts(self) -> None:
        """Make every account exist with its first seats."""
        for account in self._audience.accounts:
            self._used[account.id] = {account.seats}
            self._versions[account.id] = 1
            self._audience.announce(account.id, 1, account.seats)
            self.expected[account.id] = account.seats
            await self._append(self._event(account, 1, account.seats))

    async def run(self, every_seconds: float) -> None:
        """Change some account's limit every so often, until cancelled."""
        while True:
            await asyncio.sleep(min(self._chance.uniform(0.5, 1.5) * every_seconds, NEVER_SECONDS))
            await self.change(self._chance.choice(self._audience.accounts))

    async def change(self, account: Account, *, up: bool | None = None) -> None:
        """Publish a new version, and sometimes it twice, or an older one after it."""
        first, version = self._versions[account.id] + 1, self._versions[account.id] + 2
        self._versions[account.id] = version
        overtaken = self._event(account, first, self._fresh_seats(account, first))
        seats = self._fresh_seats(account, version, up=up)
        newest = self._event(account, version, seats)
        before, self.expected[account.id] = self.expected[account.id], seats
        if seats > before:
            self.raises_published += 1
            self._audience.raised(account.id, version, seats, time.monotonic())
        if self._chance.random() < 0.7:
            published_at = await self._append(newest)
        else:
            published_at = await self._post(newest)
        for under_way in self._audience.raises:
            if under_way.account == account.id and under_way.version == version:
                under_way.published_at = published_at
        self._journal.note("published", account=account.id, seats=seats, before=before, version=version)
        for again in self._chance.sample([newest, overtaken, newest], self._chance.randint(0, 3)):
            await (self._append(again) if self._chance.random() < 0.7 else self._post(again))

    def _fresh_seats(self, account: Account, version: int, *, up: bool | None = None) -> int:
        """Return seats that the account has not had, so that whoever hears of them knows the version."""
        now = self.expected[account.id]
        low, high = account.seats + SPAN[0], account.seats + SPAN[1]
        choices = [seats for seats in range(max(2, low), high) if seats not in self._used[account.id]]
        choices = [seats for seats in choices if up is None or (seats > now) == up] or [
            max(now, *self._used[account.id]) + 1
        ]
        seats = self._chance.choice(choices)
        self._used[account.id].add(seats)
        self._audience.announce(account.id, version, seats)
        return seats

    def _event(self, account: Account, version: int, seats: int) -> bytes:
        return events.build(
            account.id, f"plan-{seats}", seats, source="/chaos", id=f"{account.id}-{version}",
            time_ms=time.time_ns() // 1_000_000, version=version, concurrent_sessions=len(account.rooms) + 1,
        )  # fmt: skip

    async def _append(self, event: bytes) -> float:
        """Write to the stream, again and again until the store has taken it; returns the instant before it did."""
        while True:
            at = time.monotonic()
            try:
                await self._store.xadd(keys.PLAN_CHANGES, {"event": event})
                return at
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)

    async def _post(self, event: bytes) -> float:
        """Post to some hub's webhook until it is accepted."""
        id = f"msg_{self._chance.getrandbits(64):x}"
        while True:
            at = time.monotonic()
            headers = signatures.sign(WEBHOOK_SECRET, id, int(time.time()), event)
            port = self._chance.choice(self._ports)
            try:
                answer = await self._http.post(f"http://127.0.0.1:{port}/v1/events", content=event, headers=headers)
                if answer.status_code == 202:
                    return at
                if answer.status_code != 503:
                    self._journal.note("webhook_refused", status=answer.status_code)
                    return at
            except httpx.TransportError:
                pass
            await asyncio.sleep(RETRY_SECONDS)

    async def publish_again(self) -> None:
        """Publish the present state of every account, as docs/guarantees.md asks for after a loss of data."""
        for account in self._audience.accounts:
            version, seats = self._versions[account.id] + 1, self.expected[account.id]
            self._versions[account.id] = version
            self._audience.announce(account.id, version, seats)
            await self._append(self._event(account, version, seats))
