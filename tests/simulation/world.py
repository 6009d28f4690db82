"""One run: hubs, rooms, people, plan changes and faults for a minute or so; then quiet, until the dust has settled; then the checks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from capacity.domain.near_full import Shares
from capacity.errors import Refused, Unavailable
from capacity.settings import NEAR_FULL, NEAR_FULL_CLEAR
from capacity.store.keys import RoomName
from capacity.store.rooms import Rules
from tests.simulation import ending, scenario
from tests.simulation.billing import Billing
from tests.simulation.loop import VirtualLoop, process
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import Network
from tests.simulation.node import Node
from tests.simulation.people import Host, Person, Said
from tests.simulation.platform import Platform
from tests.simulation.watch import Watch
from tests.support import checker, model

ACCOUNT = "acme"
UNTOLD = {"get", "set", "xinfo consumers", "xrange", "pass_key_taken"}
"""Commands and lines of the log whose contents are no part of the trace: the key that signs passes is random, and idle times and
the ids that scripts give to entries of streams are by the server's clock."""
BUGS = ("task_failed", "call_failed", "line_not_told", "plan_changes_failed", "tick_failed", "recovery_failed",
        "room_not_started", "event_failed", "sweep_failed", "beacon_failed", "event_rejected", "pass_key_unusable",
        "hook_failed", "hooks_failed", "hook_unreadable", "hooks_not_relayed", "hooks_dropped", "hook_dead")  # fmt: skip
"""Lines of the log that no fault excuses."""


@dataclass
class Outcome:
    """What came of a run."""

    seed: str
    violations: list[str] = field(default_factory=list)
    bites: Counter[str] = field(default_factory=Counter)
    trace: str = ""
    """A digest of everything that happened."""
    seconds: float = 0.0
    """Of the simulation."""


class World:
    """Everything there is in one run."""

    def __init__(self, seed: str, url: str, *, tracing: bool = False) -> None:
        self.seed = seed
        self.scenario = scenario.draw(seed)
        self.loop = VirtualLoop()
        self.random = random.Random(f"{seed} world")
        self.quiet = False
        self.violations: list[str] = []
        self._printing = bool(os.environ.get("CAPACITY_TEST_TRACE"))
        self._digest = hashlib.sha256() if tracing or self._printing else None
        self.network = Network(self.loop, seed, url, self._trace if self._digest else None)
        times = self.scenario.times
        self.rules = Rules(
            times.grace,
            times.place,
            times.hold,
            model.IDLE,
            model.ENDED,
            Shares.of(NEAR_FULL, NEAR_FULL_CLEAR),
            times.step,
        )
        self.rooms = [RoomName(ACCOUNT, f"room-{n}") for n in range(self.scenario.rooms)]
        self.nodes: list[Node] = []
        self._node_numbers = 0
        self.people = [Person(self, f"p{n}", self.random.choice(self.rooms)) for n in range(self.scenario.people)]
        self.people += [
            Host(self, f"host-{room.room}-{n}", room) for room in self.rooms for n in range(self.scenario.hosts)
        ]
        self.billing = Billing(self)
        self.nemesis = Nemesis(self)
        self.platform = Platform(self)
        self.audits: list[tuple[RoomName, list[bytes]]] = []
        """Of histories that came to an end by a loss of data."""

    # ---- what the others ask for

    def door(self, random: random.Random) -> Node | None:
        """Return a hub to connect to, as a load balancer would choose it: mostly one that is ready."""
        nodes = [node for node in self.nodes if node.accepting]
        ready = [node for node in nodes if node.ready]
        if ready and random.random() < 0.9:
            nodes = ready
        return random.choice(nodes) if nodes else None

    def start_node(self) -> None:
        """Start a hub."""
        self._node_numbers += 1
        name = f"hub{self._node_numbers}"
        self.nodes.append(Node(self.network, self.platform, name, self.rules, self.scenario.lease_seconds))

    def keep_audits(self) -> None:
        """Read the audits of all rooms before they are lost."""
        self.audits += [(room, self.network.backend.audit(room)) for room in self.rooms]

    # ---- what happened

    def saw(self, person: Person, said: Said) -> None:
        """Note a line of somebody's log."""
        if self._digest is not None:
            self._trace(person.name, said.connection, said.kind, said.fields)

    def note_fault(self, kind: str) -> None:
        """Note a fault."""
        if self._digest is not None:
            self._trace("fault", kind)

    def _trace(self, *what: Any) -> None:
        assert self._digest is not None
        if UNTOLD.intersection(str(part) for part in what[:-1]):
            what = what[:-1]
        shown = tuple(sorted(part) if isinstance(part, set) else part for part in what)
        line = f"{self.loop.time():.6f} {shown!r}"
        self._digest.update(line.encode())
        if self._printing:
            print(line)

    def _log(self, logger: object, method: str, event: dict[str, Any]) -> dict[str, Any]:
        name = str(event.pop("event"))
        hub = process()
        self.network.bites[name] += 1
        if self._digest is not None:
            self._trace(hub.name if hub else "", name, event)
        if name in BUGS:
            self.violations.append(f"{self.loop.time():.3f} {hub.name if hub else ''} logged {name} {event}")
        raise structlog.DropEvent

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Hear what the hubs log."""
        processors = structlog.get_config()["processors"]
        before = processors.copy()
        processors[:] = [self._log]
        try:
            yield
        finally:
            processors[:] = before

    # ---- the run

    def run(self) -> Outcome:
        """Run it to its end."""
        asyncio.set_event_loop(self.loop)
        random.seed(f"{self.seed} product")  # the courier's jitter
        try:
            with self._listening():
                self.loop.run_until_complete(self._run())
        finally:
            seconds = self.loop.time()
            self.loop.clear()
            self.loop.close()
            asyncio.set_event_loop(None)
            self.network.backend.close()
        self.violations += self.loop.failures
        trace = self._digest.hexdigest() if self._digest is not None else ""
        return Outcome(self.seed, self.violations, self.network.bites, trace, seconds)

    async def _run(self) -> None:
        loop, scenario = self.loop, self.scenario
        self.billing.publish(scenario.limit)
        for _ in range(scenario.hubs):
            self.start_node()
        await asyncio.sleep(1.0)
        living = [loop.create_task(person.live()) for person in self.people]
        busy = [
            loop.create_task(work)
            for work in (self.billing.run(), self.nemesis.run(), self.platform.run(), self._ask(), Watch(self).run())
        ]
        await asyncio.sleep(scenario.churn_seconds)
        for task in busy:
            task.cancel()
        self.nemesis.heal()
        self.quiet = True
        if not any(node.accepting for node in self.nodes):
            self.start_node()
        self.billing.settle()
        await asyncio.sleep(scenario.settle_seconds)
        self.nemesis.heal()
        for task in living:
            if task.done() and not task.cancelled() and task.exception() is not None:
                self.violations.append(f"a person failed: {task.exception()!r}")
        self.keep_audits()
        self.violations += ending.found(self)
        self.violations += self._check_audits()

    def _check_audits(self) -> list[str]:
        violations = []
        audits = [(room, [checker.decode(entry) for entry in raw]) for room, raw in self.audits]
        for room, entries in audits:
            self.network.bites["audited"] += len(entries)
            violations += [f"{room.room}: {line}" for line in checker.check_audit(entries)]
        return [*violations, *(f"webhooks: {line}" for line in self.platform.found(audits))]

    async def _ask(self) -> None:
        """Ask and order things over HTTP, at any hub."""
        while True:
            await asyncio.sleep(self.random.expovariate(1 / 6))
            node = self.door(self.random)
            if node is None:
                continue
            room = self.random.choice(self.rooms)
            hub, name = node.hub, self.random.choice(self.people).name
            what = self.random.choices(
                ("occupancy", "participant", "open", "put_out", "report", "end"), (4, 3, 3, 0.5, 1, 0.3)
            )[0]
            if what == "end" and not self.scenario.ends:
                continue
            arguments = (*room, name) if what in ("participant", "put_out") else room
            task = node.ask(getattr(hub, what)(*arguments))
            task.add_done_callback(self._asked)
            if what == "put_out":
                self.network.bites["put_out"] += 1

    def _asked(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Refused | Unavailable):
            self.violations.append(f"HTTP: {error!r}")
