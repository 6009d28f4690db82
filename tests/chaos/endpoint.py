"""The platform's endpoint, a process that faults can hit: python -m tests.chaos.endpoint PORT DIRECTORY SECRET SEED

It verifies each webhook with the library of Standard Webhooks, and writes it down as a line of JSON (`Line`) before it answers: 204,
500, late, or nothing at all. Once DIRECTORY has a file `calm` it takes everything.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

import msgspec
from aiohttp import web

from tests.hooks.platform import verified

PATH = "/a-path-that-is-a-secret"
LINES, CALM = "webhooks.jsonl", "calm"
WAYS = {"taken": 0.86, "refused": 0.08, "slow": 0.04, "silent": 0.02}
SLOW_SECONDS = (0.2, 3.0)
SILENT_SECONDS = 20.0
"""Longer than anybody waits for an answer."""
POLL_SECONDS = 0.1


class Line(msgspec.Struct):
    """One try that came, at an instant (seconds since the epoch). `fault`: why the library did not take it; `body` is anything then."""

    at: float
    id: str
    body: str
    answer: int
    fault: str = ""


class Endpoint:
    """What answers."""

    def __init__(self, directory: Path, secret: str, seed: str) -> None:
        self._secret = secret
        self._calm = directory / CALM
        self._file = (directory / LINES).open("ab", buffering=0)  # each line is the kernel's before the answer goes out
        self._chance = random.Random(seed)

    async def take(self, request: web.Request) -> web.Response:
        """Take one webhook, or not."""
        line = Line(time.time(), request.headers.get("webhook-id", ""), (await request.read()).decode(), 400)
        try:
            await verified(request, self._secret)
        except Exception as error:
            line.fault = f"{type(error).__name__}: {error}"
        else:
            line.answer = await self._answer()
        self._file.write(msgspec.json.encode(line) + b"\n")
        return web.Response(status=line.answer)

    async def _answer(self) -> int:
        """Return the status, as late as it is to be."""
        way = "taken" if self._calm.exists() else self._chance.choices(list(WAYS), list(WAYS.values()))[0]
        if way == "slow":
            await asyncio.sleep(self._chance.uniform(*SLOW_SECONDS))
        if way == "silent":
            await self._wait_for_calm()
        return 204 if way in ("taken", "slow") else 500

    async def _wait_for_calm(self) -> None:
        for _ in range(round(SILENT_SECONDS / POLL_SECONDS)):
            if self._calm.exists():
                return
            await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    port, directory, *rest = sys.argv[1:]
    app = web.Application()
    app.router.add_post(PATH, Endpoint(Path(directory), *rest).take)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=lambda *_: None)
