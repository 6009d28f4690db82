"""When a room is nearly full, in exact decimals: 0.07 of 100 is 7, which binary floating point makes 8 when rounded up."""

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

    def near_from(self, seat_limit: int) -> int:
        """Return from how many occupied seats on a room is near full: ceil(share × limit), at least 1."""
        return max(1, -(-self.near_millionths * seat_limit // MILLIONTHS))

    def clear_below(self, seat_limit: int) -> int:
        """Return below how many occupied seats near full is cleared: ceil(share × limit)."""
        return -(-self.clear_millionths * seat_limit // MILLIONTHS)
