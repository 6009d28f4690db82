"""A billing desk under test: real books on a real server, a clock that the test moves, and the test card's bank to look into."""

from __future__ import annotations

from typing import Any

import redis.asyncio as aioredis

from capacity.billing.account import DeskAccount, Dunning, Purchase, Quote
from capacity.billing.card import CardGateway
from capacity.billing.desk import Desk
from capacity.billing.gateway import Gateway
from capacity.billing.ledger import KeptEntry
from capacity.billing.register import Order
from capacity.domain import plans
from capacity.domain.plans import Catalogue
from capacity.domain.proration import DAY_MS
from capacity.domain.subscription import Pricing
from capacity.protocol import events
from capacity.protocol.events import PlanChanged
from capacity.store import keys
from capacity.store.card_bank import CardBank
from capacity.store.redis import Clients

ACCOUNT = "acme"
BY = "host:hanna"
START_MS = 1_795_500_000_000
HOUR_MS = 3_600_000
DUNNING = Dunning(retry_ms=(DAY_MS, 3 * DAY_MS, 5 * DAY_MS), grace_ms=7 * DAY_MS)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def pass_days(self, days: float) -> None:
        """Move it on."""
        self.now_ms += round(days * DAY_MS)


def desk_on(clients: Clients, gateway: Gateway | None = None, **options: Any) -> Desk:
    """Return a desk with the shipped catalogue, by the real clock; without a gateway it takes the test card."""
    gateway = gateway or CardGateway(CardBank(clients.scripts))
    return Desk(clients.scripts, Pricing(plans.load(None)), gateway, DUNNING, **options)


async def charged(client: Any) -> list[int]:
    """Return what the test card's bank was really paid, from all payments that were ever prepared, smallest first."""
    found = []
    async for key in client.scan_iter(match="capacity:1:{billing}:card:*"):
        fields = await client.hgetall(key)
        if fields[b"status"] == b"paid":
            found.append(int(fields[b"amount"]))
    return sorted(found)


class DeskUnderTest:
    """Desks on one store with one clock: `desk` is the first; `another` is one of another process."""

    def __init__(
        self, url: str, *, catalogue: Catalogue | None = None, gateway: Gateway | None = None, **options: Any
    ) -> None:
        self.clients = Clients(url)
        self.raw: Any = aioredis.Redis.from_url(url)
        self.clock = Clock()
        self._catalogue = catalogue or plans.load(None)
        self._gateway = gateway
        self._options: dict[str, Any] = {"lease_ms": 1000} | options
        self.desk = self.another()

    def another(self, **options: Any) -> Desk:
        """Return a desk as another process would have it."""
        values = {"catalogue": self._catalogue, "gateway": self._gateway} | self._options | options
        catalogue, gateway = values.pop("catalogue"), values.pop("gateway")
        return Desk(
            self.clients.scripts,
            Pricing(catalogue),
            gateway or CardGateway(CardBank(self.clients.scripts)),
            DUNNING,
            clock=self.clock,
            **values,
        )

    async def close(self) -> None:
        await self.clients.aclose()
        await self.raw.aclose()

    async def create(self, plan: str = "starter", account: str = ACCOUNT, **order: Any) -> DeskAccount:
        """Bring an account to the desk."""
        return await self.desk.register.create(account, Order(plan=plan, **order), "service:platform")

    async def quote(self, plan: str | None = None, sessions: int | None = None, account: str = ACCOUNT) -> Quote:
        """Ask for a quote."""
        return await self.desk.quote(account, plan, sessions, BY)

    async def buy(
        self,
        quote: Quote,
        key: str = "key-1",
        *,
        card: str | None = None,
        desk: Desk | None = None,
        account: str = ACCOUNT,
    ) -> Purchase:
        """Buy a quote."""
        return await (desk or self.desk).purchase(account, quote.id, key, card, BY)

    async def change(
        self, plan: str | None = None, sessions: int | None = None, *, key: str, account: str = ACCOUNT
    ) -> Purchase:
        """Ask for a quote and buy it."""
        return await self.buy(await self.quote(plan, sessions, account), key, account=account)

    async def account(self, account: str = ACCOUNT) -> DeskAccount:
        """Return the account."""
        found = await self.desk.account(account)
        assert found is not None
        return found

    async def work(self) -> None:
        """Let the clerk do all that is due."""
        while await self.desk.clerk.work():
            pass

    async def ledger(self, *kinds: str, account: str = ACCOUNT) -> list[KeptEntry]:
        """Return the ledger's entries, or those of some kinds."""
        entries = await self.desk.books.ledger(account, after=None, count=100_000)
        return [entry for entry in entries if not kinds or entry.kind in kinds]

    async def charged(self) -> list[int]:
        """Return what the test card's bank was really paid, smallest first."""
        return await charged(self.raw)

    async def billed(self, account: str = ACCOUNT) -> list[int]:
        """Return the sums of the ledger's invoices that were charged, smallest first, each held to its lines."""
        entries = await self.ledger(account=account)
        sums: dict[str, int] = {}
        for entry in entries:
            if entry.kind == "line":
                assert entry.invoice is not None and entry.amount is not None
                sums[entry.invoice] = sums.get(entry.invoice, 0) + entry.amount
        paid = {entry.invoice: entry.amount for entry in entries if entry.kind == "payment"}
        assert paid == sums, "an invoice's lines are not what was paid"
        return sorted(amount for amount in sums.values() if amount)

    async def published(self, account: str = ACCOUNT) -> list[PlanChanged]:
        """Return the plan-changed events of the account, in order."""
        entries = await self.raw.xrange(keys.PLAN_CHANGES)
        assert all(b"desk" in fields for _, fields in entries)
        parsed = [events.parse(fields[b"event"]) for _, fields in entries]
        return [event for event in parsed if event.account == account]
