"""Brings what the rooms' scripts wrote down into the queues of the endpoints: at once what this process's own calls wrote, and from time
to time what a dead one left. At least once; an event that is found twice has the same id, and is put there once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from capacity.errors import Unavailable
from capacity.store.hook_queue import HookQueue
from capacity.store.outbox import PIECE, Outbox

LOOK_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Relay:
    """The relay of one process. `endpoints` are their ids; `put` is called when something new is in their queues."""

    def __init__(self, outbox: Outbox, queue: HookQueue, endpoints: Sequence[str], put: Callable[[], None]) -> None:
        self._outbox = outbox
        self._queue = queue
        self._endpoints = endpoints
        self._put = put

    async def run(self) -> None:
        """Relay until cancelled; whatever the store does, this goes on, and what could not be done now is done when it answers again."""
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        left: set[str] = set()
        while True:
            left |= await self._outbox.wait(max(0.0, look_at - loop.time()))
            try:
                if loop.time() >= look_at:
                    look_at = loop.time() + LOOK_SECONDS
                    left |= set(await self._outbox.look())
                await self._relay_all(left)
                left = set()
            except Unavailable:
                look_at = loop.time() + LOOK_SECONDS

    async def _relay_all(self, accounts: Iterable[str]) -> None:
        for account in accounts:
            try:
                await self.relay(account)
            except Unavailable:
                raise
            except Exception as error:  # a bug must cost this account's events, not everybody's
                log.error("hooks_not_relayed", account=account, error=f"{type(error).__name__}: {error}")

    async def relay(self, account: str) -> None:
        """Relay everything that an account's outbox has. Raises Unavailable."""
        while True:
            piece = await self._outbox.read(account)
            if piece.events:
                refused = await self._queue.put(self._endpoints, piece.events)
                if refused:
                    log.error("hooks_dropped", account=account, deliveries=refused, why="too many wait for an endpoint")
                self._put()
            if piece.entries:
                await self._outbox.drop(account, piece)
            if len(piece.entries) < PIECE:
                return
