"""What is looked at all the time: seats that stand free while somebody connected waits, HTTP answers, and the machine itself."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from typing import Any

import httpx
from redis.exceptions import RedisError

from capacity.store import keys
from capacity.store.keys import RoomName
from tests.chaos import tasks
from tests.support.service import service_token

SAMPLE_SECONDS = 0.25
LAG_SECONDS = 0.05


class Monitor:
    """Runs beside a scenario; `idle_seconds` has the longest time for which a free seat was nobody's."""

    def __init__(self, store: Any, rooms: list[RoomName], http: httpx.AsyncClient, ports: list[int]) -> None:
        self._store = store
        self._rooms = rooms
        self._http = http
        self._ports = ports
        self._tasks: list[asyncio.Task[None]] = []
        self._idle_since: dict[RoomName, float] = {}
        self.idle_seconds: dict[RoomName, float] = {}
        self.statuses: Counter[int] = Counter()
        self.lags: list[float] = []
        self._cpu_from = (0.0, 0.0)

    def begin(self) -> None:
        """Begin to look."""
        self._cpu_from = (time.process_time(), time.monotonic())
        self._tasks = [
            asyncio.create_task(work) for work in (self._watch_seats(), self._watch_http(), self._watch_loop())
        ]

    async def end(self) -> None:
        """Stop."""
        await tasks.end(self._tasks)

    def machine(self) -> dict[str, float]:
        """Return the load average, the harness's share of one core, and how late its loop was (p99 and worst, ms)."""
        cpu, wall = (
            now - then for now, then in zip((time.process_time(), time.monotonic()), self._cpu_from, strict=True)
        )
        lags = sorted(self.lags) or [0.0]
        return {
            "load": os.getloadavg()[0],
            "cpu_percent": 100 * cpu / max(wall, 0.001),
            "lag_p99_ms": 1000 * lags[len(lags) * 99 // 100],
            "lag_worst_ms": 1000 * lags[-1],
        }

    async def _watch_seats(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            for room in self._rooms:
                try:
                    numbers = await room_numbers(self._store, room)
                except (RedisError, OSError):
                    self._idle_since.clear()
                    break
                now = time.monotonic()
                if numbers["free"] > 0 and numbers["ready"] > 0 and not numbers["settling"]:
                    since = self._idle_since.setdefault(room, now)
                    self.idle_seconds[room] = max(self.idle_seconds.get(room, 0.0), now - since)
                else:
                    self._idle_since.pop(room, None)

    async def _watch_http(self) -> None:
        chance = random.Random(0)
        headers = {"Authorization": f"Bearer {service_token()}"}
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            room = chance.choice(self._rooms)
            path = chance.choice(["/readyz", "/metrics", *[f"/v1/accounts/{room.account}/rooms/{room.room}"] * 3])
            try:
                answer = await self._http.get(f"http://127.0.0.1:{chance.choice(self._ports)}{path}", headers=headers)
                self.statuses[answer.status_code] += 1
            except httpx.TransportError:
                self.statuses[0] += 1

    async def _watch_loop(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(LAG_SECONDS)
            self.lags.append(time.monotonic() - before - LAG_SECONDS)


async def room_numbers(store: Any, name: RoomName) -> dict[str, int]:
    """Return a room as it stands in the store: occupied, free, ready (in line and connected), settling."""
    pipe = store.pipeline()
    pipe.hlen(keys.room_key(name, "people"))
    pipe.zcard(keys.room_key(name, "line"))
    pipe.zcard(keys.room_key(name, "ready"))
    pipe.hmget(keys.room_key(name, "state"), "seat_limit", "state", "settling_at", "told")
    people, line, ready, (limit, state, settling_at, told) = await pipe.execute()
    free = int(limit or 0) - (people - line) if state == b"open" else 0
    return {
        "occupied": people - line,
        "waiting": line,
        "free": max(0, free),
        "ready": ready,
        "settling": int(int(settling_at or 0) > time.time() * 1000),
        "seat_limit": int(limit or 0),
        "told": int(told or 0),
    }


async def room_people(store: Any, name: RoomName) -> dict[str, str]:
    """Return where everybody stands in the store: participant → seated, away, held, waiting or away_in_line."""
    pipe = store.pipeline()
    pipe.hgetall(keys.room_key(name, "people"))
    pipe.zrange(keys.room_key(name, "line"), 0, -1)
    pipe.zrange(keys.room_key(name, "holds"), 0, -1)
    people, line, holds = await pipe.execute()
    found = {}
    for participant, value in people.items():
        away = value.startswith(b"-")
        if participant in line:
            found[participant.decode()] = "away_in_line" if away else "waiting"
        elif participant in holds:
            found[participant.decode()] = "held"
        else:
            found[participant.decode()] = "away" if away else "seated"
    return found
