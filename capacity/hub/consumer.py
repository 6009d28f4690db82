"""Plan-changed events, from the stream to the rooms. At least once, from any hub; applying one twice changes nothing.

An entry is settled, that is acknowledged and its verdict written down, when its account has the new limit and every open room of it has
been swept, so that a crash at any point leaves work that somebody takes over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from capacity.errors import ErrorCode, Unavailable
from capacity.hub import traces
from capacity.hub.traces import PlanChangeTrace
from capacity.protocol import events
from capacity.protocol.events import PlanChanged
from capacity.store.keys import RoomName
from capacity.store.plan_changes import Entry, PlanChanges
from capacity.store.scripts import ScriptError
from capacity.store.verdicts import NOT_REJECTED

if TYPE_CHECKING:
    from capacity.hub.hub import Hub

RETRY_SECONDS = 0.5
TRIM_EVERY_SECONDS = 3600.0
SWEEPS_MAX = 10_000
"""More pieces than any line is long; a room that always says «more» must not hold the stream up for ever."""
SWEPT = ("applied", "duplicate")
"""A duplicate as well: a release before this one did not know its own entry again when it came back unswept."""

log = structlog.get_logger(__name__)


class Consumer:
    """This hub's part in the consumer group."""

    def __init__(self, hub: Hub, stream: PlanChanges, abandoned_after_ms: int) -> None:
        self._hub = hub
        self._stream = stream
        self._abandoned_after_ms = abandoned_after_ms
        self._looked_at = 0.0
        self._trimmed_at = 0.0

    async def run(self) -> None:
        """Consume until cancelled; whatever the store does, this goes on."""
        while True:
            try:
                await self._stream.join_group()
                async for entry in self._stream.pending():
                    await self._handle(entry)
                while True:
                    for entry in await self._stream.new():
                        await self._handle(entry)
                    await self._look_after()
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # without its consumer a hub hears of no plan change
                log.error("plan_changes_failed", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(RETRY_SECONDS)

    async def _look_after(self) -> None:
        """Take over what dead consumers left, and drop what is old."""
        now = self._hub.clock()
        if now - self._looked_at >= self._abandoned_after_ms / 2000:
            self._looked_at = now
            self._hub.stats.backlog = await self._stream.backlog()
            for entry in await self._stream.abandoned(self._abandoned_after_ms):
                self._hub.stats.taken_over += 1
                log.info("event_taken_over", entry=entry.id)
                await self._handle(entry)
        if now - self._trimmed_at >= TRIM_EVERY_SECONDS:
            self._trimmed_at = now
            await self._stream.trim(self._hub.now_ms())

    async def _handle(self, entry: Entry) -> None:
        with traces.plan_change(self._hub.traces, entry) as trace:
            await self._take(entry, trace)

    async def _take(self, entry: Entry, trace: PlanChangeTrace) -> None:
        try:
            if entry.event is None:
                raise events.Rejected("malformed", "The entry has no field named event.")
            event = events.parse(entry.event)
        except events.Rejected as error:
            if await self._settle(entry, error.reason, None, trace):
                log.warning("event_rejected", entry=entry.id, reason=error.reason)
            return
        outcome: str
        try:
            with trace.step("apply"):
                outcome = await self._stream.apply(entry, event)
        except ScriptError as error:  # a bug must cost this event, not those behind it
            log.error("event_failed", entry=entry.id, error=str(error))
            outcome = ErrorCode.INTERNAL_ERROR.value
        if outcome in SWEPT:
            await self._sweep_rooms(event.account, trace)
        if not await self._settle(entry, outcome, event, trace):
            return
        if outcome in NOT_REJECTED:
            log.info("event_handled", entry=entry.id, verdict=outcome, account=event.account, seats=event.seats)
        else:
            log.warning("event_rejected", entry=entry.id, reason=outcome, account=event.account)

    async def _settle(self, entry: Entry, outcome: str, event: PlanChanged | None, trace: PlanChangeTrace) -> bool:
        """Settle the entry and count it, unless another hub took it over and has done so."""
        with trace.step("settle"):
            settled = await self._stream.settle(entry, outcome, event)
        if settled:
            trace.settled(outcome, event.account if event is not None else None)
            self._hub.stats.event(outcome)
        return settled

    async def _sweep_rooms(self, account: str, trace: PlanChangeTrace) -> None:
        """Make every open room of the account follow at once, piece by piece, whether or not this hub watches it."""
        rooms = self._hub.rooms
        for room in await rooms.open_rooms(account):
            name = RoomName(account, room)
            with trace.step("sweep", room):
                for _ in range(SWEEPS_MAX):
                    try:
                        reply = await rooms.call("sweep", name)
                    except ScriptError as error:  # a bug must cost this room, not the account's others
                        log.error("sweep_failed", account=account, room=room, error=str(error))
                        break
                    if reply.room is None or not reply.room.more:
                        break
