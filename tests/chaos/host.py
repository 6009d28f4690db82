"""The host of a room: stays connected, and writes down what it is told of how full the room is."""

from __future__ import annotations

from typing import Any

from tests.chaos.visitor import Visitor

NOTICES = ("near_full", "near_full_cleared", "seat_limit")


class Host(Visitor):
    """Its first connection opens the room."""

    role = "host"
    occupancy: dict[str, Any] | None = None
    """The room as it was last shown on this connection."""

    def told(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "occupancy":
            if self.occupancy is None:
                self.note("welcomed", **{"seat_limit": message["seat_limit"]})
            self.occupancy = message
        elif kind in NOTICES and message["room"] == self.room:
            self.note(kind, **{name: message.get(name) for name in ("level", "occupied", "seat_limit", "waiting")})
        elif kind == "error" and message["code"] != "unavailable":
            self.note("refused", code=message["code"])

    def lost(self, code: int, hub: int) -> None:
        self.occupancy = None
