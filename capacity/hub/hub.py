"""The hub: the living part of one process. It owns the connections, watches their rooms, and knows whether the store can be used.

Start reading at `connect` for the way in; `availability.py` is for a store that goes away, `reaper.py` for a hub that dies.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from capacity.errors import OVERLOADED, RESTARTING, UNAVAILABLE, Close, ErrorCode, Refused, SettingError, Unavailable
from capacity.hub import gauges, rounds
from capacity.hub.account import LiveAccount
from capacity.hub.availability import Availability
from capacity.hub.connection import Connection
from capacity.hub.consumer import Consumer
from capacity.hub.gauges import Gauges
from capacity.hub.liveness import Liveness
from capacity.hub.pulse import Pulse
from capacity.hub.readiness import Readiness
from capacity.hub.reaper import Reaper
from capacity.hub.room import LiveRoom
from capacity.hub.socket import Socket
from capacity.hub.stats import Stats
from capacity.hub.status import Status
from capacity.hub.traces import Traces
from capacity.protocol.answers import ParticipantState
from capacity.protocol.messages import Occupancy, Pass, Upgrade
from capacity.protocol.passes import PassKey
from capacity.protocol.reports import Report
from capacity.protocol.tokens import Claims
from capacity.store import keys, pass_keys
from capacity.store.feed import Feed
from capacity.store.keys import RoomName
from capacity.store.plan_changes import PlanChanges
from capacity.store.redis import Clients
from capacity.store.rooms import Account, Reply, Rooms, Rules, Snapshot
from capacity.store.scripts import guarded
from capacity.store.tasks import end

TICK_SECONDS = 1.0
FEED_SILENT_SECONDS_MAX = 3.0
"""Without a beacon of its own for so long a hub is deaf, whatever else the store still answers."""
ROOM_UNANSWERED_MAX = 10_000
"""How many may wait for an answer in a room, before those who come there are sent away: some seconds of the store's work."""

Offer = Callable[[Account | None, int, int], Upgrade | None]
"""(account as it is known, seats now, seats wanted) → the plan that would fit, and what it costs today if that is known."""

log = structlog.get_logger(__name__)


class Hub:
    """One process's share of all rooms."""

    def __init__(
        self,
        clients: Clients,
        rules: Rules,
        lease_seconds: float,
        offer: Offer,
        *,
        audit: bool = False,
        id: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`audit`: the scripts write down what they change. `id` and `clock` (monotonic, seconds) are given by simulations."""
        self.id = id or secrets.token_hex(5)
        self.clock = clock
        self.clients = clients
        self.stats = Stats(clock)
        self.rooms = Rooms(
            clients.scripts, rules, self.id, audit=audit, server=lambda: clients.server, timer=self.stats.calls
        )
        self.hold_ms = rules.hold_ms
        self.offer = offer
        self.feed = Feed(clients, self.id, self._gap)
        self.status = Status(self)
        self.traces: Traces | None = None
        """Who is told what took how long; None: nobody."""
        self.pass_key: PassKey | None = None
        self.stream = PlanChanges(clients, self.id, self.stats.calls)
        self._consumer = Consumer(self, self.stream, max(1000, int(lease_seconds * 1000)))
        self.store = Availability(self)
        self._pulse = Pulse(clock, self._stood_still, lambda: self.readiness.look(), self.stats.loop_lag)
        self.readiness = Readiness(self, self._pulse)
        self._liveness = Liveness(clients.scripts, self.id, lease_seconds, clock, self.stats.calls)
        self.reaper = Reaper(self, self._liveness, lease_seconds)
        self._live: dict[RoomName, LiveRoom] = {}
        self._accounts: dict[str, LiveAccount] = {}
        self._numbers = 0
        self.overloaded = False
        """Whether more is asked of the store than it answers; the edge turns handshakes away meanwhile."""
        self.draining = False
        self._consuming = False
        self._tasks: dict[asyncio.Task[None], None] = {}

    # ---- life

    async def start(self) -> None:
        """Begin; returns at once. The hub is ready when `problems` is empty."""
        self._pulse.start()
        await self.feed.start()
        self.store.start()
        self.spawn(self._tick())

    async def stop(self) -> None:
        """End everything. Leases stay: the grace carries participants to another hub, or to this one after its restart."""
        self.drain()
        self._pulse.stop()
        await end(list(self._tasks))
        if self.store.answers:
            await self._liveness.leave(self.status.say())
        await self.feed.stop()
        for room in list(self._live.values()):  # what the feed still brought may have set one to work again
            room.close()
        await end(list(self._tasks))
        await self.clients.aclose()

    def drain(self) -> None:
        """Take nobody new, and tell everybody to come back elsewhere; seats and places are kept."""
        if self.draining:
            return
        self.draining = True
        log.info("draining", connections=self.connections)
        for room in list(self._live.values()):
            for connection in room.connections():
                connection.close(RESTARTING)
            room.close()

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Run something beside; a bug in it is logged, and an unusable store noted."""

        async def run() -> None:
            try:
                await work
            except Unavailable:
                self.store_lost()
            except Exception as error:
                log.error("task_failed", error=f"{type(error).__name__}: {error}")

        def forget(ended: asyncio.Task[None]) -> None:
            self._tasks.pop(ended, None)
            work.close()  # of a task that was cancelled before it began

        task = asyncio.get_running_loop().create_task(run())
        self._tasks[task] = None
        task.add_done_callback(forget)

    def now_ms(self) -> int:
        """Return the wall clock, for tokens and passes; nothing about seats depends on it."""
        return int(time.time() * 1000)

    # ---- what the edge asks

    @property
    def connections(self) -> int:
        """Live connections."""
        return sum(len(room.by_lease) + len(room.hosts.everybody) for room in self._live.values())

    @property
    def unanswered(self) -> int:
        """What was asked for and has not been answered yet, in all rooms."""
        return sum(len(room.lane) for room in self._live.values())

    def gauges(self) -> Gauges:
        """Return what there is at the moment, in numbers."""
        return gauges.look(self)

    def problems(self) -> list[str]:
        """Return why this hub should get no new connections; nothing if it is ready."""
        return self.readiness.problems()

    def connect(self, socket: Socket, claims: Claims) -> Connection:
        """Take a connection whose token was checked; it is answered through the socket, later. Refuses services."""
        assert claims.room is not None
        name = RoomName(claims.account, claims.room)
        self._numbers += 1
        lease = f"{self.id}.{self._numbers:x}"
        refusal = self._refusal()
        if refusal is not None:
            nowhere = LiveRoom(self, name, LiveAccount(self, claims.account))
            connection = Connection(nowhere, socket, claims, lease)
            connection.close(refusal)
            return connection
        room = self.watched(name)
        connection = Connection(room, socket, claims, lease)
        if len(room.lane) > ROOM_UNANSWERED_MAX:
            connection.close(OVERLOADED)
        else:
            room.arrive(connection)
        return connection

    def issue_pass(self, claims: Claims) -> Pass | None:
        """Return a seat pass; None while the key that signs them could not be had from the store."""
        return self.pass_key.issue(claims, self.now_ms()) if self.pass_key is not None else None

    # ---- what HTTP asks

    async def occupancy(self, account: str, room: str) -> Occupancy:
        """Return the room as it is now. Raises Refused (unknown_account) or Unavailable, like all that follow."""
        snapshot = _shown(await self._call("sweep", RoomName(account, room)))
        return snapshot.occupancy(room)

    async def open(self, account: str, room: str) -> Occupancy:
        """Open the room; an ended one starts afresh. Twice is once. Refused: concurrent_sessions_reached."""
        name = RoomName(account, room)
        if await self.rooms.account(account) is None:
            raise Refused(ErrorCode.UNKNOWN_ACCOUNT)
        await self.index_room(name)
        reply = await self._call("open", name, [1])
        if reply.results:
            if name not in self._live:
                await self.unindex_room(name)
            raise Refused(ErrorCode(reply.results[0]))
        self.watched(name)
        return _shown(reply).occupancy(room)

    async def end(self, account: str, room: str) -> Occupancy:
        """End the room. Twice is once."""
        return _shown(await self._call("end", RoomName(account, room), ["api"])).occupancy(room)

    async def report(self, account: str, room: str) -> Report:
        """Return the report of the room's last run. Refused: no_report."""
        _shown(await self._call("sweep", RoomName(account, room)))
        report = await self.rooms.report(RoomName(account, room))
        if report is None:
            raise Refused(ErrorCode.NO_REPORT)
        return report

    async def participant(self, account: str, room: str, participant: str) -> ParticipantState:
        """Return where a participant stands. Refused: unknown_participant."""
        name = RoomName(account, room)
        _shown(await self._call("sweep", name))
        found = await self._inspect(name, participant)
        if found.state == "absent":
            raise Refused(ErrorCode.UNKNOWN_PARTICIPANT)
        return found

    async def put_out(self, account: str, room: str, participant: str) -> ParticipantState:
        """Put a participant out and keep them out, whether or not they are there. Twice is once."""
        name = RoomName(account, room)
        _shown(await self._call("put_out", name, [participant]))
        return await self._inspect(name, participant)

    async def accept_event(self, event: bytes) -> None:
        """Write a plan-changed event to the stream; it is there when this returns."""
        await self.stream.append(event)

    async def _call(self, verb: str, name: RoomName, arguments: list[str | int] | None = None) -> Reply:
        return await self.rooms.call(verb, name, arguments or [])

    async def _inspect(self, name: RoomName, participant: str) -> ParticipantState:
        reply = await self._call("inspect", name, [participant])
        _shown(reply)
        state, number, _ = reply.results[0]
        waiting, held = state == "waiting", state == "held"
        return ParticipantState(participant, state, int(number) if waiting else None, int(number) if held else None)

    # ---- rooms

    def live_rooms(self) -> list[LiveRoom]:
        """Return the rooms that this hub watches."""
        return list(self._live.values())

    def watched(self, name: RoomName) -> LiveRoom:
        """Return a room, which this hub watches from now on if it did not."""
        room = self._live.get(name)
        if room is None:
            account = self._accounts.setdefault(name.account, LiveAccount(self, name.account))
            room = self._live[name] = LiveRoom(self, name, account)
            account.rooms[room] = None
            self.spawn(room.start())
        return room

    async def index_room(self, name: RoomName) -> None:
        """Write down that this hub watches a room, before it acts there: should it die, another takes the room over."""
        await guarded(self.clients.scripts.sadd(keys.hub_rooms(self.id), f"{name.account} {name.room}"))

    async def unindex_room(self, name: RoomName) -> None:
        """Take a room off the list."""
        await guarded(self.clients.scripts.srem(keys.hub_rooms(self.id), f"{name.account} {name.room}"))

    def drop_room(self, room: LiveRoom, *, over: bool = False) -> None:
        """Let a room go that is over (ended, or of no account), or that nobody here needs."""
        if self._live.get(room.name) is not room:
            return
        del self._live[room.name]
        room.close(over=over)
        room.account.rooms.pop(room, None)
        self.spawn(self._forget_room(room))

    async def _forget_room(self, room: LiveRoom) -> None:
        account = room.account
        if room.name not in self._live:
            await self.feed.unsubscribe(keys.room_key(room.name, "feed"))
            await self.unindex_room(room.name)
        if room.name in self._live:  # somebody came back meanwhile: make sure that nothing was taken away from them
            await self.index_room(room.name)
            if (successor := self._live.get(room.name)) is not None:
                successor.resync()
        if not account.rooms and self._accounts.get(account.id) is account:
            del self._accounts[account.id]
            await self.feed.unsubscribe(keys.account_feed(account.id))

    # ---- the store's state

    @property
    def usable(self) -> bool:
        """Whether the store can be used, and anybody new may come."""
        return self.store.usable

    def store_lost(self, why: str = "a call failed") -> None:
        """The store cannot be used: connections stay and are told once; calls wait; nobody new is let in."""
        self.store.lose(why)

    async def reach_store(self) -> None:
        """Return when everything that this hub needs of the store was there. Raises Unavailable."""
        await self.clients.schema.agree()
        await self._liveness.beat(self.status.say())
        await self.clients.meet_servers()
        await self._load_pass_key()
        await self.feed.ready()
        for account in list(self._accounts.values()):
            await account.load()  # of a cluster, every node that this hub needs must answer

    def came_back(self) -> None:
        """The store answers."""
        self.spawn(self.watch_index())
        self.clients.watch_servers(self.store.other_server)
        if not self._consuming:
            self._consuming = True
            self.spawn(self._consumer.run())

    async def _load_pass_key(self) -> None:
        try:
            self.pass_key = await pass_keys.load_or_create(self.clients.scripts, self.pass_key)
        except SettingError as error:  # passes cannot be had, everything else can
            log.error("pass_key_unusable", error=str(error))

    async def watch_index(self) -> None:
        """Watch every room that the store says this hub does: a loss may have brought one back that it had let go."""
        for member in await guarded(self.clients.scripts.smembers(keys.hub_rooms(self.id))):
            account, _, room = member.decode().partition(" ")
            name = RoomName(account, room)
            if name not in self._live:
                self.watched(name).resync()

    def _gap(self) -> None:
        for account in list(self._accounts.values()):
            self.spawn(account.load())
        for room in list(self._live.values()):
            room.resync()

    def _refusal(self) -> Close | None:
        if self.draining:
            return RESTARTING
        return UNAVAILABLE if not self.usable or self._pulse.late else None

    # ---- once a second

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(min(TICK_SECONDS, self._liveness.look_in_seconds()))
            if not self.store.answers:
                continue  # whoever tries to reach the store beats
            try:
                if min(self.feed.silent_seconds(), self.store.answers_seconds) > FEED_SILENT_SECONDS_MAX:
                    self.store_lost("the feed is silent")
                else:
                    await self._beat()
            except Unavailable:
                self.store_lost("no answer to a beat")
            except Exception as error:  # a hub that no longer beats is taken for dead
                log.error("tick_failed", error=f"{type(error).__name__}: {error}")

    async def _beat(self) -> None:
        if not await self._liveness.beat(self.status.say()):
            log.warning("hub_forgotten")
            self.spawn(self.watch_index())
            self._gap()
        self.spawn(rounds.go(self.live_rooms(), lambda room: self._live.get(room.name) is room))
        self.reaper.look()

    def _stood_still(self, seconds: float) -> None:
        log.warning("loop_stood_still", seconds=round(seconds, 1))
        self.store_lost("this process stood still")


def _shown(reply: Reply) -> Snapshot:
    if reply.room is None:
        raise Refused(ErrorCode.UNKNOWN_ACCOUNT)
    return reply.room
