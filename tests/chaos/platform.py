"""The platform as the harness has it: its endpoint (endpoint.py), started, killed and read; and rooms that open and end all the time."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
from redis.exceptions import RedisError

from capacity.hooks.endpoint import id_of
from capacity.protocol import hooks
from capacity.store import keys
from capacity.store.keys import RoomName
from tests.chaos import endpoint
from tests.chaos.audience import Account
from tests.hooks.implied import Told, told_in
from tests.support.servers import free_port
from tests.support.service import WEBHOOK_SECRET, service_token
from tests.support.waiting import wait_until

READY_WITHIN_SECONDS = 40.0
TOLD_WITHIN_SECONDS = 60.0
"""After all is well: what a killed hub had taken, or had left in an outbox, is another's 30 s later."""
POLL_SECONDS = 0.5
LATE_SECONDS = 4.0
PUT_OFF_MS = 60_000
"""A third try is five minutes after the second: for what waits longer than this time passes at once."""
SHOW_SECONDS = (0.2, 2.0)
ASK_SECONDS = 2.0


class Came(NamedTuple):
    """A try that came with a good signature. Instants are monotonic; `happened_at`: when what it tells happened."""

    at: float
    id: str
    told: Told
    taken: bool
    happened_at: float


class Platform:
    """`came`: everything that came, in order; `faults`: what must not have come at all."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.came: list[Came] = []
        self.faults: list[str] = []
        self.url = ""
        self._seed = seed
        self._directory = directory
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._bodies: dict[str, str] = {}
        self._read = 0
        self._wall_ahead = time.time() - time.monotonic()
        self._starts = 0

    # ---- its endpoint

    def begin(self) -> None:
        """Start the endpoint, the first time or after a kill; it listens a little later."""
        self._port = self._port or free_port()
        self.url = f"http://127.0.0.1:{self._port}{endpoint.PATH}"
        self._starts += 1
        command = [sys.executable, "-m", "tests.chaos.endpoint", str(self._port), str(self._directory)]
        command += [WEBHOOK_SECRET, f"{self._seed} {self._starts}"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    async def start(self) -> None:
        """Start the endpoint, and wait until it listens."""
        self.begin()
        await wait_until(self._listens, within_seconds=READY_WITHIN_SECONDS, what="the platform's endpoint to listen")

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        return True

    def kill(self) -> None:
        """End the endpoint as a crash does; what it wrote down stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def calm(self) -> None:
        """From now on everything is taken."""
        (self._directory / endpoint.CALM).touch()

    # ---- what came

    def read(self) -> None:
        """Read what came since the last time."""
        path = self._directory / endpoint.LINES
        written = path.read_bytes()[self._read :] if path.exists() else b""
        whole = written[: written.rfind(b"\n") + 1]
        self._read += len(whole)
        for raw in whole.splitlines():
            self._take(msgspec.json.decode(raw, type=endpoint.Line))

    def _take(self, line: endpoint.Line) -> None:
        if line.fault:
            self.faults.append(f"the library refused {line.id}: {line.fault}")
            return
        try:
            event = hooks.decode(line.body.encode())
        except msgspec.DecodeError as error:
            self.faults.append(f"{line.id} is no event: {error}: {line.body[:200]}")
            return
        if self._bodies.setdefault(line.id, line.body) != line.body:
            self.faults.append(f"{line.id} came with two bodies: {self._bodies[line.id]} and {line.body}")
        happened_at = event.timestamp.timestamp() - self._wall_ahead
        self.came.append(Came(line.at - self._wall_ahead, line.id, told_in(event), line.answer == 204, happened_at))

    def late(self) -> int:
        """Return of how many events the first try that came was none of those that are made at once."""
        self.read()
        first = {one.id: one for one in reversed(self.came)}
        return sum(one.at - one.happened_at > LATE_SECONDS for one in first.values())

    async def told(self, wanted: Iterable[Told], store: Any) -> None:
        """Wait until all of these were taken, or the time is over: the verdict says which were not. What was refused so often that
        its next try is minutes away is tried at once.
        """
        self.read()
        missing = set(wanted) - {came.told for came in self.came if came.taken}
        deadline = time.monotonic() + TOLD_WITHIN_SECONDS
        while missing and time.monotonic() < deadline:
            with contextlib.suppress(RedisError, OSError):
                await self._pass_time(store)
            await asyncio.sleep(POLL_SECONDS)
            self.read()
            missing -= {came.told for came in self.came if came.taken}

    async def _pass_time(self, store: Any) -> None:
        due, _ = keys.hook_queue(id_of(self.url))
        now_ms = round(time.time() * 1000)
        late = await store.zrange(due, now_ms + PUT_OFF_MS, "+inf", byscore=True, offset=0, num=1000)
        if late:
            await store.zadd(due, dict.fromkeys(late, now_ms), xx=True)


class Shows:
    """One room of each account that opens and ends by HTTP, at whichever hub answers, while the faults come."""

    def __init__(self, accounts: list[Account], http: httpx.AsyncClient, ports: list[int], seed: int) -> None:
        self._rooms = [account.show for account in accounts]
        self._http = http
        self._ports = ports
        self._chance = random.Random(seed)

    async def run(self) -> None:
        """Open and end rooms until cancelled."""
        await asyncio.gather(*(self._run(room) for room in self._rooms))

    async def _run(self, room: RoomName) -> None:
        while True:
            for method in ("PUT", "DELETE"):
                await self.order(method, room)
                await asyncio.sleep(self._chance.uniform(*SHOW_SECONDS))

    async def order(self, method: str, room: RoomName) -> None:
        """Open or end a room: ask one hub after the other until one has done it. Twice is once."""
        headers = {"Authorization": f"Bearer {service_token()}"}
        while True:
            url = f"http://127.0.0.1:{self._chance.choice(self._ports)}/v1/accounts/{room.account}/rooms/{room.room}"
            with contextlib.suppress(httpx.TransportError):
                answer = await self._http.request(method, url, headers=headers, timeout=ASK_SECONDS)
                if answer.status_code == 200:
                    return
            await asyncio.sleep(endpoint.POLL_SECONDS)

    async def end(self, rooms: Iterable[RoomName]) -> None:
        """End all of these, and the shows."""
        await asyncio.gather(*(self.order("DELETE", room) for room in (*rooms, *self._rooms)))
