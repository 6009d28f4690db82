"""A pub/sub client of the simulation: what `capacity.store.subscription` uses of redis-py's, over the simulated network."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError

if TYPE_CHECKING:
    from tests.simulation.network import Link, Network


class SimulatedSubscription:
    """One connection; what comes over it comes in order."""

    def __init__(self, network: Network, link: Link) -> None:
        self.link = link
        self.open = False
        self.deaf = False
        """Nothing arrives any more, and nothing says so: half open, as behind a cable that was pulled."""
        self._network = network
        self._arrived: deque[dict[str, Any]] = deque()
        self._broken = False
        self._waiter: asyncio.Future[None] | None = None
        self._last_at = 0.0

    # ---- as redis-py's

    async def ssubscribe(self, *channels: str) -> None:
        """Ask for channels; each is confirmed by a message."""
        if not self.open:
            await self._network.connect(self.link)
            self.open = True
        if self._broken:
            raise ConnectionError("Connection closed by server.")
        for channel in channels:
            self._network.subscribe(self, channel)

    async def sunsubscribe(self, *channels: str) -> None:
        """Give channels up; each is confirmed by a message."""
        if self._broken:
            raise ConnectionError("Connection closed by server.")
        for channel in channels:
            self._network.unsubscribe(self, channel)

    async def get_message(self, timeout: float) -> dict[str, Any] | None:  # noqa: ASYNC109 — as redis-py has it
        """Return the next message; None if none comes in so many seconds."""
        if not self._arrived and not self._broken:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if self._arrived:
            return self._arrived.popleft()
        if self._broken:
            raise ConnectionError("Connection closed by server.")
        return None

    async def aclose(self) -> None:
        """Hang up."""
        self.open = False
        self._network.hang_up(self)

    # ---- from the server

    def say(self, kind: str, channel: str, data: Any, seconds: float) -> None:
        """Something is sent to it, and takes so long."""
        message = {"type": kind, "channel": channel.encode(), "data": data}
        self._last_at = self._network.loop.in_order(self._last_at, seconds, self._hear, message)

    def fail(self, seconds: float) -> None:
        """The connection breaks."""
        self._network.hang_up(self)
        self._network.loop.outside(seconds, self._break)

    def _break(self) -> None:
        self._broken = True
        self._wake()

    def _hear(self, message: dict[str, Any]) -> None:
        if not self.deaf and not self._broken and self.open:
            self._arrived.append(message)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
