"""What an account has bought, and what its periods cost. Pure: instants are arguments, nothing is written.

    renewal ──▶ Renewal ──▶ .begun, to be paid ──(paid for)──▶ active

| status | meaning |
|---|---|
| `active` | the period is paid, or free |
| `renewing` | a new period has begun, its charge is under way |
| `overdue` | the charge was declined; the account keeps its seats for the grace |
| `suspended` | the grace, or the trial, is over: no seats until a plan is bought |

How it changes is in `proposals`. The rules are from the help article on upgrading and downgrading a plan:

- The add-on's fee is (concurrent sessions − 1) × the plan's fee for one: it follows the plan.
- At the period's end the scheduled change comes first, then the charge, less the promo codes that still hold.
- A downgrade voids every promo code, when it takes effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from capacity.domain.money import Money
from capacity.domain.plans import Catalogue, Plan
from capacity.domain.proration import DAY_MS, reduced

Status = Literal["active", "renewing", "overdue", "suspended"]
LineKind = Literal["plan", "concurrent_sessions", "unused", "tax"]


class Charge(msgspec.Struct, frozen=True):
    """What plan and add-on cost for a whole period, in minor units: as listed, or as really paid."""

    plan: int = 0
    concurrent_sessions: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.plan + self.concurrent_sessions

    def reduced(self, percent_off: int) -> Charge:
        """Return both with so many percent off."""
        return Charge(reduced(self.plan, percent_off), reduced(self.concurrent_sessions, percent_off))


class Line(msgspec.Struct, frozen=True):
    """One line of an invoice; `amount` in minor units, negative for what counts against it."""

    kind: LineKind
    description: str
    amount: int
    currency: str


class Scheduled(msgspec.Struct, frozen=True):
    """What comes with the next period, at the terms that were shown."""

    plan: Plan
    concurrent_sessions: int


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has. `plan` is as it was bought: the catalogue may have changed since. Instants in ms.

    `paid` is what the present plan and add-on really cost for a whole period: what an upgrade's difference is taken from.
    """

    plan: Plan
    concurrent_sessions: int
    period_started_at: int
    paid: Charge
    promo_codes: tuple[str, ...] = ()
    scheduled: Scheduled | None = None
    status: Status = "active"

    @property
    def period_ends_at(self) -> int:
        """The first instant that the period has not."""
        return self.period_started_at + self.plan.cycle_days * DAY_MS

    @property
    def currency(self) -> str:
        """What the account pays in."""
        return self.plan.price.currency

    @property
    def seats(self) -> int:
        """Seats for each room, now."""
        return 0 if self.status == "suspended" else self.plan.seats


class Pricing(msgspec.Struct, frozen=True):
    """What prices are made from: the catalogue, and whether the running day counts as used."""

    catalogue: Catalogue
    running_day_used: bool = True
    soon_days: int = 3
    """With fewer days left in the period, a downgrade warns."""

    def charge(self, plan: Plan, sessions: int, promo_codes: tuple[str, ...], at_ms: int) -> Charge:
        """Return what a plan with so many sessions costs for a whole period that is charged at an instant."""
        return listed(plan, sessions).reduced(self.catalogue.percent_off(promo_codes, at_ms))


class Renewal(msgspec.Struct, frozen=True):
    """The period that follows: the subscription in it, still to be paid, and the lines of its invoice."""

    begun: Subscription
    charge: Charge
    lines: tuple[Line, ...]
    voided: tuple[str, ...]
    """Promo codes that a downgrade voids."""


def total(lines: Iterable[Line], currency: str) -> Money:
    """Return the sum of an invoice."""
    return Money(sum(line.amount for line in lines), currency)


def listed(plan: Plan, sessions: int) -> Charge:
    """Return the list price of a plan with so many concurrent sessions."""
    return Charge(plan.price.amount, (sessions - 1) * plan.concurrent_session_price.amount)


def renewal(pricing: Pricing, subscription: Subscription) -> Renewal:
    """Return the period that follows this one: the scheduled change first, then the charge. Not for a trial.

    A plan that the catalogue still has costs what it costs there now; one that it has no more, or in another currency or
    cycle only, what it cost when it was bought. A scheduled change costs what was shown when it was asked for.
    """
    starts_at = subscription.period_ends_at
    scheduled = subscription.scheduled
    promo_codes: tuple[str, ...] = ()
    if scheduled is not None:
        plan, sessions = scheduled.plan, scheduled.concurrent_sessions
    else:
        plan, sessions = sold_now_as(pricing.catalogue, subscription.plan), subscription.concurrent_sessions
        promo_codes = subscription.promo_codes
    charge = pricing.charge(plan, sessions, promo_codes, starts_at)
    begun = msgspec.structs.replace(
        subscription,
        plan=plan,
        concurrent_sessions=sessions,
        period_started_at=starts_at,
        paid=Charge(),
        promo_codes=promo_codes,
        scheduled=None,
        status="renewing",
    )
    voided = subscription.promo_codes if scheduled is not None else ()
    return Renewal(begun, charge, full_lines(plan, sessions, charge), voided)


def owed(pricing: Pricing, subscription: Subscription) -> Renewal:
    """Return what a period that has begun and is not paid costs, for another try at its charge."""
    charge = pricing.charge(
        subscription.plan, subscription.concurrent_sessions, subscription.promo_codes, subscription.period_started_at
    )
    lines = full_lines(subscription.plan, subscription.concurrent_sessions, charge)
    return Renewal(msgspec.structs.replace(subscription, status="renewing"), charge, lines, ())


def next_charge(pricing: Pricing, subscription: Subscription) -> Money | None:
    """Return what the next period will cost as things stand; None for a trial, and where there is no next period."""
    if subscription.plan.trial or subscription.status == "suspended":
        return None
    return Money(renewal(pricing, subscription).charge.total, subscription.currency)


def full_lines(plan: Plan, sessions: int, charge: Charge) -> tuple[Line, ...]:
    """Return the lines of a whole period."""
    currency = plan.price.currency
    lines = [Line("plan", f"{plan.name}, {plan.cycle_days} days", charge.plan, currency)]
    if sessions > 1:
        text = f"{sessions_text(sessions)}, {plan.cycle_days} days"
        lines.append(Line("concurrent_sessions", text, charge.concurrent_sessions, currency))
    return tuple(lines)


def sessions_text(sessions: int) -> str:
    return f"{sessions} concurrent sessions"


def sold_now_as(catalogue: Catalogue, plan: Plan) -> Plan:
    """Return the plan at the catalogue's present terms, as it was bought where those are in another coin or cycle."""
    found = catalogue.get(plan.id)
    kind = (plan.price.currency, plan.cycle_days, plan.trial)
    if found is None or (found.price.currency, found.cycle_days, found.trial) != kind:
        return plan
    return found
