"""A WebSocket of the simulation: the hub's end is what `capacity.hub.socket` asks for, the other end is a person's."""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from typing import TYPE_CHECKING, Any

from capacity.errors import Close
from capacity.protocol.messages import ClientMessage
from capacity.protocol.tokens import Claims

if TYPE_CHECKING:
    from capacity.hub.connection import Connection
    from tests.simulation.node import Node

Event = tuple[str, dict[str, Any]]
"""The `type` of a message and its fields; or `close` with its code, or `lost`."""
LOST: Event = ("lost", {})


class Wire:
    """One connection of one person to one hub."""

    def __init__(self, node: Node, claims: Claims, random: random.Random) -> None:
        self.node = node
        self.claims = claims
        self.connection: Connection | None = None
        self.open = True
        """Whether the person's end stands."""
        self._random = random
        self._closing = False
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._last_at = 0.0
        self._said_at = 0.0
        node.wires[self] = None
        self._in_hub(self._connect)

    # ---- the hub's end

    def send(self, frame: bytes) -> None:
        """Take an encoded frame."""
        if not self._closing:
            self._arrive(_message(frame))

    def close(self, close: Close) -> None:
        """Take a close."""
        if not self._closing:
            self._closing = True
            self._arrive(("close", {"code": close.code, "reason": close.reason}))

    def _connect(self) -> None:
        if self.node.accepting:  # also for somebody who has gone meanwhile: that is heard of next
            self.connection = self.node.hub.connect(self, self.claims)
        else:
            self._arrive(LOST)

    def _in_hub(self, call: Any, *arguments: Any, seconds: float = 0.0) -> None:
        """Make a call in the hub's process, in the order in which they were asked for."""
        loop = self.node.loop
        self._said_at = max(self._said_at + 1e-6, loop.time() + seconds + self._random.uniform(0.0005, 0.02))
        loop.call_at(self._said_at, call, *arguments, context=self.node.process.context)

    # ---- the person's end

    def say(self, message: ClientMessage) -> None:
        """Send a message."""
        if self.open:
            self._in_hub(self._hear, message)

    def drop(self, unnoticed_seconds: float = 0.0) -> None:
        """Go without a word; the hub notices after so long."""
        if self.open:
            self._end()
            self._in_hub(self._lose, seconds=unnoticed_seconds)

    async def next(self, until: float) -> Event | None:
        """Return what comes next; None at the instant `until`."""
        loop = self.node.loop
        if not self._events and until > loop.time():
            self._waiter = loop.create_future()
            timer = loop.call_at(until, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self._events.popleft() if self._events else None

    def cut(self) -> None:
        """The hub's process is gone."""
        self._closing = True
        self._arrive(LOST)

    def _end(self) -> None:
        self.open = False
        self.node.wires.pop(self, None)

    def _hear(self, message: ClientMessage) -> None:
        if self.connection is not None:
            self.connection.receive(message)

    def _lose(self) -> None:
        if self.connection is not None:
            self.connection.lost()

    def _arrive(self, event: Event) -> None:
        loop = self.node.loop
        self._last_at = loop.in_order(self._last_at, self._random.uniform(0.0005, 0.02), self._take, event)

    def _take(self, event: Event) -> None:
        if not self.open:
            return
        if event[0] in ("close", "lost"):
            self._end()
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _message(frame: bytes) -> Event:
    message = json.loads(frame[2:] if frame[1] < 126 else frame[4:])
    return message.pop("type"), message
