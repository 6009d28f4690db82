"""The queue of a room's operations: what goes together in a call, and what may pass by what."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from capacity.hub import lane as lanes
from capacity.hub.connection import Connection
from capacity.hub.lane import BATCH_MAX, BUSY_MAX, Lane, Operation
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio


def connection(participant: str, lease: str = "") -> Connection:
    claims = SimpleNamespace(participant=participant)
    return cast(Connection, SimpleNamespace(claims=claims, lease=lease or participant))


class Calls:
    """What a lane commits, as `verb:participants`."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.lane = Lane(self._commit)
        self.lane.open()

    async def _commit(self, verb: str, run: list[Operation]) -> None:
        names = [o.connection.claims.participant if o.connection is not None else o.detail for o in run]
        self.made.append(f"{verb}:{' '.join(names)}")
        await asyncio.sleep(0)

    async def of(self, *wishes: str) -> list[str]:
        """Queue `verb participant` (or a verb alone) each, and return the calls when all is done."""
        for wish in wishes:
            verb, _, participant = wish.partition(" ")
            self.lane.add(verb, connection(participant) if participant else None)
        await wait_until(lambda: self.lane._task is None)
        return self.made


async def test_those_who_come_find_company_among_those_who_go() -> None:
    calls = await Calls().of("join a", "away b", "join c", "away d", "claim e", "join f")
    assert calls == ["join:a c f", "away:b d", "claim:e"]


async def test_nothing_passes_by_what_the_same_participant_asked_for_before() -> None:
    calls = await Calls().of("join a", "away b", "join b", "join c", "leave c", "join c")
    assert calls == ["join:a c", "away:b", "join:b", "leave:c", "join:c"]


async def test_nothing_passes_by_what_concerns_the_room() -> None:
    calls = await Calls().of("join a", "sweep", "join b", "host h", "join c")
    assert calls == ["join:a", "sweep:", "join:b", "host:h", "join:c"]


async def test_a_call_is_for_so_many_at_most_and_passes_by_so_many_at_most() -> None:
    calls = await Calls().of(*(f"join {n}" for n in range(BATCH_MAX + 1)))
    assert [call.count(" ") + 1 for call in calls] == [BATCH_MAX, 1]
    calls = await Calls().of("join a", *(f"away {n}" for n in range(BUSY_MAX)), "join b")
    assert calls[0] == "join:a"


async def test_what_may_not_go_out_is_passed_by_however_much_it_is() -> None:
    calls = Calls()
    calls.lane.hold(but=("leave",))
    for number in range(2 * BUSY_MAX):
        calls.lane.add("join", connection(f"p{number}"))
    calls.lane.add("leave", connection("z"))
    await wait_until(lambda: bool(calls.made))
    assert calls.made == ["leave:z"]
    assert len(calls.lane) == 2 * BUSY_MAX
    calls.lane.cancel()


async def test_who_comes_alone_is_asked_for_at_once_and_many_wait_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "GATHER_SECONDS", 3600)
    calls = Calls()
    assert await calls.of("sweep", "join a") == ["sweep:", "join:a"]
    for verb, name in (("join", "b"), ("join", "c"), ("away", "d")):
        calls.lane.add(verb, connection(name))
    await wait_until(lambda: calls.made[-1] == "join:b c")
    assert len(calls.lane) == 1
    calls.lane.cancel()
