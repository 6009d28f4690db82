"""What shall happen in a rehearsal. Pure, and checked before anything is touched."""

from __future__ import annotations

import msgspec

from capacity.domain.ids import is_account, is_room
from capacity.errors import SettingError
from capacity.protocol.events import SEATS_MAX
from capacity.rehearsal.curves import Curve

ATTENDEES_MAX = 20_000
DURATION_SECONDS_MIN, DURATION_SECONDS_MAX = 5.0, 3600.0
SEATS_SHARE = 0.7
RAISE_AT_MIN, RAISE_AT_MAX = 0.1, 0.8


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """`raise_at` is a share of the duration. `account_given`: somebody named it, so it may be there already."""

    account: str
    account_given: bool
    room: str
    attendees: int
    duration_seconds: float
    curve: Curve
    seats: int
    raise_to: int
    raise_at: float

    @property
    def raise_at_seconds(self) -> float:
        """When the plan is raised, from the beginning."""
        return self.raise_at * self.duration_seconds


def script_of(
    *,
    account: str | None,
    room: str | None,
    attendees: int,
    duration_seconds: float,
    curve: Curve,
    seats: int | None,
    raise_to: int | None,
    raise_at: float,
    suffix: str,
) -> Script:
    """Return the script of what was asked for; `suffix` makes names of an account and a room that nobody else has.

    Raises SettingError for what cannot be rehearsed.
    """
    seats = max(1, int(attendees * SEATS_SHARE)) if seats is None else seats
    raise_to = max(attendees, seats + 1) if raise_to is None else raise_to
    if account is not None and not is_account(account):
        raise SettingError(f"--account: expected 1 to 128 of A-Z a-z 0-9 _ . : @ -, got {account!a}.")
    if room is not None and not is_room(room):
        raise SettingError(f"--room: expected 1 to 128 of A-Z a-z 0-9 _ . : @ -, got {room!a}.")
    for name, value, low, high in (
        ("--attendees", attendees, 1, ATTENDEES_MAX),
        ("--duration", duration_seconds, DURATION_SECONDS_MIN, DURATION_SECONDS_MAX),
        ("--seats", seats, 1, SEATS_MAX),
        ("--raise-to", raise_to, seats + 1, SEATS_MAX),
        ("--raise-at", raise_at, RAISE_AT_MIN, RAISE_AT_MAX),
    ):
        if not low <= value <= high:
            raise SettingError(f"{name}: expected {low:g} to {high:g}, got {value:g}.")
    return Script(
        account=account if account is not None else f"rehearsal-{suffix}",
        account_given=account is not None,
        room=room if room is not None else f"rehearsal-{suffix}",
        attendees=attendees,
        duration_seconds=duration_seconds,
        curve=curve,
        seats=seats,
        raise_to=raise_to,
        raise_at=raise_at,
    )
