"""Plans, catalogues and accounts to try the rules on."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from capacity.domain.money import Money
from capacity.domain.plans import Catalogue, Plan, PromoCode
from capacity.domain.proration import DAY_MS
from capacity.domain.subscription import Pricing, Scheduled, Status, Subscription

T = TypeVar("T", bound=msgspec.Struct)

START = 1_700_000_000_000
"""When the examples' periods begin, in ms; no day boundary of any time zone."""


def plan_of(
    id: str, seats: int, price: int, *, fee: int = 0, days: int = 30, currency: str = "USD", on_sale: bool = True
) -> Plan:
    """Return a paid plan; `fee` is its price for one more concurrent session."""
    return Plan(
        id=id,
        name=id.title(),
        seats=seats,
        cycle_days=days,
        price=Money(price, currency),
        concurrent_session_price=Money(fee, currency),
        on_sale=on_sale,
    )


TRIAL = Plan(
    id="trial", name="Trial", seats=10, cycle_days=30, price=Money(0, "USD"), concurrent_session_price=Money(0, "USD"),
    trial=True,
)  # fmt: skip
STARTER = plan_of("starter", 25, 2500, fee=500)
GROWTH = plan_of("growth", 50, 4000, fee=1000)
BUSINESS = plan_of("business", 100, 7900, fee=1500)
STUDIO = plan_of("studio", 50, 3000, fee=200)
"""As many seats as GROWTH, for less."""
YEARLY = plan_of("yearly", 50, 38400, fee=9600, days=365)
LARGER_YEARLY = plan_of("larger-yearly", 100, 75800, fee=14400, days=365)
EURO = plan_of("euro", 100, 7000, currency="EUR")
OLD = plan_of("old", 100, 5000, on_sale=False)

PLANS = (TRIAL, STARTER, GROWTH, BUSINESS, STUDIO, YEARLY, LARGER_YEARLY, EURO, OLD)
PROMO_CODES = (
    PromoCode(code="FIFTH", percent_off=20),
    PromoCode(code="ALL", percent_off=100),
    PromoCode(code="EARLY", percent_off=50, ends_at_ms=START + 10 * DAY_MS),
)
PRICING = Pricing(Catalogue(PLANS, PROMO_CODES))


def with_plans(*changed: Plan, without: tuple[Plan, ...] = ()) -> Pricing:
    """Return the prices after the catalogue's file was edited: some plans at other terms, some gone."""
    gone = {plan.id for plan in (*changed, *without)}
    return Pricing(Catalogue([*changed, *(plan for plan in PLANS if plan.id not in gone)], PROMO_CODES))


def account(
    plan: Plan,
    sessions: int = 1,
    *,
    codes: tuple[str, ...] = (),
    status: Status = "active",
    scheduled: Scheduled | None = None,
) -> Subscription:
    """Return an account whose period began at START and was charged then."""
    return Subscription(
        plan=plan,
        concurrent_sessions=sessions,
        period_started_at=START,
        paid=PRICING.charge(plan, sessions, codes, START),
        promo_codes=codes,
        status=status,
        scheduled=scheduled,
    )


def changed(thing: T, **fields: object) -> T:
    """Return an account, a plan, prices with some fields changed."""
    return msgspec.structs.replace(thing, **fields)


def left(subscription: Subscription, days: int, ms: int = 0) -> int:
    """Return the instant at which so many days, and so many ms more, are left in the period."""
    return subscription.period_ends_at - days * DAY_MS - ms
