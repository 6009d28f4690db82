"""What of a look is shown, in which order, and what a key changes about that. Pure: no terminal, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from capacity.hub.status import HubStatus
from capacity.store.keys import RoomName
from capacity.top.document import Hub, Room, Top

Pane = Literal["rooms", "hubs"]
Prompt = Literal["", "filter", "account"]


class Column(NamedTuple):
    """What a table can be sorted by: the word for it, and the value, None where there is none."""

    word: str
    value: Callable[[Any], Any]
    falling: bool = True
    """The largest come first, unless reversed."""


def _of_status(name: str, spread: str = "") -> Callable[[Hub], Any]:
    """Return what reads a field of a hub's status, or a field of one of its spreads."""

    def read(hub: Hub) -> Any:
        value = getattr(hub.status, name) if hub.status is not None else None
        return getattr(value, spread) if spread and value is not None else value

    return read


def _joined(status: HubStatus | None) -> str | None:
    return ", ".join(status.problems) if status is not None else None


ROOM_COLUMNS = (
    Column("room", lambda room: room.name, falling=False),
    Column("state", lambda room: room.state, falling=False),
    Column("limit", lambda room: room.seat_limit),
    Column("occupied", lambda room: room.occupied),
    Column("seated", lambda room: room.seated),
    Column("held", lambda room: room.held),
    Column("away", lambda room: room.away),
    Column("waiting", lambda room: room.waiting),
    Column("rate", lambda room: room.arrivals_per_second),
    Column("forecast", lambda room: room.full_in_seconds, falling=False),
    Column("peak", lambda room: room.peak),
    Column("hubs", lambda room: len(room.hubs)),
)
HUB_COLUMNS = (
    Column("hub", lambda hub: hub.id, falling=False),
    Column("process", lambda hub: hub.status and (hub.status.host, hub.status.pid), falling=False),
    Column("state", lambda hub: _joined(hub.status)),
    Column("version", _of_status("version"), falling=False),
    Column("connections", _of_status("connections")),
    Column("rooms", _of_status("rooms")),
    Column("joins", _of_status("joins_per_second")),
    Column("unanswered", _of_status("unanswered")),
    Column("lag", _of_status("loop_lag", "max_ms")),
    Column("calls", _of_status("store_calls", "count")),
    Column("mean", _of_status("store_calls", "mean_ms")),
    Column("p99", _of_status("store_calls", "p99_ms")),
)
COLUMNS: dict[Pane, tuple[Column, ...]] = {"rooms": ROOM_COLUMNS, "hubs": HUB_COLUMNS}
ROOM_WORDS = tuple(column.word for column in ROOM_COLUMNS)


class Order(msgspec.Struct, frozen=True):
    """By which column a table is sorted."""

    word: str
    reverse: bool = False


class View(msgspec.Struct, frozen=True):
    """What somebody wants to see. `pressed` returns the next one."""

    filter: str = ""
    """Rooms with this in ACCOUNT/ROOM, in small or capital letters."""
    account: str = ""
    """Rooms of this account alone; '' for all."""
    rooms: Order = Order("waiting")
    hubs: Order = Order("hub")
    pane: Pane = "rooms"
    """Which table the keys sort and scroll."""
    skipped: int = 0
    """How many rooms were scrolled past."""
    paused: bool = False
    prompt: Prompt = ""
    """What is being typed, into `typed`."""
    typed: str = ""
    done: bool = False

    def matches(self, name: RoomName) -> bool:
        """Whether the filters let a room through."""
        if self.account and name.account != self.account:
            return False
        return self.filter.lower() in f"{name.account}/{name.room}".lower()

    def rooms_of(self, top: Top) -> list[Room]:
        """Return the rooms in order; of the same, the fuller one comes first, then they go by name."""
        found = [room for room in top.rooms if self.matches(RoomName(room.account, room.room))]
        found.sort(key=lambda room: (-room.occupied, room.name))
        return _sorted(found, ROOM_COLUMNS, self.rooms)

    def hubs_of(self, top: Top) -> list[Hub]:
        """Return the hubs in order; of the same, they go by id."""
        return _sorted(top.hubs, HUB_COLUMNS, self.hubs)

    def pressed(self, key: str) -> View:
        """Return the view after a key: a character, or a word such as `enter`, `escape`, `left`."""
        if self.prompt:
            return self._typed(key)
        match key:
            case "q" | "ctrl-c" | "ctrl-d":
                return self._with(done=True)
            case "p" | " ":
                return self._with(paused=not self.paused)
            case "tab":
                return self._with(pane="hubs" if self.pane == "rooms" else "rooms")
            case "<" | "," | "left":
                return self._sorted_beside(-1)
            case ">" | "." | "right":
                return self._sorted_beside(1)
            case "r":
                order: Order = getattr(self, self.pane)
                return self._with(**{self.pane: Order(order.word, not order.reverse)})
            case "/":
                return self._with(prompt="filter", typed=self.filter)
            case "a":
                return self._with(prompt="account", typed=self.account)
            case "escape":
                return self._with(filter="", account="", skipped=0)
            case "down" | "j":
                return self._with(skipped=self.skipped + 1)
            case "up" | "k":
                return self._with(skipped=max(0, self.skipped - 1))
            case _:
                return self

    def _typed(self, key: str) -> View:
        if key == "ctrl-c":
            return self._with(done=True)
        if key == "escape":
            return self._with(prompt="", typed="")
        if key == "enter":
            return self._with(**{self.prompt: self.typed}, prompt="", typed="", skipped=0)
        if key == "backspace":
            return self._with(typed=self.typed[:-1])
        return self._with(typed=self.typed + key) if len(key) == 1 and key.isprintable() else self

    def _sorted_beside(self, step: int) -> View:
        words = [column.word for column in COLUMNS[self.pane]]
        order: Order = getattr(self, self.pane)
        beside = words[(words.index(order.word) + step) % len(words)]
        return self._with(**{self.pane: Order(beside)})

    def _with(self, **changes: Any) -> View:
        return msgspec.structs.replace(self, **changes)


def rising(pane: Pane, order: Order) -> bool:
    """Whether the smallest come first."""
    return _column(COLUMNS[pane], order).falling == order.reverse


def _column(columns: Sequence[Column], order: Order) -> Column:
    return next(column for column in columns if column.word == order.word)


def _sorted(rows: Sequence[Any], columns: Sequence[Column], order: Order) -> list[Any]:
    """Return the rows by a column; those that have no value come last, whichever way it goes."""
    column = _column(columns, order)
    known = [row for row in rows if column.value(row) is not None]
    unknown = [row for row in rows if column.value(row) is None]
    if column.falling != order.reverse:  # a stable sort of the largest first keeps equals in their order
        return sorted(known, key=column.value, reverse=True) + unknown
    return sorted(known, key=column.value) + unknown
