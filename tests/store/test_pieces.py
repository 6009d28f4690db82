"""A large raise is done in pieces, so that no script holds the store up; order and limits hold between any two of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from capacity.domain.near_full import Shares
from capacity.protocol.events import PlanChanged
from capacity.store.keys import RoomName
from capacity.store.plan_changes import Entry, PlanChanges
from capacity.store.redis import Clients
from capacity.store.rooms import Rooms, Rules

pytestmark = pytest.mark.anyio
NAME = RoomName("acme", "launch")
RULES = Rules(30_000, 120_000, 60_000, 900_000, 3_600_000, Shares.of(Decimal("0.9"), Decimal("0.8")))


async def test_a_raise_for_many_goes_on_from_call_to_call_and_nobody_jumps_the_line(each_redis_url: str) -> None:
    clients = Clients(each_redis_url)
    rooms, stream = Rooms(clients.scripts, RULES, "h1"), PlanChanges(clients, "h1")

    async def plan(seats: int) -> None:
        event = PlanChanged(
            id=f"e{seats}", source="/t", account="acme", time_ms=seats, plan="p", seats=seats,
            concurrent_sessions=None, version=None,
        )  # fmt: skip
        assert await stream.apply(Entry("1-1", b""), event) == "applied"

    await plan(1)
    await rooms.call("attach", NAME, [0, "", 0])
    await rooms.call("host", NAME, [1, 1, "eve"])
    for start in range(0, 1700, 100):
        names = [f"p{number:04}" for number in range(start, start + 100)]
        await rooms.call("join", NAME, [part for name in names for part in (name, f"h1.{name}")])
    await rooms.call("away", NAME, ["p1650", "h1.p1650"])
    await plan(1501)
    held = 0
    for piece in (500, 500, 500):
        if held == 500:  # between two pieces, while seats are free, somebody new comes, and somebody comes back
            reply = await rooms.call("join", NAME, ["newcomer", "h1.new", "p1650", "h1.again"])
            assert [result[0] for result in reply.results] == ["waiting", "waiting"]
        else:
            reply = await rooms.call("sweep", NAME)
        held += piece
        assert reply.room is not None
        assert (reply.room.held, reply.room.more) == (held, held < 1500)
        assert reply.room.occupied <= reply.room.seat_limit
    answer = await rooms.call("inspect", NAME, [f"p{number:04}" for number in range(1, 1700)] + ["newcomer"])
    states = [state for state, _, _ in answer.results]
    assert states == ["held"] * 1500 + ["waiting"] * 200
    assert [position for _, position, _ in answer.results[1500:]] == list(range(1, 201))
    assert not (await rooms.call("sweep", NAME)).room.more  # type: ignore[union-attr]
    await clients.aclose()
