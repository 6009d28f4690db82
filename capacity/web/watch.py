"""What one process watches over all its connections: deadlines, pings, and counts for the metrics.

A connection has no timer of its own. Deadlines of one length stand in one line in the order of their beginning, with a
timer for the first; pings go round in one beat. All of it is measured on the event loop's monotonic clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import methodcaller
from typing import Any, Final, Protocol

import structlog

TURNS_A_DEADLINE: Final = 20
"""How often a line of deadlines is looked at within its length, at most: a deadline is kept to within 5 %."""
BEAT_SECONDS: Final = 0.25
BEATS_MAX: Final = 200

OPENING_SECONDS = 0.05
"""Longer than a decision takes where nothing is wrong; browsers and proxies wait a minute for a 101."""

log = structlog.get_logger("capacity.edge")


class Stats:
    """Counts since the start of the process (`sockets`: now), for the metrics. They name nobody."""

    __slots__ = ("accepted", "messages", "refused", "silent", "slow", "sockets")

    def __init__(self) -> None:
        self.sockets = 0
        """WebSockets open now, closing ones included."""
        self.accepted = 0
        """Handshakes of a verified token that were passed to the hub."""
        self.refused: dict[str, int] = {}
        """Requests and handshakes that the edge refused, by reason."""
        self.messages = 0
        """Messages that the hub received."""
        self.slow = 0
        """Connections dropped because the client did not read."""
        self.silent = 0
        """Connections dropped because two pings stayed unanswered."""

    def refuse(self, reason: str) -> None:
        """Count a refusal, and say so to those who log everything."""
        log.debug("edge_refused", reason=reason)
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Deadlines:
    """Connections that must get somewhere within `seconds` of being added; `expire` is called with those that do not.

    The line is as long as the connections in it, each once. Discarding one that is not in it does nothing.
    """

    __slots__ = ("_due_at", "_expire", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float, expire: Callable[[asyncio.Transport], None]) -> None:
        self._seconds = seconds
        self._expire = expire
        self._due_at: dict[asyncio.Transport, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due_at)

    def add(self, transport: asyncio.Transport) -> None:
        """Begin the deadline. One that already runs is not moved."""
        if transport in self._due_at:
            return
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        self._due_at[transport] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look, loop)

    def discard(self, transport: asyncio.Transport) -> None:
        """End the deadline: what it was for has happened."""
        self._due_at.pop(transport, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        expired: list[asyncio.Transport] = []
        next_at = None
        for transport, due_at in self._due_at.items():
            # The loop's clock counts whole ms: without half a one of tolerance a timer could come to look too early.
            if due_at > now + 0.0005:
                next_at = due_at
                break
            expired.append(transport)
        for transport in expired:
            self._due_at.pop(transport, None)
        if next_at is not None:
            self._timer = loop.call_later(max(next_at - now, self._seconds / TURNS_A_DEADLINE), self._look, loop)
        for transport in expired:
            self._expire(transport)


class Pinged(Protocol):
    """What the beat does with a connection."""

    beat: int

    def ping(self) -> None:
        """Send a ping; drop the connection if two stayed unanswered."""


class Beat:
    """Pings every connection once in `seconds`. Each has its turn in the round: they do not come all at once."""

    __slots__ = ("_count", "_due_at", "_loop", "_newest", "_next", "_seconds", "_timer", "_turns", "_waited")

    def __init__(self, seconds: float) -> None:
        turns = max(1, min(BEATS_MAX, int(seconds / BEAT_SECONDS)))
        self._turns: list[set[Pinged]] = [set() for _ in range(turns)]
        self._seconds = seconds / turns
        self._next = 0
        self._newest = 0
        self._count = 0
        self._waited = False
        self._due_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, connection: Pinged) -> None:
        """Ping it from now on, first at some moment within `seconds`."""
        turn = self._newest = (self._newest + 1) % len(self._turns)
        connection.beat = turn
        self._turns[turn].add(connection)
        self._count += 1
        if self._timer is None:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._wind(self._loop)

    def discard(self, connection: Pinged) -> None:
        """Ping it no more."""
        turn = self._turns[connection.beat]
        if connection in turn:
            turn.remove(connection)
            self._count -= 1

    def _wind(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_at = loop.time() + self._seconds
        self._timer = loop.call_later(self._seconds, self._strike, loop)

    def _strike(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if not self._count:
            return
        late = loop.time() - self._due_at > max(self._seconds, 0.05)
        self._wind(loop)
        if late and not self._waited:
            # This process was stopped, or its loop blocked. Pongs may lie unread in the kernel, and timers come before
            # reads: nobody is judged before they were read.
            self._waited = True
            return
        self._waited = False
        turn = self._turns[self._next]
        self._next = (self._next + 1) % len(self._turns)
        for connection in tuple(turn):
            connection.ping()


class Watch:
    """Everything above, for one process."""

    __slots__ = ("beat", "bodies", "closings", "flushes", "heads", "openings", "stats")

    def __init__(
        self,
        *,
        ping_seconds: float,
        head_seconds: float,
        body_seconds: float,
        flush_seconds: float,
        closing_seconds: float,
        stats: Stats,
    ) -> None:
        self.stats = stats
        self.beat = Beat(ping_seconds)
        self.heads = Deadlines(head_seconds, lambda transport: _protocol(transport).head_expired())
        """From the connection, or the first byte of a later request, to the end of the header."""
        self.openings = Deadlines(OPENING_SECONDS, lambda transport: _protocol(transport).opening_expired())
        """From a handshake to the 101, which goes out together with the first message if that comes in time."""
        self.bodies = Deadlines(body_seconds, lambda transport: _protocol(transport).body_expired())
        """From the end of the header to the end of the body."""
        self.flushes = Deadlines(flush_seconds, methodcaller("abort"))
        """From an answer that the client does not read to its reading on."""
        self.closings = Deadlines(closing_seconds, methodcaller("abort"))
        """From our goodbye to the end of the connection."""

    def forget(self, transport: asyncio.Transport) -> None:
        """Drop all deadlines of a connection that is gone."""
        self.heads.discard(transport)
        self.openings.discard(transport)
        self.bodies.discard(transport)
        self.flushes.discard(transport)
        self.closings.discard(transport)


def _protocol(transport: asyncio.Transport) -> Any:
    """The protocol that has the connection now: it may have been handed over since the deadline began."""
    return transport.get_protocol()


def complain(event: str, error: BaseException) -> None:
    """Log a bug in one line: what was raised, and where, but nothing that was in it, for that may be a token."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = "unknown" if trace is None else f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}"
    log.error(event, error=type(error).__name__, at=at)
