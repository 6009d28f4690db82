"""Rooms as the rest of the program sees them: typed calls of the room scripts, and what they answer.

Every call raises Unavailable when the store cannot be used. A call with an operation id may be repeated with the same id: it is done
once, and answered the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from capacity.domain.near_full import Shares
from capacity.protocol.messages import EndedReason, Level, Occupancy, RefreshReason, RoomState
from capacity.protocol.reports import Report
from capacity.store import keys, scripts
from capacity.store.keys import RoomName
from capacity.store.outbox import Outbox
from capacity.store.scripts import Timer, guarded

STEP_MS = 3000
"""How far the room's clock may go from one call to the next while a grace, a place or a hold runs: hubs call once a second, and what
the store's clock says beyond that is a step of it, or a time in which nobody could have come back."""


class Rules(msgspec.Struct, frozen=True):
    """The settings that decide in the scripts; durations in ms."""

    grace_ms: int
    place_ms: int
    hold_ms: int
    idle_ms: int
    ended_ms: int
    shares: Shares
    step_ms: int = STEP_MS


class Snapshot(msgspec.Struct, frozen=True):
    """A room at a revision. A room that lost its history has another epoch; `at` is the room's clock in ms."""

    epoch: str
    revision: int
    at: int
    state: RoomState
    seat_limit: int
    seated: int
    away: int
    held: int
    waiting: int
    peak: int
    told: int = 0
    """Which near-full level stands: 0 none, 1 near_full, 2 full."""
    ended_reason: EndedReason | None = None
    more: bool = False
    """An allotment goes on: call sweep again."""
    due_at: int | None = None
    """When something will be due; by the room's clock, as `at`."""
    over: int = 0
    """Of the occupied seats beyond the limit, how many were given back after the store had lost data."""

    @property
    def occupied(self) -> int:
        """seated + away + held."""
        return self.seated + self.away + self.held

    @property
    def free(self) -> int:
        """Seats that nobody has, never below 0."""
        return max(0, self.seat_limit - self.occupied)

    def occupancy(self, room: str) -> Occupancy:
        """Return the room as hosts see it."""
        return Occupancy(
            room=room,
            state=self.state,
            seat_limit=self.seat_limit,
            occupied=self.occupied,
            seated=self.seated,
            away=self.away,
            held=self.held,
            waiting=self.waiting,
            free=self.free,
            peak=self.peak,
        )


class Offer(msgspec.Struct, frozen=True):
    """Seats held until an instant for those at the head of the line; `told`: how many the whole allotment tells."""

    reason: RefreshReason
    told: int
    held_until: int
    participants: list[str]


class Near(msgspec.Struct, frozen=True):
    """A near-full crossing, in the numbers of the moment."""

    level: Level
    occupied: int
    waiting: int
    seat_limit: int


class Change(Snapshot, frozen=True):
    """One message of a room's feed: the room after the change, and what happened."""

    previous: int | None = None
    """The seat limit before."""
    opened: bool = False
    ended: EndedReason | None = None
    offers: list[Offer] = []
    expired: list[str] = []
    """Whose hold ran out while they were connected: back of the line."""
    replaced: list[tuple[str, str]] = []
    """(participant, lease) of connections that a newer one took over from."""
    doubted: list[tuple[str, str]] = []
    """(participant, lease) of connections that another took over from after a loss, when nobody knows which is the newer."""
    put_out: list[str] = []
    moved: bool = False
    """Positions changed."""
    near: Near | None = None
    cleared: bool = False


class AccountChange(msgspec.Struct, frozen=True):
    """One message of an account's feed."""

    plan: str | None = None
    seat_limit: int | None = None
    account: dict[str, str] | None = None
    """With a changed plan: the account's whole hash."""
    room: str | None = None
    """Whose near-full notice it is, or from where an upgrade is asked for."""
    near: Near | None = None
    cleared: bool = False
    occupied: int = 0
    seat_limit_there: int = 0
    """The numbers of `room`, with `near` and `cleared`."""
    requested_by: str | None = None
    requested_name: str | None = None


Status = Literal["ok", "unknown_account", "fenced", "overtaken", "ended"]


class Reply(msgspec.Struct, frozen=True):
    """A script's answer. `room` is missing only for `unknown_account`, `fenced` and `overtaken`."""

    status: Status
    room: Snapshot | None = None
    results: list[Any] = []
    hooked: bool = False
    """Something was written to the account's outbox."""


class Account(msgspec.Struct, frozen=True):
    """What the hub knows of an account."""

    plan: str
    seats: int
    desk: str | None
    """What the billing desk wrote beside the event, for an account of the desk's."""
    fields: dict[str, str]
    """The whole hash, to bring it back after a loss."""

    @classmethod
    def of(cls, fields: dict[str, str]) -> Account:
        """Return the account of a hash."""
        return cls(plan=fields["plan"], seats=int(fields["seats"]), desk=fields.get("desk"), fields=fields)

    def older_than(self, other: Account) -> bool:
        """Whether an earlier entry of the stream made this account what it is."""
        return _entry_order(self.fields.get("entry", "0-0")) < _entry_order(other.fields.get("entry", "0-0"))


decode_change = msgspec.json.Decoder(Change).decode
decode_account_change = msgspec.json.Decoder(AccountChange).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_encode = msgspec.json.Encoder().encode


class Rooms:
    """The rooms of a store. `hub` is the caller's id, without which no connection can be seated."""

    def __init__(
        self,
        client: Any,
        rules: Rules,
        hub: str,
        *,
        audit: bool = False,
        server: Callable[[], str] = str,
        timer: Timer | None = None,
    ) -> None:
        """`server`: the run id of the server that will answer, '' where it is not known."""
        self._client = client
        self._rules = rules
        self._audit = audit
        self._server = server
        self._timer = timer
        self._operations = itertools.count(1)
        self.hub = hub
        self.outbox: Outbox | None = None
        """What tells outbound webhooks of what the scripts wrote down for them; set by whoever wants some."""

    def operation(self) -> int:
        """Return the number of a new operation; they rise, and no two processes have the same hub."""
        return next(self._operations)

    async def call(
        self,
        verb: str,
        name: RoomName,
        arguments: Sequence[str | int] = (),
        *,
        operation: int | None = None,
        wall_ms: int | None = None,
    ) -> Reply:
        """Run one verb on a room; `arguments` as the head of its file says. `wall_ms` replaces the store's clock (tests)."""
        rules = self._rules
        context: dict[str, Any] = {
            "room": name.room,
            "operation": operation or self.operation(),
            "hub": self.hub,
            "grace_ms": rules.grace_ms,
            "place_ms": rules.place_ms,
            "hold_ms": rules.hold_ms,
            "idle_ms": rules.idle_ms,
            "ended_ms": rules.ended_ms,
            "step_ms": rules.step_ms,
            "near": rules.shares.near_millionths,
            "clear": rules.shares.clear_millionths,
        }
        if server := self._server():
            context["server"] = server
        room_keys = keys.room_keys(name)
        if wall_ms is not None:
            context["wall"] = wall_ms
        if self._audit:
            context["verb"] = verb
            room_keys += (keys.audit(name),)
        if self.outbox is not None:
            context["hooks"] = 1
            room_keys += (keys.hooks(name.account),)
            await self.outbox.note(name.account)
        answer = await scripts.ROOM[verb].run(self._client, room_keys, [_encode(context), *arguments], self._timer)
        reply = _decode_reply(answer)
        if reply.hooked and self.outbox is not None:
            self.outbox.written(name.account)
        return reply

    async def account(self, account: str) -> Account | None:
        """Return the account, or None for one that no event has named."""
        fields = await guarded(self._client.hgetall(keys.account_key(account)))
        if not fields:
            return None
        return Account.of({key.decode(): value.decode() for key, value in fields.items()})

    async def restore_account(self, account: str, known: Account) -> None:
        """Bring an account back that the store lost; one that exists stays as it is."""
        pairs: list[str | bytes | int] = [part for pair in known.fields.items() for part in pair]
        await scripts.RESTORE.run(self._client, (keys.account_key(account),), pairs)

    async def open_rooms(self, account: str) -> list[str]:
        """Return the account's open rooms."""
        members = await guarded(self._client.zrange(keys.open_rooms(account), 0, -1))
        return [member.decode() for member in members]

    async def hubs(self, name: RoomName) -> list[str]:
        """Return the hubs that may act on the room."""
        return [hub.decode() for hub in await guarded(self._client.hkeys(keys.room_key(name, "hubs")))]

    async def leases(self, name: RoomName) -> list[tuple[str, str]]:
        """Return (participant, lease) of everybody who is connected, read in pieces."""
        found: dict[str, str] = {}
        cursor = 0
        while True:
            cursor, piece = await guarded(self._client.hscan(keys.room_key(name, "people"), cursor, count=500))
            for participant, value in piece.items():
                lease = value.decode().partition("@")[0]
                if not lease.startswith("-"):
                    found[participant.decode()] = lease
            if cursor == 0:
                return list(found.items())

    async def report(self, name: RoomName) -> Report | None:
        """Return the report of the room's last run, or None if there is none."""
        raw = await guarded(self._client.hgetall(keys.room_key(name, "report")))
        fields = {key.decode(): int(value) for key, value in raw.items()}
        if "opened_at" not in fields:
            return None
        if "peak" not in fields:
            fields["peak"] = int(await guarded(self._client.hget(keys.room_key(name, "state"), "peak")) or 0)
        return Report.of(name.account, name.room, fields)

    async def announce(self, account: str, change: AccountChange) -> None:
        """Tell every hub that has rooms of the account."""
        await guarded(self._client.execute_command("SPUBLISH", keys.account_feed(account), _encode(change)))


def _entry_order(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number or 0)
