"""One room on one hub: its connections, the calls made for them, and what its feed says to them.

The way of a join: `arrive` queues it, the lane hands a run of joins to `_commit`, one script decides them all, `verbs.answer` tells each.
The way of a change: the feed hands it to `_heard`, `telling.tell` writes one encoded frame to many sockets.

A call's answer and the feed come over different connections, in any order. Both carry the room's revision: a connection is told of no
change up to the revision that it was answered at, and changes that overtook an answer are told again after it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from capacity.errors import ENDED, UNAVAILABLE, UNKNOWN_ACCOUNT, Unavailable
from capacity.hub import coming_back, telling, verbs
from capacity.hub.connection import Connection
from capacity.hub.forecast import Forecast
from capacity.hub.host_view import HostView
from capacity.hub.lane import Lane, Operation
from capacity.hub.limit_watch import LimitWatch
from capacity.hub.waiting_line import WaitingLine
from capacity.protocol import codec
from capacity.protocol.messages import (
    Ended,
    EndedReason,
)
from capacity.store import keys
from capacity.store.keys import RoomName
from capacity.store.rooms import Change, Reply, Snapshot, decode_change

if TYPE_CHECKING:
    from capacity.hub.account import LiveAccount
    from capacity.hub.hub import Hub

DETACH_AFTER_SECONDS = 5.0
FENCED_MAX = 5
STRANGERS_EVERY_SECONDS = 10.0

log = structlog.get_logger(__name__)


class LiveRoom:
    """A room that this hub watches, with or without connections."""

    def __init__(self, hub: Hub, name: RoomName, account: LiveAccount) -> None:
        self.hub = hub
        self.name = name
        self.account = account
        self.lane = Lane(self._commit)
        self.by_lease: dict[str, Connection] = {}
        """Every attendee connection that is not closed."""
        self.attendees: dict[str, Connection] = {}
        """Participant → the newest connection that was answered."""
        self.hosts = HostView(self)
        self.line = WaitingLine(self)
        self.snapshot: Snapshot | None = None
        self._forecast = Forecast()
        self._limit_watch = LimitWatch(self)
        self._early: list[bytes] = []
        self._overtaking: list[Change] | None = None
        self._behind: int | None = None
        self._used_at = self._looked_at = self.hub.clock()
        self._fenced = 0
        self.started = False
        """Whether the hub may act here: before that, neither a tick nor a recovery has anything to do."""
        self._due: asyncio.TimerHandle | None = None
        self._reaping: dict[str, asyncio.Future[bool]] = {}

    # ---- what others see

    @property
    def seat_limit(self) -> int:
        """The seat limit as last heard."""
        return self.snapshot.seat_limit if self.snapshot is not None else 0

    @property
    def fields(self) -> dict[str, str]:
        """Return what a log line says of the room."""
        return {"account": self.name.account, "room": self.name.room}

    def newest(self, snapshot: Snapshot) -> Snapshot:
        """Return what the feed has said meanwhile, if it overtook an answer."""
        heard = self.snapshot
        overtaken = heard is not None and heard.epoch == snapshot.epoch and heard.revision > snapshot.revision
        return heard if heard is not None and overtaken else snapshot

    @property
    def idle(self) -> bool:
        """Nobody is connected here."""
        return not self.by_lease and not self.hosts.everybody

    def eta_seconds(self, position: int) -> float | None:
        """Estimate how long somebody at a position will wait."""
        return self._forecast.eta_seconds(self.hub.clock(), position)

    def full_in_seconds(self, free: int) -> float | None:
        """Estimate when the room will be full."""
        return self._forecast.full_in_seconds(self.hub.clock(), free)

    def connections(self) -> list[Connection]:
        """Return every connection, answered or not."""
        return [*self.by_lease.values(), *self.hosts.everybody]

    # ---- life

    async def start(self) -> None:
        """Watch the room: index first, then the feed, then the right to act, so that nothing in between is missed."""
        try:
            async with self.hub.store.turn():
                if self.account.known is None and not await self.account.load():
                    self._refuse_all()
                    return
                await self.hub.index_room(self.name)
                await self.hub.feed.subscribe(keys.room_key(self.name, "feed"), self._heard)
                await self.account.listen()
                reply = await self.attach()
        except Exception as error:  # whatever it was, whoever waits here must not wait for ever
            for connection in self.connections():
                connection.close(UNAVAILABLE)
            self.hub.drop_room(self)
            if not isinstance(error, Unavailable):
                log.error("room_not_started", **self.fields, error=f"{type(error).__name__}: {error}")
            else:
                self.hub.store_lost()
            return
        if reply.status == "unknown_account":
            self._refuse_all()
        elif reply.status == "ended" and reply.room is not None:
            self.end(reply.room.ended_reason or "api")
        else:
            self.started = True
            self.hub.store.let(self.lane)

    def arrive(self, connection: Connection) -> None:
        """Take a new connection in."""
        self._used_at = connection.arrived_at = self.hub.clock()
        if connection.is_host:
            self.hosts.everybody[connection] = None
            self.lane.add("host", connection)
        else:
            self.by_lease[connection.lease] = connection
            self.lane.add("join", connection)

    def ask_pass(self, connection: Connection) -> None:
        """Give a pass to who is seated: after what they asked for before, or at once while that cannot be done; it needs no store."""
        if self.hub.usable:
            self.lane.add("pass", connection)
        else:
            verbs.answer_pass(self, connection)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is closed."""
        self._used_at = self.hub.clock()
        if connection.is_host:
            self.hosts.everybody.pop(connection, None)
        else:
            self.by_lease.pop(connection.lease, None)
            if self.attendees.get(connection.claims.participant) is connection:
                del self.attendees[connection.claims.participant]
            if self.hub.traces is not None:
                self.hub.traces.moved(connection)
        self.line.paid(connection)

    def tick(self) -> None:
        """Once a second: what is due, and whether the feed kept up."""
        behind = self._behind is not None and self.snapshot is not None and self.snapshot.revision < self._behind
        if behind and self.hub.feed.live:  # while the feed is lost nothing else is to be expected
            log.warning("feed_behind", **self.fields, expected=self._behind)
            self._behind = None
            self.resync()
        elif self.idle and self.hub.clock() - self._used_at > DETACH_AFTER_SECONDS:
            self.lane.add("detach")
        else:
            self.lane.add("sweep")
        if self.started and self.hub.clock() - self._looked_at > STRANGERS_EVERY_SECONDS:
            self._looked_at = self.hub.clock()
            self.hub.spawn(coming_back.look_around(self))

    def resync(self) -> None:
        """Something may have been missed: say who is here, and learn where they stand, before anything else is done."""
        self._limit_watch.forget()
        self.lane.add("resync", first=True)

    def end(self, reason: EndedReason) -> None:
        """Tell everybody that the room ended, and let it go."""
        if self.started:
            self.started = False
            log.info("room_ended", **self.fields, reason=reason, connections=len(self.connections()))
        frame = codec.frame(Ended(room=self.name.room, reason=reason))
        for connection in self.connections():
            connection.socket.send(frame)
            connection.close(ENDED)
        self.hub.drop_room(self, over=True)

    async def reap(self, dead: str) -> bool:
        """Make a dead hub's participants away; False if the room was let go before that was done."""
        done = self._reaping.get(dead)
        if done is None:
            done = self._reaping[dead] = asyncio.get_running_loop().create_future()
        self.lane.add("reap", detail=dead)
        return await asyncio.shield(done)

    def reaped(self, dead: str, done: bool) -> None:
        """Say so to who waits in `reap`."""
        future = self._reaping.pop(dead, None)
        if future is not None:
            future.set_result(done)

    def close(self, *, over: bool = False) -> None:
        """Stop everything that this room has running. `over`: there is nobody in it any more, whosever they were."""
        for dead in list(self._reaping):
            self.reaped(dead, over)
        if self._due is not None:
            self._due.cancel()
        self.lane.cancel()
        self.line.cancel()
        self.hosts.cancel()

    def refuse_waiting(self) -> None:
        """Send away who has not been answered and whom no call was made for: that could not be done soon."""
        dropped = self.lane.drop(("join", "host"))
        for _, connection, _ in dropped:
            if connection is not None and connection.state == "joining":
                connection.close(UNAVAILABLE)
        if any(verb == "host" for verb, _, _ in dropped):
            self.lane.add("host")

    def _refuse_all(self) -> None:
        for connection in self.connections():
            connection.close(UNKNOWN_ACCOUNT)
        self.hub.drop_room(self, over=True)

    # ---- the way of a call

    async def call(self, verb: str, arguments: list[str | int]) -> Reply:
        """Call a script, and once more as the same operation if the answer got lost."""
        operation = self.hub.rooms.operation()
        try:
            return await self.hub.rooms.call(verb, self.name, arguments, operation=operation)
        except Unavailable:
            if not self.hub.store.answers:
                raise  # not to be asked again before it was looked at
            return await self.hub.rooms.call(verb, self.name, arguments, operation=operation)

    async def _commit(self, verb: str, run: list[Operation]) -> None:
        if verb in ("resync", "reap"):
            try:
                await (coming_back.resync(self) if verb == "resync" else coming_back.reap(self, run))
            except Exception as error:  # a bug must not end the lane with a traceback
                log.error("call_failed", **self.fields, verb=verb, error=f"{type(error).__name__}: {error}")
            return
        self._overtaking = []
        called_at, replied_at = self.hub.clock(), None
        try:
            reply = None
            if verb != "pass":
                reply = await self.call(verb, verbs.arguments(self, verb, run))
                replied_at = self.hub.clock()
                if reply.status in ("fenced", "unknown_account"):
                    await self._return_after_fence(run)
                    return
                self._fenced = 0
            verbs.answer(self, verb, run, reply)
            if reply is not None and reply.room is not None:
                self._after(reply.room)
            overtaking, self._overtaking = self._overtaking, None
            if reply is not None and reply.room is not None and verb == "join":
                joined = {operation.connection for operation in run if operation.connection is not None}
                for change in overtaking:
                    if change.revision > reply.room.revision:
                        telling.tell(self, change, lambda c: c in joined)
                        if change.moved:
                            self.line.moved()
        except Unavailable:
            verbs.fail(self, verb, run)
            self.hub.store_lost()
        except Exception as error:
            # a bug must cost this call, not the room: whoever waits for it is sent away to come again
            log.error("call_failed", **self.fields, verb=verb, error=f"{type(error).__name__}: {error}")
            verbs.fail(self, verb, [operation for operation in run if operation.verb not in ("leave", "away")])
        finally:
            self._overtaking = None
            if verb == "join" and self.hub.traces is not None:
                told = [c for _, c, _ in run if c is not None and c.state != "joining"]
                self.hub.traces.answered(told, called_at, replied_at)

    async def _return_after_fence(self, run: list[Operation]) -> None:
        """The room does not know this hub: it was taken for dead, or the store lost the room. Come back, then do the run."""
        self._fenced += 1
        self.hub.stats.fenced += 1
        if self._fenced > FENCED_MAX:
            self._fenced = 0
            raise Unavailable("fenced again and again")
        self.lane.put_back(run)
        await coming_back.resync(self)

    def _await_due(self, snapshot: Snapshot) -> None:
        """Sweep at the instant at which something will be due, and not only at the next tick."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if snapshot.due_at is not None:
            delay_seconds = max(0, snapshot.due_at - snapshot.at) / 1000
            self._due = asyncio.get_running_loop().call_later(delay_seconds, self.lane.add, "sweep")

    def _after(self, snapshot: Snapshot) -> None:
        self._await_due(snapshot)
        if snapshot.more:
            self.lane.add("sweep")
        if self.snapshot is not None and snapshot.epoch != self.snapshot.epoch and self.snapshot.revision > 0:
            self.resync()
        elif self.snapshot is not None and snapshot.revision > self.snapshot.revision:
            self._behind = snapshot.revision

    async def detached(self) -> None:
        """The store let this hub go: leave the index, unless somebody came meanwhile."""
        await self.hub.unindex_room(self.name)
        if self.idle:
            self.hub.drop_room(self)
        else:
            await self.hub.index_room(self.name)
            self.resync()

    # ---- coming back

    async def attach(self) -> Reply:
        """Register this hub with the room, and tell what the room has missed meanwhile or what the store has lost."""
        known = self.snapshot
        was_open = int(known is not None and known.state == "open")
        written = known is not None and known.revision > 0
        history = (known.epoch, known.revision) if known is not None and written else ("", 0)
        reply = await self.call("attach", [was_open, *history])
        after, before = reply.room, self.snapshot
        if after is not None and (before is None or after.epoch != before.epoch or after.revision >= before.revision):
            self.snapshot = after
            self._behind = None
        early, self._early = self._early, []
        for raw in early:
            self._heard(raw)
        if before is not None and self.snapshot is not None:
            coming_back.heal(self, self.snapshot)
        return reply

    # ---- the way of a change

    def _heard(self, raw: bytes) -> None:
        change = decode_change(raw)
        known = self.snapshot
        if known is None:
            self._early.append(raw)  # it overtook the answer of the attach under way
            return
        if known.revision > 0 and change.epoch == known.epoch and change.revision <= known.revision:
            return
        another_history = known.revision > 0 and change.epoch != known.epoch
        if change.revision != known.revision + 1 or another_history:
            self.hub.stats.gaps += 1
            log.warning("feed_gap", **self.fields, revision=known.revision, heard=change.revision)
            self.resync()
        if another_history:
            # What is known stays until the room was asked: it may be this history that lost something.
            if change.revision > known.revision:
                telling.tell(self, change, lambda c: c.revision < change.revision)
            return
        self.snapshot = change
        self._await_due(change)
        if self._overtaking is not None:
            self._overtaking.append(change)
        self._forecast.saw(self.hub.clock(), change.occupied, sum(len(o.participants) for o in change.offers))
        began_at_ms, refreshes = self.hub.now_ms(), self.hub.stats.refreshes
        telling.tell(self, change, lambda c: c.revision < change.revision)
        self._limit_watch.told(change, began_at_ms, self.hub.stats.refreshes - refreshes)
        if change.opened:
            log.info("room_opened", **self.fields, seat_limit=change.seat_limit)
        if change.near is not None:
            self.hosts.tell_near(change.near, change)
        elif change.cleared:
            self.hosts.tell_cleared(change)
        self.hosts.changed()
        if change.moved:
            self.line.moved()
        elif change.waiting != known.waiting:
            self.line.counted()
