"""Those who connect: attendees and hosts, who do what the contract says a client should, and now and then what one should not."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from capacity.protocol.messages import Claim, End, Leave, Open
from capacity.protocol.tokens import Claims
from capacity.store.keys import RoomName
from tests.simulation.wire import Event, Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

ANSWERED_WITHIN_SECONDS = 8.0
RETRY_SECONDS_MAX = 6.0
NEVER = 1e12
STAY = -1.0


class Said(NamedTuple):
    """One line of a person's log. `connection`: which of theirs, counted from 1; `kind`: the type of a message that came, or `connect`,
    `drop`, `leave`, `close`, `lost`, `give_up`.
    """

    at: float
    connection: int
    kind: str
    fields: dict[str, Any]


class Person:
    """Somebody with a token for one room."""

    role = "attendee"

    def __init__(self, world: World, name: str, room: RoomName) -> None:
        self.world = world
        self.name = name
        self.room = room
        self.random = random.Random(f"{world.seed} {name}")
        self.log: list[Said] = []
        self.wire: Wire | None = None
        self.older: list[Wire] = []
        """Connections that a newer one should have replaced."""
        self.connections = 0
        self.state = ""
        """What they were told last: seated, waiting, held."""
        self.told: dict[str, Any] = {}
        """The last fields of each kind on this connection."""
        self.limit: int | None = None
        self.held_until = 0
        self._attempt = 0
        self._asked = False

    @property
    def open_wires(self) -> list[Wire]:
        """All connections that stand; but for a moment there is one at the most, and an older one only where nobody told it that it
        was replaced before the newer one left.
        """
        return [wire for wire in (*self.older, self.wire) if wire is not None and wire.open]

    # ---- connecting

    async def live(self) -> None:
        """Come, and come back, until they have had enough."""
        await asyncio.sleep(self.random.uniform(0, self.world.scenario.arrive_seconds))
        while True:
            seconds = await self.visit()
            if seconds is None:
                self.wire = None
                return
            self.state = ""
            await asyncio.sleep(seconds)

    async def visit(self) -> float | None:
        """Connect once, and return after how long to come back; None for never."""
        node = self.world.door(self.random)
        if node is None:
            return 0.5
        self.connections += 1
        self.told, self.limit, self.state, self._asked = {}, None, "", False
        claims = Claims(self.name, self.room.account, self.room.room, self.role, 2**52, None, self.role == "host")  # type: ignore[arg-type]
        self.wire = Wire(node, claims, self.random)
        self.note("connect", hub=node.name)
        return await self.stay(self.wire)

    async def stay(self, wire: Wire) -> float | None:
        """Live through one connection."""
        loop = self.world.loop
        answer_by = loop.time() + ANSWERED_WITHIN_SECONDS
        act_at = self._next_action()
        while True:
            if self.world.quiet:
                act_at = NEVER
            event = await wire.next(act_at if self.told else answer_by)
            if event is not None:
                if event[0] in ("close", "lost"):
                    self.note(event[0], **event[1])
                    return self.after(event)
                self.note(event[0], **event[1])
                self.told[event[0]] = event[1]
                if (seconds := await self.hear(wire, *event)) is not None:
                    return seconds
            elif not self.told:
                self.note("give_up")
                wire.drop()
                return self.backoff()
            elif not self.world.quiet:
                act_at = self._next_action()
                decided = await self.act(wire)
                if decided != STAY:
                    return decided

    def after(self, event: Event) -> float | None:
        """Return when to come back after the connection was ended by the other side."""
        kind, fields = event
        code = fields.get("code")
        if kind == "lost" or code in (1013, 4429, 4404):
            return self.backoff()
        if code == 1012:
            return self.random.uniform(0, 2.0)
        if code == 4410 and not self.world.quiet and self.random.random() < 0.6:
            return self.random.uniform(1, 8)  # looks whether the room is open again
        return None

    def backoff(self) -> float:
        """Return a random time that grows with each attempt."""
        self._attempt += 1
        return self.random.uniform(0, min(RETRY_SECONDS_MAX, 0.5 * 2**self._attempt))

    def note(self, kind: str, **fields: Any) -> None:
        """Write a line into the log."""
        said = Said(self.world.loop.time(), self.connections, kind, fields)
        self.log.append(said)
        self.world.saw(self, said)

    def _next_action(self) -> float:
        return self.world.loop.time() + self.random.expovariate(1 / self.world.scenario.act_every_seconds)

    # ---- an attendee

    async def hear(self, wire: Wire, kind: str, fields: dict[str, Any]) -> float | None:
        """Take a message; returns when to come back, if it makes them reload."""
        self._attempt = 0
        if "seat_limit" in fields:
            self.limit = fields["seat_limit"]
        if kind == "seated" or (kind == "error" and fields["code"] == "nothing_held"):
            self._asked = False
        if kind in ("seated", "waiting"):
            self.state = kind
        elif kind == "refresh":
            self.state = "held"
            self.held_until = fields["held_until"]
            return await self._take_seat(wire, fields)
        return None

    async def _take_seat(self, wire: Wire, refresh: dict[str, Any]) -> float | None:
        if self._asked:
            return None  # has claimed it already, and reads the answer
        mood = 0.0 if self.world.quiet else self.random.random()
        if mood > 0.9:
            return None  # does not look at the screen
        longest = refresh["spread_ms"] / 1000 if mood < 0.7 else refresh["hold_seconds"] * 0.9
        await asyncio.sleep(self.random.uniform(0, longest))
        if not wire.open:
            return None  # the events say why
        if self.random.random() < 0.3:
            self.note("claim")
            wire.say(Claim())
            return None
        self.note("drop")
        wire.drop()
        return self.random.uniform(0, 0.3)

    async def act(self, wire: Wire) -> float | None:
        """Do something of their own: returns when to come back (None: never), or STAY."""
        what = self.random.choices(
            ("leave", "drop", "stay_away", "vanish", "unnoticed", "second_tab", "claim", "host"),
            (3, 8, 3, 2, 2, 4, 2, 0.4),
        )[0]
        if what == "claim":
            self._asked = True
            self.note("claim")
            wire.say(Claim())
            return STAY
        if what == "leave":
            return await self._leave(wire)
        if what == "second_tab":
            self.older.append(wire)
            self.note("second_tab")
            return 0.0
        if what == "host" and self.role == "attendee" and self.random.random() < 0.5:
            self.note("drop")
            wire.drop()
            await self._be_host()
            return self.random.uniform(0, 3)
        self.note("drop", unnoticed=what == "unnoticed")
        wire.drop(self.random.uniform(1, 12) if what in ("vanish", "unnoticed") else 0.0)
        if what == "vanish":
            return None
        times = self.world.scenario.times
        longest = (times.grace + times.place) / 1000 if what == "stay_away" else times.grace / 2000
        return self.random.uniform(0, longest)

    async def _leave(self, wire: Wire) -> float | None:
        self.note("leave")
        wire.say(Leave())
        until = self.world.loop.time() + 3
        while (event := await wire.next(until)) is not None:
            self.note(event[0], **event[1])
            if event[0] in ("close", "lost"):
                break
        else:
            wire.drop()
        return None if self.random.random() < 0.4 else self.random.uniform(1, 10)

    async def _be_host(self) -> None:
        """Come as a host for a while: the seat is given up."""
        node = self.world.door(self.random)
        if node is None:
            return
        self.note("host")
        wire = Wire(node, Claims(self.name, self.room.account, self.room.room, "host", 2**52), self.random)
        until = self.world.loop.time() + self.random.uniform(0.5, 4)
        while (event := await wire.next(until)) is not None:
            if event[0] in ("close", "lost"):
                break
        wire.drop()
        self.note("host_gone")


class Host(Person):
    """Somebody who opens the room and looks at it."""

    role = "host"

    def __init__(self, world: World, name: str, room: RoomName) -> None:
        super().__init__(world, name, room)
        self.level = ""
        """Which near-full level they were told stands."""

    async def visit(self) -> float | None:
        """Connect once, and look."""
        self.level = ""
        return await super().visit()

    async def hear(self, wire: Wire, kind: str, fields: dict[str, Any]) -> float | None:
        """Take a message."""
        self._attempt = 0
        if fields.get("room", self.room.room) != self.room.room:
            return None
        if kind in ("occupancy", "seat_limit"):
            self.limit = fields["seat_limit"]
        if kind == "near_full":
            self.level = fields["level"]
        elif kind == "near_full_cleared":
            self.level = ""
        elif kind == "error" and not self.world.quiet:
            await asyncio.sleep(self.random.uniform(0.5, 3))
            wire.say(Open())
        return None

    async def act(self, wire: Wire) -> float | None:
        """Do something of their own."""
        what = self.random.choices(("end", "open", "leave", "drop", "unnoticed"), (0.3, 1, 1, 3, 1))[0]
        self.note(what)
        if what == "end" and self.random.random() < self.world.scenario.ends:
            wire.say(End())
        elif what == "open":
            wire.say(Open())
        elif what == "leave":
            return await self._leave(wire)
        elif what in ("drop", "unnoticed"):
            wire.drop(self.random.uniform(1, 8) if what == "unnoticed" else 0.0)
            return self.random.uniform(0, 6)
        return STAY
