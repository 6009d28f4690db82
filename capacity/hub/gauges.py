"""What a hub has at the moment, in numbers, for the metrics: looked for when somebody asks. It names no account, room or participant."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from capacity.hub.hub import Hub

STATES = ("joining", "seated", "waiting", "held", "host")
"""The states of a connection that is not closed."""
LEVELS = ("below", "near_full", "full")
"""How full a room is, by `Snapshot.told`."""


class Gauges(msgspec.Struct, frozen=True):
    """The numbers of a hub. Those of connections add up over all hubs; a room counts on every hub that watches it."""

    participants: dict[str, int]
    """Connections by their state (STATES)."""
    rooms: dict[str, int]
    """Open rooms that this hub watches, by how full they are (LEVELS)."""
    seats_over: int
    """Seats beyond the limit, in the rooms that this hub watches, that were given back after a loss of data."""
    unanswered: int
    store_usable: bool
    feed_silent_seconds: float
    """For how long the most silent subscription has not heard its own beacon."""
    hubs: int
    """Hubs that live, as this one sees it."""
    lag: int | None
    """Of the stream of plan changes: entries that no hub has been given yet. None: not known."""
    pending: int | None
    """Of the same: entries that a hub was given and has not settled."""


def look(hub: Hub) -> Gauges:
    """Return the numbers of now; it takes a millisecond for every ten thousand connections."""
    states: Counter[str] = Counter()
    levels: Counter[str] = Counter()
    over = 0
    for room in hub.live_rooms():
        states.update(connection.state for connection in room.connections())
        if room.snapshot is not None:
            over += room.snapshot.over
            if room.snapshot.state == "open":
                levels[LEVELS[room.snapshot.told]] += 1
    lag, pending = hub.stats.backlog
    return Gauges(
        participants={state: states[state] for state in STATES},
        rooms={level: levels[level] for level in LEVELS},
        seats_over=over,
        unanswered=hub.unanswered,
        store_usable=hub.usable,
        feed_silent_seconds=hub.feed.silent_seconds(),
        hubs=hub.reaper.living(),
        lag=lag,
        pending=pending,
    )
