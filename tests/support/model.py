"""The rules of a room as a pure model: one list of people in order of arrival, and no Redis. The scripts are held to it.

It is written from docs/protocol.md, not from the scripts: people are found by looking, counts are counted, nothing is cached.
All instants are ms, by the room's own clock but for `wall`, the store's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

NEAR, CLEAR = Decimal("0.9"), Decimal("0.8")
IDLE, ENDED, SETTLING = 900_000, 3_600_000, 3_000
NEVER = 2**60
GENERATION = 1_000_000_000


@dataclass(frozen=True)
class Times:
    """How long a seat, a place and a held seat are kept, in ms; any relation between them is taken."""

    grace: int = 30_000
    place: int = 120_000
    hold: int = 60_000
    step: int = NEVER
    """How far the room's clock may go from one call to the next while something runs."""


@dataclass
class Person:
    """Somebody with a seat, a held seat or a place in the line. `lease` is None while away."""

    name: str
    where: Literal["seat", "line", "hold"]
    lease: str | None
    order: int = 0
    away_until: int = NEVER
    """While away: when the seat, or the place, is lost."""
    held_until: int = NEVER


@dataclass
class Told:
    """What one call tells the world."""

    offers: list[tuple[str, list[str]]] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    replaced: list[tuple[str, str]] = field(default_factory=list)
    doubted: list[tuple[str, str]] = field(default_factory=list)
    put_out: list[str] = field(default_factory=list)
    previous: int | None = None
    opened: bool = False
    ended: str | None = None
    near: str | None = None
    cleared: bool = False
    raised: dict[str, int] | None = None
    """An open room's raised limit, in the numbers of the moment at which everybody who is to get a seat has one held."""
    gave_up: list[str] = field(default_factory=list)
    """Who left the line without ever having had a seat."""
    hoping: list[str] = field(default_factory=list)
    """Who still waited for the first time at the end, those with a held seat first."""
    report: dict[str, int] | None = None
    """At the end of a room that was open."""


class Room:
    """One room of an account with a seat limit and one or more concurrent sessions."""

    def __init__(self, limit: int, sessions: int, times: Times = Times()) -> None:
        self.times = times
        self.wall = self.now = 10_000_000
        self.ran_at = 0
        """The store's clock at the last call, if something ran then: a grace, a place, a hold."""
        self.account_limit = limit
        self.sessions = sessions
        self.limit = limit
        self.state = "not_started"
        self.reason: str | None = None
        self.ended_on_wall = 0
        self.people: dict[str, Person] = {}
        self.barred: set[str] = set()
        self.hubs: dict[str, int] = {}
        self.orders = 0
        self.level = 0
        self.peak = 0
        self.idle_since: int | None = None
        self.other_open_until = 0
        """Another room of the account is open until then, by the store's clock."""
        self.joined: set[str] = set()
        self.hoping: set[str] = set()
        self.turned_away: set[str] = set()
        self.told = Told()
        self.settling_until = 0
        """Nobody new is let in until then: the store lost the room, and its hubs say who was there."""
        self.cause: str | None = None
        """Why seats will be given first when settling is over."""
        self.known = False
        """Whether the room was ever written."""
        self.epoch, self.revision = "", 0
        """Of the history, as the store calls it; whoever drives the model sets it."""
        self.past: str | None = None
        self.survived = 0
        """The epoch before this one and its last revision here, until the room has settled."""
        self.server, self.asked = "", ""
        """The server that wrote the room last, and the one that is asked now."""
        self.over = 0
        """Seats beyond the limit that were given back after a loss."""

    # ---- looking

    def at(self, where: str) -> list[Person]:
        """Return the people who stand there, the line in order."""
        return sorted((p for p in self.people.values() if p.where == where), key=lambda p: (p.order, p.name))

    def _held(self) -> list[Person]:
        return sorted(self.at("hold"), key=lambda p: (p.held_until, p.name))

    def counts(self) -> dict[str, int]:
        """Return the room in numbers."""
        seats = self.at("seat")
        return {
            "seated": sum(p.lease is not None for p in seats),
            "away": sum(p.lease is None for p in seats),
            "held": len(self.at("hold")),
            "waiting": len(self.at("line")),
        }

    @property
    def occupied(self) -> int:
        """Seats that somebody has or is held."""
        return len(self.at("seat")) + len(self.at("hold"))

    @property
    def free(self) -> int:
        """Seats that may be given now."""
        if self.state != "open" or self.now < self.settling_until:
            return 0
        return max(0, self.limit - self.occupied)

    def position(self, name: str) -> int:
        """Return somebody's place in the line, 1 for the first."""
        return [p.name for p in self.at("line")].index(name) + 1

    # ---- what is due

    def enter(self) -> None:
        """What every call does first."""
        self.told = Told()
        passed = min(max(self.wall - self.ran_at, 0), self.times.step)
        self.now = self.now + passed if self.ran_at else self.wall
        self._meet_server()
        if self.state == "ended":
            return
        for person in list(self.people.values()):
            if person.where != "hold" and person.lease is None and person.away_until <= self.now:
                self._go(person)
        for person in self._held():
            if person.held_until <= self.now:
                if person.lease is None and person.away_until <= self.now:
                    self._go(person)
                else:
                    self.orders += 1
                    person.where, person.order, person.held_until = "line", self.orders, NEVER
                    if person.lease is not None:
                        self.told.expired.append(person.name)
        if self.state == "open" and self.idle_since is not None and self.idle_since + IDLE <= self.now:
            self._finish("idle")
            return
        if not self.known:
            self.limit = self.account_limit
        if self.limit != self.account_limit:
            self.told.previous, self.limit = self.limit, self.account_limit
            if self.limit > self.told.previous and self.state == "open":
                self._raised(self.told.previous)
                if self.now < self.settling_until:
                    self.cause = "seat_limit_raised"
                self._allot("seat_limit_raised")
        self._allot()

    def _raised(self, previous: int) -> None:
        line = self.at("line")
        told = min(self.free, len([p for p in line if p.lease is not None]))
        self.told.raised = {
            "previous": previous,
            "seat_limit": self.limit,
            "told": told,
            "occupied": self.occupied + told,
            "waiting": len(line) - told,
        }

    def _meet_server(self) -> None:
        if self.state == "open" and self.now >= self.settling_until:
            self.past, self.survived = None, 0
        if self.asked and self.asked != self.server:
            if self.server and self.state != "ended":
                self._begin_generation(0)
            self.server = self.asked

    def _begin_generation(self, heard: int) -> None:
        if self.past is None:
            self.past, self.survived = self.epoch, self.revision
        new = max(heard, generation(self.epoch)) + 1
        self.epoch, self.orders = f"{new}:", new * GENERATION
        self.revision = new * GENERATION
        if self.state == "open":
            self.settling_until = self.now + SETTLING

    def leave_call(self) -> None:
        """What every call does last."""
        self._leave_call()
        self.ran_at = self.wall if self._runs() else 0
        if not self.ran_at:
            self.settling_until = 0

    def _runs(self) -> bool:
        """Whether something will be due."""
        people = self.people.values()
        return (
            any(p.where == "hold" or p.lease is None for p in people)
            or (self.state == "open" and self.idle_since is not None)
            or self.settling_until > self.now
        )

    def _leave_call(self) -> None:
        if self.state == "ended":
            return
        self._allot()
        self._notice()
        if self.state == "open":
            self.peak = max(self.peak, self.counts()["seated"])
            if self.people or any(self.hubs.values()):
                self.idle_since = None
            elif self.idle_since is None:
                self.idle_since = self.now
        self.over = min(self.over, max(0, self.occupied - self.limit))

    def _allot(self, reason: str = "seat_freed") -> None:
        if reason == "seat_freed":
            reason = "room_opened" if self.told.opened else self.cause or reason
        chosen = [p for p in self.at("line") if p.lease is not None][: self.free]
        for person in chosen:
            person.where, person.held_until = "hold", self.now + self.times.hold
        if chosen:
            self.told.offers.append((reason, [p.name for p in chosen]))
        if self.state == "open" and self.now >= self.settling_until:
            self.cause = None

    def _notice(self) -> None:
        if self.state != "open":
            return
        near = max(1, int((NEAR * self.limit).to_integral_value(ROUND_CEILING)))
        clear = int((CLEAR * self.limit).to_integral_value(ROUND_CEILING))
        if self.occupied >= self.limit:
            level = 2 if self.limit > 0 or self.at("line") else 0
        else:
            level = 1 if self.occupied >= near else 0
        raised = self.told.previous is not None and self.limit > self.told.previous
        tell = level > self.level
        if raised and self.level:
            tell, self.told.cleared = level > 0, level == 0
            self.level = level
        elif tell:
            self.level = level
        elif self.level and self.occupied < clear:
            self.told.cleared, self.level = True, 0
        if tell:
            self.told.near = ("near_full", "full")[level - 1]

    def _go(self, person: Person) -> None:
        del self.people[person.name]
        if person.where != "seat" and person.name in self.hoping:
            self.hoping.discard(person.name)
            if self.state == "open":
                self.turned_away.add(person.name)
                self.told.gave_up.append(person.name)

    def _seat(self, person: Person, lease: str) -> str:
        person.where, person.lease, person.away_until, person.held_until = "seat", lease, NEVER, NEVER
        self.people[person.name] = person
        self.joined.add(person.name)
        self.hoping.discard(person.name)
        self.turned_away.discard(person.name)
        return "seated"

    def _finish(self, reason: str) -> None:
        if self.state == "open":
            self.told.hoping = [p.name for p in (*self._held(), *self.at("line")) if p.name in self.hoping]
            self.turned_away |= self.hoping
            self.told.report = self.report()
        self.state, self.reason, self.ended_on_wall = "ended", reason, self.wall
        self.over, self.past, self.survived = 0, None, 0
        self.people, self.hubs, self.idle_since, self.level = {}, {}, None, 0
        self.settling_until, self.cause = 0, None
        self.told.ended = reason

    def vanish(self) -> None:
        """The store forgets the room."""
        fresh = Room(self.account_limit, self.sessions, self.times)
        fresh.now, fresh.wall, fresh.other_open_until = self.now, self.wall, self.other_open_until
        fresh.asked = self.asked
        self.__dict__.update(fresh.__dict__)

    @property
    def ended_long_ago(self) -> bool:
        """Whether the store forgets the room now."""
        return self.state == "ended" and self.wall >= self.ended_on_wall + ENDED

    def _begin(self) -> str | None:
        if (self.other_open_until > self.wall) >= self.sessions:
            return "concurrent_sessions_reached"
        if self.state == "ended":
            self.barred, self.hoping, self.orders = set(), set(), 0
        self.joined, self.turned_away = set(), set()
        self.state, self.reason, self.limit = "open", None, self.account_limit
        self.peak, self.level, self.idle_since = 0, 0, None
        self.told.opened = True
        return None

    # ---- the verbs, between `enter` and `leave_call`

    def join(self, name: str, lease: str) -> str:
        """A connection arrives."""
        if name in self.barred:
            return "put_out"
        person = self.people.get(name)
        if person is None:
            connected = [p for p in self.at("line") if p.lease is not None]
            if self.free and not connected:
                return self._seat(Person(name, "seat", lease), lease)
            self.orders += 1
            self.people[name] = Person(name, "line", lease, self.orders)
            if name not in self.joined:
                self.hoping.add(name)
                self.turned_away.discard(name)
            return "waiting"
        if person.lease is not None and person.lease != lease:
            self.told.replaced.append((name, person.lease))
        if person.where in ("seat", "hold"):
            return self._seat(person, lease)
        before = [p for p in self.at("line") if p.lease is not None and p.order < person.order]
        if self.free and not before:
            return self._seat(person, lease)
        person.lease, person.away_until = lease, NEVER
        return "waiting"

    def mine(self, name: str, lease: str) -> Person | None:
        """Return who stands there, if the lease is still theirs."""
        person = self.people.get(name)
        return person if person is not None and person.lease == lease else None

    def leave(self, name: str, lease: str) -> str:
        """Somebody gives up what they have."""
        person = self.mine(name, lease)
        if person is None:
            return "gone"
        self._go(person)
        return "left"

    def away(self, name: str, lease: str) -> str:
        """A connection is lost."""
        person = self.mine(name, lease)
        if person is None:
            return "gone"
        person.lease = None
        person.away_until = self.now + (self.times.grace if person.where == "seat" else self.times.place)
        return "away"

    def claim(self, name: str, lease: str) -> str:
        """Somebody takes their held seat where they are."""
        person = self.mine(name, lease)
        if person is None:
            return "gone"
        if person.where == "line":
            return "nothing_held"
        return self._seat(person, lease) if person.where == "hold" else "seated"

    def host(self, hub: str, hosts: int, came: list[str]) -> str | None:
        """Hosts came or went; returns why the room could not be opened."""
        self.hubs[hub] = hosts
        for name in came:
            if (person := self.people.get(name)) is not None:
                self.hoping.discard(name)
                if person.lease is not None:
                    self.told.replaced.append((name, person.lease))
                self._go(person)
        return self._begin() if came and self.state == "not_started" else None

    def fence(self, hub: str) -> None:
        """A hub is dead."""
        self.hubs.pop(hub, None)

    def open(self, afresh: bool) -> str | None:
        """Open the room."""
        if self.state == "not_started" or (self.state == "ended" and afresh):
            return self._begin()
        return None

    def end(self, reason: str) -> None:
        """End the room."""
        if self.state != "ended":
            self._finish(reason)

    def attach(self, hub: str, was_open: bool, epoch: str = "", revision: int = 0) -> None:
        """A hub may act; it knew the room as open, or not, and heard of it last at a revision of an epoch."""
        lost = bool(epoch) and self._lacks(self.epoch, self.revision, epoch, revision)
        past = bool(epoch) and self.past is not None and self._lacks(self.past, self.survived, epoch, revision)
        reopen = was_open and self.state != "open" and (lost or past)
        if reopen:
            sessions, self.sessions = self.sessions, NEVER
            self._begin()
            self.sessions, self.cause = sessions, "room_opened"
        if lost or reopen:
            self._begin_generation(generation(epoch))
        if self.state != "ended":
            self.hubs.setdefault(hub, 0)

    @staticmethod
    def _lacks(epoch: str, last: int, heard: str, revision: int) -> bool:
        """Whether somebody heard of more than is in this history."""
        known, here = generation(heard), generation(epoch)
        return known > here or (known == here and (heard != epoch or revision > last))

    def reassert(self, name: str, lease: str, had: str, order: int, joined_at: int) -> str:
        """A hub says who is connected to it, and what they had."""
        if name in self.barred:
            return "put_out"
        settling = self.now < self.settling_until
        person = self.people.get(name)
        if person is not None:
            if person.lease is not None and person.lease != lease:
                if not settling or joined_at <= self.survived:
                    return "replaced"
                self.told.doubted.append((name, person.lease))
            person.lease, person.away_until = lease, NEVER
            if settling and had == "held" and person.where == "line":
                person.where, person.held_until = "hold", self.now + self.times.hold
                self._beyond()
            elif settling and had == "seated" and person.where != "seat":
                came_from = person.where
                self._seat(person, lease)
                if came_from == "line":
                    self._beyond()
            return "known"
        connected = [p for p in self.at("line") if p.lease is not None]
        person = Person(name, "line", lease)
        if had == "seated" and (settling or (self.free and not connected)):
            self._seat(person, lease)
            self._beyond()
            return "known"
        if name not in self.joined:
            self.hoping.add(name)
            self.turned_away.discard(name)
        self.people[name] = person
        if had == "held" and settling:
            person.where, person.held_until = "hold", self.now + self.times.hold
            self._beyond()
            return "known"
        if had == "waiting" and order > 0:
            person.order, self.orders = order, max(self.orders, order)
            return "known"
        del self.people[name]
        first = [p.order for p in self.at("line")][:1]
        self.people[name] = person
        person.order = min(*first, 1) - 1 if first else 0
        return "lost"

    def _beyond(self) -> None:
        self.over += self.occupied > self.limit

    def put_out(self, name: str) -> None:
        """Put somebody out and keep them out."""
        if self.state == "ended":
            return
        if (person := self.people.get(name)) is not None:
            self._go(person)
            self.told.put_out = [name]
        self.hoping.discard(name)
        self.turned_away.discard(name)
        self.barred.add(name)

    def report(self) -> dict[str, Any]:
        """Return what the report counts."""
        return {"joined": len(self.joined), "turned_away": len(self.turned_away), "peak": self.peak}


def generation(epoch: str) -> int:
    """Return the generation of an epoch, GENERATION:ID; a room that was never written has the first."""
    return int(epoch.partition(":")[0] or 1) if epoch else 1
