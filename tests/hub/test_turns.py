"""A room's turn at the store: few at once, first come, first served, and nobody's when the store is lost."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from capacity.errors import Unavailable
from capacity.hub.availability import TURNS, Availability
from capacity.hub.hub import Hub

pytestmark = pytest.mark.anyio


class Rooms:
    """Rooms that talk to the store until they are let go."""

    def __init__(self, store: Availability) -> None:
        self._store = store
        self.talking: list[int] = []
        self.most = 0
        self.refused: list[int] = []
        self.over = asyncio.Event()

    async def talk(self, number: int) -> None:
        """Wait for the turn, then talk."""
        try:
            async with self._store.turn():
                self.talking.append(number)
                self.most = max(self.most, len(self.talking))
                await self.over.wait()
                self.talking.remove(number)
        except Unavailable:
            self.refused.append(number)


@pytest.fixture
def store() -> Availability:
    """The store of a hub that can use it."""
    hub: Any = SimpleNamespace(clock=time.monotonic, draining=False)
    found = Availability(cast(Hub, hub))
    found._state = "usable"
    return found


async def started(rooms: Rooms, count: int) -> list[asyncio.Task[None]]:
    """Let so many rooms begin, one after the other."""
    tasks = [asyncio.create_task(rooms.talk(number)) for number in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_few_talk_at_once_and_in_the_order_in_which_they_came(store: Availability) -> None:
    rooms = Rooms(store)
    tasks = await started(rooms, 10 * TURNS)
    assert rooms.talking == list(range(TURNS))
    rooms.over.set()
    await asyncio.gather(*tasks)
    assert rooms.most == TURNS and rooms.refused == []


async def test_who_waits_when_the_store_is_lost_does_not_ask_it(store: Availability) -> None:
    rooms = Rooms(store)
    tasks = await started(rooms, 2 * TURNS)
    store._state = "lost"
    rooms.over.set()
    await asyncio.gather(*tasks)
    assert rooms.most == TURNS and rooms.refused == list(range(TURNS, 2 * TURNS))
