"""Every room script against the model: hypothesis draws calls, both answer, and the answers, the feed and the counts must agree.

Among the calls are repetitions, calls that come late, hubs that die, a server's clock that steps, and a store that loses its last writes
or everything.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, NamedTuple, cast

import pytest
import redis
import redis.asyncio as aioredis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from capacity.domain.near_full import Shares
from capacity.protocol import hooks
from capacity.protocol.hooks import Event
from capacity.store import keys, scripts
from capacity.store.keys import RoomName
from capacity.store.outbox import Outbox
from capacity.store.rooms import Reply, Rooms, Rules, Snapshot
from tests.support import hook_facts, model

NAME = RoomName("acme", "launch")
OTHER = RoomName("acme", "other")
HUBS = ("h1", "h2")
SHARES = Shares.of(Decimal("0.9"), Decimal("0.8"))
TIMES = (
    model.Times(),
    model.Times(grace=60_000, place=20_000, hold=30_000),
    model.Times(grace=20_000, hold=1_000),
    model.Times(grace=4_000, place=7_000, hold=5_000, step=3_000),
)
ORDERED = ("join", "leave", "away", "claim", "host", "reassert", "attach", "detach")
people = st.sampled_from(["ann", "ben", "cem", "dot", "eve", "fay"])
hubs = st.sampled_from(HUBS)
limits = st.integers(0, 5)


class Direct(aioredis.Redis):
    """A client whose commands are done by a blocking one: nothing waits, so no event loop is needed."""

    def __init__(self, blocking: Any) -> None:
        super().__init__()
        self._blocking = blocking

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return self._blocking.execute_command(*args, **options)


class Done(NamedTuple):
    """A call that was made."""

    verb: str
    hub: str
    arguments: list[Any]
    operation: int
    reply: Reply


class Checkpoint(NamedTuple):
    """What the store may be rolled back to."""

    dumps: dict[str, tuple[bytes, int]]
    open_until: float | None
    model: model.Room
    floors: dict[str, int]


class Machine(RuleBasedStateMachine):
    """One room, two hubs, six people, and a clock that the test moves."""

    url: str
    apply_script = scripts.APPLY
    hooks = False
    """Whether what is told to webhooks is held to the model as well."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = cast(Any, redis.Redis.from_url(self.url))
        self.client = Direct(self.raw)
        self.raw.flushall()
        self.outbox = Outbox(self.client, clock=lambda: 0.0)
        self.feed: Any = self.raw.pubsub(ignore_subscribe_messages=True)
        self.feed.ssubscribe(keys.room_key(NAME, "feed"))
        while self.feed.get_sharded_message(timeout=1) is not None:
            pass
        self.numbers = 0
        self.operation = 0
        self.version = 0
        self.leases: dict[str, list[str]] = {}
        self.last: Done | None = None
        self.done: list[Done] = []
        """Calls of the hubs, in their order."""
        self.floors: dict[str, int] = {}
        """Of each hub the last operation that the room remembers."""
        self.known: dict[str, tuple[str, int, str]] = {}
        """What each hub was last answered: epoch, revision and state."""
        self.checkpoint: Checkpoint | None = None

    def teardown(self) -> None:
        self.feed.close()
        assert self.raw.xlen(keys.hooks("acme")) == 0, "something was written for webhooks, and no call said so"
        self.raw.close()

    @initialize(limit=limits, sessions=st.integers(1, 2), times=st.sampled_from(TIMES), begun=st.integers(0, 3))
    def account(self, limit: int, sessions: int, times: model.Times, begun: int) -> None:
        rules = Rules(times.grace, times.place, times.hold, model.IDLE, model.ENDED, SHARES, times.step)
        self.server = 1
        self.rooms = {hub: self.rooms_of(hub, rules) for hub in HUBS}
        self.model = model.Room(limit, sessions, times)
        self.model.asked = "server-1"
        self.sessions = sessions
        self.apply(limit)
        if begun:
            self.attach("h1", 0)
            self.attach("h2", 0)
            self.open("h1", False)

    def rooms_of(self, hub: str, rules: Rules) -> Rooms:
        """Return the rooms as a hub calls them."""
        rooms = Rooms(self.client, rules, hub, server=lambda: f"server-{self.server}")
        rooms.outbox = self.outbox if self.hooks else None
        return rooms

    def apply(self, seats: int) -> None:
        self.version += 1
        arguments: list[str | bytes | int] = [
            "plan",
            seats,
            self.sessions,
            self.version,
            self.version,
            "1-1",
            "",
        ]
        event = keys.event_key("acme", "/t", str(self.version))
        account = (keys.account_key("acme"), event, keys.account_feed("acme"))
        self.wait(self.apply_script.run(self.client, account, arguments))

    def wait(self, pending: Coroutine[Any, Any, Any]) -> Any:
        """Run what never waits to its end."""
        try:
            pending.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it waited")

    def heard(self, count: int = 0) -> list[dict[str, Any]]:
        """Return what the feed said since the last time, waiting for as many messages as the revision rose by."""
        found: list[dict[str, Any]] = []
        while True:
            message = self.feed.get_sharded_message(timeout=5 if len(found) < count else 0)
            if message is not None:
                found.append(json.loads(message["data"]))
            elif len(found) >= count:
                return found
            else:
                raise AssertionError(f"the feed said {len(found)} of {count} changes")

    def call(
        self, verb: str, hub: str, arguments: list[Any], *, registered: bool, expect: Callable[[], list[Any] | None]
    ) -> None:
        """Make a call, and let the model make it; compare the answers and what was told."""
        self.operation += 1
        reply = self.send(verb, hub, arguments, self.operation)
        self.done.append(Done(verb, hub, arguments, self.operation, reply))
        if registered and self.model.state != "ended" and hub not in self.model.hubs:
            assert reply.status == "fenced", reply
            assert self.heard() == []
            return
        occupied, over = self.model.occupied, self.model.over
        self.model.enter()
        results = expect() if self.model.state != "ended" or verb in ("open", "end", "attach") else None
        self.model.leave_call()
        self.compare(reply, results)
        if self.model.occupied > self.model.limit:
            came = self.model.occupied - max(occupied, self.model.limit)
            assert came <= max(0, self.model.over - min(over, max(0, occupied - self.model.limit))), "oversold"
        self.last = self.done[-1] if registered else None
        if self.model.told.ended:
            self.floors = {}  # gone with the room, even if the same call opened it again
        if self.model.state != "ended" and (registered or verb == "attach" or reply.results == ["detached"]):
            self.floors[hub] = self.operation

    def send(self, verb: str, hub: str, arguments: list[Any], operation: int) -> Reply:
        """Call the script."""
        reply: Reply = self.wait(
            self.rooms[hub].call(verb, NAME, arguments, operation=operation, wall_ms=self.model.wall)
        )
        return reply

    def compare(self, reply: Reply, results: list[Any] | None) -> None:
        room, told = reply.room, self.model.told
        assert room is not None
        assert reply.status == ("ended" if self.model.state == "ended" else "ok")
        assert (room.state, room.seat_limit) == (self.model.state, self.model.limit)
        assert {
            "seated": room.seated,
            "away": room.away,
            "held": room.held,
            "waiting": room.waiting,
        } == self.model.counts()
        assert (room.told, room.over) == (self.model.level, self.model.over)
        if self.model.state == "open":
            assert room.peak == self.model.peak
        if results is not None:
            assert [tuple(r) if isinstance(r, list) else r for r in reply.results] == results
        rose = room.revision - self.model.revision
        messages = self.heard(rose)
        assert len(messages) == rose <= 1
        self.model.known = room.revision > 0
        if not self.model.known:
            self.model.server = ""
        self.model.epoch, self.model.revision = (room.epoch, room.revision) if self.model.known else ("", 0)
        self.known[self.done[-1].hub] = (self.model.epoch, room.revision, room.state)
        message = messages[0] if messages else {}
        assert [(offer["reason"], offer["participants"]) for offer in message.get("offers", [])] == told.offers
        assert all(
            offer["held_until"] == self.model.wall + self.model.times.hold for offer in message.get("offers", [])
        )
        assert message.get("expired", []) == told.expired
        assert [tuple(pair) for pair in message.get("replaced", [])] == told.replaced
        assert [tuple(pair) for pair in message.get("doubted", [])] == told.doubted
        assert message.get("put_out", []) == told.put_out
        assert message.get("previous") == told.previous
        assert message.get("opened", False) == told.opened
        assert message.get("ended") == told.ended
        assert message.get("near", {}).get("level") == told.near
        assert message.get("cleared", False) == told.cleared
        if self.hooks:
            found = [hook_facts.in_short(event) for event in self.hooked(room)] if reply.hooked else []
            assert found == hook_facts.told_by(self.model)

    def hooked(self, room: Snapshot) -> list[Event]:
        """Return what the last call wrote down for webhooks, and forget it."""
        piece = self.wait(self.outbox.read("acme"))
        self.wait(self.outbox.drop("acme", piece))
        assert len(piece.entries) == 1
        assert {(e.data.room, e.data.epoch, e.data.revision) for e in piece.events} == {
            (NAME.room, room.epoch, room.revision)
        }
        assert len({hooks.id_of(event) for event in piece.events}) == len(piece.events)
        return cast(list[Event], piece.events)

    def lease(self, name: str, hub: str) -> str:
        self.numbers += 1
        lease = f"{hub}.{self.numbers:x}"
        self.leases.setdefault(name, []).append(lease)
        return lease

    def result(self, name: str, word: str) -> tuple[Any, ...]:
        """Return what join answers, from where the model left somebody at the end of the call."""
        if word != "waiting":
            return (word,)
        person = self.model.people[name]
        if person.where == "line":
            return ("waiting", self.model.position(name), person.order)
        assert person.where == "hold"
        return ("held",)

    # ---- rules

    @rule(hub=hubs, remembers=st.integers(0, 3))
    def attach(self, hub: str, remembers: int) -> None:
        """A hub comes, or comes back with what it heard last."""
        epoch, revision, state = self.known.get(hub, ("", 0, "")) if remembers else ("", 0, "")
        was_open = state == "open"
        self.call(
            "attach",
            hub,
            [int(was_open), epoch, revision],
            registered=False,
            expect=lambda: self.model.attach(hub, was_open, epoch, revision),
        )

    @rule(really=st.integers(0, 9))
    def lose_the_room(self, really: int) -> None:
        """The store forgets everything but the account, as after a failover to an empty replica."""
        if not really:
            self.forget_the_room()
            self.model.vanish()

    def forget_the_room(self) -> None:
        for kind in keys.ROOM_KINDS:
            self.raw.delete(keys.room_key(NAME, kind))
        self.raw.zrem(keys.open_rooms("acme"), NAME.room)
        self.floors = {}
        self.last = None

    @rule(really=st.integers(0, 4))
    def replicate(self, really: int) -> None:
        """A replica has the room as it is now."""
        if really:
            return
        dumps = {}
        for kind in keys.ROOM_KINDS:
            key = keys.room_key(NAME, kind)
            if (dump := self.raw.dump(key)) is not None:
                dumps[key] = (dump, max(0, self.raw.pttl(key)))
        open_until = self.raw.zscore(keys.open_rooms("acme"), NAME.room)
        self.checkpoint = Checkpoint(dumps, open_until, copy.deepcopy(self.model), dict(self.floors))

    @precondition(lambda self: self.checkpoint is not None)
    @rule(really=st.integers(0, 2), first=hubs, at_once=st.booleans(), noticed=st.booleans())
    def fail_over(self, really: int, first: str, at_once: bool, noticed: bool) -> None:
        """The replica takes over; what was written since is lost. The hubs know more than the store."""
        if really:
            return
        assert self.checkpoint is not None
        self.forget_the_room()
        before, self.model = self.model, self.checkpoint.model
        self.model.wall, self.model.account_limit = before.wall, before.account_limit
        self.model.other_open_until = before.other_open_until
        self.server += noticed
        self.model.asked = f"server-{self.server}"
        for key, (dump, pttl) in self.checkpoint.dumps.items():
            self.raw.restore(key, pttl, dump)
        if self.checkpoint.open_until is not None:
            self.raw.zadd(keys.open_rooms("acme"), {NAME.room: self.checkpoint.open_until})
        self.floors = self.checkpoint.floors
        self.checkpoint = None
        self.forget_the_ended()
        if at_once:
            self.attach(first, 1)

    @rule(
        hub=hubs,
        came=st.lists(
            st.tuples(
                people,
                st.sampled_from(["seated", "held", "waiting"]),
                st.integers(0, 9),
                st.booleans(),
                st.sampled_from([-1, 0, 1]),
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda came: came[0],
        ),
    )
    def reassert(self, hub: str, came: list[tuple[str, str, int, bool, int]]) -> None:
        """A hub that was fenced, or whose store lost the room, says who is there."""
        asserted = []
        for name, had, order, same, joined in came:
            known = self.leases.get(name, [])
            lease = known[-1] if same and known else self.lease(name, hub)
            asserted.append((name, lease, had, order, max(0, self.model.survived + joined)))
        words: list[str] = []

        def expect() -> None:
            words.extend(self.model.reassert(*one) for one in asserted)

        arguments = [part for one in asserted for part in one]
        self.call("reassert", hub, arguments, registered=True, expect=expect)
        if self.last is None or not words or self.model.state == "ended":
            return
        for (name, *_), word, result in zip(asserted, words, self.last.reply.results, strict=True):
            person = self.model.people.get(name)
            if word in ("put_out", "replaced"):
                assert result == [word]
            elif person is not None and person.where == "line":
                assert result == ["waiting", self.model.position(name), person.order, int(word == "lost")]
            elif person is not None and person.where == "hold":
                assert result == ["held", person.held_until - self.model.now + self.model.wall]
            else:
                assert result == ["seated"]

    def come_back(self, hub: str, fenced: int) -> None:
        """Mostly a hub that was fenced attaches before it acts; sometimes it does not know yet."""
        if fenced and hub not in self.model.hubs and self.model.state != "ended":
            self.attach(hub, 1)

    @rule(hub=hubs, names=st.lists(people, min_size=1, max_size=4), fenced=st.integers(0, 4))
    def join(self, hub: str, names: list[str], fenced: int) -> None:
        self.come_back(hub, fenced)
        arrivals = [(name, self.lease(name, hub)) for name in names]
        words: list[str] = []

        def expect() -> None:
            words.extend(self.model.join(name, lease) for name, lease in arrivals)

        self.call("join", hub, [part for pair in arrivals for part in pair], registered=True, expect=expect)
        if self.last is not None and words and self.model.state != "ended" and self.last.verb == "join":
            reply = self.last.reply
            for (name, _), word, result in zip(arrivals, words, reply.results, strict=True):
                if word == "waiting" and self.model.people[name].where == "seat":
                    continue  # came twice in this call
                assert tuple(result)[: 1 if result[0] == "held" else 3] == self.result(name, word)

    @rule(
        hub=hubs,
        name=people,
        back=st.integers(0, 1),
        verb=st.sampled_from(["leave", "away", "claim"]),
        fenced=st.integers(0, 4),
    )
    def lease_verb(self, hub: str, name: str, back: int, verb: str, fenced: int) -> None:
        self.come_back(hub, fenced)
        known = self.leases.get(name, [])
        lease = known[-1 - back] if len(known) > back else f"{hub}.0"

        def expect() -> list[Any]:
            return [getattr(self.model, verb)(name, lease)]

        self.call(verb, hub, [name, lease], registered=True, expect=expect)

    @precondition(lambda self: any(p.lease for p in self.model.people.values()))
    @rule(
        index=st.integers(0, 5),
        where=st.sampled_from(["seat", "line", "hold"]),
        verb=st.sampled_from(["away", "leave", "claim"]),
    )
    def somebody_acts(self, index: int, where: str, verb: str) -> None:
        """Somebody who is connected acts on the lease that they have; those with a held seat as often as the others."""
        connected = [p for p in self.model.people.values() if p.lease]
        there = [p for p in connected if p.where == where] or connected
        person = there[index % len(there)]
        lease = str(person.lease)
        hub = lease.partition(".")[0]
        self.come_back(hub, 1)

        def expect() -> list[Any]:
            return [getattr(self.model, verb)(person.name, lease)]

        self.call(verb, hub, [person.name, lease], registered=True, expect=expect)

    @rule(hub=hubs, came=st.lists(people, max_size=2, unique=True), fenced=st.integers(0, 4))
    def host(self, hub: str, came: list[str], fenced: int) -> None:
        self.come_back(hub, fenced)
        hosts = len(came)

        def expect() -> list[Any]:
            refusal = self.model.host(hub, hosts, came)
            return [refusal] if refusal else []

        self.call("host", hub, [hosts, int(bool(came)), *came], registered=True, expect=expect)

    @rule(hub=hubs, afresh=st.booleans())
    def open(self, hub: str, afresh: bool) -> None:
        def expect() -> list[Any]:
            refusal = self.model.open(afresh)
            return [refusal] if refusal else []

        self.call("open", hub, [int(afresh)], registered=False, expect=expect)

    @rule(hub=hubs, reason=st.sampled_from(["host", "api"]), really=st.integers(0, 9))
    def end(self, hub: str, reason: str, really: int) -> None:
        if really:
            return  # ends are rare, or nothing else is seen
        self.call("end", hub, [reason], registered=False, expect=lambda: self.model.end(reason))

    @rule(hub=hubs, name=people, really=st.integers(0, 2))
    def put_out(self, hub: str, name: str, really: int) -> None:
        if not really:
            self.call("put_out", hub, [name], registered=False, expect=lambda: self.model.put_out(name))

    @rule(hub=hubs)
    def sweep(self, hub: str) -> None:
        self.call("sweep", hub, [], registered=False, expect=lambda: None)

    @rule(seats=limits)
    def change_plan(self, seats: int) -> None:
        self.apply(seats)
        self.model.account_limit = seats

    @rule(ms=st.sampled_from([1, 999, 20_000, 30_000, 60_000, 100_000, 120_000, 900_000]))
    def pass_time(self, ms: int) -> None:
        self.model.wall += ms
        self.forget_the_ended()

    @rule(seconds=st.integers(1, 6), hub=hubs)
    def watch(self, seconds: int, hub: str) -> None:
        """Time passes as it mostly does: a hub sweeps the room every second or two."""
        for _ in range(seconds):
            self.pass_time(1_900)
            self.sweep(hub)

    @rule(ms=st.sampled_from([-3_600_000, -45_000, 45_000]), hub=hubs)
    def step_the_clock(self, ms: int, hub: str) -> None:
        """The server's clock steps, where something is there to keep the room from following it; then the room is swept."""
        if self.model.times.step == 3_000 and self.model.wall + ms > 0:
            self.model.wall += ms
            self.forget_the_ended()
            self.sweep(hub)

    def forget_the_ended(self) -> None:
        """The server's own clock does not follow ours: let it forget an ended room when the model does."""
        if self.model.ended_long_ago:
            self.raw.delete(keys.room_key(NAME, "state"))
            self.model.vanish()

    @rule(hub=hubs, dead=hubs)
    def reap(self, hub: str, dead: str) -> None:
        """A hub dies: it is fenced, and whoever was connected to it is away."""
        if hub == dead or self.model.state == "ended":
            return
        self.come_back(hub, 1)
        self.call("fence", hub, [dead], registered=False, expect=lambda: self.model.fence(dead))
        self.floors.pop(dead, None)
        found = [pair for pair in self.wait(self.rooms[hub].leases(NAME)) if pair[1].startswith(f"{dead}.")]
        expected = {(p.name, p.lease) for p in self.model.people.values() if p.lease and p.lease.startswith(f"{dead}.")}
        assert set(found) == expected
        if found:
            self.call(
                "away",
                hub,
                [part for pair in found for part in pair],
                registered=True,
                expect=lambda: [self.model.away(name, lease) for name, lease in found],
            )

    @rule(hub=hubs)
    def detach(self, hub: str) -> None:
        def expect() -> list[Any]:
            last = set(self.model.hubs) <= {hub}
            if last and (self.model.state == "open" or self.model.people):
                return ["stay"]
            self.model.hubs.pop(hub, None)
            return ["detached"]

        self.call("detach", hub, [], registered=False, expect=expect)

    @rule(open_it=st.booleans())
    def other_room(self, open_it: bool) -> None:
        """Another room of the account takes a session, or gives it back."""
        rooms = self.rooms["h1"]
        if open_it and self.model.state != "open" and self.model.other_open_until <= self.model.wall:
            self.wait(rooms.call("end", OTHER, ["api"], wall_ms=self.model.wall))
            reply = self.wait(rooms.call("open", OTHER, [1], wall_ms=self.model.wall))
            assert reply.room.state == "open"
            self.model.other_open_until = self.model.wall + model.IDLE
        elif not open_it and self.model.other_open_until > self.model.wall:
            self.wait(rooms.call("end", OTHER, ["api"], wall_ms=self.model.wall))
            self.model.other_open_until = 0
        self.raw.delete(keys.hooks("acme"))

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat(self) -> None:
        """The answer got lost, and the call is made again as the same operation: same answer, nothing done."""
        assert self.last is not None
        verb, hub, arguments, operation, reply = self.last
        if self.model.state == "ended" or self.floors.get(hub) != operation:
            return
        assert self.send(verb, hub, arguments, operation) == reply
        assert self.heard() == []

    @precondition(lambda self: self.done)
    @rule(back=st.integers(0, 20))
    def come_late(self, back: int) -> None:
        """A call that its hub gave up is done after all, when the hub has made others."""
        verb, hub, arguments, operation, _ = self.done[max(0, len(self.done) - 1 - back)]
        if operation >= self.floors.get(hub, 0) or verb not in ORDERED:
            return
        assert self.send(verb, hub, arguments, operation) == Reply(status="overtaken")
        assert self.heard() == []

    @invariant()
    def never_oversold(self) -> None:
        """What the server holds, counted anew: each person once, and no seat without an owner."""
        if not hasattr(self, "model"):
            return
        pipe = self.raw.pipeline(transaction=False)
        pipe.hkeys(keys.room_key(NAME, "people"))
        for kind in ("line", "ready", "line_away", "holds", "seat_away"):
            pipe.zrange(keys.room_key(NAME, kind), 0, -1)
        names, line, ready, away, holds, seat_away = map(set, pipe.execute())
        assert line | holds | seat_away <= names
        assert ready | away == line and not ready & away
        assert not line & holds and not seat_away & (line | holds)

    @precondition(lambda self: self.model.state == "ended")
    @rule()
    def report(self) -> None:
        if not self.model.joined and not self.model.turned_away:
            return
        report = self.wait(self.rooms["h1"].report(NAME))
        if report is not None:
            assert {
                "joined": report.joined,
                "turned_away": report.turned_away,
                "peak": report.peak,
            } == self.model.report()


@pytest.mark.timeout(7200)
def test_scripts_agree_with_the_model(each_redis_url: str) -> None:
    machine = type("OnServer", (Machine,), {"url": each_redis_url, "hooks": True, "TestCase": None})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=steps() // 50,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def steps() -> int:
    """Return how many calls to draw for each server: half of CAPACITY_TEST_STEPS, since there are two where Redis is installed."""
    return int(os.environ.get("CAPACITY_TEST_STEPS", "40000")) // 2
