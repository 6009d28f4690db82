"""What a hub tells of its work to whoever collects traces. It knows no library for it: `capacity/tracing.py` has one.

A hub without traces has None in the place of `Traces`, so that they cost a look at that and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from capacity.store.plan_changes import Entry

if TYPE_CHECKING:
    from capacity.hub.connection import Connection
    from capacity.hub.limit_watch import LimitChange
    from capacity.hub.room import LiveRoom


class PlanChangeTrace(Protocol):
    """One entry of the stream, while its hub handles it."""

    def step(self, name: str, room: str = "") -> AbstractContextManager[object]:
        """Cover one step of the handling; `room` for one that concerns a room."""

    def settled(self, verdict: str, account: str | None) -> None:
        """The entry is settled. `account` is None where the entry names none."""


class Traces(Protocol):
    """Everything that is traced. Instants are of the hub's monotonic clock, in seconds; nothing here raises."""

    def answered(self, connections: Sequence[Connection], called_at: float, replied_at: float | None) -> None:
        """One call of the store was made for these who joined, and they were told just now. None: it did not reply."""

    def moved(self, connection: Connection) -> None:
        """An attendee's connection got another state."""

    def plan_change(self, entry: Entry) -> AbstractContextManager[PlanChangeTrace]:
        """Cover the handling of an entry, from the instant at which it came into the stream."""

    def limit_told(self, room: LiveRoom, change: LimitChange) -> None:
        """The last in the room was told of a new seat limit, and of the seat that is held for them."""


class Untraced:
    """A plan change of a hub without traces."""

    def step(self, name: str, room: str = "") -> AbstractContextManager[object]:
        """Cover nothing."""
        return nullcontext()

    def settled(self, verdict: str, account: str | None) -> None:
        """Say nothing."""


def plan_change(traces: Traces | None, entry: Entry) -> AbstractContextManager[PlanChangeTrace]:
    """Cover the handling of an entry, if there are traces."""
    return nullcontext(Untraced()) if traces is None else traces.plan_change(entry)
