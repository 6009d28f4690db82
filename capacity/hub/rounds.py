"""A hub's round of its rooms: each is ticked once a second, and not all of them at once.

A tick asks the store. Hundreds at once hold up whoever joins meanwhile; of thousands the last wait so long for a connection that the store
counts as lost, and again when it has come back (docs/scale.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capacity.hub.room import LiveRoom

AT_ONCE_MIN = 10
PARTS_MAX = 100
ROUND_SECONDS = 0.8
"""A round ends before the next begins. From one to the next a room's turn moves by less than the second that `STEP_MS` has to spare."""


async def go(rooms: list[LiveRoom], watched: Callable[[LiveRoom], bool]) -> None:
    """Tick the rooms, spread over the round; those that are not `watched` any more when their turn comes are left out."""
    at_once = max(AT_ONCE_MIN, -(-len(rooms) // PARTS_MAX))
    for start in range(0, len(rooms), at_once):
        if start:
            await asyncio.sleep(ROUND_SECONDS * at_once / len(rooms))
        for room in rooms[start : start + at_once]:
            if watched(room):
                room.tick()
