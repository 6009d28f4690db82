"""How an account's subscription may change, and what that costs. Pure: instants are arguments, refusals are `Refused`.

    propose ──▶ Proposal ──(paid for)──▶ accept ──▶ Subscription

Rules, from the help article on upgrading and downgrading a plan:

- An upgrade takes effect at once; only the difference to what was really paid is charged, for the days left. The period
  stays. From the trial, and for an account that owes its period, the full price is due and a new period starts.
- The add-on follows the plan, and is cancelled whole.
- From monthly to yearly a new period starts at once, and what is left of the old one counts.
- A downgrade (fewer seats, fewer sessions, yearly → monthly) comes with the next period, costs nothing now, and voids
  every promo code when it does. Nobody goes back to the trial.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from capacity.domain.money import Money, half_up
from capacity.domain.plans import Plan
from capacity.domain.proration import DAY_MS, prorated, remaining_days, share
from capacity.domain.subscription import (
    Charge,
    Line,
    Pricing,
    Scheduled,
    Subscription,
    full_lines,
    sessions_text,
    sold_now_as,
    total,
)
from capacity.errors import ErrorCode, Refused

Kind = Literal["upgrade", "downgrade"]
WarningCode = Literal["promo_codes_voided", "period_ends_soon", "scheduled_change_replaced", "unused_value_lost"]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A change, and what it costs: pinned, so that what is charged is what was shown. Amounts in minor units.

    `period_started_at` is None where the period stays, and for a downgrade. `voids_promo_codes`: as soon as it is bought.
    """

    kind: Kind
    plan: Plan
    concurrent_sessions: int
    effective_at: int
    lines: tuple[Line, ...]
    next_amount: int
    next_at: int
    warnings: tuple[WarningCode, ...]
    paid: Charge
    period_started_at: int | None = None
    voids_promo_codes: bool = False

    @property
    def due_now(self) -> Money:
        """The sum of the lines."""
        return total(self.lines, self.plan.price.currency)


def propose(
    pricing: Pricing, subscription: Subscription, plan: Plan | None, sessions: int | None, now_ms: int
) -> Proposal:
    """Return what a change to another plan, another number of sessions, or both means.

    None: as it is; in a downgrade, as it will be by what is scheduled already.
    Refused: `no_change`, `trial_not_available`, `plan_not_on_sale`, `currency_mismatch`, `add_on_not_available`,
    `add_on_whole_batch`, `mixed_change`; `payment_pending` while the charge for a new period is under way.
    """
    if subscription.status == "renewing":
        raise Refused(ErrorCode.PAYMENT_PENDING)
    current = subscription.plan
    starts_anew = current.trial or subscription.status in ("overdue", "suspended")
    present = sold_now_as(pricing.catalogue, current) if starts_anew else current
    target = present if plan is None or (plan.id == current.id and not starts_anew) else plan
    wanted = subscription.concurrent_sessions if sessions is None else sessions
    _check(subscription, target, wanted, starts_anew)
    had = (current.seats, subscription.concurrent_sessions, current.cycle_days)
    gets = (target.seats, wanted, target.cycle_days)
    down = any(after < before for before, after in zip(had, gets, strict=True))
    up = any(after > before for before, after in zip(had, gets, strict=True))
    if starts_anew:
        return _start(pricing, subscription, target, wanted, now_ms, less=down and not current.trial)
    if down and up:
        raise Refused(ErrorCode.MIXED_CHANGE)
    if down:
        if (scheduled := subscription.scheduled) is not None:
            target = scheduled.plan if plan is None else target
            wanted = scheduled.concurrent_sessions if sessions is None else wanted
            if (scheduled.plan.id, scheduled.concurrent_sessions) == (target.id, wanted):
                raise Refused(ErrorCode.NO_CHANGE, "This very change is scheduled already.")
        return _downgrade(pricing, subscription, target, wanted, now_ms)
    if target.cycle_days > current.cycle_days:
        return _lengthen(pricing, subscription, target, wanted, now_ms)
    return _upgrade(pricing, subscription, target, wanted, now_ms)


def accept(subscription: Subscription, proposal: Proposal) -> Subscription:
    """Return the subscription after a change that was paid for."""
    if proposal.kind == "downgrade":
        return msgspec.structs.replace(subscription, scheduled=Scheduled(proposal.plan, proposal.concurrent_sessions))
    started_at = subscription.period_started_at if proposal.period_started_at is None else proposal.period_started_at
    return msgspec.structs.replace(
        subscription,
        plan=proposal.plan,
        concurrent_sessions=proposal.concurrent_sessions,
        period_started_at=started_at,
        paid=proposal.paid,
        promo_codes=() if proposal.voids_promo_codes else subscription.promo_codes,
        scheduled=None,
        status="active",
    )


# ---- the four ways to change


def _check(subscription: Subscription, target: Plan, wanted: int, starts_anew: bool) -> None:
    current = subscription.plan
    same = target.id == current.id and wanted == subscription.concurrent_sessions
    if target.trial and (target.id != current.id or not current.trial or subscription.status == "suspended"):
        raise Refused(ErrorCode.TRIAL_NOT_AVAILABLE)
    if target.trial and wanted != subscription.concurrent_sessions:
        raise Refused(ErrorCode.ADD_ON_NOT_AVAILABLE)
    if same and (target.trial or not starts_anew):
        raise Refused(ErrorCode.NO_CHANGE)
    if target.id != current.id and not target.on_sale:
        raise Refused(ErrorCode.PLAN_NOT_ON_SALE)
    if not current.trial and target.price.currency != subscription.currency:
        raise Refused(ErrorCode.CURRENCY_MISMATCH)
    if not starts_anew and 1 < wanted < subscription.concurrent_sessions:
        raise Refused(ErrorCode.ADD_ON_WHOLE_BATCH)


def _start(
    pricing: Pricing, subscription: Subscription, target: Plan, wanted: int, now_ms: int, *, less: bool
) -> Proposal:
    """A first or a new start: the full price, for a period that starts now, or that began and is still owed.

    `less` than before is a downgrade by its nature, though there is nothing to wait for: it voids the promo codes.
    """
    started_at = subscription.period_started_at if subscription.status == "overdue" else now_ms
    codes = () if less else subscription.promo_codes
    charge = pricing.charge(target, wanted, codes, now_ms)
    ends_at = started_at + target.cycle_days * DAY_MS
    return Proposal(
        kind="upgrade",
        plan=target,
        concurrent_sessions=wanted,
        effective_at=now_ms,
        lines=full_lines(target, wanted, charge),
        next_amount=pricing.charge(target, wanted, codes, ends_at).total,
        next_at=ends_at,
        warnings=("promo_codes_voided",) if less and subscription.promo_codes else (),
        paid=charge,
        period_started_at=started_at,
        voids_promo_codes=less,
    )


def _upgrade(pricing: Pricing, subscription: Subscription, target: Plan, wanted: int, now_ms: int) -> Proposal:
    """More seats or sessions in the same cycle: the difference for the days left; the period stays."""
    paid, codes = subscription.paid, subscription.promo_codes
    if target.id == subscription.plan.id:  # what is not changed is not priced anew
        added = pricing.charge(target, wanted - subscription.concurrent_sessions + 1, codes, now_ms).concurrent_sessions
        charge = Charge(min(paid.plan, target.price.amount), paid.concurrent_sessions + added)
    else:
        charge = pricing.charge(target, wanted, codes, now_ms)
    ends_at = subscription.period_ends_at
    days = remaining_days(ends_at, now_ms, target.cycle_days, running_day_used=pricing.running_day_used)
    due = prorated(charge.total - paid.total, days, target.cycle_days)
    if target.id == subscription.plan.id:
        of_plan = 0
    elif wanted == 1 or due == 0:
        of_plan = due
    else:
        of_plan = half_up(share(charge.plan - paid.plan, days, target.cycle_days))
    if charge.total < paid.total:  # what was paid beyond the price is kept with the plan, and counts in what follows
        charge = Charge(paid.total - charge.concurrent_sessions, charge.concurrent_sessions)
    rest = f"the difference for {days} of {target.cycle_days} days"
    lines = []
    if target.id != subscription.plan.id:
        lines.append(Line("plan", f"{target.name}, {rest}", of_plan, target.price.currency))
    if wanted > 1:
        lines.append(
            Line("concurrent_sessions", f"{sessions_text(wanted)}, {rest}", due - of_plan, target.price.currency)
        )
    return Proposal(
        kind="upgrade",
        plan=target,
        concurrent_sessions=wanted,
        effective_at=now_ms,
        lines=tuple(lines),
        next_amount=pricing.charge(sold_now_as(pricing.catalogue, target), wanted, codes, ends_at).total,
        next_at=ends_at,
        warnings=_replaced(subscription),
        paid=charge,
    )


def _lengthen(pricing: Pricing, subscription: Subscription, target: Plan, wanted: int, now_ms: int) -> Proposal:
    """From monthly to yearly: a new period starts now, and what is left of the old one counts."""
    charge = pricing.charge(target, wanted, subscription.promo_codes, now_ms)
    cycle_days = subscription.plan.cycle_days
    days = remaining_days(subscription.period_ends_at, now_ms, cycle_days, running_day_used=pricing.running_day_used)
    unused = share(subscription.paid.total, days, cycle_days)
    due = max(0, half_up(charge.total - unused))
    lines = full_lines(target, wanted, charge)
    if due != charge.total:
        unused_line = f"{subscription.plan.name}, {days} of {cycle_days} days unused"
        lines = (*lines, Line("unused", unused_line, due - charge.total, target.price.currency))
    ends_at = now_ms + target.cycle_days * DAY_MS
    lost: tuple[WarningCode, ...] = ("unused_value_lost",) if unused > charge.total else ()
    kept = max(charge.total, half_up(unused))  # it is not paid back, but counts in the upgrades of the new period
    return Proposal(
        kind="upgrade",
        plan=target,
        concurrent_sessions=wanted,
        effective_at=now_ms,
        lines=lines,
        next_amount=pricing.charge(target, wanted, subscription.promo_codes, ends_at).total,
        next_at=ends_at,
        warnings=(*_replaced(subscription), *lost),
        paid=Charge(kept - charge.concurrent_sessions, charge.concurrent_sessions),
        period_started_at=now_ms,
    )


def _downgrade(pricing: Pricing, subscription: Subscription, target: Plan, wanted: int, now_ms: int) -> Proposal:
    """Less, from the next period: nothing is due now, and it can be taken back until then."""
    target = sold_now_as(pricing.catalogue, target)
    ends_at = subscription.period_ends_at
    warnings: list[WarningCode] = []
    if (scheduled := subscription.scheduled) is not None and (
        scheduled.plan.id not in (subscription.plan.id, target.id)
        or scheduled.concurrent_sessions not in (subscription.concurrent_sessions, wanted)
    ):
        warnings.append("scheduled_change_replaced")
    if subscription.promo_codes:
        warnings.append("promo_codes_voided")
    if ends_at - now_ms < pricing.soon_days * DAY_MS:
        warnings.append("period_ends_soon")
    return Proposal(
        kind="downgrade",
        plan=target,
        concurrent_sessions=wanted,
        effective_at=ends_at,
        lines=(),
        next_amount=pricing.charge(target, wanted, (), ends_at).total,
        next_at=ends_at,
        warnings=tuple(warnings),
        paid=subscription.paid,
    )


def _replaced(subscription: Subscription) -> tuple[WarningCode, ...]:
    return () if subscription.scheduled is None else ("scheduled_change_replaced",)
