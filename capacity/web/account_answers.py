"""What the billing desk knows, as it is answered over HTTP: the types of `protocol.desk_bodies`, filled."""

from __future__ import annotations

from datetime import UTC
from typing import Literal

import msgspec

from capacity.billing.account import DeskAccount, Purchase, Quote
from capacity.billing.desk import Desk
from capacity.billing.ledger import KeptEntry
from capacity.billing.register import Order
from capacity.domain.instants import at
from capacity.domain.proposals import WarningCode
from capacity.protocol.desk_bodies import (
    Account,
    AccountWish,
    NextPeriod,
    Overdue,
    PaymentUnderWay,
    Period,
    PurchaseAnswer,
    QuoteAnswer,
    QuoteWarning,
    ScheduledChange,
)
from capacity.store.desk import Known

WARNINGS: dict[WarningCode, str] = {
    "promo_codes_voided": "Every promo code of the account is voided when the downgrade takes effect.",
    "period_ends_soon": "Few days are left in the period: the downgrade takes effect soon.",
    "scheduled_change_replaced": "The change that is scheduled now will not come.",
    "unused_value_lost": "What is left of the running period is worth more than the new one costs; the rest is not paid back.",
}


class Ledger(msgspec.Struct, frozen=True):
    """A piece of a ledger, in order; `next`: what to ask for `after`, null at the end."""

    entries: list[KeptEntry]
    next: str | None


class Taken(msgspec.Struct, frozen=True):
    """A gateway's notification was taken."""

    status: Literal["taken"] = "taken"


def order(wish: AccountWish) -> Order:
    """Return what was wished as the desk takes it; an instant without a zone is in UTC."""
    started_at = wish.period_started_at
    if started_at is not None and started_at.tzinfo is None:
        started_at = started_at.replace(tzinfo=UTC)
    return Order(
        plan=wish.plan,
        concurrent_sessions=wish.concurrent_sessions,
        period_started_at=started_at,
        paid=wish.paid,
        promo_codes=None if wish.promo_codes is None else tuple(wish.promo_codes),
        customer=wish.customer,
        payment_method=wish.payment_method,
    )


def account_of_desk(desk: Desk, found: DeskAccount) -> Account:
    """Return an account of the desk as it is answered."""
    subscription = found.subscription
    scheduled, payment, dunning = subscription.scheduled, found.payment, desk.books.dunning
    seats_until, next_try_at = dunning.seats_until(found), found.next_try_at
    overdue = None
    if subscription.status == "overdue" and found.declined_at is not None and seats_until is not None:
        overdue = Overdue(at(found.declined_at), None if next_try_at is None else at(next_try_at), at(seats_until))
    return Account(
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


def account_of_hubs(account: str, known: Known) -> Account:
    """Return an account of which the desk knows nothing as it is answered: managed by events, or lost by the store."""
    return Account(
        account=account,
        managed_by="desk" if known.managed else "events",
        plan=known.plan,
        seats=known.seats,
        concurrent_sessions=known.concurrent_sessions,
        version=known.version,
        status="active",
    )


def quote_answer(quote: Quote) -> QuoteAnswer:
    """Return a quote as it is answered."""
    proposal = quote.proposal
    return QuoteAnswer(
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


def purchase_answer(bought: Purchase) -> PurchaseAnswer:
    """Return a purchase as it is answered."""
    return PurchaseAnswer(
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
