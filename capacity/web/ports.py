"""What the HTTP routes ask of the rest of the house. `hub.Hub` and `store.verdicts.Verdicts` have these shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from capacity.hub.gauges import Gauges
from capacity.hub.stats import Stats
from capacity.protocol.answers import ParticipantState, Word
from capacity.protocol.messages import Occupancy
from capacity.protocol.reports import Report
from capacity.store.verdicts import Page


class RoomHub(Protocol):
    """The hub, as HTTP uses it. The calls of a room raise Refused or Unavailable."""

    @property
    def connections(self) -> int:
        """Connections of participants in this process."""

    @property
    def stats(self) -> Stats:
        """What the hub counts."""

    def gauges(self) -> Gauges:
        """What there is at the moment, in numbers."""

    def problems(self) -> list[str]:
        """Why the process is not ready, in words; empty when it is."""

    async def occupancy(self, account: str, room: str) -> Occupancy:
        """The room in numbers, never older than what a host was told."""

    async def open(self, account: str, room: str) -> Occupancy:
        """Open the room; twice is the same as once."""

    async def end(self, account: str, room: str) -> Occupancy:
        """End the room; twice is the same as once."""

    async def report(self, account: str, room: str) -> Report:
        """The room's last run."""

    async def participant(self, account: str, room: str, participant: str) -> ParticipantState:
        """Where the participant stands."""

    async def put_out(self, account: str, room: str, participant: str) -> ParticipantState:
        """Put the participant out and keep them out."""

    async def accept_event(self, event: bytes) -> None:
        """Append a plan-changed event to the stream; it is there when this returns."""


class HookCounts(Protocol):
    """The outbound webhooks, as the metrics show them."""

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Tries to deliver by what became of them."""

    @property
    def waiting(self) -> int:
        """Deliveries that wait in the store."""


class EventLog(Protocol):
    """What became of the plan-changed events. The calls raise Unavailable; `account` None: of all accounts."""

    async def page(self, *, account: str | None, verdict: Word | None, limit: int, before: str | None) -> Page:
        """Verdicts, newest first, older than `before`."""

    async def replay(self, entry: str, account: str | None) -> str:
        """Put a rejected event back into the stream; returns its new entry. Refused: unknown_event, not_replayable."""
