"""Money: integers in minor units of an ISO 4217 currency, and the one way in which a fraction becomes an amount."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

import msgspec
from iso4217 import Currency

MINOR_UNITS_MAX = 1_000_000_000_000

MinorUnits = Annotated[int, msgspec.Meta(ge=0, le=MINOR_UNITS_MAX)]


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units of an ISO 4217 currency: 4900 USD is $49.00."""

    amount: int
    currency: str

    def __str__(self) -> str:
        """Return the amount as people read it in a ledger: `49.00 USD`, `4900 JPY`."""
        return f"{decimal(self.amount, self.currency)} {self.currency}"


def is_currency(text: object) -> bool:
    """Whether the text is the code of a currency that has minor units (or none, as the yen), so that it can be charged."""
    try:
        return Currency(text).exponent is not None
    except ValueError:
        return False


def decimal(amount: int, currency: str) -> str:
    """Return minor units as a decimal in the currency's major unit: 4900 USD → `49.00`, 4900 JPY → `4900`."""
    digits = Currency(currency).exponent or 0
    sign, text = "-" if amount < 0 else "", str(abs(amount)).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}" if digits else f"{sign}{text}"


def half_up(amount: Fraction) -> int:
    """Return the nearest whole minor unit, a half upwards: 750.5 → 751, 33.3 → 33."""
    return (2 * amount.numerator + amount.denominator) // (2 * amount.denominator)
