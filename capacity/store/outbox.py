"""The outbox: what the room scripts wrote down for the platform, in the same step in which it happened, until it is on its way.

An account's outbox is in the account's slot, the queues of the endpoints (`capacity.store.hook_queue`) in another: no script
reaches both. So an account is noted before the first call for it; whoever made the call that wrote something says so at once, and
what a dead hub left is found by looking through the noted accounts. What is found twice has the same id.
Everything raises Unavailable when the store cannot be used.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec
import structlog

from capacity.domain.instants import at
from capacity.protocol import hooks
from capacity.protocol.hooks import Event
from capacity.protocol.messages import EndedReason, Level
from capacity.protocol.reports import Report
from capacity.store import keys, scripts
from capacity.store.scripts import guarded

NOTED_SECONDS = 3600.0
"""How long a hub remembers which accounts it noted, at the most."""
LOOKED_AT_MS = 3 * 3600 * 1000
"""How long an account is looked at after it was noted; longer than any hub remembers it, and makes calls for it."""
LOOK_EVERY_MS = 30_000
LOOKS_MAX = 100
PIECE = 50
"""How many entries are read at once."""

log = structlog.get_logger(__name__)


class Raised(msgspec.Struct, frozen=True):
    """A raised limit as a script wrote it."""

    previous: int
    seat_limit: int
    told: int
    occupied: int
    waiting: int


class Crossed(msgspec.Struct, frozen=True):
    """A crossed level as a script wrote it."""

    level: Level
    occupied: int
    waiting: int
    seat_limit: int


class Away(msgspec.Struct, frozen=True):
    """Who was turned away, as a script wrote it."""

    reason: Literal["left", "ended"]
    count: int
    participants: list[str] = []


class End(msgspec.Struct, frozen=True):
    """The end of a room as a script wrote it. `report`: names and values of its hash in turn; '' for a room that never opened."""

    reason: EndedReason
    at: int
    report: str = ""


class Entry(msgspec.Struct, frozen=True):
    """What one call of a room's script wrote down; instants in ms by the store's clock."""

    room: str
    epoch: str
    revision: int
    at: int
    near: Crossed | None = None
    raised: Raised | None = None
    turned_away: list[Away] = []
    ended: End | None = None

    def events(self, account: str) -> list[Event]:
        """Return what is to be told of it, in the order in which it happened."""
        of, when = (account, self.room, self.epoch, self.revision), at(self.at)
        told: list[Event] = []
        if self.raised is not None:
            raised = self.raised
            data = hooks.Raise(*of, raised.previous, raised.seat_limit, raised.told, raised.occupied, raised.waiting)
            told.append(hooks.SeatLimitRaised(when, data))
        told += [
            hooks.ParticipantsTurnedAway(when, hooks.TurnedAway(*of, away.reason, away.count, away.participants))
            for away in self.turned_away
        ]
        if self.near is not None:
            near = self.near
            crossing = hooks.Crossing(*of, near.seat_limit, near.occupied, near.waiting)
            told.append(hooks.Full(when, crossing) if near.level == "full" else hooks.NearFull(when, crossing))
        if self.ended is not None:
            told.append(hooks.Ended(when, self._ending(self.ended, account)))
        return told

    def _ending(self, end: End, account: str) -> hooks.Ending:
        pairs = end.report.split()
        fields = {name: int(value) for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
        report = Report.of(account, self.room, {"opened_at": 0} | fields)
        return hooks.Ending(
            account=account,
            room=self.room,
            epoch=self.epoch,
            revision=self.revision,
            reason=end.reason,
            opened_at=at(report.opened_at) if end.report else None,
            ended_at=at(end.at),
            peak=report.peak,
            joined=report.joined,
            waited=report.waited,
            turned_away=report.turned_away,
            limit_changes=report.limit_changes,
        )


class Piece(NamedTuple):
    """Some entries of an outbox: their ids, and the events that are to be told of them."""

    entries: list[bytes]
    events: list[Event]


_decode_entry = msgspec.json.Decoder(Entry).decode


class Outbox:
    """The outboxes of all accounts. `look_every_ms` and `clock` (monotonic, seconds) are given by tests."""

    def __init__(
        self, client: Any, *, look_every_ms: int = LOOK_EVERY_MS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._look_every_ms = look_every_ms
        self._clock = clock
        self._noted: set[str] = set()
        self._noted_since = clock()
        self._noted_last = ""
        self._written: set[str] = set()
        self._told = asyncio.Event()

    async def note(self, account: str) -> None:
        """Say that calls will be made for an account: whatever becomes of this process, its outbox is looked at."""
        now = self._clock()
        if now - self._noted_since >= NOTED_SECONDS:
            self._noted, self._noted_since = set(), now
        if account in self._noted:
            return
        await scripts.HOOK_NOTE.run(self._client, (keys.HOOK_ACCOUNTS, keys.HOOK_NOTED), [account, self._look_every_ms])
        self._noted.add(account)
        self._noted_last = account

    def written(self, account: str) -> None:
        """Something was written to an account's outbox."""
        self._written.add(account)
        self._told.set()

    async def wait(self, seconds: float) -> set[str]:
        """Return for whom `written` was called since the last time, when it is for somebody; at the latest after so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), seconds)
        self._told.clear()
        written, self._written = self._written, set()
        return written

    async def look(self) -> list[str]:
        """Return accounts in whose outbox something may have been left behind; no other hub gets them before the next look.

        A store that lost data may have lost what was noted, of this process the last first: then everything is noted again.
        """
        known, *found = await scripts.HOOK_LOOK.run(
            self._client,
            (keys.HOOK_ACCOUNTS, keys.HOOK_NOTED),
            [self._look_every_ms, LOOKED_AT_MS, LOOKS_MAX, self._noted_last],
        )
        if not known:
            self._noted, self._noted_last = set(), ""
        return [account.decode() for account in found]

    async def read(self, account: str) -> Piece:
        """Return what was written first. What cannot be read is passed over, and told in the log."""
        found = await guarded(self._client.xrange(keys.hooks(account), count=PIECE))
        events: list[Event] = []
        for id, fields in found:
            try:
                events += _decode_entry(fields[b"entry"]).events(account)
            except (KeyError, ValueError, OverflowError) as error:  # of a later release, perhaps
                log.error(
                    "hook_unreadable", account=account, entry=id.decode(), error=f"{type(error).__name__}: {error}"
                )
        return Piece([id for id, _ in found], events)

    async def drop(self, account: str, piece: Piece) -> None:
        """Forget what was read: it is on its way."""
        await guarded(self._client.xdel(keys.hooks(account), *piece.entries))
