"""The shares of the seat limit from which a room is near full, in exact decimals: 0.07 of 100 is 7, which floating point makes 8.

The scripts reckon with them (`ceil_share` in `store/lua/_prelude.lua`), in whole millionths.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

MILLIONTHS = 1_000_000


class Shares(msgspec.Struct, frozen=True):
    """The two shares of the seat limit, in millionths: from which a room is near full, and below which that is cleared."""

    near_millionths: int
    clear_millionths: int

    @classmethod
    def of(cls, near: Decimal, clear: Decimal) -> Shares:
        """Return the shares of two decimals with at most six digits behind the point (the settings see to that)."""
        return cls(int(near * MILLIONTHS), int(clear * MILLIONTHS))
