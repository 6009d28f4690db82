"""The platform's side: a server that takes webhooks, checks their signatures as the library does, and answers what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from standardwebhooks.webhooks import Webhook

from tests.support.service import WEBHOOK_SECRET

SECRET = WEBHOOK_SECRET


class Received(NamedTuple):
    """A webhook as it came, with a good signature."""

    path: str
    id: str
    headers: dict[str, str]
    event: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.event["data"])


class Platform:
    """Every path takes webhooks. `answers`: path → what is answered there in turn, then 204. `held`: paths that answer nothing yet."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, list[web.Response]] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.secret = SECRET
        self.url = ""

    def at(self, path: str) -> list[Received]:
        """Return what came to a path."""
        return [one for one in self.received if one.path == path]

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take one webhook."""
        raw = await request.text()
        headers = {name.lower(): value for name, value in request.headers.items()}
        Webhook(self.secret).verify(raw, headers)  # raises, which is answered 500, for a signature that is none
        self.received.append(Received(request.path, headers["webhook-id"], headers, json.loads(raw)))
        answers = self.answers.get(request.path, [])
        answer = answers.pop(0) if answers else web.Response(status=204)
        if (held := self.held.get(request.path)) is not None:
            await held.wait()
        return answer


@asynccontextmanager
async def platform() -> AsyncIterator[Platform]:
    """Run one on a port of its own."""
    server = Platform()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        for held in server.held.values():
            held.set()
        await runner.cleanup()
