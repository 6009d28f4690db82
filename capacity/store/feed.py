"""The feed: what rooms and accounts publish, by sharded pub/sub. It is a hint, never the truth.

Pub/sub loses messages without a word when a connection breaks. So a lost subscription is made anew from nothing and reported as a
gap, and a beacon of our own proves every second that the subscription lives: a server that is frozen or a connection that is half open
gives no error (docs/decisions/0003).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from capacity.errors import Unavailable
from capacity.store.keys import beacon
from capacity.store.redis import Clients
from capacity.store.scripts import guarded
from capacity.store.tasks import end

Listener = Callable[[bytes], None]
CONFIRMED_WITHIN_SECONDS = 3.0
BEACON_SECONDS = 1.0
BEACONS_MISSED_MAX = 3
RETRY_SECONDS = 0.25

log = structlog.get_logger(__name__)


class Feed:
    """The subscription of one process. `on_gap` is called when messages may have been missed, after it stands again."""

    def __init__(self, clients: Clients, hub: str, on_gap: Callable[[], None]) -> None:
        self._clients = clients
        self._on_gap = on_gap
        self._listeners: dict[str, Listener] = {}
        self._confirmations: dict[str, asyncio.Future[None]] = {}
        self._beacon = beacon(hub)
        self._leaving: Counter[str] = Counter()
        self._sending = asyncio.Lock()
        self._heard_at = 0.0
        self._pubsub: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self.live = False

    async def start(self) -> None:
        """Begin to listen; returns at once, `live` turns true when the subscription stands."""
        self._listeners[self._beacon] = self._hear
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._shine())]

    async def stop(self) -> None:
        """End the subscription."""
        await end(self._tasks)
        await self._drop()

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Listen to a channel; returns when the server has confirmed it, so that nothing said afterwards is missed."""
        self._listeners[channel] = listener
        confirmed = self._confirmations.get(channel)
        if confirmed is None:
            confirmed = self._confirmations[channel] = asyncio.get_running_loop().create_future()
        try:
            async with self._sending:
                if self._pubsub is not None:
                    await self._pubsub.ssubscribe(channel)
            async with asyncio.timeout(CONFIRMED_WITHIN_SECONDS):
                await asyncio.shield(confirmed)
        except (TimeoutError, RedisError, OSError, AttributeError):
            # AttributeError: redis-py 8.1 writes to a connection that its reader has just dropped
            self._confirmations.pop(channel, None)
            raise Unavailable("the feed did not confirm a subscription") from None

    async def unsubscribe(self, channel: str) -> None:
        """Stop listening to a channel."""
        self._listeners.pop(channel, None)
        async with self._sending:
            if self._pubsub is not None and channel not in self._listeners:
                self._leaving[channel] += 1
                with contextlib.suppress(RedisError, OSError, AttributeError):
                    await self._pubsub.sunsubscribe(channel)

    async def _listen(self) -> None:
        first = True
        while True:
            try:
                self._pubsub = self._clients.pubsub()
                for channel in list(self._listeners):  # one by one: a cluster takes only channels of one slot at once
                    await self._pubsub.ssubscribe(channel)
                await self._read(first)
            except Exception as error:  # whatever it is: without its feed a hub is deaf
                if self.live or first or not isinstance(error, RedisError | OSError):
                    log.warning("feed_lost", error=f"{type(error).__name__}: {error}")
            first = False
            self.live = False
            await self._drop()
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, first: bool) -> None:
        """Hand messages to their listeners until the subscription is no longer to be trusted."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        missing = set(self._listeners)
        while loop.time() - self._heard_at < BEACON_SECONDS * BEACONS_MISSED_MAX:
            message = await self._pubsub.get_message(timeout=BEACON_SECONDS)
            if message is None:
                continue
            channel = message["channel"].decode()
            kind = message["type"]
            if kind == "smessage":
                listener = self._listeners.get(channel)
                if listener is not None:
                    listener(message["data"])
            elif kind == "ssubscribe":
                confirmed = self._confirmations.pop(channel, None)
                if confirmed is not None and not confirmed.done():
                    confirmed.set_result(None)
                missing.discard(channel)
                if not self.live and not missing:
                    self.live = True
                    log.info("feed_live", channels=len(self._listeners))
                    if not first:
                        self._on_gap()
            elif kind == "sunsubscribe":
                if self._leaving[channel] > 0:
                    self._leaving[channel] -= 1
                elif channel in self._listeners:
                    return  # the server took the channel away: its slot moves
        log.warning("feed_silent", beacons_missed=BEACONS_MISSED_MAX)

    async def _drop(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        self._leaving.clear()
        if pubsub is not None:
            with contextlib.suppress(RedisError, OSError):
                await pubsub.aclose()

    def _hear(self, _: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()

    async def _shine(self) -> None:
        while True:
            with contextlib.suppress(Unavailable, RedisError):
                await guarded(self._clients.scripts.execute_command("SPUBLISH", self._beacon, b"1"))
            await asyncio.sleep(BEACON_SECONDS)
