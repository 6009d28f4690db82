"""One hub as a server: uvicorn with our way of beginning and ending, and the private port if there is one.

    listening ── the store answers, the feed lives ──▶ ready ── SIGTERM ──▶ draining ──▶ ended, STOP_SECONDS later at most

Draining begins with the listening sockets: who comes from then on is refused by the kernel, or taken by another process
that has the same socket, before anybody who is here is sent away to come back.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import cast

import structlog
import uvicorn

from capacity import systemd
from capacity.app import Application

BACKLOG = 2048
DRAIN_SECONDS = 5  # for connections to close after they were told
STOP_SECONDS = 9.0

_log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """uvicorn, with our way of ending: drain first, no signal raised again at the end, and a last resort."""

    def __init__(
        self,
        application: Application,
        *,
        address: str,
        metrics: socket.socket | None = None,
        metrics_when_ready: bool = False,
        on_ready: Callable[[], None] = systemd.ready,
        on_hangup: Callable[[], None] | None = None,
    ) -> None:
        """`address`: for the log. `metrics`: a second socket, for the private port, served from the start, or when ready
        (`metrics_when_ready`) by the successor of a worker that serves it until then. `on_ready` is called once, when
        this hub takes connections for the first time; `on_hangup` for each SIGHUP (None: as it was)."""
        super().__init__(_config(application.asgi, application.http_class))
        self._application = application
        self._address = application.hub.status.address = address
        self._metrics = metrics
        self._metrics_when_ready = metrics_when_ready
        self._on_ready = on_ready
        self._on_hangup = on_hangup
        self._loop: asyncio.AbstractEventLoop | None = None
        self._getting_ready: asyncio.Task[None] | None = None
        self._drained = False
        self.servers = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        if self._on_hangup is not None:
            self._loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        await super().startup(sockets)
        if self._metrics is not None and not self._metrics_when_ready:
            await self._serve_privately(self._metrics)
        # What is there now stays: the collector need not look at it ever again.
        gc.collect()
        gc.freeze()
        metrics = {} if self._metrics is None else {"metrics": address_of(self._metrics)}
        _log.info("listening", address=self._address, **metrics)
        self._getting_ready = asyncio.create_task(self._get_ready())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT. This may run in the middle of anything, so the loop does the rest."""
        if not self.should_exit:
            end_at_the_latest_in(STOP_SECONDS)
        elif sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._drain)

    async def _get_ready(self) -> None:
        systemd.waiting("not ready")
        await self._application.hub.readiness.ready(math.inf)
        if self._metrics is not None and self._metrics_when_ready:
            await self._serve_privately(self._metrics)
        self._on_ready()

    async def _serve_privately(self, listener: socket.socket) -> None:
        """Serve the private port with the same loop, and as one of uvicorn's own: it ends as the public one does."""
        private = self._application.private
        config = _config(private.asgi, private.http_class)
        config.load()

        def connection() -> asyncio.Protocol:
            protocol = cast("Callable[..., asyncio.Protocol]", private.http_class)
            return protocol(config=config, server_state=self.server_state, app_state=self.lifespan.state)

        assert self._loop is not None
        self.servers.append(await self._loop.create_server(connection, sock=listener, backlog=BACKLOG))

    def _drain(self) -> None:
        if self._drained:
            return
        self._drained = True
        systemd.stopping()
        if self._getting_ready is not None:
            self._getting_ready.cancel()
        for server in self.servers:
            server.close()
        self._application.hub.drain()


def address_of(listener: socket.socket) -> str:
    """Return the URL that the socket listens on."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def end_at_the_latest_in(seconds: float) -> None:
    """End this process after so many seconds, whatever holds it up; what ends with its parent ends too."""

    def end() -> None:
        _log.error("not_ended_in_time", seconds=seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _config(asgi: object, http_class: type[asyncio.Protocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app=asgi,  # type: ignore[arg-type]
        http=http_class,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        workers=1,  # or uvicorn looks at WEB_CONCURRENCY
        backlog=BACKLOG,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
