"""What the HTTP routes ask of the rest of the house. `hub.Hub` has this shape."""

from __future__ import annotations

from typing import Protocol

from capacity.hub.stats import Stats
from capacity.protocol.messages import Occupancy
from capacity.store.rooms import ParticipantState, Report


class RoomHub(Protocol):
    """The hub, as HTTP uses it. The calls of a room raise Refused or Unavailable."""

    @property
    def connections(self) -> int:
        """Connections of participants in this process."""

    @property
    def stats(self) -> Stats:
        """What the hub counts."""

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
