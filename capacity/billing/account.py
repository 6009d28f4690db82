"""An account as the desk keeps it: what it has bought, and the payment that is under way. One JSON document, one revision.

An account has one payment at a time. It begins without a `reference`, which is written down before anything is charged;
`waits_for` then names whom it waits for, if anybody; and it goes, with what it paid for in force, or without.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from capacity.billing.gateway import Payment
from capacity.domain.money import Money
from capacity.domain.proposals import Proposal
from capacity.domain.subscription import Line, Renewal, Subscription
from capacity.protocol.desk_bodies import PurchaseStatus

PAYMENT_MS = 30 * 60 * 1000
"""How long a payment may take before it is given up: a quote's time, and as long again for its owner to find the phone."""
LOOK_AGAIN_MS = 60_000
"""How often a payment that waits for its owner, or for its gateway, is looked at, should the gateway's webhook not come."""
SCHEMA = 1
"""Of the document. A release that knows only an older one leaves an account alone that has a newer one."""


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase under its Idempotency-Key: what was asked for, and what came of it. `effective_at` in ms."""

    id: str
    quote: str
    status: PurchaseStatus
    amount: Money
    plan: str
    seats: int
    concurrent_sessions: int
    effective_at: int
    payment_method: str | None = None
    action_url: str | None = None
    version: int | None = None
    """The account's version that has the change; None until then."""
    detail: str | None = None
    """Why the payment was declined."""


class PendingPayment(msgspec.Struct, frozen=True, kw_only=True):
    """The payment under way. It buys `proposal` (a purchase), or pays `renewal`. Instants in ms."""

    id: str
    lines: tuple[Line, ...]
    amount: Money
    expires_at: int
    proposal: Proposal | None = None
    renewal: Renewal | None = None
    idempotency_key: str | None = None
    payment_method: str | None = None
    by: str
    quote: str = ""
    reference: str | None = None
    gateway: str | None = None
    """Whose reference it is: nobody else knows what became of it."""
    waits_for: Literal["owner", "gateway"] | None = None
    action_url: str | None = None

    def purchase(self, status: PurchaseStatus, detail: str | None = None) -> Purchase | None:
        """Return the purchase that this payment is for, as it stands; None for a renewal."""
        proposal = self.proposal
        if proposal is None:
            return None
        return Purchase(
            id=self.id,
            quote=self.quote,
            status=status,
            amount=self.amount,
            plan=proposal.plan.id,
            seats=proposal.plan.seats,
            concurrent_sessions=proposal.concurrent_sessions,
            effective_at=proposal.effective_at,
            payment_method=self.payment_method,
            action_url=self.action_url if status == "payment_action_required" else None,
            detail=detail,
        )


class DeskAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The document. `version` grows with every change of the subscription, and is the version of its event.

    `declined_at`, `declined` and `next_try_at` are those of the period that is owed: when its charge was declined first, how
    often, and when it is tried again (None: never).
    """

    account: str
    version: int
    subscription: Subscription
    customer: str | None = None
    payment_method: str | None = None
    payment: PendingPayment | None = None
    declined_at: int | None = None
    declined: int = 0
    next_try_at: int | None = None
    schema: int = SCHEMA

    def to_pay(self) -> Payment:
        """Return the payment under way as the gateway is told of it."""
        pending = self.payment
        assert pending is not None
        return Payment(
            id=pending.id,
            account=self.account,
            amount=pending.amount,
            attended=pending.proposal is not None,
            customer=self.customer,
            payment_method=pending.payment_method or self.payment_method,
            period_started_at=None if pending.renewal is None else pending.renewal.begun.period_started_at,
        )


class Dunning(msgspec.Struct, frozen=True):
    """What follows a declined renewal, in ms from the first decline: when to try again, and when the seats go."""

    retry_ms: tuple[int, ...]
    grace_ms: int

    def next_try_at(self, declined_at: int, now_ms: int) -> int | None:
        """Return when a charge that was declined first then is tried again; None if never. What was missed is not made up."""
        return next((declined_at + ms for ms in self.retry_ms if declined_at + ms > now_ms), None)

    def seats_until(self, account: DeskAccount) -> int | None:
        """Return until when an overdue account keeps its seats."""
        return None if account.declined_at is None else account.declined_at + self.grace_ms


def due_at(account: DeskAccount, dunning: Dunning, now_ms: int, lease_ms: int) -> int | None:
    """Return when somebody must look at the account again: for its payment, its renewal, its dunning. None: never.

    `lease_ms`: how long whoever began a payment has to finish it before another process does.
    """
    payment, subscription = account.payment, account.subscription
    if payment is not None and payment.waits_for is None:
        return now_ms + lease_ms
    if payment is not None:
        later = now_ms + LOOK_AGAIN_MS
        return min(later, payment.expires_at) if now_ms < payment.expires_at else later
    if subscription.status == "suspended":
        return None
    if subscription.status == "overdue":
        instants = (account.next_try_at, dunning.seats_until(account))
        return min((instant for instant in instants if instant is not None), default=None)
    return subscription.period_ends_at


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal with an end. It is good while the account is at the `version` that it was made for. Instants in ms."""

    id: str
    version: int
    made_at: int
    expires_at: int
    proposal: Proposal

    def stale(self, account: DeskAccount, now_ms: int) -> str | None:
        """Return why the quote can no longer be bought, as a sentence; None if it can."""
        if account.version != self.version:
            return "The account changed since this quote was made; ask for a new one."
        if now_ms >= self.expires_at:
            return "The quote has expired; ask for a new one."
        subscription = account.subscription
        if subscription.status == "active" and now_ms >= subscription.period_ends_at:
            return "The period that the quote was made in is over; ask for a new one."
        return None
