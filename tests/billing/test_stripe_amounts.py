"""Stripe's units, held to its page on currencies: https://docs.stripe.com/currencies."""

from __future__ import annotations

import pytest
from iso4217 import Currency

from capacity.billing.gateway import Declined
from capacity.billing.stripe_amounts import stripe_amount
from capacity.domain.money import Money

ZERO_DECIMAL = {
    *("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"),
}
"""Stripe's list, without UGX, which stands on it and is sent with two decimals all the same, as ISK is."""
THREE_DECIMAL = {"BHD", "JOD", "KWD", "OMR", "TND"}
NOT_AT_STRIPE = {"UYI", "IQD", "LYD"}


@pytest.mark.parametrize(
    ("money", "amount"),
    [
        (Money(4900, "USD"), 4900),
        (Money(1, "EUR"), 1),
        (Money(500, "JPY"), 500),
        (Money(5, "ISK"), 500),
        (Money(5, "UGX"), 500),
        (Money(4900, "HUF"), 4900),
        (Money(4900, "TWD"), 4900),
        (Money(5120, "KWD"), 5120),
        (Money(500_00, "MGA"), 500),
        (Money(0, "USD"), 0),
    ],
)
def test_what_stripe_is_asked_to_charge(money: Money, amount: int) -> None:
    assert stripe_amount(money) == amount


@pytest.mark.parametrize(
    ("money", "sentence"),
    [
        (Money(5124, "KWD"), "5.124 KWD cannot be charged exactly: Stripe takes no fraction of KWD that small."),
        (Money(500_20, "MGA"), "500.20 MGA cannot be charged exactly: Stripe takes no fraction of MGA that small."),
        (Money(10_000, "CLF"), "Stripe takes no payments in CLF."),
    ],
)
def test_what_stripe_cannot_charge_exactly(money: Money, sentence: str) -> None:
    assert stripe_amount(money) == Declined(sentence)


@pytest.mark.parametrize(
    "currency", [c.code for c in Currency if c.exponent is not None and c.code not in NOT_AT_STRIPE]
)
def test_ten_of_every_currency(currency: str) -> None:
    """Ten whole units of it, however many decimals ISO and Stripe give it."""
    ten: int = 10 * 10 ** (Currency(currency).exponent or 0)
    decimals = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    expected = Declined(f"Stripe takes no payments in {currency}.") if ten > 10_000 else 10 * 10**decimals
    assert stripe_amount(Money(ten, currency)) == expected
