"""What a host is told by an answer that overtakes the feed: each crossing once, and none is missed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio as aioredis

from capacity.hub.host_view import HostView, standing
from capacity.protocol.messages import Message
from capacity.store import keys
from capacity.store.keys import RoomName
from capacity.store.redis import Clients
from capacity.store.rooms import Rooms, Snapshot
from tests.store.test_plan_order import RULES


def snapshot(revision: int, *, told: int, occupied: int, limit: int = 10) -> Snapshot:
    return Snapshot(
        epoch="e", revision=revision, at=0, state="open", seat_limit=limit, seated=occupied, away=0, held=0, waiting=0,
        peak=0, told=told,
    )  # fmt: skip


class Host:
    """A host's connection as the view sees it, and what it was sent."""

    def __init__(self, state: str, revision: int, level: int = 0) -> None:
        self.state = state
        self.revision = revision
        self.limit = 10
        self.level = level
        self.sent: list[Message | bytes] = []
        self.send = self.sent.append
        self.socket = SimpleNamespace(send=self.sent.append)
        self.claims = SimpleNamespace(billing=False)

    @property
    def kinds(self) -> list[str]:
        """The types of what it was sent."""
        return [
            str(json.loads(m[2:])["type"] if isinstance(m, bytes) else type(m).__struct_config__.tag) for m in self.sent
        ]


def view(heard: Snapshot, host: Host) -> HostView:
    """A room's hosts, after the feed said so much."""
    room: Any = SimpleNamespace(
        snapshot=heard, name=SimpleNamespace(room="r"), hub=SimpleNamespace(offer=lambda *_: None),
        account=SimpleNamespace(known=None), full_in_seconds=lambda _: None,
    )  # fmt: skip
    found = HostView(room)
    found.everybody[host] = None  # type: ignore[index]
    return found


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (1, 1, ["occupancy"]),
        (0, 0, ["occupancy"]),
        (1, 0, ["occupancy", "near_full_cleared"]),
        (0, 1, ["occupancy", "near_full"]),
        (1, 2, ["occupancy", "near_full"]),
    ],
)
def test_open_again_tells_what_the_feed_will_not(before: int, after: int, kinds: list[str]) -> None:
    host = Host("host", 5, level=before)
    hosts = view(snapshot(5, told=before, occupied=(5, 9, 10)[before]), host)
    hosts.welcome(host, snapshot(7, told=after, occupied=(5, 9, 10)[after]))  # type: ignore[arg-type]
    hosts.tell_cleared(snapshot(6, told=0, occupied=5))  # the feed comes behind, and says nothing twice
    assert host.kinds == kinds


def test_open_again_tells_nothing_twice_though_the_feed_is_late() -> None:
    host = Host("joining", -1)
    hosts = view(snapshot(3, told=0, occupied=5), host)
    hosts.welcome(host, snapshot(5, told=2, occupied=10))  # type: ignore[arg-type]
    hosts.welcome(host, snapshot(5, told=2, occupied=10))  # type: ignore[arg-type]
    assert host.kinds == ["occupancy", "near_full", "occupancy"]


def test_a_raise_that_leaves_a_level_standing_is_told_by_the_answer_too() -> None:
    host = Host("host", 5, level=2)
    hosts = view(snapshot(5, told=2, occupied=10), host)
    hosts.welcome(host, snapshot(7, told=2, occupied=12, limit=12))  # type: ignore[arg-type]
    assert host.kinds == ["seat_limit", "occupancy", "near_full"]


@pytest.mark.parametrize("told", [0, 1, 2])
def test_a_new_host_is_told_what_stands(told: int) -> None:
    host = Host("joining", -1)
    now = snapshot(5, told=told, occupied=(5, 9, 10)[told])
    view(now, host).welcome(host, now)  # type: ignore[arg-type]
    assert host.kinds == ["occupancy", *(["near_full"] if told else [])]


@pytest.mark.anyio
async def test_who_opens_a_room_with_a_long_line_hears_of_it_as_it_will_be(redis_url: str) -> None:
    """The line is seated in pieces; the answer after the first says what the feed says: full, and who still waits then."""
    clients, raw = Clients(redis_url), aioredis.Redis.from_url(redis_url)
    account: dict[Any, Any] = {"plan": "p", "seats": 1500, "sessions": 1, "source": "events", "time": 1, "entry": "1-0"}
    await raw.hset(keys.account_key("acme"), mapping=account)
    rooms, name = Rooms(clients.scripts, RULES, "hub"), RoomName("acme", "r")
    await rooms.call("attach", name, [0, "", 0])
    for start in range(0, 2000, 100):
        joining: list[str | int] = []
        for number in range(start, start + 100):
            joining += [f"p{number}", f"hub.{number}"]
        await rooms.call("join", name, joining)
    pubsub = raw.pubsub()
    await pubsub.execute_command("SSUBSCRIBE", keys.room_key(name, "feed"))
    await pubsub.parse_response(block=True)
    reply = await rooms.call("host", name, [1, 1, "hanna"])
    feed = json.loads((await pubsub.parse_response(block=True))[2])
    assert reply.room is not None and reply.room.more
    near = standing(reply.room)
    assert near is not None and feed["near"] == {
        "level": near.level, "occupied": near.occupied, "waiting": near.waiting, "seat_limit": near.seat_limit,
    }  # fmt: skip
    assert (near.level, near.occupied, near.waiting) == ("full", 1500, 500)
    await pubsub.aclose()  # type: ignore[no-untyped-call]
    await clients.aclose()
    await raw.aclose()
