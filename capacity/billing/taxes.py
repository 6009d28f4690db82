"""The hook for taxes: a function of whoever embeds the desk, which is not trusted to be right."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from capacity.domain.money import MINOR_UNITS_MAX, Money
from capacity.domain.subscription import Line, total

Tax = Callable[[str, Money], Line | None]
"""(account, net amount) → the tax line of an invoice, or None. It is not asked about an invoice of nothing."""


class TaxFailed(Exception):
    """The hook raised, or returned what is no tax line: nothing was charged. `str()` says what."""


def taxed(tax: Tax | None, account: str, lines: tuple[Line, ...], currency: str) -> tuple[Line, ...]:
    """Return the lines of an invoice with its tax line, if there is one. Raises TaxFailed."""
    net = total(lines, currency)
    if tax is None or net.amount == 0:
        return lines
    try:
        line = tax(account, net)
    except Exception as error:
        raise TaxFailed(f"the tax hook raised {type(error).__name__}") from error
    if line is None:
        return lines
    try:
        line = msgspec.convert(
            msgspec.to_builtins(line), Line
        )  # the types of a dataclass bind nobody: a float is no amount
    except Exception as error:
        raise TaxFailed(f"the tax hook returned what is no line: {error}") from None
    if line.kind != "tax" or line.currency != currency or not 0 <= line.amount <= MINOR_UNITS_MAX:
        raise TaxFailed(f"the tax hook returned {line.kind} of {line.amount} {line.currency} for {net}")
    return (*lines, line)
