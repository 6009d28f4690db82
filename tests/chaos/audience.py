"""Everybody who connects to the service: rooms of several accounts, a host for each, and more attendees than seats."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from capacity.store.keys import RoomName
from tests.chaos import times
from tests.chaos.attendee import Attendee
from tests.chaos.host import Host
from tests.chaos.journal import Journal
from tests.chaos.outcome import Scenario
from tests.chaos.visitor import Visitor

LOOK_SECONDS = 1.0


class Account(NamedTuple):
    """An account with so many seats in each of its rooms."""

    id: str
    seats: int
    rooms: tuple[str, ...]

    @property
    def show(self) -> RoomName:
        """One room more, to which nobody comes: it opens and ends all the time."""
        return RoomName(self.id, f"{self.id}-show")


class Raise:
    """A raised limit on its way to those who waited, connected, when it was published."""

    def __init__(
        self, account: str, version: int, seats: int, published_at: float, waiting: dict[Visitor, int]
    ) -> None:
        self.account = account
        self.version = version
        self.seats = seats
        self.published_at = published_at
        self.hubs = dict(waiting)
        """Who waited, and by which hub."""
        self.waiting = set(waiting)
        """Who has not learned it yet."""
        self.learned: list[tuple[float, int]] = []
        """When it was learned, and by which hub they waited for it; of those told to refresh, that too."""


class Audience:
    """`pick` says which hub the next connection goes to: (number, port)."""

    def __init__(
        self,
        accounts: list[Account],
        journal: Journal,
        pick: Callable[[random.Random], tuple[int, int]],
        seed: int,
        scenario: Scenario,
    ) -> None:
        self.accounts = accounts
        self.journal = journal
        self.pick = pick
        self.chance = random.Random(seed)
        self.grace_seconds = scenario.grace_seconds
        self.calm = scenario.calm
        self.slack_seconds = times.SLACK_SECONDS + scenario.clock_slack_seconds
        self._arrival_seconds = scenario.arrival_seconds
        self.hosts: list[Host] = []
        self.attendees: list[Attendee] = []
        self.raises: list[Raise] = []
        self._versions: dict[tuple[str, int], int] = {}
        self._looking: asyncio.Task[None] | None = None
        for account in accounts:
            for room in account.rooms:
                self.hosts.append(Host(self, account.id, room, f"host-{room}", self._chance()))
                for number in range(round(account.seats * scenario.crowd)):
                    self.attendees.append(Attendee(self, account.id, room, f"{room}-{number}", self._chance()))

    def _chance(self) -> random.Random:
        return random.Random(self.chance.getrandbits(64))

    @property
    def visitors(self) -> list[Visitor]:
        """Everybody."""
        return [*self.hosts, *self.attendees]

    # ---- life

    def begin(self) -> None:
        """Hosts connect at once, attendees within a short while."""
        for host in self.hosts:
            host.connect()
        for attendee in self.attendees:
            attendee.after(self.chance.uniform(0.2, self._arrival_seconds), attendee.arrive)
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for visitor in self.visitors:
                visitor.look(now)

    def settle(self) -> None:
        """Nobody moves any more."""
        for attendee in self.attendees:
            attendee.settle()

    def end(self) -> None:
        """Let every connection go."""
        if self._looking is not None:
            self._looking.cancel()
        for visitor in self.visitors:
            visitor.cancel()
            visitor.wanted = False
            if visitor.wire is not None:
                visitor.wire.drop()

    def unanswered(self, longer_than_seconds: float) -> list[Visitor]:
        """Return who has wanted an answer for so long."""
        before = time.monotonic() - longer_than_seconds
        return [
            visitor for visitor in self.visitors if visitor.wanted and not visitor.answered and visitor.since < before
        ]

    # ---- limits

    def raised(self, account: str, version: int, seats: int, published_at: float) -> None:
        """Watch how a raise reaches those who wait now, and are connected."""
        waiting: dict[Visitor, int] = {
            attendee: attendee.wire.hub
            for attendee in self.attendees
            if attendee.account == account and attendee.state == "waiting" and attendee.answered and attendee.wire
        }
        self.raises.append(Raise(account, version, seats, published_at, waiting))

    def announce(self, account: str, version: int, seats: int) -> None:
        """Say what a version is, before it is published: no seats of an account come twice."""
        self._versions[account, seats] = version

    def learned(self, visitor: Visitor, seats: int) -> None:
        """A visitor has heard of a limit; by now every older one is overtaken."""
        version = self._versions.get((visitor.account, seats), 0)
        for under_way in self.raises:
            if under_way.version <= version and visitor in under_way.waiting:
                under_way.waiting.discard(visitor)
                under_way.learned.append((time.monotonic(), under_way.hubs[visitor]))

    def refreshed(self, attendee: Attendee, message: dict[str, Any]) -> None:
        """An attendee is told to refresh."""
        if message["reason"] == "seat_limit_raised":
            for under_way in self.raises:
                if attendee in under_way.hubs and under_way.seats == message["seat_limit"]:
                    under_way.learned.append((time.monotonic(), under_way.hubs[attendee]))

    def departs(self, attendee: Attendee) -> None:
        """An attendee goes of their own will, or has a seat: they wait no more."""
        for under_way in self.raises:
            under_way.waiting.discard(attendee)
