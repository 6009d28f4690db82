"""Which plan would fit, and what it would cost an account today: estimated from what its last plan-changed event carried."""

from __future__ import annotations

import msgspec

from capacity.domain.money import Money
from capacity.domain.plans import Plan
from capacity.domain.proposals import propose
from capacity.domain.subscription import Pricing, Subscription
from capacity.errors import Refused

_decode = msgspec.json.Decoder(Subscription).decode


def read(desk: str | None) -> Subscription | None:
    """Return the subscription that stands beside the event; None for an account that is not the desk's.

    `desk` is the text that `Books.commit` wrote; one of another release may say nothing.
    """
    try:
        return None if desk is None else _decode(desk)
    except msgspec.DecodeError:
        return None


def due_now(pricing: Pricing, subscription: Subscription, plan: Plan, now_ms: int) -> Money | None:
    """Return what the plan would cost now, without tax; None where it cannot be bought at once, or not at this price.

    While the charge for a new period is under way: what it will cost as soon as that is made.
    """
    if subscription.status == "renewing":  # as if the charge that is under way were made
        charge = pricing.charge(
            subscription.plan,
            subscription.concurrent_sessions,
            subscription.promo_codes,
            subscription.period_started_at,
        )
        subscription = msgspec.structs.replace(subscription, status="active", paid=charge)
    if subscription.status == "active" and now_ms >= subscription.period_ends_at:
        return None  # the renewal is about to come
    try:
        proposal = propose(pricing, subscription, plan, None, now_ms)
    except Refused:
        return None
    return proposal.due_now if proposal.kind == "upgrade" else None
