"""Does what is due: renewals, further tries at a declined charge, the end of a grace, payments that somebody left behind.

Every process has a clerk. One takes an account for a while, so that they do not all do the same; should two do it after
all, the account's revision lets one of them through, and the gateway charges once.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from capacity.billing.account import PendingPayment
from capacity.billing.books import BY_DESK, Books, Opened, Overtaken
from capacity.billing.cashier import Cashier
from capacity.billing.gateway import tries_of
from capacity.billing.ledger import Entry
from capacity.billing.taxes import Tax, taxed
from capacity.domain.subscription import Pricing, Renewal, owed, renewal, total
from capacity.errors import Unavailable
from capacity.protocol import notices
from capacity.store.tasks import end

EVERY_SECONDS = 1.0
RETRY_SECONDS = 1.0
TAKEN_MAX = 16
STEPS_MAX = 1000
"""More steps than an account can owe: a hundred periods, were the desk down for as long."""

log = structlog.get_logger(__name__)


class Clerk:
    """The clerk of one process."""

    def __init__(
        self, books: Books, cashier: Cashier, pricing: Pricing, tax: Tax | None, *, clock_error_max_ms: int | None
    ) -> None:
        """`clock_error_max_ms`: how far our clock may be from the store's for anything to be charged; None: any."""
        self._books = books
        self._cashier = cashier
        self._pricing = pricing
        self._tax = tax
        self._clock_error_max_ms = clock_error_max_ms
        self._clock_right = True

    async def run(self) -> None:
        """Work until cancelled; whatever the store or the gateway does, this goes on. Who hangs holds up nobody else."""
        served: set[asyncio.Task[None]] = set()
        try:
            while True:
                pause_seconds = EVERY_SECONDS
                try:
                    served |= {
                        asyncio.create_task(self._serve(each)) for each in await self._take(TAKEN_MAX - len(served))
                    }
                except Unavailable:
                    pause_seconds = RETRY_SECONDS
                except Exception as error:  # without its clerk a desk renews nothing
                    log.error("desk_failed", error=f"{type(error).__name__}: {error}")
                    pause_seconds = RETRY_SECONDS
                if not served:
                    await asyncio.sleep(pause_seconds)
                    continue
                _, served = await asyncio.wait(served, timeout=pause_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(served)

    async def work(self) -> int:
        """Do once what is due now, for some accounts side by side; returns for how many. Raises Unavailable."""
        accounts = await self._take(TAKEN_MAX)
        await asyncio.gather(*(self._serve(account) for account in accounts))
        return len(accounts)

    async def _take(self, count: int) -> list[str]:
        """Take accounts that are due, for the time of a lease."""
        if count == 0 or not await self._clock_is_right():
            return []
        now = self._books.now_ms()
        return await self._books.store.take_due(now, now + self._books.lease_ms, count)

    async def _serve(self, account: str) -> None:
        """Serve an account; what goes wrong costs this one, and it is due again after the lease."""
        try:
            await self.serve(account)
        except Unavailable as error:
            log.warning("account_put_off", account=account, reason=str(error))
        except Exception as error:
            log.error("account_failed", account=account, error=f"{type(error).__name__}: {error}")

    async def _clock_is_right(self) -> bool:
        """Whether our clock and the store's agree: a period that is charged too early cannot be uncharged."""
        if self._clock_error_max_ms is None:
            return True
        error_ms = self._books.now_ms() - await self._books.store.now_ms()
        right = abs(error_ms) <= self._clock_error_max_ms
        if self._clock_right and not right:  # once, not every second
            log.error(
                "clock_off", seconds=error_ms / 1000, what="nothing is renewed by this process until its clock is set"
            )
        self._clock_right = right
        return right

    async def serve(self, account: str) -> None:
        """Do everything that is due for one account."""
        for _ in range(STEPS_MAX):
            opened = await self._books.open(account)
            if opened is None:
                return
            if opened.account.payment is not None:
                await self._cashier.settle(account)
                opened = await self._books.open(account)
                if opened is None or opened.account.payment is not None:
                    return  # it waits for somebody else; the account is due again when that is over
            try:
                if not await self._next(opened):
                    return
            except Overtaken:
                continue

    async def _next(self, opened: Opened) -> bool:
        """Begin the next thing that is due; False if nothing is, and the account is put back to when something will be."""
        account, now = opened.account, self._books.now_ms()
        subscription, dunning = account.subscription, self._books.dunning
        if subscription.status == "overdue":
            seats_until = dunning.seats_until(account)
            if seats_until is not None and now >= seats_until:
                await self._suspend(opened)
                return True
            if account.next_try_at is not None and now >= account.next_try_at:
                await self._charge(opened, owed(self._pricing, subscription), [])
                return True
        elif subscription.status == "active" and now >= subscription.period_ends_at:
            if subscription.plan.trial:
                await self._suspend(opened)
            else:
                await self._renew(opened)
            return True
        await self._books.commit(opened, account)  # so that it is due when it is
        return False

    async def _renew(self, opened: Opened) -> None:
        """Begin the next period: the scheduled change first, then the charge."""
        before = opened.account.subscription
        next_one = renewal(self._pricing, before)
        entries, begun = [], next_one.begun
        if before.scheduled is not None:
            entries.append(self._books.change("change", begun.plan, begun.concurrent_sessions))
        if next_one.voided:
            entries.append(self._books.entry("promo_codes_voided", promo_codes=next_one.voided))
        await self._charge(opened, next_one, entries)

    async def _charge(self, opened: Opened, due: Renewal, entries: list[Entry]) -> None:
        """Write down that a period is to be paid; the cashier takes it from there."""
        account, begun = opened.account, due.begun
        lines = taxed(self._tax, account.account, due.lines, begun.currency)
        payment = PendingPayment(
            # the same for every process that begins it, and another for every try
            id=f"{tries_of(account.account, begun.period_started_at)}{account.declined + 1}",
            lines=lines,
            amount=total(lines, begun.currency),
            expires_at=self._books.now_ms() + self._books.dunning.grace_ms,
            renewal=due,
            by=BY_DESK,
        )
        after = msgspec.structs.replace(account, subscription=begun, payment=payment)
        await self._books.commit(opened, after, entries)

    async def _suspend(self, opened: Opened) -> None:
        """Take the seats of an account whose grace, or trial, is over."""
        account = opened.account
        after = msgspec.structs.replace(
            account, subscription=msgspec.structs.replace(account.subscription, status="suspended")
        )
        entry = self._books.entry("suspended", plan=account.subscription.plan.id)
        await self._books.commit(opened, after, [entry], notice=notices.ACCOUNT_SUSPENDED)
        log.warning("account_suspended", account=account.account, trial=account.subscription.plan.trial)
