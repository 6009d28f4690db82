"""Looks now and then whether everybody was told where they stand, while all goes on: what is only mended at the end came too late."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulation import ending
from tests.simulation.people import Person

if TYPE_CHECKING:
    from tests.simulation.world import World

LOOK_EVERY_SECONDS = 1.0
TOLD_WITHIN_SECONDS = 5.0
"""After the last fault that can delay anything: a silent subscription is made anew after 3 s, and a gap is seen a second later."""


class Watch:
    """What was found wrong at the last look, and since when."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._since: dict[tuple[str, int, str, str], float] = {}
        """(person, connection, what they were told, what is) → when it was first seen."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            self._look()

    def _look(self) -> None:
        world, now = self._world, self._world.loop.time()
        wrong: dict[tuple[str, int, str, str], float] = {}
        for room in world.rooms:
            people = [
                p for p in world.people if p.room == room and p.role == "attendee" and p.wire is not None and p.told
            ]
            answer = ending.inspect(world, room, [person.name for person in people])
            for person, (state, _, lease) in zip(people, answer.get("results", []), strict=False):
                if not self._differs(person, state, lease):
                    continue
                seen = (person.name, person.connections, person.state, state)
                since = wrong[seen] = self._since.get(seen, now)
                if now - max(since, world.nemesis.quiet_since()) >= TOLD_WITHIN_SECONDS:
                    world.violations.append(
                        f"{now:.3f} {person.name} in {room.room} is {state}, and was told {person.state} {now - since:.0f} s ago"
                    )
                    wrong[seen] = now + 1000
        self._since = wrong

    def _differs(self, person: Person, state: str, lease: str) -> bool:
        wire = person.wire
        assert wire is not None
        mine = wire.connection.lease if wire.connection is not None else ""
        return wire.open and not wire.node.process.paused and lease == mine and state != person.state
