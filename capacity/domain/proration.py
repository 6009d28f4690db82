"""What a change costs for the days that are left. Exact rationals; the difference is rounded once, half up.

    due = round((new − old) × remaining days / days of the cycle)

Cycles have 30 or 365 days and are half-open: the instant at which a period ends belongs to the next one. The running day
counts as used, unless the setting says otherwise. Source: the help article («only the difference is charged, for the
days left»); docs/protocol.md, "Money", has the vectors.
"""

from __future__ import annotations

from fractions import Fraction

from capacity.domain.money import half_up

DAY_MS = 86_400_000


def remaining_days(ends_at_ms: int, now_ms: int, cycle_days: int, *, running_day_used: bool = True) -> int:
    """Return the whole days from now to the end of the period, 0 to all of them; with the running day if it is not used.

    An instant before the period has all its days: the clock of whoever began it may be ahead by a little.
    """
    left_ms = max(0, min(ends_at_ms - now_ms, cycle_days * DAY_MS))
    return left_ms // DAY_MS if running_day_used else -(-left_ms // DAY_MS)


def share(amount: int, days: int, cycle_days: int) -> Fraction:
    """Return what so many days of a cycle are worth, exactly: 2500 for 17 of 30 days → 1416 2/3."""
    return Fraction(amount * days, cycle_days)


def prorated(difference: int, days: int, cycle_days: int) -> int:
    """Return what a difference of two prices costs for the days left: 1500 for 17 of 30 → 850. Never below 0."""
    return max(0, half_up(share(difference, days, cycle_days)))


def reduced(price: int, percent_off: int) -> int:
    """Return a price with so many percent off: 2500 with 20 → 2000."""
    return half_up(Fraction(price * (100 - percent_off), 100))
