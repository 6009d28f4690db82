"""Which accounts are the desk's: how one comes, what a service may set of it, and how it leaves.

managed by events ──create──▶ the desk's ──release──▶ managed by events
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from capacity.billing.account import DeskAccount
from capacity.billing.books import TRIES_MAX, Books, Opened, Overtaken
from capacity.billing.ledger import Entry
from capacity.domain.instants import at, ms_of
from capacity.domain.money import Money
from capacity.domain.plans import Catalogue, Plan
from capacity.domain.subscription import Charge, Pricing, Subscription, listed
from capacity.errors import ErrorCode, Refused, Unavailable

PERIOD_LEEWAY_MS = 30_000
"""How far ahead the clock of whoever says when a period began may be, as for tokens."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What `create` is asked for; None: not given. `paid` is what the running period really cost, plan and add-on."""

    plan: str
    concurrent_sessions: int | None = None
    period_started_at: datetime | None = None
    paid: Money | int | None = None
    promo_codes: tuple[str, ...] | None = None
    customer: str | None = None
    payment_method: str | None = None


class Register:
    """The register of one process. Everything raises Unavailable when the store cannot be used."""

    def __init__(self, books: Books, pricing: Pricing) -> None:
        self._books = books
        self._pricing = pricing

    async def create(self, account: str, order: Order, by: str) -> DeskAccount:
        """Bring an account to the desk, or change the promo codes and payment data of one that is there; returns it.

        Nothing is charged. An account that was managed by events is the desk's from now on. Refused: `unknown_plan`,
        `currency_mismatch`, `invalid_amount`, `invalid_period`; `account_exists` where plan, sessions, period or what was
        paid differ from what the account has; `payment_pending`.
        """
        for _ in range(TRIES_MAX):
            opened = await self._books.open(account)
            try:
                if opened is not None:
                    return await self._update(opened, order, by)
                begun = self._begin(account, order, await self._books.last_version(account))
                return await self._books.commit(Opened("", begun), begun, [self._created(begun.subscription, by)])
            except Overtaken:
                continue
        raise Unavailable("the account changes too fast")

    def _created(self, subscription: Subscription, by: str) -> Entry:
        """The ledger's first entry: all that later charges are reckoned from."""
        return self._books.change(
            "created",
            subscription.plan,
            subscription.concurrent_sessions,
            by=by,
            amount=subscription.paid.total,
            currency=subscription.currency,
            promo_codes=subscription.promo_codes or None,
            effective_at=at(subscription.period_started_at),
            ends_at=at(subscription.period_ends_at),
        )

    def _begin(self, account: str, order: Order, version: int) -> DeskAccount:
        """Return the account that an order describes, before its first step."""
        plan = plan_of(self._pricing.catalogue, order.plan)
        now = self._books.now_ms()
        sessions = order.concurrent_sessions or 1
        started_at = now if order.period_started_at is None else ms_of(order.period_started_at)
        if now < started_at <= now + PERIOD_LEEWAY_MS:
            started_at = now
        codes = tuple(dict.fromkeys(order.promo_codes or ()))
        subscription = Subscription(
            plan=plan,
            concurrent_sessions=sessions,
            period_started_at=started_at,
            paid=self._paid(order, plan, sessions, codes, started_at),
            promo_codes=codes,
        )
        if not started_at <= now < subscription.period_ends_at:
            raise Refused(ErrorCode.INVALID_PERIOD)
        return DeskAccount(
            account=account,
            version=version,
            subscription=subscription,
            customer=order.customer,
            payment_method=order.payment_method,
        )

    def _paid(self, order: Order, plan: Plan, sessions: int, codes: tuple[str, ...], at_ms: int) -> Charge:
        """Return what was paid as it was split: first the plan, the rest for the add-on. Not given: today's price."""
        if order.paid is None:
            return self._pricing.charge(plan, sessions, codes, at_ms)
        if isinstance(order.paid, Money) and order.paid.currency != plan.price.currency:
            raise Refused(ErrorCode.CURRENCY_MISMATCH, f"The plan is paid in {plan.price.currency}.")
        amount = order.paid.amount if isinstance(order.paid, Money) else order.paid
        if not 0 <= amount <= listed(plan, sessions).total:
            raise Refused(ErrorCode.INVALID_AMOUNT)
        of_plan = min(amount, plan.price.amount)
        return Charge(of_plan, amount - of_plan)

    async def _update(self, opened: Opened, order: Order, by: str) -> DeskAccount:
        """Change what may change by PUT; the rest must be as it is."""
        account, subscription = opened.account, opened.account.subscription
        paid = order.paid
        if isinstance(paid, Money) and paid.currency == subscription.currency:
            paid = paid.amount
        same = (
            order.plan == subscription.plan.id
            and order.concurrent_sessions in (None, subscription.concurrent_sessions)
            and (
                order.period_started_at is None  # it was taken back to our clock if it was ahead of that
                or 0 <= ms_of(order.period_started_at) - subscription.period_started_at <= PERIOD_LEEWAY_MS
            )
            and paid in (None, subscription.paid.total)
        )
        if not same:
            known = order.plan == subscription.plan.id or self._pricing.catalogue.get(order.plan) is not None
            code = ErrorCode.ACCOUNT_EXISTS if known else ErrorCode.UNKNOWN_PLAN
            await self._books.refuse(account.account, Refused(code), by)
        codes = subscription.promo_codes if order.promo_codes is None else tuple(dict.fromkeys(order.promo_codes))
        after = msgspec.structs.replace(
            account,
            subscription=msgspec.structs.replace(subscription, promo_codes=codes),
            customer=account.customer if order.customer is None else order.customer,
            payment_method=account.payment_method if order.payment_method is None else order.payment_method,
        )
        if after == account:
            hubs = await self._books.store.known(account.account)
            if hubs is not None and hubs.managed and hubs.version >= account.version:
                return account
            if hubs is not None and not hubs.managed and hubs.desk_version >= account.version:
                account = msgspec.structs.replace(account, version=hubs.desk_version + 1)
            return await self._books.commit(opened, account, publish=True)  # the hubs lost it, or never heard of it
        await self._books.require_no_payment(account, by)
        paid_otherwise = (after.customer, after.payment_method) != (account.customer, account.payment_method)
        if paid_otherwise and subscription.status == "overdue":
            after = msgspec.structs.replace(after, next_try_at=self._books.now_ms())
        entry = self._books.entry("updated", by=by, promo_codes=codes)
        return await self._books.commit(opened, after, [entry])

    async def release(self, account: str, by: str) -> DeskAccount:
        """Let an account go; returns it as it went. It keeps what it has, and events manage it. Its ledger stays.

        Refused: as `quote`, and `payment_pending`.
        """
        for _ in range(TRIES_MAX):
            opened = await self._books.require(account)
            await self._books.require_no_payment(opened.account, by)
            try:
                await self._books.release(opened, self._books.entry("released", by=by))
            except Overtaken:
                continue
            return opened.account
        raise Unavailable("the account changes too fast")


def plan_of(catalogue: Catalogue, plan_id: str) -> Plan:
    """Return a plan of the catalogue. Refused: `unknown_plan`."""
    plan = catalogue.get(plan_id)
    if plan is None:
        raise Refused(ErrorCode.UNKNOWN_PLAN)
    return plan
