"""Rate limits of the edge (contract, rule 10), in bounded memory and without a timer.

`delay` is the generic cell rate algorithm, a token bucket that fits in one number: the instant at which the bucket is
full again ("theoretical arrival time"). It serves a socket's own messages from two slots, and `Throttle` by key.
Instants are seconds of the event loop's monotonic clock.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

Value = TypeVar("Value")

ENTRIES_MAX: Final = 65_536
_ROUNDING_SECONDS: Final = 1e-6


class Rate(NamedTuple):
    """`per_second` in the long run, `burst` at once."""

    per_second: float
    burst: int


HANDSHAKES = Rate(50, 200)
"""Handshakes that fail, per address."""
MESSAGES = Rate(10, 20)
"""Messages, per socket."""
CONTROL_FRAMES = Rate(10, 100)
"""Pings and unasked pongs, per socket: more than any client needs, less than a flood."""
CONNECTIONS_MAX: Final = 30
CONNECTIONS_SECONDS: Final = 10.0
"""Per participant: at most 30 connections in 10 s."""


def spend(full_at: float, now: float, rate: Rate) -> float:
    """Return the new `full_at` of a bucket that one token is taken from, or -1 if it is empty."""
    full_at = (full_at if full_at > now else now) + 1 / rate.per_second
    return full_at if full_at - now <= rate.burst / rate.per_second + _ROUNDING_SECONDS else -1.0


class Recent(Generic[Value]):
    """A map that forgets what was not set for a while: after `seconds` at the earliest, twice that at the latest.

    Two generations are kept; the older is dropped whole. When `entries_max` keys come within one period, the older is
    dropped early: then the map forgets too soon, which lets somebody through, and memory stays bounded.
    """

    __slots__ = ("_entries_max", "_old", "_seconds", "_turn_at", "_young")

    def __init__(self, seconds: float, entries_max: int = ENTRIES_MAX) -> None:
        self._seconds = seconds
        self._entries_max = entries_max
        self._young: dict[Hashable, Value] = {}
        self._old: dict[Hashable, Value] = {}
        self._turn_at = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: Hashable, now: float) -> Value | None:
        """Return what was last set, or None."""
        if now >= self._turn_at:
            self._old = {} if now >= self._turn_at + self._seconds else self._young
            self._young = {}
            self._turn_at = now + self._seconds
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def set(self, key: Hashable, value: Value) -> None:
        """Keep the value for at least `seconds`."""
        if len(self._young) >= self._entries_max and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value


class Throttle:
    """One token bucket per key."""

    __slots__ = ("_full_at", "_rate")

    def __init__(self, rate: Rate, entries_max: int = ENTRIES_MAX) -> None:
        self._rate = rate
        self._full_at: Recent[float] = Recent(rate.burst / rate.per_second, entries_max)

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, now: float) -> float:
        """Take a token and return 0, or return after how many seconds there will be one."""
        before = self._full_at.get(key, now) or 0.0
        after = spend(before, now, self._rate)
        if after < 0:
            return before - now - (self._rate.burst - 1) / self._rate.per_second
        self._full_at.set(key, after)
        return 0.0


class Window:
    """At most `count_max` events of a key in any `seconds`. An event that is refused does not count."""

    __slots__ = ("_count_max", "_instants", "_seconds")

    def __init__(self, count_max: int, seconds: float, entries_max: int = ENTRIES_MAX) -> None:
        self._count_max = count_max
        self._seconds = seconds
        self._instants: Recent[tuple[float, ...]] = Recent(seconds, entries_max)

    def __len__(self) -> int:
        return len(self._instants)

    def admit(self, key: Hashable, now: float) -> bool:
        """Count an event, or return False if there were too many."""
        instants = self._instants.get(key, now) or ()
        if instants:
            after = now - self._seconds
            instants = tuple(instant for instant in instants if instant > after)
            if len(instants) >= self._count_max:
                return False
        self._instants.set(key, (*instants, now))
        return True


def address_key(address: str) -> Hashable:
    """Return what stands for an address in a limit: the address itself, or the /64 of an IPv6 address.

    A single subscriber has a whole /64, and could take a new address for every handshake.
    """
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return int(parsed) >> 64 if mapped is None else str(mapped)
