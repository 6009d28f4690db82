"""The bodies of the billing desk over HTTP, asked and answered, as types. Amounts are in minor units, instants RFC 3339 in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from capacity.domain.money import Money
from capacity.domain.plans import PROMO_CODE
from capacity.domain.proposals import Kind, WarningCode
from capacity.domain.subscription import Line, Status
from capacity.protocol.events import CONCURRENT_SESSIONS_MAX, PLAN_CHARACTERS_MAX

PurchaseStatus = Literal["processing", "payment_action_required", "completed", "payment_declined"]
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
