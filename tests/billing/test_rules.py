"""The rules of the billing desk, one test each and named after it, as far as they are pure: no store, no clock.

Those that need a store (exactly once, payments, the ledger) are held where the store is.
"""

from __future__ import annotations

import pytest

from capacity.billing.account import DeskAccount, Dunning, Quote
from capacity.domain.money import Money
from capacity.domain.plans import Plan, load
from capacity.domain.proposals import accept, propose
from capacity.domain.proration import DAY_MS
from capacity.domain.subscription import Charge, Pricing, Scheduled, Status, Subscription, next_charge, owed, renewal
from capacity.errors import ErrorCode, Refused
from tests.billing.examples import (
    BUSINESS,
    EURO,
    GROWTH,
    LARGER_YEARLY,
    OLD,
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

QUOTE_MS = 15 * 60_000


def refusal(
    subscription: Subscription, plan: Plan | None, sessions: int | None = None, now_ms: int = START
) -> ErrorCode:
    """Return why a change is refused."""
    with pytest.raises(Refused) as refused:
        propose(PRICING, subscription, plan, sessions, now_ms)
    return refused.value.code


# ---- 1


def test_1_an_upgrade_takes_effect_at_once_and_costs_the_difference_for_the_days_left() -> None:
    subscription = account(STARTER)
    now = left(subscription, 17)
    proposal = propose(PRICING, subscription, GROWTH, None, now)
    assert (proposal.kind, proposal.effective_at, proposal.warnings) == ("upgrade", now, ())
    assert proposal.due_now == Money(850, "USD")
    assert [(line.kind, line.description) for line in proposal.lines] == [
        ("plan", "Growth, the difference for 17 of 30 days")
    ]
    after = accept(subscription, proposal)
    assert (after.plan, after.seats, after.status) == (GROWTH, 50, "active")
    assert after.period_started_at == START and after.period_ends_at == subscription.period_ends_at


def test_1_from_the_next_period_the_full_price() -> None:
    subscription = account(STARTER)
    proposal = propose(PRICING, subscription, GROWTH, None, left(subscription, 17))
    assert (proposal.next_amount, proposal.next_at) == (4000, subscription.period_ends_at)
    after = accept(subscription, proposal)
    assert renewal(PRICING, after).charge.total == 4000
    assert next_charge(PRICING, after) == Money(4000, "USD")


def test_1_the_next_price_is_without_codes_that_are_over_by_then() -> None:
    subscription = account(STARTER, codes=("EARLY",))
    for plan, sessions in [(GROWTH, None), (None, 2), (YEARLY, None)]:
        proposal = propose(PRICING, subscription, plan, sessions, START)
        assert proposal.next_amount == (plan or STARTER).price.amount + (500 if sessions else 0)
    assert propose(PRICING, account(TRIAL), STARTER, None, START).next_amount == 2500


def test_1_the_difference_is_to_what_was_really_paid() -> None:
    """Neither a code that holds no more nor one that is new makes money of the list price."""
    for_nothing = account(STARTER, codes=("ALL",))
    assert for_nothing.paid.total == 0
    after_all = propose(PRICING, changed(for_nothing, promo_codes=()), GROWTH, None, left(for_nothing, 15))
    assert after_all.due_now.amount == 2000, "half of 4000, not of 1500"
    early = account(STARTER, codes=("EARLY",))
    assert early.paid.total == 1250
    assert propose(PRICING, early, GROWTH, None, left(early, 21)).due_now.amount == (2000 - 1250) * 21 // 30
    assert propose(PRICING, early, GROWTH, None, left(early, 15)).due_now.amount == (4000 - 1250) * 15 // 30


def test_1_a_code_that_came_later_pays_nothing_back() -> None:
    subscription = changed(account(STARTER), promo_codes=("ALL",))
    proposal = propose(PRICING, subscription, GROWTH, None, left(subscription, 15))
    assert proposal.due_now.amount == 0 and [line.amount for line in proposal.lines] == [0]
    after = changed(accept(subscription, proposal), promo_codes=())
    assert after.paid.total == 2500
    assert propose(PRICING, after, BUSINESS, None, left(subscription, 15)).due_now.amount == (7900 - 2500) // 2


@pytest.mark.parametrize(
    ("started", "status"), [(TRIAL, "active"), (TRIAL, "suspended"), (STARTER, "suspended"), (GROWTH, "suspended")]
)
def test_1_from_the_trial_the_full_price_and_a_new_period(started: Plan, status: Status) -> None:
    """And so from a period that came to nothing."""
    subscription = account(started, status=status)
    assert subscription.seats == (0 if status == "suspended" else 10)
    now = START + 7 * DAY_MS + 1
    proposal = propose(PRICING, subscription, STARTER, None, now)
    assert (proposal.kind, proposal.due_now.amount, proposal.next_amount) == ("upgrade", 2500, 2500)
    assert (proposal.effective_at, proposal.next_at) == (now, now + 30 * DAY_MS)
    after = accept(subscription, proposal)
    assert (after.period_started_at, after.status, after.seats) == (now, "active", 25)


def test_1_an_account_that_owes_its_period_pays_it_in_full_and_keeps_its_beginning() -> None:
    overdue = account(STARTER, status="overdue")
    assert overdue.seats == 25, "its seats are kept"
    proposal = propose(PRICING, overdue, GROWTH, None, START + 2 * DAY_MS)
    assert (proposal.due_now.amount, proposal.next_at) == (4000, START + 30 * DAY_MS)
    assert accept(overdue, proposal).period_started_at == START


def test_1_the_trial_may_be_in_another_currency() -> None:
    proposal = propose(PRICING, account(TRIAL), EURO, None, START)
    assert proposal.due_now == Money(7000, "EUR")
    assert accept(account(TRIAL), proposal).currency == "EUR"
    assert refusal(account(STARTER), EURO) == ErrorCode.CURRENCY_MISMATCH
    assert refusal(account(STARTER, status="suspended"), EURO) == ErrorCode.CURRENCY_MISMATCH


def test_1_another_plan_of_as_many_seats_is_an_upgrade_that_may_cost_nothing() -> None:
    subscription = account(GROWTH)
    proposal = propose(PRICING, subscription, STUDIO, None, left(subscription, 17))
    assert (proposal.kind, proposal.due_now.amount, proposal.next_amount) == ("upgrade", 0, 3000)
    dearer = propose(PRICING, account(STUDIO), GROWTH, None, left(subscription, 17))
    assert (dearer.kind, dearer.due_now.amount) == ("upgrade", 567)


@pytest.mark.parametrize(
    ("plan", "sessions", "code"),
    [
        (None, None, ErrorCode.NO_CHANGE),
        (STARTER, None, ErrorCode.NO_CHANGE),
        (STARTER, 3, ErrorCode.NO_CHANGE),
        (changed(STARTER, price=Money(9900, "USD")), None, ErrorCode.NO_CHANGE),
        (OLD, None, ErrorCode.PLAN_NOT_ON_SALE),
        (EURO, None, ErrorCode.CURRENCY_MISMATCH),
        (TRIAL, None, ErrorCode.TRIAL_NOT_AVAILABLE),
        (None, 2, ErrorCode.ADD_ON_WHOLE_BATCH),
        (GROWTH, 1, ErrorCode.MIXED_CHANGE),
        (YEARLY, 1, ErrorCode.MIXED_CHANGE),
        (plan_of("tiny", 5, 900), 4, ErrorCode.MIXED_CHANGE),
        (plan_of("tiny-yearly", 5, 9000, days=365), None, ErrorCode.MIXED_CHANGE),
    ],
)
def test_1_what_is_no_change_or_goes_both_ways_is_refused(plan: Plan | None, sessions: int, code: ErrorCode) -> None:
    assert refusal(account(STARTER, 3), plan, sessions) == code


@pytest.mark.parametrize(("plan", "sessions"), [(BUSINESS, None), (GROWTH, 2), (STARTER, None)])
def test_1_from_yearly_to_monthly_with_more_is_mixed(plan: Plan, sessions: int | None) -> None:
    if plan is STARTER:
        assert propose(PRICING, account(YEARLY), plan, sessions, START).kind == "downgrade"
    else:
        assert refusal(account(YEARLY), plan, sessions) == ErrorCode.MIXED_CHANGE


# ---- 2


def test_2_the_add_on_costs_its_fee_for_each_session_beyond_the_first() -> None:
    subscription = account(STARTER)
    proposal = propose(PRICING, subscription, None, 3, left(subscription, 17))
    assert [(line.kind, line.amount) for line in proposal.lines] == [("concurrent_sessions", 567)]
    assert (proposal.due_now.amount, proposal.next_amount) == (567, 3500)
    after = accept(subscription, proposal)
    assert (after.concurrent_sessions, after.plan, after.period_ends_at) == (3, STARTER, subscription.period_ends_at)
    more = propose(PRICING, after, STARTER, 4, left(subscription, 6))
    assert [(line.kind, line.amount) for line in more.lines] == [("concurrent_sessions", 100)]


def test_2_its_fee_follows_the_plan_in_an_upgrade() -> None:
    subscription = account(STARTER, 3)
    proposal = propose(PRICING, subscription, GROWTH, None, left(subscription, 17))
    assert [(line.kind, line.amount) for line in proposal.lines] == [("plan", 850), ("concurrent_sessions", 567)]
    assert (proposal.due_now.amount, proposal.next_amount) == (1417, 6000)
    assert accept(subscription, proposal).concurrent_sessions == 3


def test_2_the_plan_is_not_priced_anew_when_the_add_on_is_bought() -> None:
    """A code that is over makes no dearer what was charged while it held; one that is new, no cheaper."""
    early = account(STARTER, codes=("EARLY",))
    assert propose(PRICING, early, None, 3, left(early, 15)).due_now.amount == 500
    assert propose(PRICING, early, None, 3, left(early, 24)).due_now.amount == 400
    later = changed(account(STARTER), promo_codes=("ALL",))
    proposal = propose(PRICING, later, None, 3, left(later, 15))
    assert proposal.due_now.amount == 0 and accept(later, proposal).paid == Charge(2500, 0)


def test_2_bought_and_cancelled_as_a_whole_batch_until_the_periods_end() -> None:
    subscription = account(STARTER, 3, codes=("FIFTH",))
    assert refusal(subscription, None, 2) == ErrorCode.ADD_ON_WHOLE_BATCH
    proposal = propose(PRICING, subscription, None, 1, START + 3 * DAY_MS)
    assert (proposal.kind, proposal.due_now.amount, proposal.lines) == ("downgrade", 0, ())
    assert (proposal.effective_at, proposal.next_amount) == (subscription.period_ends_at, 2500)
    after = accept(subscription, proposal)
    assert (after.concurrent_sessions, after.scheduled) == (3, Scheduled(STARTER, 1))
    assert renewal(PRICING, after).begun.concurrent_sessions == 1
    assert propose(PRICING, subscription, plan_of("tiny", 5, 900), 1, START).kind == "downgrade"


def test_2_cancelled_and_bought_again_it_is_not_had_cheaper() -> None:
    subscription = account(STARTER, 3)
    after = accept(subscription, propose(PRICING, subscription, None, 1, START))
    assert refusal(after, None, 3) == ErrorCode.NO_CHANGE, "they still have it: taking back is the way"
    proposal = propose(PRICING, after, None, 4, left(after, 15))
    assert proposal.due_now.amount == 250 and proposal.warnings == ("scheduled_change_replaced",)


def test_2_the_trial_has_none() -> None:
    assert refusal(account(TRIAL), None, 2) == ErrorCode.ADD_ON_NOT_AVAILABLE
    assert propose(PRICING, account(TRIAL), STARTER, 2, START).due_now.amount == 3000


# ---- 3


@pytest.mark.parametrize(
    ("has", "sessions", "plan", "wanted"),
    [(GROWTH, 1, STARTER, None), (GROWTH, 3, STARTER, None), (GROWTH, 3, STARTER, 1), (YEARLY, 1, GROWTH, None)],
)
def test_3_a_downgrade_comes_with_the_next_period_and_costs_nothing_now(
    has: Plan, sessions: int, plan: Plan, wanted: int | None
) -> None:
    subscription = account(has, sessions)
    proposal = propose(PRICING, subscription, plan, wanted, START + DAY_MS)
    expected = Scheduled(plan, wanted or sessions)
    assert (proposal.kind, proposal.due_now, proposal.lines) == ("downgrade", Money(0, "USD"), ())
    assert proposal.effective_at == proposal.next_at == subscription.period_ends_at
    assert proposal.next_amount == plan.price.amount + (expected.concurrent_sessions - 1) * 500 * (plan is STARTER)
    after = accept(subscription, proposal)
    assert after == changed(subscription, scheduled=expected), "nothing else until then"
    assert after.seats == has.seats
    renewed = renewal(PRICING, after)
    assert (renewed.begun.plan, renewed.begun.concurrent_sessions) == (plan, expected.concurrent_sessions)
    assert renewed.begun.period_started_at == subscription.period_ends_at and renewed.begun.scheduled is None


def test_3_it_is_asked_for_once_and_replaced_by_another() -> None:
    subscription = account(BUSINESS)
    after = accept(subscription, propose(PRICING, subscription, GROWTH, None, START))
    assert refusal(after, GROWTH) == ErrorCode.NO_CHANGE
    other = propose(PRICING, after, STARTER, None, START)
    assert other.warnings == ("scheduled_change_replaced",)
    assert accept(after, other).scheduled == Scheduled(STARTER, 1)


def test_3_an_upgrade_takes_its_place() -> None:
    subscription = changed(account(GROWTH), scheduled=Scheduled(STARTER, 1))
    proposal = propose(PRICING, subscription, BUSINESS, None, left(subscription, 11))
    assert (proposal.due_now.amount, proposal.warnings) == (1430, ("scheduled_change_replaced",))
    assert accept(subscription, proposal).scheduled is None


def test_3_only_to_a_plan_on_sale() -> None:
    assert refusal(account(BUSINESS), changed(STARTER, on_sale=False)) == ErrorCode.PLAN_NOT_ON_SALE


@pytest.mark.parametrize(
    ("days", "ms", "soon_days", "warns"),
    [(3, 0, 3, False), (3, -1, 3, True), (2, 0, 3, True), (0, 1, 3, True), (5, -1, 5, True), (5, 0, 5, False)],
)
def test_3_it_warns_when_fewer_days_are_left_than_the_setting_says(
    days: int, ms: int, soon_days: int, warns: bool
) -> None:
    subscription = account(GROWTH)
    pricing = Pricing(PRICING.catalogue, soon_days=soon_days)
    proposal = propose(pricing, subscription, STARTER, None, left(subscription, days, ms))
    assert ("period_ends_soon" in proposal.warnings) is warns


# ---- 4


@pytest.mark.parametrize("status", ["active", "overdue", "suspended"])
@pytest.mark.parametrize("sessions", [None, 1, 2, 3])
def test_4_never_from_a_paid_plan_back_to_the_free_trial(status: Status, sessions: int | None) -> None:
    for plan in (STARTER, YEARLY, OLD):
        assert refusal(account(plan, 2, status=status), TRIAL, sessions) == ErrorCode.TRIAL_NOT_AVAILABLE


def test_4_nor_is_there_a_second_trial() -> None:
    assert refusal(account(TRIAL), TRIAL) == ErrorCode.NO_CHANGE
    assert refusal(account(TRIAL, status="suspended"), TRIAL) == ErrorCode.TRIAL_NOT_AVAILABLE


# ---- 5


def test_5_a_downgrade_voids_every_promo_code_when_it_takes_effect_and_says_so_before() -> None:
    subscription = account(GROWTH, codes=("FIFTH", "ALL"))
    proposal = propose(PRICING, subscription, STARTER, None, START)
    assert proposal.warnings == ("promo_codes_voided",)
    assert proposal.next_amount == 2500, "without them"
    after = accept(subscription, proposal)
    assert after.promo_codes == ("FIFTH", "ALL"), "they hold until then"
    renewed = renewal(PRICING, after)
    assert (renewed.voided, renewed.begun.promo_codes) == (("FIFTH", "ALL"), ())
    assert renewed.charge.total == 2500
    paid = changed(renewed.begun, status="active", paid=renewed.charge)
    assert renewal(PRICING, paid).charge.total == 2500, "and so it stays"


def test_5_cancelling_the_add_on_is_one_and_an_upgrade_is_none() -> None:
    subscription = account(GROWTH, 2, codes=("FIFTH",))
    assert propose(PRICING, subscription, None, 1, START).warnings == ("promo_codes_voided",)
    for upgrade in (
        propose(PRICING, subscription, BUSINESS, None, START),
        propose(PRICING, subscription, None, 3, START),
    ):
        assert upgrade.warnings == ()
        assert accept(subscription, upgrade).promo_codes == ("FIFTH",)
    assert propose(PRICING, account(GROWTH), STARTER, None, START).warnings == (), "there is none to void"


# ---- 6


def test_6_a_renewal_is_the_scheduled_change_first_then_the_charge_with_the_codes_that_still_hold() -> None:
    subscription = account(GROWTH, 3, codes=("FIFTH",))
    renewed = renewal(PRICING, subscription)
    assert renewed.charge == Charge(3200, 1600)
    assert [(line.kind, line.amount) for line in renewed.lines] == [("plan", 3200), ("concurrent_sessions", 1600)]
    begun = renewed.begun
    assert (begun.status, begun.paid, begun.period_started_at) == ("renewing", Charge(), subscription.period_ends_at)
    assert (begun.promo_codes, renewed.voided, begun.seats) == (("FIFTH",), (), 50)
    scheduled = renewal(PRICING, changed(subscription, scheduled=Scheduled(STARTER, 1)))
    assert (scheduled.charge, scheduled.begun.seats) == (Charge(2500, 0), 25)


def test_6_a_code_holds_that_holds_when_the_period_begins() -> None:
    """However late the desk comes to it."""
    short = account(plan_of("short", 25, 1000), codes=("EARLY",))
    for started, price in [(START - 20 * DAY_MS - 1, 500), (START - 20 * DAY_MS, 1000)]:
        subscription = changed(short, period_started_at=started)
        assert renewal(PRICING, subscription).charge.total == price
        assert owed(PRICING, changed(renewal(PRICING, subscription).begun, status="overdue")).charge.total == price


def test_6_what_is_owed_is_what_was_declined() -> None:
    renewed = renewal(PRICING, account(GROWTH, 3, codes=("FIFTH",)))
    again = owed(PRICING, changed(renewed.begun, status="overdue"))
    assert (again.begun, again.charge, again.lines) == (renewed.begun, renewed.charge, renewed.lines)
    assert again.voided == (), "codes are voided once"


def test_6_a_declined_charge_is_retried_on_a_schedule_and_the_seats_kept_for_a_grace() -> None:
    dunning = Dunning(retry_ms=(DAY_MS, 3 * DAY_MS), grace_ms=7 * DAY_MS)
    desk = DeskAccount(account="acme", version=3, subscription=account(GROWTH, status="overdue"), declined_at=START)
    tries = [dunning.next_try_at(START, START + days * DAY_MS) for days in (0, 1, 2, 3)]
    assert tries == [START + DAY_MS, START + 3 * DAY_MS, START + 3 * DAY_MS, None]
    assert dunning.next_try_at(START, START + DAY_MS - 1) == START + DAY_MS
    assert dunning.seats_until(desk) == START + 7 * DAY_MS
    assert dunning.seats_until(changed(desk, declined_at=None)) is None


@pytest.mark.parametrize("status", ["active", "renewing", "overdue", "suspended"])
def test_6_seats_are_kept_until_the_account_is_suspended(status: Status) -> None:
    assert account(GROWTH, status=status).seats == (0 if status == "suspended" else 50)
    expected = None if status == "suspended" else Money(4000, "USD")
    assert next_charge(PRICING, account(GROWTH, status=status)) == expected
    assert next_charge(PRICING, account(TRIAL)) is None


# ---- 7


def test_7_from_monthly_to_yearly_a_new_period_starts_and_the_unused_value_counts() -> None:
    subscription = account(GROWTH, 2)
    now = left(subscription, 17, 5)
    proposal = propose(PRICING, subscription, YEARLY, None, now)
    assert [(line.kind, line.amount) for line in proposal.lines] == [
        ("plan", 38400),
        ("concurrent_sessions", 9600),
        ("unused", -2833),
    ]
    assert proposal.due_now.amount == 45167, "rounded once: 48000 − 2833 1/3"
    assert (proposal.kind, proposal.effective_at, proposal.next_at) == ("upgrade", now, now + 365 * DAY_MS)
    assert (proposal.next_amount, proposal.warnings) == (48000, ())
    after = accept(subscription, proposal)
    assert (after.period_started_at, after.paid) == (now, Charge(38400, 9600))


def test_7_the_unused_value_is_what_was_paid_and_never_paid_back() -> None:
    for_nothing = account(GROWTH, codes=("ALL",))
    assert propose(PRICING, changed(for_nothing, promo_codes=()), YEARLY, None, START).due_now.amount == 38400
    cheap = plan_of("cheap-yearly", 50, 1000, days=365)
    proposal = propose(PRICING, account(GROWTH), cheap, None, START)
    assert (proposal.due_now.amount, proposal.warnings) == (0, ("unused_value_lost",))
    assert [(line.kind, line.amount) for line in proposal.lines] == [("plan", 1000), ("unused", -1000)]
    assert accept(account(GROWTH), proposal).paid == Charge(4000), "it counts in the upgrades of the new period"


def test_7_the_difference_to_the_unused_value_is_rounded_once_half_up() -> None:
    """2500 less a half is 2500, where 2500 less a half rounded up would be 2499."""
    month, year = plan_of("month", 25, 1), plan_of("year", 25, 2500, days=365)
    proposal = propose(PRICING, account(month), year, None, left(account(month), 15))
    assert proposal.due_now.amount == 2500
    assert [line.amount for line in proposal.lines] == [2500], "what counts nothing has no line"


def test_7_unused_value_that_is_just_the_price_is_not_lost() -> None:
    year = plan_of("year", 50, 2000, days=365)
    proposal = propose(PRICING, account(GROWTH), year, None, left(account(GROWTH), 15))
    assert (proposal.due_now.amount, proposal.warnings) == (0, ())


def test_7_an_account_keeps_a_plan_that_is_not_on_sale_any_more() -> None:
    """It buys and cancels its add-on, upgrades from it, renews it and takes it up again; others cannot have it."""
    assert propose(PRICING, account(OLD), None, 2, START).kind == "upgrade"
    assert propose(PRICING, account(OLD, 2), OLD, 1, START).kind == "downgrade"
    assert propose(PRICING, account(OLD), LARGER_YEARLY, None, START).kind == "upgrade"
    assert propose(PRICING, account(OLD, status="suspended"), OLD, None, START).due_now.amount == 5000
    assert renewal(PRICING, account(OLD)).charge.total == 5000
    assert refusal(account(GROWTH), OLD) == refusal(account(TRIAL), OLD) == ErrorCode.PLAN_NOT_ON_SALE


def test_7_an_upgrade_within_the_year_is_prorated_over_its_365_days() -> None:
    subscription = account(YEARLY)
    proposal = propose(PRICING, subscription, LARGER_YEARLY, None, left(subscription, 200))
    assert proposal.due_now.amount == 20493  # 37400 × 200 / 365 = 20493.15
    assert accept(subscription, proposal).period_ends_at == subscription.period_ends_at


@pytest.mark.parametrize(
    ("pricing", "price"),
    [
        (with_plans(changed(GROWTH, price=Money(4400, "USD"))), 4400),
        (with_plans(changed(GROWTH, on_sale=False, price=Money(4400, "USD"))), 4400),
        (with_plans(without=(GROWTH,)), 4000),
        (with_plans(plan_of("growth", 50, 4400, currency="EUR")), 4000),
        (with_plans(plan_of("growth", 50, 44000, days=365)), 4000),
    ],
    ids=["dearer", "not on sale", "gone", "in another currency", "of another cycle"],
)
def test_7_an_edited_catalogue_reaches_an_account_with_its_next_period(pricing: Pricing, price: int) -> None:
    subscription = account(GROWTH)
    assert refusal(subscription, None) == ErrorCode.NO_CHANGE
    assert next_charge(pricing, subscription) == Money(price, "USD")
    renewed = renewal(pricing, subscription)
    assert renewed.charge.total == price
    assert (renewed.begun.currency, renewed.begun.plan.cycle_days, renewed.begun.plan.id) == ("USD", 30, "growth")
    added = propose(pricing, subscription, None, 2, left(subscription, 15))
    assert (added.due_now.amount, added.next_amount) == (500, price + 1000)
    larger = propose(pricing, subscription, BUSINESS, None, left(subscription, 15))
    assert larger.due_now.amount == 1950, "the difference is to what was paid"


def test_7_a_scheduled_change_costs_what_was_shown() -> None:
    subscription = account(GROWTH)
    proposal = propose(PRICING, subscription, STARTER, None, START)
    dearer = with_plans(changed(STARTER, price=Money(2900, "USD")))
    first = renewal(dearer, accept(subscription, proposal))
    assert first.charge.total == proposal.next_amount == 2500
    second = renewal(dearer, changed(first.begun, status="active", paid=first.charge))
    assert second.charge.total == 2900
    assert renewal(with_plans(without=(STARTER,)), accept(subscription, proposal)).charge.total == 2500


def test_7_the_shipped_catalogue_can_be_bought_from_end_to_end() -> None:
    pricing = Pricing(load(None))
    on_sale = {plan.id: plan for plan in pricing.catalogue.on_sale()}
    subscription = account(on_sale["trial"])
    for plan in ("starter", "growth", "business", "business-yearly"):
        proposal = propose(pricing, subscription, on_sale[plan], None, START + 13 * DAY_MS)
        assert proposal.due_now.amount > 0
        subscription = accept(subscription, proposal)
    assert propose(pricing, subscription, on_sale["starter"], None, START + 14 * DAY_MS).kind == "downgrade"


# ---- 8


def test_8_a_quote_is_pinned() -> None:
    """What it says depends on the account, the catalogue and an instant alone; buying it later changes nothing of it."""
    subscription = account(STARTER)
    now = left(subscription, 17)
    shown = propose(PRICING, subscription, GROWTH, None, now)
    assert propose(PRICING, subscription, GROWTH, None, now) == shown
    assert propose(PRICING, subscription, GROWTH, None, now + 1).due_now.amount == 800, "a day less a moment later"
    assert accept(subscription, shown).paid == Charge(4000)


@pytest.mark.parametrize(
    ("after_ms", "version", "says"),
    [
        (0, 4, None),
        (QUOTE_MS - 1, 4, None),
        (QUOTE_MS, 4, "expired"),
        (0, 5, "changed since"),
        (0, 3, "changed since"),
    ],
)
def test_8_an_account_that_changed_since_or_a_quote_that_is_old_is_stale(
    after_ms: int, version: int, says: str | None
) -> None:
    subscription = account(STARTER)
    proposal = propose(PRICING, subscription, GROWTH, None, START)
    quote = Quote(id="q", version=4, made_at=START, expires_at=START + QUOTE_MS, proposal=proposal)
    stale = quote.stale(DeskAccount(account="acme", version=version, subscription=subscription), START + after_ms)
    assert stale is None if says is None else says in (stale or "")


def test_8_a_quote_of_a_period_that_is_over_is_stale_at_its_end() -> None:
    subscription = account(STARTER)
    ends_at = subscription.period_ends_at
    desk = DeskAccount(account="acme", version=1, subscription=subscription)
    proposal = propose(PRICING, subscription, GROWTH, None, ends_at - 1)
    quote = Quote(id="q", version=1, made_at=ends_at - 1, expires_at=ends_at + QUOTE_MS - 1, proposal=proposal)
    assert quote.stale(desk, ends_at - 1) is None
    assert "is over" in (quote.stale(desk, ends_at) or "")
    overdue = changed(desk, subscription=changed(subscription, status="overdue"))
    assert quote.stale(overdue, ends_at) is None, "who owes the period can still buy"
