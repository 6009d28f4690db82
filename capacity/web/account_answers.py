"""The bodies of the billing desk over HTTP, asked and answered, as types. Amounts are in minor units, instants RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from capacity.billing.account import DeskAccount, Purchase, PurchaseStatus, Quote
from capacity.billing.desk import Desk
from capacity.billing.ledger import KeptEntry
from capacity.billing.register import Order
from capacity.domain.instants import at
from capacity.domain.money import Money
from capacity.domain.plans import PROMO_CODE
from capacity.domain.proposals import Kind, WarningCode
from capacity.domain.subscription import Line, Status
from capacity.protocol.events import CONCURRENT_SESSIONS_MAX, PLAN_CHARACTERS_MAX
from capacity.store.desk import Known

WARNINGS: dict[WarningCode, str] = {
    "promo_codes_voided": "Every promo code of the account is voided when the downgrade takes effect.",
    "period_ends_soon": "Few days are left in the period: the downgrade takes effect soon.",
    "scheduled_change_replaced": "The change that is scheduled now will not come.",
    "unused_value_lost": "What is left of the running period is worth more than the new one costs; the rest is not paid back.",
}

PlanId = Annotated[str, msgspec.Meta(min_length=1, max_length=PLAN_CHARACTERS_MAX)]
Sessions = Annotated[int, msgspec.Meta(ge=1, le=CONCURRENT_SESSIONS_MAX)]
GatewayText = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


# ---- asked


class AccountWish(msgspec.Struct, frozen=True):
    """The body of `PUT` of an account. `paid`: what the running period really cost, plan and add-on; the list price if it is missing."""

    plan: PlanId
    concurrent_sessions: Sessions | None = None
    period_started_at: datetime | None = None
    paid: Money | int | None = None
    promo_codes: (
        Annotated[list[Annotated[str, msgspec.Meta(pattern=f"^{PROMO_CODE}$")]], msgspec.Meta(max_length=20)] | None
    ) = None
    customer: GatewayText | None = None
    payment_method: GatewayText | None = None

    def order(self) -> Order:
        """Return it as the desk takes it; an instant without a zone is in UTC."""
        started_at = self.period_started_at
        if started_at is not None and started_at.tzinfo is None:
            started_at = started_at.replace(tzinfo=UTC)
        return Order(
            plan=self.plan,
            concurrent_sessions=self.concurrent_sessions,
            period_started_at=started_at,
            paid=self.paid,
            promo_codes=None if self.promo_codes is None else tuple(self.promo_codes),
            customer=self.customer,
            payment_method=self.payment_method,
        )


class QuoteWish(msgspec.Struct, frozen=True):
    """The body of a request for a quote: what shall change; what is missing stays."""

    plan: PlanId | None = None
    concurrent_sessions: Sessions | None = None


class PurchaseWish(msgspec.Struct, frozen=True):
    """The body of a purchase. `payment_method`: the gateway's name for what is charged; the saved one if it is missing."""

    quote: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    payment_method: GatewayText | None = None


# ---- answered


class Period(msgspec.Struct, frozen=True):
    """The paid period, half-open: `ends_at` is the first instant of the next. `days`: 30 or 365."""

    starts_at: datetime
    ends_at: datetime
    days: int


class ScheduledChange(msgspec.Struct, frozen=True):
    """What comes with the next period."""

    plan: str
    concurrent_sessions: int
    effective_at: datetime


class PaymentUnderWay(msgspec.Struct, frozen=True):
    """A payment that is not decided yet; its owner may have to confirm it at `action_url`."""

    amount: Money
    action_url: str | None
    expires_at: datetime


class Overdue(msgspec.Struct, frozen=True):
    """The charge for the running period was declined: since when, when it is tried again, until when the seats stay."""

    since: datetime
    next_try_at: datetime | None
    seats_until: datetime


class Account(msgspec.Struct, frozen=True):
    """An account. For one that is managed by events, the desk knows no period, no price and no payment."""

    account: str
    managed_by: Literal["desk", "events"]
    plan: str
    seats: int
    concurrent_sessions: int
    version: int
    status: Status
    period: Period | None = None
    scheduled_change: ScheduledChange | None = None
    promo_codes: list[str] = []
    next_charge: Money | None = None
    payment: PaymentUnderWay | None = None
    overdue: Overdue | None = None

    @classmethod
    def of(cls, desk: Desk, found: DeskAccount) -> Account:
        """Return an account of the desk as it is answered."""
        subscription = found.subscription
        scheduled, payment, dunning = subscription.scheduled, found.payment, desk.books.dunning
        seats_until, next_try_at = dunning.seats_until(found), found.next_try_at
        overdue = None
        if subscription.status == "overdue" and found.declined_at is not None and seats_until is not None:
            overdue = Overdue(at(found.declined_at), None if next_try_at is None else at(next_try_at), at(seats_until))
        return cls(
            account=found.account,
            managed_by="desk",
            plan=subscription.plan.id,
            seats=subscription.seats,
            concurrent_sessions=subscription.concurrent_sessions,
            version=found.version,
            status=subscription.status,
            period=Period(
                at(subscription.period_started_at), at(subscription.period_ends_at), subscription.plan.cycle_days
            ),
            scheduled_change=None
            if scheduled is None
            else ScheduledChange(scheduled.plan.id, scheduled.concurrent_sessions, at(subscription.period_ends_at)),
            promo_codes=list(subscription.promo_codes),
            next_charge=desk.next_charge(found),
            payment=None
            if payment is None
            else PaymentUnderWay(payment.amount, payment.action_url, at(payment.expires_at)),
            overdue=overdue,
        )

    @classmethod
    def of_hubs(cls, account: str, known: Known) -> Account:
        """Return an account of which the desk knows nothing as it is answered: managed by events, or lost by the store."""
        return cls(
            account=account,
            managed_by="desk" if known.managed else "events",
            plan=known.plan,
            seats=known.seats,
            concurrent_sessions=known.concurrent_sessions,
            version=known.version,
            status="active",
        )


class NextPeriod(msgspec.Struct, frozen=True):
    """What the period after this one costs, in full, and when it starts."""

    amount: int
    currency: str
    starts_at: datetime


class QuoteWarning(msgspec.Struct, frozen=True):
    """What should be known before buying."""

    code: WarningCode
    message: str


class QuoteAnswer(msgspec.Struct, frozen=True):
    """What a change means and costs. The lines sum to `due_now`; an upgrade takes effect when it is bought."""

    id: str
    kind: Kind
    plan: str
    seats: int
    concurrent_sessions: int
    lines: list[Line]
    due_now: Money
    next_period: NextPeriod
    effective_at: datetime
    warnings: list[QuoteWarning]
    made_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, quote: Quote) -> QuoteAnswer:
        """Return a quote as it is answered."""
        proposal = quote.proposal
        return cls(
            id=quote.id,
            kind=proposal.kind,
            plan=proposal.plan.id,
            seats=proposal.plan.seats,
            concurrent_sessions=proposal.concurrent_sessions,
            lines=list(proposal.lines),
            due_now=proposal.due_now,
            next_period=NextPeriod(proposal.next_amount, proposal.due_now.currency, at(proposal.next_at)),
            effective_at=at(proposal.effective_at),
            warnings=[QuoteWarning(code, WARNINGS[code]) for code in proposal.warnings],
            made_at=at(quote.made_at),
            expires_at=at(quote.expires_at),
        )


class PurchaseAnswer(msgspec.Struct, frozen=True):
    """A purchase, as it stands. `version`: the account's that has the change, null until it is made."""

    id: str
    quote: str
    status: PurchaseStatus
    amount: Money
    plan: str
    seats: int
    concurrent_sessions: int
    effective_at: datetime
    action_url: str | None
    version: int | None

    @classmethod
    def of(cls, bought: Purchase) -> PurchaseAnswer:
        """Return a purchase as it is answered."""
        return cls(
            id=bought.id,
            quote=bought.quote,
            status=bought.status,
            amount=bought.amount,
            plan=bought.plan,
            seats=bought.seats,
            concurrent_sessions=bought.concurrent_sessions,
            effective_at=at(bought.effective_at),
            action_url=bought.action_url,
            version=bought.version,
        )


class Ledger(msgspec.Struct, frozen=True):
    """A piece of a ledger, in order; `next`: what to ask for `after`, null at the end."""

    entries: list[KeptEntry]
    next: str | None


class Taken(msgspec.Struct, frozen=True):
    """A gateway's notification was taken."""

    status: Literal["taken"] = "taken"
