"""The platform's side: a server that takes webhooks, checks their signatures as the library does, and answers what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
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
        headers, raw = await verified(request, self.secret)  # what it raises is answered 500
        self.received.append(Received(request.path, headers["webhook-id"], headers, json.loads(raw)))
        answers = self.answers.get(request.path, [])
        answer = answers.pop(0) if answers else web.Response(status=204)
        if (held := self.held.get(request.path)) is not None:
            await held.wait()
        return answer


async def verified(request: web.Request, secret: str = SECRET) -> tuple[dict[str, str], bytes]:
    """Return the headers, with their names in lower case, and the body. Raises WebhookVerificationError for a signature that is none."""
    headers, body = {name.lower(): value for name, value in request.headers.items()}, await request.read()
    Webhook(secret).verify(body, headers)
    return headers, body


@asynccontextmanager
async def serving(take: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve on a port of its own, every path alike; yields the address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def platform() -> AsyncIterator[Platform]:
    """Run one on a port of its own."""
    server = Platform()
    async with serving(server.take) as server.url:
        try:
            yield server
        finally:
            for held in server.held.values():
                held.set()
