"""Looks at stores that never were, for what is pure."""

from __future__ import annotations

from typing import Any

from capacity.hub.status import HubStatus
from capacity.hub.timings import Spread
from capacity.top.document import Hub, Room, Store, Top


def room(name: str = "acme/launch", **changes: Any) -> Room:
    """Return a room of 100 seats with nobody in it, but for what is given."""
    account, _, id = name.partition("/")
    values: dict[str, Any] = {
        "state": "open", "seat_limit": 100, "occupied": 0, "seated": 0, "away": 0, "held": 0, "waiting": 0, "free": 100,
        "peak": 0, "level": "", "opened_at": 1, "arrivals_per_second": None, "full_in_seconds": None, "hubs": ["h1"],
    }  # fmt: skip
    return Room(account=account, room=id, **values | changes)


def hub(id: str = "h1", silent_seconds: float | None = 0.4, **status: Any) -> Hub:
    """Return a hub that lives and has nothing to do, but for what is given."""
    calls = Spread(12, 0.71, 0.6, 2.25, 3.5)
    values: dict[str, Any] = {"version": "1.2.3", "host": "web-1", "pid": 77, "store_calls": calls, "loop_lag": calls}
    return Hub(id, silent_seconds, HubStatus(**values | status))


def look(*rooms: Room, hubs: tuple[Hub, ...] = (), **changes: Any) -> Top:
    """Return a look at a Redis of one node."""
    values: dict[str, Any] = {"at": 1, "store": Store("redis", 0.3), "rooms_total": len(rooms)}
    return Top(hubs=list(hubs), rooms=list(rooms), **values | changes)
