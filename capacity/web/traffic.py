"""What happens to every HTTP request, around the routes: it is counted, and its answer gets careful headers.

One log line at most for a refusal that an operator wants to know of: at the webhook, where the other side is a program
that somebody has to set right, and 5xx. Only the route's template, the method, the status and the code are logged: no
path, query, header or body.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from capacity.errors import ErrorCode
from capacity.web.metrics import NO_ROUTE, PAGE, Metrics
from capacity.web.problems import SCOPE_CODE, SCOPE_ROUTE
from capacity.web.webhook import EVENTS

LOG_INTERVAL_SECONDS = 1.0

log = structlog.get_logger("capacity.http")


class Traffic:
    """ASGI middleware: counts and times requests, and logs refusals, each kind once a second at most."""

    def __init__(self, app: ASGIApp, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._metrics = metrics
        self._monotonic = monotonic
        self._logged_at: dict[tuple[str, str], float] = {}
        self._unlogged: dict[tuple[str, str], int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started_at = self._monotonic()
        try:
            await self._app(scope, receive, watch)
        finally:
            if status:
                self._count(scope, status, self._monotonic() - started_at)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get(SCOPE_ROUTE) or (PAGE if "endpoint" in scope and status < 400 else NO_ROUTE)
        self._metrics.answered(route, scope["method"], status, seconds)
        code = scope.get(SCOPE_CODE)
        if code is not None:
            self._metrics.refused(code)
        if route == EVENTS and scope["method"] == "POST":
            self._metrics.event(code or "accepted")
        # An unexpected error has its line already, from problems.Guard.
        if code is not None and code != ErrorCode.INTERNAL_ERROR and (route == EVENTS or status >= 500):
            self._log(route, code, scope["method"], status)

    def _log(self, route: str, code: str, method: str, status: int) -> None:
        kind, now = (route, code), self._monotonic()
        last = self._logged_at.get(kind)
        if last is not None and now - last < LOG_INTERVAL_SECONDS:
            self._unlogged[kind] = self._unlogged.get(kind, 0) + 1
            return
        self._logged_at[kind] = now
        more = self._unlogged.pop(kind, 0)
        log.warning("request_refused", route=route, method=method, status=status, code=str(code), unlogged=more)


class SafeHeaders:
    """ASGI middleware: headers that every answer carries unless it says otherwise itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        private = scope["path"].startswith("/v1")

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
                if private:
                    headers.setdefault("Cache-Control", "no-store")
                    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
            await send(message)

        await self._app(scope, receive, add)
