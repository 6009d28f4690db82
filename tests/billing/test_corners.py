"""Corners of the rules in which an account, or the house, could win what is not theirs."""

from __future__ import annotations

import msgspec
import pytest

from capacity.billing import offers
from capacity.domain.money import Money
from capacity.domain.plans import Plan
from capacity.domain.proposals import accept, propose
from capacity.domain.proration import DAY_MS
from capacity.domain.subscription import Charge, Pricing, Status, Subscription, next_charge, renewal
from capacity.errors import ErrorCode, Refused
from tests.billing.examples import (
    BUSINESS,
    GROWTH,
    LARGER_YEARLY,
    PRICING,
    START,
    STARTER,
    STUDIO,
    TRIAL,
    YEARLY,
    account,
    changed,
    left,
    plan_of,
    with_plans,
)

# ---- a plan of as many seats for less


def test_an_add_on_after_a_cheaper_plan_is_paid_from_what_is_left_over() -> None:
    """4000 were paid, the plan in force costs 3000: four sessions for 600 more are covered, and nothing is due."""
    subscription = account(GROWTH)
    now = left(subscription, 30)
    cheaper = propose(PRICING, subscription, STUDIO, None, now)
    assert cheaper.due_now.amount == 0
    subscription = accept(subscription, cheaper)
    assert subscription.paid.total == 4000
    added = propose(PRICING, subscription, None, 4, now)
    assert added.due_now.amount == 0 and [line.amount for line in added.lines] == [0]
    subscription = accept(subscription, added)
    assert subscription.paid == Charge(3400, 600)
    assert propose(PRICING, subscription, None, 10, now).due_now.amount == 3000 + 1800 - 4000


def test_the_add_on_of_a_cheaper_plan_is_not_had_for_nothing_twice() -> None:
    """What the cheaper plan's sessions cost is taken from what was paid, once."""
    dear, cheap = plan_of("dear", 50, 5000), plan_of("cheap", 50, 3000, fee=500)
    subscription = account(dear, 3)
    subscription = accept(subscription, propose(PRICING, subscription, cheap, None, START))
    assert subscription.paid == Charge(4000, 1000)
    assert propose(PRICING, subscription, None, 8, START).due_now.amount == 3000 + 3500 - 5000


def test_a_cheaper_plan_in_between_saves_nothing() -> None:
    subscription = account(GROWTH)
    now = left(subscription, 17)
    between = accept(subscription, propose(PRICING, subscription, STUDIO, None, now))
    assert propose(PRICING, between, BUSINESS, None, now).due_now.amount == 2210
    assert propose(PRICING, subscription, BUSINESS, None, now).due_now.amount == 2210


# ---- clocks


def test_a_clock_behind_the_period_finds_no_more_days_than_it_has() -> None:
    generous = Pricing(PRICING.catalogue, running_day_used=False)
    for pricing in (PRICING, generous):
        assert propose(pricing, account(STARTER), GROWTH, None, START - 1).due_now.amount == 1500
        yearly = propose(pricing, account(STARTER), YEARLY, None, START - 1)
        assert yearly.due_now.amount == 38400 - 2500


# ---- an edited catalogue under a live account


def test_a_paid_plan_that_becomes_the_trial_is_no_way_to_it() -> None:
    pricing = with_plans(changed(STARTER, trial=True, price=Money(0, "USD")), without=(TRIAL,))
    renewed = renewal(pricing, account(STARTER))
    assert renewed.begun.plan == STARTER and renewed.charge.total == 2500
    overdue = account(STARTER, status="overdue")
    with pytest.raises(Refused) as refused:
        propose(pricing, overdue, pricing.catalogue.get("starter"), None, START)
    assert refused.value.code == ErrorCode.TRIAL_NOT_AVAILABLE


def test_another_trial_is_not_another_month_for_nothing() -> None:
    second = changed(TRIAL, id="second")
    for trial in (account(TRIAL), account(TRIAL, status="suspended")):
        with pytest.raises(Refused) as refused:
            propose(with_plans(second, without=(TRIAL,)), trial, second, None, START + DAY_MS)
        assert refused.value.code == ErrorCode.TRIAL_NOT_AVAILABLE


@pytest.mark.parametrize("status", ["overdue", "suspended"])
def test_a_new_start_costs_what_the_plan_costs_today_named_or_not(status: Status) -> None:
    dearer = changed(STARTER, price=Money(3000, "USD"))
    pricing, stopped = with_plans(dearer), account(STARTER, status=status)
    named = propose(pricing, stopped, dearer, None, START + DAY_MS)
    assert propose(pricing, stopped, None, None, START + DAY_MS) == named
    assert (named.due_now.amount, named.next_amount) == (3000, 3000)
    assert next_charge(pricing, accept(stopped, named)) == Money(3000, "USD")


@pytest.mark.parametrize("price", [2000, 3000])
def test_a_cancelled_add_on_does_not_keep_a_plan_at_its_old_price(price: int) -> None:
    """The plan that stays costs in the next period what it costs those who cancel nothing."""
    pricing, subscription = with_plans(changed(STARTER, price=Money(price, "USD"))), account(STARTER, 3)
    proposal = propose(pricing, subscription, None, 1, START)
    assert proposal.next_amount == price
    cancelled = renewal(pricing, accept(subscription, proposal))
    assert (cancelled.charge.total, cancelled.begun.concurrent_sessions) == (price, 1)
    assert renewal(pricing, subscription).charge.total == price + 2 * 500


# ---- from monthly to yearly


def test_what_a_year_for_nothing_left_over_counts_in_its_upgrades() -> None:
    """4000 were paid for a month; a code makes the year cost nothing; then it is over, and a larger year is bought."""
    subscription = changed(account(GROWTH), promo_codes=("ALL",))
    year = propose(PRICING, subscription, YEARLY, None, START)
    assert (year.due_now.amount, year.warnings) == (0, ("unused_value_lost",))
    after = changed(accept(subscription, year), promo_codes=())
    assert after.paid == Charge(4000)
    assert propose(PRICING, after, LARGER_YEARLY, None, START).due_now.amount == 75800 - 4000


# ---- what a new start, and a second downgrade, keep


@pytest.mark.parametrize("status", ["overdue", "suspended"])
def test_who_starts_anew_with_less_keeps_no_promo_code(status: Status) -> None:
    """Else owing a period would be the way to a smaller plan with its discount."""
    subscription = account(BUSINESS, 2, codes=("FIFTH",), status=status)
    now = left(subscription, 20)
    for plan, sessions, less in (
        (GROWTH, None, True),
        (None, 1, True),
        (None, None, False),
        (LARGER_YEARLY, None, False),
    ):
        proposal = propose(PRICING, subscription, plan, sessions, now)
        assert (proposal.kind, proposal.effective_at) == ("upgrade", now)
        assert ("promo_codes_voided" in proposal.warnings) == less
        assert accept(subscription, proposal).promo_codes == (() if less else ("FIFTH",))
    assert propose(PRICING, subscription, GROWTH, None, now).due_now.amount == 4000 + 1000


def test_a_second_downgrade_keeps_what_it_does_not_speak_of() -> None:
    subscription = account(BUSINESS, 3)
    now = left(subscription, 20)
    canceled = accept(subscription, propose(PRICING, subscription, None, 1, now))
    both = propose(PRICING, canceled, GROWTH, None, now)
    assert (both.plan.id, both.concurrent_sessions, both.next_amount, both.warnings) == ("growth", 1, 4000, ())
    scheduled = accept(canceled, both)
    for plan, sessions in ((GROWTH, None), (None, 1), (GROWTH, 1)):
        with pytest.raises(Refused) as caught:
            propose(PRICING, scheduled, plan, sessions, now)
        assert caught.value.code == ErrorCode.NO_CHANGE
    other = propose(PRICING, scheduled, STARTER, None, now)
    assert (other.plan.id, other.concurrent_sessions) == ("starter", 1)
    assert other.warnings == ("scheduled_change_replaced",)
    with_add_on = propose(PRICING, scheduled, GROWTH, 3, now)
    assert with_add_on.warnings == ("scheduled_change_replaced",)


def test_nothing_is_proposed_while_the_charge_for_a_new_period_is_under_way() -> None:
    begun = renewal(PRICING, account(GROWTH)).begun
    with pytest.raises(Refused) as caught:
        propose(PRICING, begun, BUSINESS, None, begun.period_started_at)
    assert caught.value.code == ErrorCode.PAYMENT_PENDING


def test_a_banner_names_no_price_that_will_not_be_asked() -> None:
    """Not for a period that is over; nor for what comes with the next one."""
    subscription = account(GROWTH)

    def price(of: Subscription, now: int, plan: Plan = BUSINESS) -> Money | None:
        found = offers.read(msgspec.json.encode(of).decode())
        assert found == of
        return offers.due_now(PRICING, found, plan, now)

    assert price(subscription, left(subscription, 17)) == Money(2210, "USD")
    assert price(subscription, subscription.period_ends_at - 1) == Money(0, "USD")
    assert price(subscription, subscription.period_ends_at) is None
    assert price(subscription, left(subscription, 17), STARTER) is None
    assert price(changed(subscription, status="suspended"), subscription.period_ends_at) == Money(7900, "USD")
    assert offers.read("written by another release") is None and offers.read(None) is None


def test_a_banner_reckons_with_the_charge_that_is_under_way() -> None:
    """The rooms hear of a scheduled downgrade when the period begins, and are full then: the host sees what it costs."""
    begun = renewal(PRICING, account(GROWTH)).begun
    assert begun.status == "renewing"
    now = begun.period_started_at + 1
    assert offers.due_now(PRICING, begun, BUSINESS, now) == Money(3900 * 29 // 30, "USD")
