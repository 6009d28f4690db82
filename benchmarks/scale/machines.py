"""Simulated machines: cores that do one thing after another, hubs with the lane of one room, a shard of the store, a network between.

People go in groups: who arrives in the same 2 ms at the same hub is one event, and so is a call of a script with all who go together.
Times are seconds, prices those of `Costs`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from benchmarks.scale.costs import Costs
from benchmarks.scale.store_costs import PIECE
from capacity.hub.lane import BATCH_MAX, GATHER_SECONDS
from capacity.hub.waiting_line import ASKED_MAX, COUNTED_EVERY_SECONDS, MOVED_EVERY_SECONDS

ONE_WAY_SECONDS = 0.00025
"""Half of a round trip within a data centre, 0.5 ms: Jeff Dean, «Designs, Lessons and Advice from Building Large Distributed Systems»,
LADIS 2009. TLS is ended before the hub."""
GROUP_SECONDS = 0.002
Process = Generator[simpy.Event, Any, None]


class Core:
    """One core, or a process that cannot use more than one. Work is done in the order in which it comes."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._free_at = 0.0
        self.busy_seconds = 0.0

    def charge(self, seconds: float) -> float:
        """Queue work; returns after how long it will be done."""
        self._free_at = max(self._env.now, self._free_at) + seconds
        self.busy_seconds += seconds
        return float(self._free_at - self._env.now)

    def work(self, seconds: float) -> simpy.Event:
        """Queue work; the event comes when it is done."""
        return self._env.timeout(self.charge(seconds))


@dataclass
class Tally:
    """How long how many people waited for something."""

    waits: list[tuple[float, float]] = field(default_factory=list)

    def add(self, seconds: float, people: float = 1) -> None:
        """Count people who waited for so long."""
        self.waits.append((seconds, people))

    @property
    def people(self) -> float:
        """All who were counted."""
        return sum(people for _, people in self.waits)

    def percentile(self, share: float) -> float:
        """Return the wait that so large a share of all stayed at or below; 0 if there is nobody."""
        rank = share * self.people
        for seconds, people in sorted(self.waits):
            rank -= people
            if rank <= 0:
                return seconds
        return max((seconds for seconds, _ in self.waits), default=0.0)


class Hub:
    """A hub: its core, the lane of the one room that is looked at, and those of the room's line who are connected here."""

    def __init__(self, room: Room, core: Core) -> None:
        self.room = room
        self.core = core
        self.seated = 0
        self.waiting = 0
        self.queue: deque[tuple[float, int]] = deque()
        """(arrived at, how many) of those whose join waits in the lane."""
        self.unanswered_most = 0
        self._unanswered = 0
        self._woken: simpy.Event | None = None
        self.moved = False
        self.counted = False
        room.env.process(self._lane())

    def arrive(self, people: int) -> None:
        """Let people connect now."""
        self.room.env.process(self._take(people))

    def _take(self, people: int) -> Process:
        arrived_at = self.room.env.now
        self._unanswered += people
        self.unanswered_most = max(self.unanswered_most, self._unanswered)
        yield self.core.work(people * self.room.costs.join)
        self.queue.append((arrived_at, people))
        if self._woken is not None and not self._woken.triggered:
            self._woken.succeed()

    def _lane(self) -> Process:
        room, env = self.room, self.room.env
        while True:
            if not self.queue:
                self._woken = env.event()
                yield self._woken
            groups, people = self._next()
            half_a_call = max(0.0, room.costs.joins_call(people) - people * room.costs.join) / 2
            yield self.core.work(half_a_call)
            yield env.timeout(room.one_way_seconds)
            waiting = room.full
            yield room.store.work(
                room.costs.script("join", people, waiting=waiting) + room.costs.publish * len(room.hubs)
            )
            room.joined(self, people, waiting=waiting)
            yield env.timeout(room.one_way_seconds)
            yield self.core.work(half_a_call)
            self._unanswered -= people
            for arrived_at, count in groups:
                room.answered.add(env.now - arrived_at, count)
            if people > 1:
                yield env.timeout(GATHER_SECONDS)

    def _next(self) -> tuple[list[tuple[float, int]], int]:
        groups: list[tuple[float, int]] = []
        people = 0
        while self.queue and people < BATCH_MAX:
            arrived_at, count = self.queue.popleft()
            taken = min(count, BATCH_MAX - people)
            if taken < count:
                self.queue.appendleft((arrived_at, count - taken))
            groups.append((arrived_at, taken))
            people += taken
        return groups, people


class Room:
    """One room on some hubs and one shard."""

    def __init__(
        self,
        env: simpy.Environment,
        costs: Costs,
        hubs: int,
        seats: int,
        *,
        store: Core | None = None,
        one_way_seconds: float = ONE_WAY_SECONDS,
    ) -> None:
        """`store`: the shard's core, where something else runs on it too. `one_way_seconds`: from a hub to the shard, or back."""
        self.env = env
        self.costs = costs
        self.seats = seats
        self.one_way_seconds = one_way_seconds
        self.people = 0
        self.calls = 0
        self.store = store or Core(env)
        self.hubs: list[Hub] = []
        self.answered = Tally()
        for _ in range(hubs):
            self.hubs.append(Hub(self, Core(env)))
        for hub in self.hubs:
            env.process(self._tell_places(hub))

    @property
    def full(self) -> bool:
        """Whether the next who come wait."""
        return self.people >= self.seats

    def joined(self, hub: Hub, people: int, *, waiting: bool) -> None:
        """A join was decided: the change goes to every hub."""
        self.people += people
        self.calls += 1
        if waiting:
            hub.waiting += people
        else:
            hub.seated += people
        self.publish(self.costs.of_hub("heard"), but=hub)
        for other in self.hubs:
            other.counted |= waiting

    def publish(self, price: float, but: Hub | None = None) -> None:
        """Let every hub hear a change, but for the one whose call has that in its price."""

        def heard(_: simpy.Event) -> None:
            for hub in self.hubs:
                if hub is not but:
                    hub.core.charge(price)

        event = self.env.timeout(self.one_way_seconds)
        event.callbacks.append(heard)

    def _tell_places(self, hub: Hub) -> Process:
        """Once a second, if places moved, and every five, if the number of those who wait changed: ask where all stand, and tell them."""
        counted_at = 0.0
        while True:
            yield self.env.timeout(MOVED_EVERY_SECONDS)
            due = hub.counted and self.env.now - counted_at >= COUNTED_EVERY_SECONDS
            if not (hub.moved or due):
                continue
            hub.moved = False
            if due:
                hub.counted, counted_at = False, self.env.now
            for start in range(0, hub.waiting, ASKED_MAX):
                asked = min(ASKED_MAX, hub.waiting - start)
                if asked > 0:
                    yield from self.ask(hub, asked)
                    yield hub.core.work(asked * self.costs.of_hub("place"))

    def ask(self, hub: Hub, people: int) -> Process:
        """Ask the store where so many of a hub stand."""
        yield self.env.timeout(self.one_way_seconds)
        yield self.store.work(self.costs.inspect(people))
        yield self.env.timeout(self.one_way_seconds)


class Raise:
    """A raise of the limit for everybody who waits, from the event in the stream to the last `refresh`.

    Consumer and hubs sweep piece after piece, each after its last answer; each piece is heard by every hub, which tells those of its
    people who are in it. The first also says the new limit to all, and moves every place behind it.
    """

    def __init__(self, room: Room, waiting: int, hears: Callable[[float], object] = lambda _: None) -> None:
        """`hears` is called with how many messages were written, whenever some were."""
        self.room = room
        self.messages = 0.0
        self._hears = hears
        self.left = waiting
        self.told = Tally()
        self._waiting = waiting
        self._heard = [0] * len(room.hubs)
        self._knows: set[int] = set()
        """Hubs that have heard of the raise."""
        room.env.process(self._consume())

    def _consume(self) -> Process:
        room, env = self.room, self.room.env
        yield env.timeout(room.one_way_seconds)
        yield room.hubs[0].core.work(room.costs.call)
        yield env.timeout(room.one_way_seconds)
        yield room.store.work(room.costs.sweep)  # the event is applied
        for hub in room.hubs:
            env.process(self._sweep(hub, first=False))
        yield from self._sweep(room.hubs[0], first=True)

    def _sweep(self, hub: Hub, *, first: bool) -> Process:
        room, env = self.room, self.room.env
        half_a_call = room.costs.call / 2
        yield env.timeout(room.one_way_seconds)
        while self.left > 0:
            yield hub.core.work(half_a_call)
            yield env.timeout(room.one_way_seconds)
            people = min(PIECE, self.left)
            start, self.left = self._waiting - self.left, self.left - people
            price = room.costs.piece * people / PIECE if people else room.costs.sweep
            yield room.store.work(price + room.costs.publish * len(room.hubs))
            if people:
                for number, other in enumerate(room.hubs):
                    env.process(self._hear(number, other, start, people))
            yield env.timeout(room.one_way_seconds)
            yield hub.core.work(half_a_call)

    def _hear(self, number: int, hub: Hub, start: int, people: int) -> Process:
        room, env, costs = self.room, self.room.env, self.room.costs
        hubs = len(room.hubs)
        yield env.timeout(room.one_way_seconds)
        if number not in self._knows:
            self._knows.add(number)
            env.process(self._tell_places(number, hub))
            yield hub.core.work(self._waiting / hubs * costs.of_hub("message"))
            self._write(self._waiting / hubs)
        self._heard[number] = max(self._heard[number], start + people)
        yield hub.core.work(costs.of_hub("heard_piece") + people / hubs * costs.of_hub("message"))
        self._write(people / hubs)
        self.told.add(env.now, people / hubs)

    def _tell_places(self, number: int, hub: Hub) -> Process:
        """Places moved: the hub asks for all who wait here, and tells those who still do when the answer comes."""
        room, hubs = self.room, len(self.room.hubs)
        here = self._waiting // hubs
        for start in range(0, here, ASKED_MAX):
            asked = min(ASKED_MAX, here - start)
            yield from room.ask(hub, asked)
            held = self._heard[number] / hubs
            still = min(asked, max(0, start + asked - held))
            yield hub.core.work(still * room.costs.of_hub("place") + room.costs.call / 2)
            self._write(still)

    def _write(self, messages: float) -> None:
        self.messages += messages
        self._hears(messages)
