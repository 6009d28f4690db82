"""What a join costs, in what can be counted: commands of the store, calls in Python, bytes that are kept. Nothing is timed.

What takes time is measured by `benchmarks`, on a machine that does nothing else; this holds on any. A burst is the same
however busy the machine is: all handshakes lie in the hub's sockets before its loop goes on. What the scripts call is exact;
the other bounds are what was counted with CPython 3.11, and about 15 % more.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import sys
import tracemalloc
import warnings
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from types import FrameType
from typing import Any, NamedTuple

import pytest
import redis

from capacity.hub.room import LiveRoom
from capacity.store import keys
from capacity.store.keys import RoomName
from capacity.store.redis import Clients
from capacity.store.rooms import Rooms
from tests.store.test_pieces import RULES
from tests.support.service import ACCOUNT, ROOM, Billing, Hub, serving, settings, token
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

NAME = RoomName(ACCOUNT, ROOM)
PIECE = 100
"""How many come at once: a call of the script takes as many, and every system's backlog holds them."""
ROUNDS = 3
"""The least of so many counts: in between the hub beats and sweeps once a second."""
CROWD = 300


def collect() -> None:
    """Collect garbage. What tests before this one left open is warned of where it is collected, and is not ours to tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Cost(NamedTuple):
    """The most commands that a script may call: so many a call, and so many more for each participant."""

    each_call: int
    each_participant: int


SEATED_COSTS = {"join": Cost(21, 0), "away": Cost(18, 1), "join again": Cost(19, 1), "leave": Cost(17, 2)}
WAITING_COSTS = {"join": Cost(22, 0), "away": Cost(18, 2), "join again": Cost(19, 5), "leave": Cost(19, 5)}
SWEEP_COST = Cost(12, 0)
SCRIPTS_A_BURST = 8
"""For those who come at once: one or two calls of `join.lua` (2 were counted, 5 on a busy machine), and what is due beside."""
COMMANDS_A_BURST = {"seated": 60, "waiting": 160}
"""The same with the commands of the scripts (40 and 131): who waits is looked for once by `inspect.lua`."""
HANDSHAKE_CALLS = {"seated": 200, "waiting": 200}
"""From the bytes of a handshake to a join in the lane (187.3). Nothing in it varies: so the slack is a fifteenth."""
ANSWER_CALLS = {"seated": 53, "waiting": 55}
"""From the lane to the frames that are written (46.5 and 48.5), the call of the store included."""
JOIN_CALLS = {"seated": 475, "waiting": 470}
"""All of a join in the hub's thread (415 and 409), event loop and client of the store included."""
JOIN_BYTES = {"seated": 3140, "waiting": 3190}
"""What Python keeps for a connection (2,740 and 2,745), the event loop's transport included."""


# ---- the store


class Commands:
    """What a server has carried out, the commands of scripts included."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def counted(self) -> Counter[str]:
        """Return how often each command was called, without the one that asks this."""
        found = self._client.info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): of["calls"] for name, of in found.items() if "info" not in name})


@pytest.mark.parametrize(("seats", "costs"), [(10_000, SEATED_COSTS), (0, WAITING_COSTS)], ids=["seated", "waiting"])
async def test_a_script_calls_no_more_commands_than_it_must(redis_url: str, seats: int, costs: dict[str, Cost]) -> None:
    numbers = itertools.count()
    async with aclosing(Clients(redis_url)) as clients:
        rooms = Rooms(clients.scripts, RULES, "h1")
        with redis.Redis.from_url(redis_url) as client:
            client.hset(keys.account_key(ACCOUNT), mapping={"plan": "p", "seats": seats, "sessions": 1})
            await rooms.call("attach", NAME, [0, "", 0])
            await rooms.call("open", NAME, [1])
            for verb in ("join", "away", "leave"):  # from now on the server knows the scripts
                await rooms.call(verb, NAME, ["early", "h1.e"])
            await rooms.call("join", NAME, ["staying", "h1.s", "lost", "h1.l"])
            await rooms.call("away", NAME, ["lost", "h1.l"])  # something is due some time: its instant is looked up
            await rooms.call("sweep", NAME)
            commands = Commands(client)
            for count in (1, 20, PIECE):
                people: list[str | int] = []
                for number in itertools.islice(numbers, count):
                    people += [f"p{number}", f"h1.{number}"]
                for what, cost in {**costs, "sweep": SWEEP_COST}.items():
                    before = commands.counted()
                    reply = await rooms.call(what.split()[0], NAME, people if what != "sweep" else [])
                    called = commands.counted() - before
                    assert called.pop("evalsha") == 1
                    assert len(reply.results) == (count if what != "sweep" else 0)
                    most = cost.each_call + cost.each_participant * count
                    assert called.total() <= most, (
                        f"{what} of {count}: {called.total()} commands, not {most} ({cost}): {called.most_common()}"
                    )


# ---- the hub


class Crowd:
    """People on raw sockets, whose code runs in another thread or not at all while the hub's does: nothing of theirs is counted."""

    def __init__(self, hub: Hub, prefix: str, size: int) -> None:
        self._address = ("127.0.0.1", int(hub.address.rpartition(":")[2]))
        self._handshakes = [self._handshake(token(f"{prefix}-{number:04}")) for number in range(size)]
        self._sockets = [socket.socket() for _ in range(size)]
        for one in self._sockets:
            one.settimeout(30)

    def _handshake(self, text: str) -> bytes:
        """Return what a browser sends."""
        host = f"{self._address[0]}:{self._address[1]}"
        return (
            f"GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nOrigin: http://{host}\r\nAccept-Language: en\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Protocol: capacity.v1, bearer.{text}\r\n\r\n"
        ).encode()

    def knock(self, start: int = 0, end: int | None = None) -> None:
        """Connect and send the handshakes, while the hub's loop stands still."""
        for one, handshake in zip(self._sockets[start:end], self._handshakes[start:end], strict=True):
            one.connect(self._address)
            one.sendall(handshake)

    async def answers(self, start: int = 0, end: int | None = None) -> Counter[str]:
        """Return how often each type of message came first, once everybody has one."""
        return await asyncio.to_thread(lambda: Counter(self._first(one) for one in self._sockets[start:end]))

    def _first(self, one: socket.socket) -> str:
        heard = b""
        while True:
            more = one.recv(4096)
            assert more, f"closed after {heard!r}"
            heard += more
            if (place := heard.find(b'{"type":"')) >= 0:
                return heard[place + 9 : heard.index(b'"', place + 9)].decode()

    def leave(self) -> None:
        """Drop every connection."""
        for one in self._sockets:
            one.close()


@asynccontextmanager
async def opened(hub: Hub, billing: Billing, seats: int) -> AsyncIterator[Callable[[str, int], Crowd]]:
    """Open the room with so many seats; yields what makes crowds. They are gone afterwards, and the room is over."""
    crowds: list[Crowd] = []

    def crowd(prefix: str, size: int) -> Crowd:
        crowds.append(Crowd(hub, prefix, size))
        return crowds[-1]

    await billing.account(seats)
    assert (await hub.call("PUT", hub.room_path())).status_code == 200
    try:
        yield crowd
    finally:
        for one in crowds:
            one.leave()
        assert hub.application is not None
        inside = hub.application.hub
        await wait_until(lambda: inside.connections == 0 and not any(len(room.lane) for room in inside.live_rooms()))
        assert (await hub.call("DELETE", hub.room_path())).status_code == 200


@pytest.fixture
async def hub(redis_url: str, billing: Billing) -> AsyncIterator[Hub]:
    """One hub that does little by itself."""
    changes = {"grace_seconds": 60, "place_seconds": 60, "hold_seconds": 60, "lease_seconds": 60}
    async with serving(settings(redis_url, **changes)) as running:
        yield running


class Calls:
    """Calls of functions, of Python and of C, in the hub's thread: all of them, and those of what the hub does at two places."""

    def __init__(self, http_class: Any) -> None:
        self._parts = {http_class.data_received.__code__: "handshake", LiveRoom._commit.__code__: "answer"}
        self._entered: FrameType | None = None
        self._part = "other"
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def of(self, *parts: str) -> Counter[str]:
        """Return the calls of some parts by function, of all parts if none is named."""
        return sum((self.counts[part] for part in parts or tuple(self.counts)), Counter())

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count until the block ends."""
        collect()
        gc.disable()  # whoever wants to know of a collection is called too
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            gc.enable()

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            if self._entered is None and frame.f_code in self._parts:
                self._entered, self._part = frame, self._parts[frame.f_code]
            self.counts[self._part][frame.f_code.co_qualname] += 1
        elif event == "c_call":
            self.counts[self._part][getattr(argument, "__qualname__", repr(argument))] += 1
        elif event == "return" and frame is self._entered:  # or it waits for something
            self._entered, self._part = None, "other"


class Burst(NamedTuple):
    """What was counted while some came at once."""

    calls: Calls
    commands: Counter[str]


def each(counts: Counter[str]) -> str:
    """Return the calls for each of those who came at once: all, and by function."""
    most = ", ".join(f"{name} {count / PIECE:.1f}" for name, count in counts.most_common(40))
    return f"{counts.total() / PIECE:.1f} calls: {most}"


def snapshot() -> tracemalloc.Snapshot:
    """Return what Python has in use."""
    collect()
    return tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, tracemalloc.__file__)])


async def test_a_join_takes_so_many_calls_and_commands(hub: Hub, billing: Billing, redis_url: str) -> None:
    assert hub.application is not None
    found: dict[str, list[Burst]] = {"seated": [], "waiting": []}
    with redis.Redis.from_url(redis_url) as client:
        commands = Commands(client)
        for number in range(ROUNDS):
            async with opened(hub, billing, PIECE) as crowds:
                for kind, bursts in found.items():
                    crowd = crowds(f"{kind}-{number}", PIECE)
                    calls = Calls(hub.application.http_class)
                    before = commands.counted()
                    crowd.knock()
                    with calls.counting():
                        answers = await crowd.answers()
                    bursts.append(Burst(calls, commands.counted() - before))
                    assert answers == {kind: PIECE}
    for kind, bursts in found.items():
        scripts = min(burst.commands["evalsha"] for burst in bursts)
        assert scripts <= SCRIPTS_A_BURST, f"{kind}: {scripts} scripts for {PIECE} who came at once"
        sent = min((burst.commands for burst in bursts), key=Counter.total)
        assert sent.total() <= COMMANDS_A_BURST[kind], (
            f"{kind}: {sent.total()} commands for {PIECE}: {sent.most_common()}"
        )
        for what, parts, most in (
            ("reading a handshake", ("handshake",), HANDSHAKE_CALLS),
            ("giving the answer", ("answer",), ANSWER_CALLS),
            ("all of a join", (), JOIN_CALLS),
        ):
            least = min((burst.calls.of(*parts) for burst in bursts), key=Counter.total)
            assert 0 < least.total() <= most[kind] * PIECE, (
                f"{kind}: {what} takes more than {most[kind]} calls: {each(least)}"
            )


@pytest.mark.parametrize("kind", JOIN_BYTES)
async def test_a_connection_keeps_so_many_bytes(hub: Hub, billing: Billing, kind: str) -> None:
    async with opened(hub, billing, PIECE + CROWD if kind == "seated" else 0) as crowds:
        first, crowd = crowds("first", PIECE), crowds("other", CROWD)
        first.knock()
        await first.answers()  # what is made once, is
        tracemalloc.start()
        try:
            before = snapshot()
            for start in range(0, CROWD, PIECE):
                crowd.knock(start, start + PIECE)
                assert await crowd.answers(start, start + PIECE) == {kind: PIECE}
            after = snapshot()
        finally:
            tracemalloc.stop()
        grown = after.compare_to(before, "lineno")
        kept = sum(line.size_diff for line in grown) / CROWD
        lines = "\n".join(f"{line.traceback}: {line.size_diff / CROWD:.0f}" for line in grown[:20])
        assert kept <= JOIN_BYTES[kind], (
            f"{kept:.0f} bytes for each who is {kind}, not {JOIN_BYTES[kind]}; by line:\n{lines}"
        )
