"""A participant who keeps a connection as the contract tells clients to: attendees (attendee.py) and hosts."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from tests.chaos.wire import Wire, handshake
from tests.support.service import token

if TYPE_CHECKING:
    from tests.chaos.audience import Audience

STOPS = frozenset({1000, 1008, 1009, 4401, 4404, 4409, 4410})
"""Close codes after which a client does not come back by itself."""
RESTARTING = 1012
SOON_SECONDS_MAX = 1.0
GROWING_SECONDS_FIRST, GROWING_SECONDS_MAX = 0.25, 3.0
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 8.0
SILENT_SECONDS = 5.0
"""Two pings and a half: an app that sees pings takes a connection for lost that brought none for so long."""


class Visitor:
    """Connects to some hub, and again with full jitter when the connection is lost, until it is told to stop."""

    role = "attendee"

    def __init__(self, audience: Audience, account: str, room: str, name: str, chance: random.Random) -> None:
        self.audience = audience
        self.journal = audience.journal
        self.account = account
        self.room = room
        self.name = name
        self.chance = chance
        self.sees_pings = chance.random() < 0.3
        self.token = token(name, role=self.role, account=account, room=room)
        self.wire: Wire | None = None
        self.answered = False
        self.wanted = False
        """Whether this visitor wants to be connected."""
        self.since = 0.0
        """When it last began to want what it has not: an answer."""
        self.limit: int | None = None
        self.last_hub = -1
        self.tries = 0
        self._timer: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    # ---- what it does

    def connect(self) -> None:
        """Connect now; an older connection of this visitor is no longer heeded."""
        self.wanted = True
        self.answered = False
        self.since = time.monotonic()
        self._open()

    def _open(self) -> None:
        hub, port = self.audience.pick(self.chance)
        self.wire = Wire(handshake(port, self.token), hub, self._told, self._lost)
        self._opening = asyncio.get_running_loop().create_task(self._dial(self.wire, port))

    async def _dial(self, wire: Wire, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: wire, "127.0.0.1", port)
        except (OSError, TimeoutError):
            self._lost(wire, 0, "refused")
        else:
            if self.wire is not wire:
                wire.drop()

    def after(self, seconds: float, act: Any) -> None:
        """Do something later; there is one plan at a time, a new one replaces it."""
        self.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, act)

    def cancel(self) -> None:
        """Drop the plan."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self, now: float) -> None:
        """Give up a connection that is silent for too long; called about once a second."""
        wire = self.wire
        if wire is None or not self.wanted:
            return
        if not self.answered:
            if now - wire.heard_at > ANSWER_SECONDS:
                wire.abort()
        elif self.sees_pings and now - wire.heard_at > SILENT_SECONDS:
            self.note("silent")
            wire.abort()

    def note(self, kind: str, **fields: Any) -> None:
        """Write down what happened to this visitor."""
        self.journal.note(
            kind, self.room, self.name, self.wire.hub if self.wire is not None else self.last_hub, **fields
        )

    # ---- what it is told

    def _told(self, wire: Wire, message: dict[str, Any]) -> None:
        if wire is not self.wire:
            return
        if not self.answered and message["type"] != "error":
            self.answered = True
            self.tries = 0
        limit = message.get("seat_limit")
        if limit is not None and message["room"] == self.room and limit != self.limit:
            self.limit = limit
            self.audience.learned(self, limit)
        self.told(message["type"], message)

    def told(self, kind: str, message: dict[str, Any]) -> None:
        """React to a message."""

    def _lost(self, wire: Wire, code: int, reason: str) -> None:
        if wire is not self.wire:
            return
        self.note("closed", code=code, reason=reason, answered=self.answered)
        self.wire = None
        self.last_hub = wire.hub
        if self.answered or not self.since:
            self.since = time.monotonic()
        self.answered = False
        self.lost(code, wire.hub)
        if not self.wanted:
            return
        if code in STOPS:
            self.wanted = False
            self.stopped(code)
        elif code == RESTARTING:
            self.after(self.chance.uniform(0, SOON_SECONDS_MAX), self._open)
        else:
            most = min(GROWING_SECONDS_MAX, GROWING_SECONDS_FIRST * 2**self.tries)
            self.tries += 1
            self.after(self.chance.uniform(0, most), self._open)

    def lost(self, code: int, hub: int) -> None:
        """The connection is lost."""

    def stopped(self, code: int) -> None:
        """The server said not to come back."""
        self.note("stopped", code=code)
