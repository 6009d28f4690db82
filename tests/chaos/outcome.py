"""What a scenario is, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.times import GRACE_SECONDS, SETTLED_WITHIN_SECONDS

if TYPE_CHECKING:
    from tests.chaos.world import World


@dataclass(frozen=True)
class Scenario:
    """One kind of fault. `run` injects it into a world in which everybody moves, and returns when it is over.

    `bites`: what must have been seen, each an alternative of names of log events or of `World.bit`. `needs`: returns why
    the scenario cannot run here, or "". `refresh_seconds`: the most that a raise may take to reach those who wait, and of whom.
    """

    name: str
    what: str
    run: Callable[[World], Awaitable[None]]
    bites: tuple[tuple[str, ...], ...] = ()
    needs: Callable[[], str] = lambda: ""
    seconds: float = 10.0
    hubs: int = 3
    store: str = "alone"
    proxied: bool = False
    """Whether hubs reach the store, and clients the hubs, through proxies of ours."""
    files_max: int | None = None
    """How many file descriptors the first hub may have."""
    loses_data: bool = False
    """Whether the store forgets what it acknowledged."""
    refresh_p99_seconds: float = 5.0
    """From a raise's event to those whom it gives a seat; where the store itself is away for seconds, that time is in it."""
    idle_seconds_max: float = 8.0
    """How long a free seat may be nobody's while somebody connected waits."""
    seats: tuple[int, ...] = (10, 12, 16, 20, 28)
    """The seat limits of the accounts; each has `rooms` rooms, and `crowd` attendees for each seat, who come within `arrival_seconds`."""
    rooms: int = 4
    crowd: float = 1.5
    arrival_seconds: float = 2.0
    grace_seconds: float = GRACE_SECONDS
    clock_slack_seconds: float = 0.0
    """By how much a grace or a hold may be shorter, because the store's clock steps (STEP_MS of the scripts)."""
    errors: tuple[str, ...] = ()
    """Log events of level error that belong to the fault."""
    settle_seconds: float = SETTLED_WITHIN_SECONDS
    """How long the store may take to have exactly the seats of those who are connected, when nobody moves any more."""
    calm: bool = False
    """Whether nobody leaves: then no seat may be given up."""


@dataclass
class Outcome:
    """What one run showed."""

    name: str
    seed: int = 0
    seconds: float = 0.0
    admissions: int = 0
    moves: int = 0
    """Joins and leaves."""
    faults: Counter[str] = field(default_factory=Counter)
    bites: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    leaks: int = 0
    webhooks: int = 0
    """Events that were taken by the platform's endpoint; and the tries that came to it."""
    tries: int = 0
    heal_seconds: float | None = None
    settle_seconds: float | None = None
    idle_seconds: float = 0.0
    refresh_p99_seconds: float | None = None
    refresh_worst_seconds: float | None = None
    freed_seconds: float | None = None
    """From the kill of a hub to the last seat of those who did not come back."""
    machine: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def failed(self) -> bool:
        """Whether this run shows a bug, or nothing."""
        return bool(self.violations or self.leaks)
