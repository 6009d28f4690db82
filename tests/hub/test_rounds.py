"""A hub's round: every room has its turn once, a few at a time, and within the round."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from capacity.hub import rounds
from capacity.hub.room import LiveRoom

pytestmark = pytest.mark.anyio


class Ticked:
    """A room that notes in which turn of the round it was ticked."""

    def __init__(self, clock: Sleeps) -> None:
        self._clock = clock
        self.turns: list[int] = []

    def tick(self) -> None:
        self.turns.append(self._clock.turns)


class Sleeps:
    """Counts the pauses of a round instead of making them, and adds up how long they would have been."""

    def __init__(self) -> None:
        self.turns = 0
        self.seconds = 0.0

    async def sleep(self, seconds: float) -> None:
        self.turns += 1
        self.seconds += seconds


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Sleeps:
    found = Sleeps()
    monkeypatch.setattr(rounds, "asyncio", SimpleNamespace(sleep=found.sleep))
    return found


async def go(rooms: list[Ticked], watched: Any = lambda room: True) -> None:
    await rounds.go(cast(list[LiveRoom], rooms), watched)


@pytest.mark.parametrize("count", [0, 1, rounds.AT_ONCE_MIN, rounds.AT_ONCE_MIN + 1, 999, 20_001])
async def test_every_room_is_ticked_once_within_the_round(pauses: Sleeps, count: int) -> None:
    rooms = [Ticked(pauses) for _ in range(count)]
    await go(rooms)
    assert all(len(room.turns) == 1 for room in rooms)
    assert pauses.seconds < rounds.ROUND_SECONDS
    assert pauses.turns < rounds.PARTS_MAX


@pytest.mark.parametrize("count", [999, 20_001])
async def test_many_rooms_are_not_ticked_at_once(pauses: Sleeps, count: int) -> None:
    rooms = [Ticked(pauses) for _ in range(count)]
    await go(rooms)
    turns = [room.turns[0] for room in rooms]
    most = max(turns.count(turn) for turn in set(turns))
    assert most <= max(rounds.AT_ONCE_MIN, -(-count // rounds.PARTS_MAX))
    assert turns == sorted(turns)


async def test_few_rooms_are_ticked_without_a_pause(pauses: Sleeps) -> None:
    await go([Ticked(pauses) for _ in range(rounds.AT_ONCE_MIN)])
    assert pauses.turns == 0


async def test_a_room_that_was_let_go_meanwhile_is_left_out(pauses: Sleeps) -> None:
    rooms = [Ticked(pauses) for _ in range(3 * rounds.AT_ONCE_MIN)]
    await go(rooms, lambda room: pauses.turns < 2)
    assert [len(room.turns) for room in rooms] == [1] * (2 * rounds.AT_ONCE_MIN) + [0] * rounds.AT_ONCE_MIN
