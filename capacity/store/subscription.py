"""One subscription connection, to one node of the store: made anew from nothing whenever it is not to be trusted."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from capacity.errors import Unavailable
from capacity.store.tasks import end

Listener = Callable[[bytes], None]
CONFIRMED_WITHIN_SECONDS = 3.0
BEACON_SECONDS = 1.0
BEACONS_MISSED_MAX = 3
RETRY_SECONDS = 0.25
BROKEN = (RedisError, OSError, AttributeError, RuntimeError)
"""What a broken connection raises. AttributeError: redis-py 8.1 writes to one that its reader has just dropped; RuntimeError: uvloop's
transport is closed already.
"""

log = structlog.get_logger(__name__)


class Subscription:
    """The channels of one node. `connect` returns a new pub/sub client; `shine` publishes to the channel `beacon`, the way that
    everything else is published. `on_gap`: messages may have been missed, and it stands again. `on_moved`: the node no longer has
    the channels, or cannot be reached.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        beacon: str,
        shine: Callable[[str], Awaitable[None]],
        on_gap: Callable[[], None],
        on_moved: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._beacon = beacon
        self._publish = shine
        self._on_gap = on_gap
        self._on_moved = on_moved
        self.listeners: dict[str, Listener] = {beacon: self._hear}
        self._confirmations: dict[str, asyncio.Future[None]] = {}
        self._leaving: Counter[str] = Counter()
        self._sending = asyncio.Lock()
        self.heard_at = asyncio.get_running_loop().time()
        """When the beacon was heard last."""
        self._pubsub: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self.live = False
        self._outdated = False

    async def start(self) -> None:
        """Begin to listen; returns at once, `live` turns true when the subscription stands."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._shine())]

    def renew(self) -> None:
        """Begin anew with a new connection, within a second: the server may be another."""
        self.live, self._outdated = False, True

    async def stop(self) -> None:
        """End the subscription."""
        await end(self._tasks)
        await self._drop()

    def channels(self) -> list[tuple[str, Listener]]:
        """Return what is listened to, but for the beacon."""
        return [(channel, listener) for channel, listener in self.listeners.items() if channel != self._beacon]

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Listen to a channel; returns when the server has confirmed it, so that nothing said afterwards is missed."""
        self.listeners[channel] = listener
        confirmed = self._confirmations.get(channel)
        if confirmed is None:
            confirmed = self._confirmations[channel] = asyncio.get_running_loop().create_future()
        try:
            async with self._sending:
                if self._pubsub is not None:
                    await self._pubsub.ssubscribe(channel)
            async with asyncio.timeout(CONFIRMED_WITHIN_SECONDS):
                await asyncio.shield(confirmed)
        except (TimeoutError, *BROKEN):
            self._confirmations.pop(channel, None)
            raise Unavailable("the feed did not confirm a subscription") from None

    async def unsubscribe(self, channel: str) -> None:
        """Stop listening to a channel."""
        self.listeners.pop(channel, None)
        async with self._sending:
            if self._pubsub is not None and channel not in self.listeners:
                self._leaving[channel] += 1
                with contextlib.suppress(*BROKEN):
                    await self._pubsub.sunsubscribe(channel)

    async def _listen(self) -> None:
        first = True
        while True:
            try:
                async with self._sending:  # of two that meet an unconnected client each would connect it
                    self._outdated = False
                    self._pubsub = self._connect()
                    for channel in list(self.listeners):  # one by one: a cluster takes one slot at once
                        await self._pubsub.ssubscribe(channel)
                await self._read(first)
            except Exception as error:  # whatever it is: without its feed a hub is deaf
                if self.live or first or not isinstance(error, RedisError | OSError):
                    log.warning("feed_lost", error=f"{type(error).__name__}: {error}")
                self._on_moved()
            first = False
            self.live = False
            await self._drop()
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, first: bool) -> None:
        """Hand messages to their listeners until the subscription is no longer to be trusted."""
        loop = asyncio.get_running_loop()
        began_at = turned_at = loop.time()
        missing = set(self.listeners)
        while loop.time() - max(self.heard_at, began_at) < BEACON_SECONDS * BEACONS_MISSED_MAX:
            message = await self._pubsub.get_message(timeout=BEACON_SECONDS)
            if self._outdated:
                return
            if loop.time() - turned_at > 2 * BEACON_SECONDS:
                began_at = loop.time()  # this process stood still: what came meanwhile still lies in the socket
            turned_at = loop.time()
            if message is None:
                continue
            channel = message["channel"].decode()
            kind = message["type"]
            if kind == "smessage":
                listener = self.listeners.get(channel)
                if listener is not None:
                    listener(message["data"])
            elif kind == "ssubscribe":
                confirmed = self._confirmations.pop(channel, None)
                if confirmed is not None and not confirmed.done():
                    confirmed.set_result(None)
                missing.discard(channel)
                if not self.live and not missing:
                    self.live = True
                    log.info("feed_live", channels=len(self.listeners))
                    if not first:
                        self._on_gap()
            elif kind == "sunsubscribe":
                if self._leaving[channel] > 0:
                    self._leaving[channel] -= 1
                elif channel in self.listeners:
                    self._on_moved()  # the server took the channel away: its slot moves
                    return
        log.warning("feed_silent", beacons_missed=BEACONS_MISSED_MAX)

    async def _drop(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        self._leaving.clear()
        if pubsub is not None:
            with contextlib.suppress(*BROKEN):
                await pubsub.aclose()

    def _hear(self, _: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()

    async def _shine(self) -> None:
        while True:
            try:
                await self._publish(self._beacon)
            except (Unavailable, RedisError):
                pass
            except Exception as error:  # without its beacon a subscription is made anew every few seconds
                log.error("beacon_failed", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(BEACON_SECONDS)
