"""Takes what is due to the endpoints, and again later where one did not take it; what is given up becomes a dead letter.

Every process has a courier, with a round for each endpoint: one that is slow or down holds up nobody else's. A delivery is taken for
a lease, so of several processes one delivers it, and what a dead one had taken is another's when the lease is over.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec
import structlog

from capacity.errors import Unavailable
from capacity.hooks.endpoint import TIMEOUT_SECONDS, Answer, Endpoint, new_session
from capacity.store.hook_queue import Delivery, HookQueue, Letter, Taken
from capacity.store.tasks import end

AGAIN_SECONDS = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""How long after each try the next one comes: ten tries in over three days, as Standard Webhooks recommends ("Deliverability and
reliability")."""
JITTER = 0.1
"""By how much of its time a try may come later, so that what failed together is not tried together."""
LEASE_MS = 2 * int(TIMEOUT_SECONDS * 1000)
EVERY_SECONDS = 1.0
STOP_SECONDS = 2.0
"""How long what is under way has to come to its end when the process ends."""
AT_ONCE_MAX = 8
"""The most tries at one endpoint that a process has under way."""

log = structlog.get_logger(__name__)


class Courier:
    """The courier of one process. `again_seconds`, `lease_ms` and `every_seconds` are given by tests."""

    def __init__(
        self,
        queue: HookQueue,
        endpoints: Sequence[Endpoint],
        *,
        again_seconds: Sequence[float] = AGAIN_SECONDS,
        lease_ms: int = LEASE_MS,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._queue = queue
        self._endpoints = endpoints
        self._again_seconds = again_seconds
        self._lease_ms = lease_ms
        self._every_seconds = every_seconds
        self._calls = [asyncio.Event() for _ in endpoints]
        self._waiting = {endpoint.id: 0 for endpoint in endpoints}
        self._stopped = False
        self.outcomes: Counter[str] = Counter()
        """Tries by what became of them: delivered, failed (to be tried again), dead."""

    @property
    def waiting(self) -> int:
        """Deliveries that wait in the store for the endpoints, as last seen."""
        return sum(self._waiting.values())

    def call(self) -> None:
        """Something new is due."""
        for event in self._calls:
            event.set()

    def stop(self) -> None:
        """Take nothing more; `run` returns when what is under way is done, or after a short while."""
        self._stopped = True
        self.call()

    async def run(self) -> None:
        """Deliver until stopped or cancelled."""
        async with new_session() as session:
            rounds = [
                asyncio.create_task(self._serve(session, endpoint, called))
                for endpoint, called in zip(self._endpoints, self._calls, strict=True)
            ]
            try:
                await asyncio.gather(*rounds)
            finally:
                await end(rounds)

    async def _serve(self, session: aiohttp.ClientSession, endpoint: Endpoint, called: asyncio.Event) -> None:
        """Serve one endpoint; whatever it or the store does, this goes on."""
        under_way: set[asyncio.Task[None]] = set()
        try:
            while not self._stopped:
                called.clear()
                room = AT_ONCE_MAX - len(under_way)
                taken = await self._take(endpoint, room)
                under_way |= {
                    asyncio.create_task(self._deliver(session, endpoint, id, delivery, taken.now_seconds))
                    for id, delivery in taken.deliveries
                }
                under_way = await self._pause(under_way, called, until_one_is_done=len(taken.deliveries) == room)
            if under_way:
                await asyncio.wait(under_way, timeout=STOP_SECONDS)
        finally:
            await end(under_way)

    async def _take(self, endpoint: Endpoint, count: int) -> Taken:
        """Take what is due to an endpoint; nothing if the store cannot be used, which is for the hub to tell."""
        try:
            taken = await self._queue.take(endpoint.id, self._lease_ms, count)
            self._waiting[endpoint.id] = taken.waiting
            return taken
        except Unavailable:
            pass
        except Exception as error:  # without its round an endpoint is told nothing
            log.error("hooks_failed", endpoint=endpoint.shown, error=f"{type(error).__name__}: {error}")
        return Taken(self._waiting[endpoint.id], 0, [])

    async def _pause(
        self, under_way: set[asyncio.Task[None]], called: asyncio.Event, *, until_one_is_done: bool
    ) -> set[asyncio.Task[None]]:
        """Wait until there may be something to take; returns what is still under way."""
        if not called.is_set():
            call = asyncio.ensure_future(called.wait())
            ends: set[asyncio.Future[Any]] = {call, *(under_way if until_one_is_done else ())}
            try:
                await asyncio.wait(ends, timeout=self._every_seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                call.cancel()
        return {task for task in under_way if not task.done()}

    async def _deliver(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, id: str, delivery: Delivery, now_seconds: int
    ) -> None:
        """Try one delivery and write down what became of it; what cannot be written is tried again after the lease."""
        try:
            answer = await endpoint.post(session, id, bytes(delivery.body), now_seconds)
            await self._settle(endpoint, id, delivery, answer)
        except Unavailable as error:
            log.warning("hook_put_off", id=id, endpoint=endpoint.shown, reason=str(error))
        except Exception as error:
            log.error("hook_failed", id=id, endpoint=endpoint.shown, error=f"{type(error).__name__}: {error}")

    async def _settle(self, endpoint: Endpoint, id: str, delivery: Delivery, answer: Answer) -> None:
        if answer.outcome == "delivered":
            await self._queue.done(endpoint.id, id)
            self.outcomes["delivered"] += 1
            return
        tried = msgspec.structs.replace(delivery, attempts=delivery.attempts + 1)
        if answer.outcome == "failed" and tried.attempts <= len(self._again_seconds):
            seconds = self._again_seconds[tried.attempts - 1] * (1 + JITTER * random.random())
            await self._queue.again(endpoint.id, id, tried, round(1000 * max(seconds, answer.after_seconds)))
            self.outcomes["failed"] += 1
            return
        if await self._queue.give_up(Letter(id, endpoint.id, endpoint.shown, answer.reason, tried)):
            self.outcomes["dead"] += 1
            log.warning(
                "hook_dead",
                id=id,
                endpoint=endpoint.shown,
                type=tried.type,
                account=tried.account,
                room=tried.room,
                attempts=tried.attempts,
                reason=answer.reason,
            )
