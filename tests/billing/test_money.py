"""Amounts: which currencies there are, how they are written, and what the days that are left cost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity.domain.money import Money, decimal, half_up, is_currency
from capacity.domain.proposals import accept, propose
from capacity.domain.proration import DAY_MS, prorated, reduced, remaining_days, share
from capacity.domain.subscription import Line, Pricing
from tests.billing.examples import BUSINESS, GROWTH, PRICING, START, STARTER, account, left, plan_of

HOUR_MS = DAY_MS // 24


@pytest.mark.parametrize(
    ("old", "new", "cycle_days", "days", "due"),
    [
        (2500, 4000, 30, 30, 1500),
        (2500, 4000, 30, 17, 850),
        (2500, 4000, 30, 1, 50),
        (2500, 4000, 30, 0, 0),
        (4000, 7900, 30, 11, 1430),
        (2000, 3000, 30, 17, 567),  # an add-on
        (2500 + 2000, 4000 + 3000, 30, 17, 1417),  # a plan and its add-on together
        (2500, 3500, 30, 1, 33),  # 117 − 83 = 34, were each line rounded
        (2500, 3500, 30, 2, 67),  # 233 − 167 = 66
        (24000, 38400, 365, 200, 7890),
        (24000, 38400, 365, 1, 39),
        (0, 1501, 30, 15, 751),  # 750 with a banker's half
        (0, 1500, 30, 15, 750),
        (1000, 2000, 30, 15, 500),
        (3000, 6000, 30, 15, 1500),
        (3000, 5000, 30, 10, 667),
        (4000, 2500, 30, 17, 0),  # never below nothing
        (10**12 - 1, 10**12, 30, 29, 1),
        (0, 10**12, 365, 364, 997_260_273_973),  # exact where a float is not sure
    ],
)
def test_a_difference_costs_its_share_of_the_days_left(
    old: int, new: int, cycle_days: int, days: int, due: int
) -> None:
    assert prorated(new - old, days, cycle_days) == due
    # and so it does in an account that has 25 seats for the one price, and buys 50 for the other
    cheap, dear = plan_of("cheap", 25, old, days=cycle_days), plan_of("dear", 50, new, days=cycle_days)
    subscription = account(cheap)
    proposal = propose(PRICING, subscription, dear, None, left(subscription, days))
    assert proposal.due_now == Money(due, "USD")


def test_a_plan_and_its_add_on_are_rounded_once_together() -> None:
    cheap, dear = plan_of("cheap", 25, 2500, fee=1000), plan_of("dear", 50, 4000, fee=1500)
    subscription = account(cheap, 3)
    proposal = propose(PRICING, subscription, dear, None, left(subscription, 17))
    assert [(line.kind, line.amount) for line in proposal.lines] == [("plan", 850), ("concurrent_sessions", 567)]
    assert proposal.due_now.amount == 1417


def test_lines_are_made_to_add_up() -> None:
    """1/3 and 1/3 are 2/3, which is 1: one of the lines bears it."""
    cheap, dear = plan_of("cheap", 25, 100, fee=10), plan_of("dear", 50, 110, fee=20)
    subscription = account(cheap, 2)
    proposal = propose(PRICING, subscription, dear, None, left(subscription, 1))
    assert [line.amount for line in proposal.lines] == [0, 1]
    assert proposal.due_now.amount == prorated(20, 1, 30) == 1


@pytest.mark.parametrize(
    ("days", "ms", "used", "not_used"),
    [
        (10, 12 * HOUR_MS, 10, 11),
        (10, 0, 10, 10),
        (10, 1, 10, 11),
        (9, DAY_MS - 1, 9, 10),
        (30, 0, 30, 30),
        (30, 1, 30, 30),  # before the period, by a clock that is behind
        (31, 0, 30, 30),
        (0, 1, 0, 1),
        (0, 0, 0, 0),
        (-1, 0, 0, 0),  # after the period's end
        (-1, DAY_MS - 1, 0, 0),
    ],
)
def test_the_running_day_counts_as_used_or_not_by_the_setting(days: int, ms: int, used: int, not_used: int) -> None:
    subscription = account(STARTER)
    now = left(subscription, days, ms)
    assert remaining_days(subscription.period_ends_at, now, 30) == used
    assert remaining_days(subscription.period_ends_at, now, 30, running_day_used=False) == not_used


def test_the_setting_reaches_the_price() -> None:
    subscription = account(STARTER)
    now = left(subscription, 10, 12 * HOUR_MS)
    assert propose(PRICING, subscription, GROWTH, None, now).due_now.amount == 500
    generous = Pricing(PRICING.catalogue, running_day_used=False)
    assert propose(generous, subscription, GROWTH, None, now).due_now.amount == 550


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (Fraction(1501, 2), 751),
        (Fraction(1499, 2), 750),  # a half goes up, to even or not
        (Fraction(100, 3), 33),
        (Fraction(200, 3), 67),
        (Fraction(-1, 2), 0),
        (Fraction(-3, 2), -1),
        (Fraction(-2, 3), -1),
        (Fraction(7), 7),
    ],
)
def test_a_half_goes_up(amount: Fraction, expected: int) -> None:
    assert half_up(amount) == expected


@given(st.fractions())
def test_an_amount_is_off_by_half_a_minor_unit_at_the_most(amount: Fraction) -> None:
    assert Fraction(-1, 2) < half_up(amount) - amount <= Fraction(1, 2)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 365), st.integers(0, 365))
def test_more_days_and_a_larger_difference_never_cost_less(low: int, high: int, few: int, many: int) -> None:
    (low, high), (few, many) = sorted((low, high)), sorted((few, many))
    assert 0 <= prorated(low, few, 365) <= prorated(high, few, 365) <= prorated(high, many, 365) <= high
    assert share(high, 365, 365) == high


@pytest.mark.parametrize(
    ("price", "percent_off", "expected"),
    [(2500, 20, 2000), (2500, 100, 0), (2500, 0, 2500), (1, 50, 1), (3, 50, 2), (999, 33, 669), (1, 99, 0)],
)
def test_percents_come_off_a_price(price: int, percent_off: int, expected: int) -> None:
    assert reduced(price, percent_off) == expected


def test_codes_do_not_add_up_and_the_best_counts() -> None:
    percent_off = PRICING.catalogue.percent_off
    assert percent_off((), START) == 0
    assert percent_off(("FIFTH",), START) == 20
    assert percent_off(("FIFTH", "EARLY"), START) == 50
    assert percent_off(("FIFTH", "EARLY"), START + 10 * DAY_MS - 1) == 50
    assert percent_off(("FIFTH", "EARLY"), START + 10 * DAY_MS) == 20, "the instant at which it ends is not in it"
    assert percent_off(("nobody's",), START) == 0


# ---- currencies


@pytest.mark.parametrize("code", ["USD", "EUR", "JPY", "KRW", "BHD", "KWD", "CLF", "ISK", "MRU"])
def test_currencies_of_iso_4217(code: str) -> None:
    assert is_currency(code)


@pytest.mark.parametrize(
    "code",
    ["ABC", "usd", "", "US", "USDX", "840", "X" * 3, "XTS", "XAU", "XAG", "XPT", "XDR", "DEM", 840, None, ["USD"]],
)
def test_what_is_no_currency_or_has_no_minor_units(code: object) -> None:
    assert not is_currency(code)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (4900, "USD", "49.00"),
        (4900, "JPY", "4900"),
        (4900, "BHD", "4.900"),
        (4900, "CLF", "0.4900"),
        (5, "USD", "0.05"),
        (50, "USD", "0.50"),
        (5, "BHD", "0.005"),
        (0, "USD", "0.00"),
        (0, "JPY", "0"),
        (-5, "USD", "-0.05"),
        (-4900, "JPY", "-4900"),
        (-1417, "EUR", "-14.17"),
        (10**12, "USD", "10000000000.00"),
    ],
)
def test_minor_units_are_written_as_decimals(amount: int, currency: str, text: str) -> None:
    assert decimal(amount, currency) == text
    assert str(Money(amount, currency)) == f"{text} {currency}"


@pytest.mark.parametrize("currency", ["JPY", "USD", "BHD"])
def test_the_arithmetic_is_in_minor_units_whatever_their_number(currency: str) -> None:
    cheap = plan_of("cheap", 25, 2500, currency=currency)
    subscription = account(cheap)
    proposal = propose(PRICING, subscription, plan_of("dear", 50, 3500, currency=currency), None, left(subscription, 1))
    assert proposal.due_now == Money(33, currency)
    assert proposal.lines == (Line("plan", "Dear, the difference for 1 of 30 days", 33, currency),)


def test_upgrades_in_a_row_cost_what_one_does() -> None:
    """By way of another plan, within the rounding of one more invoice."""
    subscription = account(STARTER)
    now = left(subscription, 17)
    direct = propose(PRICING, subscription, BUSINESS, None, now).due_now.amount
    first = propose(PRICING, subscription, GROWTH, None, now)
    second = propose(PRICING, accept(subscription, first), BUSINESS, None, now)
    assert first.due_now.amount == 850
    assert abs(first.due_now.amount + second.due_now.amount - direct) <= 1
