"""Amounts as Stripe counts them: whole numbers of a smallest unit that is not always the minor unit of ISO 4217.

Source: https://docs.stripe.com/currencies (zero-decimal and three-decimal currencies, special cases)
"""

from __future__ import annotations

from fractions import Fraction

from iso4217 import Currency

from capacity.billing.gateway import Declined
from capacity.domain.money import Money

STRIPE_DECIMALS = {"ISK": 2, "MGA": 0, "UGX": 2}
"""Where Stripe counts otherwise than ISO 4217. The króna and the shilling lost their decimals after Stripe had begun with
two, and kept them on the wire; the ariary has a fifth that ISO writes as two decimals and Stripe does not know."""
DECIMALS_MAX = 3


def stripe_amount(money: Money) -> int | Declined:
    """Return the `amount` that makes Stripe charge exactly this money: 4900 USD → 4900, 4900 UGX → 490000.

    Declined where no amount would: a fifth of an ariary; a fils (the last of three decimals must be 0); four decimals.
    """
    digits: int | None = Currency(money.currency).exponent
    if digits is None or digits > DECIMALS_MAX:
        return Declined(f"Stripe takes no payments in {money.currency}.")
    exact = money.amount * Fraction(10) ** (STRIPE_DECIMALS.get(money.currency, digits) - digits)
    if exact.denominator != 1 or (digits == DECIMALS_MAX and exact % 10):
        return Declined(f"{money} cannot be charged exactly: Stripe takes no fraction of {money.currency} that small.")
    return exact.numerator
