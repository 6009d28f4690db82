"""Three hubs are replaced one by one under load, with clients that hold nobody up: no seat is lost, the line keeps its order."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from capacity.store import keys
from tests.support.process import HubProcess
from tests.support.service import ACCOUNT, ROOM, Billing, Client, Hub, token
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
SEATS, WAITING = 500, 100
ENDS_WITHIN_SECONDS = 10.0
TIMES: dict[str, Any] = {"grace_seconds": 15, "place_seconds": 20, "hold_seconds": 10, "lease_seconds": 5}


class Follower:
    """A participant who follows the contract: after 1012 and a lost connection they come back to another hub, after a short while."""

    def __init__(self, participant: str, hubs: list[HubProcess], rng: random.Random) -> None:
        self.participant = participant
        self.told: list[dict[str, Any]] = []
        self.closes: list[tuple[int, str]] = []
        self.hub: Hub | None = None
        self._hubs = hubs
        self._rng = rng
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            self.hub = self._rng.choice(self._hubs)
            try:
                client: Client = await self.hub.connect(token(self.participant))
            except Exception:  # whatever it is: it is not there any more
                await asyncio.sleep(self._rng.uniform(0.05, 0.5))
                continue
            client.messages = self.told
            await wait_until(lambda client=client: client.closed, within_seconds=300)  # type: ignore[misc]
            assert client.closed is not None
            self.closes.append(client.closed)
            await asyncio.sleep(self._rng.uniform(0.05, 0.5))

    @property
    def states(self) -> list[str]:
        """What they were told of themselves, in order."""
        return [
            message["type"] for message in self.told if message["type"] in ("seated", "waiting", "refresh", "ended")
        ]

    async def stop(self) -> None:
        """End the following; the connection is closed with its hub."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def stall(hub: HubProcess, participant: str, *, then: bytes = b"") -> socket.socket:
    """Connect somebody who never reads; `then` is sent after the handshake."""
    host, port = hub.address.removeprefix("http://").split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    sock.connect((host, int(port)))
    sock.sendall(
        f"GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Protocol: capacity.v1, bearer.{token(participant)}\r\n\r\n".encode()
    )
    sock.sendall(then)
    return sock


@pytest.mark.timeout(180)
async def test_no_seat_is_lost_in_a_rolling_restart(redis_url: str, billing: Billing, tmp_path: Path) -> None:
    rng = random.Random(1)
    store: Any = billing._client
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(HubProcess(redis_url, tmp_path, **TIMES)) for _ in range(3)]
        await billing.account(SEATS)
        assert (await hubs[0].call("PUT", hubs[0].room_path())).status_code == 200
        seated = await arrive(hubs, "s", SEATS, rng, "seated")
        waiting = await arrive(hubs, "w", WAITING, rng, "waiting")
        before = await line(store)
        assert sorted(before) == sorted(follower.participant for follower in waiting)
        hindering: list[socket.socket] = []
        for number in range(3):
            old = hubs[0]
            hindering.append(stall(old, f"stalled-{number}"))
            hindering.append(
                stall(old, f"hostile-{number}", then=b"\x88\x82\0\0\0\0\x03\xe8" + b"\x89\x80\0\0\0\0" * 50)
            )
            hubs[0:1] = []  # nobody new comes to it
            there = [follower for follower in (*seated, *waiting) if follower.hub is old]
            assert len(there) > 50, "there is a load"
            began = time.monotonic()
            old.process.terminate()
            assert await old.ended(ENDS_WITHIN_SECONDS) == 0
            assert time.monotonic() - began <= ENDS_WITHIN_SECONDS
            await wait_until(lambda there=there, old=old: all(f.hub is not old for f in there))  # type: ignore[misc]
            assert {follower.closes[-1] for follower in there} == {(1012, "restarting")}
            hubs.append(await stack.enter_async_context(HubProcess(redis_url, tmp_path, **TIMES)))
            await settled(hubs[0], lambda numbers: numbers["seated"] == SEATS and numbers["away"] == 0)
        for sock in hindering:
            sock.close()

        async def only_they_wait() -> bool:
            return [p for p in await line(store) if not p.startswith(("stalled", "hostile"))] == before

        await wait_until(only_they_wait, what="the line as it was")
        for follower in seated:
            assert set(follower.states) == {"seated"}, (follower.participant, follower.states)
        for follower in waiting:
            assert set(follower.states) == {"waiting"}, (follower.participant, follower.states)
        report = await hubs[0].call("GET", f"/v1/accounts/{ACCOUNT}/rooms/{ROOM}/report")
        assert report.json()["peak"] == SEATS and report.json()["joined"] == SEATS
        for follower in (*seated, *waiting):
            await follower.stop()


async def arrive(hubs: list[HubProcess], prefix: str, count: int, rng: random.Random, state: str) -> list[Follower]:
    """Let so many come, and wait until each was told this."""
    followers = [Follower(f"{prefix}{number}", hubs, rng) for number in range(count)]
    await wait_until(
        lambda: all(follower.states[:1] == [state] for follower in followers), within_seconds=30, what=f"all {state}"
    )
    return followers


async def line(store: Any) -> list[str]:
    """The line in its order, as the store has it."""
    key = keys.room_key(keys.RoomName(ACCOUNT, ROOM), "line")
    return [member.decode() for member in await store.zrange(key, 0, -1)]


async def settled(hub: Hub, right: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until the room is so."""

    async def is_so() -> bool:
        return right(await hub.occupancy())

    await wait_until(is_so, within_seconds=10, what="everybody seated again")
