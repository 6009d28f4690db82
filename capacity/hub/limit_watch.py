"""From a plan change's entry in the stream to the last in a room who is told of it: how long that took, on this hub.

A raise tells the new limit at once, and who a seat is held for piece by piece (`Snapshot.more`). The entry's id is an instant of the
store's clock and what is told is one of this machine's, so the seconds are as true as those two agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from capacity.store.rooms import Change

if TYPE_CHECKING:
    from capacity.hub.room import LiveRoom

log = structlog.get_logger(__name__)


class LimitChange(msgspec.Struct):
    """A seat limit that changed in a room."""

    previous: int
    seat_limit: int
    entry: str | None
    """The entry of the stream that brought it; None: not known."""
    began_at_ms: int
    """When this hub began to tell it."""
    told_at_ms: int = 0
    """When the last was told."""
    refreshed: int = 0
    """Attendees of this hub who were told to refresh."""

    @property
    def seconds(self) -> float | None:
        """From the entry to the last who was told; None where the entry is not known."""
        if self.entry is None:
            return None
        return max(0, self.told_at_ms - entry_ms(self.entry)) / 1000


class LimitWatch:
    """Follows the changes of one room's limit."""

    def __init__(self, room: LiveRoom) -> None:
        self._room = room
        self._current: LimitChange | None = None

    def told(self, change: Change, began_at_ms: int, refreshed: int) -> None:
        """A change was told since `began_at_ms`, and so many attendees with it to refresh."""
        room = self._room
        if change.previous is not None:
            known = room.account.known
            entry = known.fields.get("entry") if known is not None else None
            self._current = LimitChange(change.previous, change.seat_limit, entry, began_at_ms)
        current = self._current
        if current is None:
            return
        current.refreshed += refreshed
        if change.more:
            return
        self._current = None
        hub = room.hub
        current.told_at_ms = hub.now_ms()
        seconds = current.seconds
        if seconds is not None and current.seat_limit > current.previous:
            hub.stats.raises.add(seconds)
        if hub.traces is not None:
            hub.traces.limit_told(room, current)
        log.info(
            "limit_changed",
            **room.fields,
            previous=current.previous,
            seat_limit=current.seat_limit,
            refreshed=current.refreshed,
            seconds=seconds,
        )

    def forget(self) -> None:
        """Something may have been missed: when the last is told cannot be known any more."""
        self._current = None


def entry_ms(entry: str) -> int:
    """Return when an entry came into the stream, by the store's clock."""
    return int(entry.partition("-")[0])
