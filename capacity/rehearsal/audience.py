"""The audience: attendees that behave as browsers do, all in this process, and the host that looks on.

Each keeps connected by the client's rules, and reloads its page (a new connection) within the spread when told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import Literal

from capacity.client import Attendee, Host, Problem, Stopped
from capacity.demo.tokens import mint
from capacity.rehearsal.curves import arrivals
from capacity.rehearsal.journal import HOST, Came, Gone, Journal, What
from capacity.rehearsal.script import Script

DIALLING_MAX = 500
"""The most first handshakes at once: beyond what one process can do in time, more of them only make all late."""
LAG_SECONDS = 0.05
LEAVING_SECONDS = 10.0


class Audience:
    """The people of one rehearsal. `began_at` is the monotonic instant from which the journal counts."""

    def __init__(self, script: Script, journal: Journal, url: str, secret: str) -> None:
        """`url` is the server's address, `secret` signs the tokens. Raises ValueError for an address that is none."""
        self.began_at = time.monotonic()
        self._script = script
        self._journal = journal
        self._url = url
        self._secret = secret
        self._tls = ssl.create_default_context() if url.startswith("https") else None
        self._dialling = asyncio.Semaphore(DIALLING_MAX)
        self._tasks: list[asyncio.Task[None]] = []
        self._measuring = asyncio.create_task(self._measure_lag())

    def note(self, who: int, what: What) -> None:
        """Write down what happened now."""
        self._journal.note(time.monotonic() - self.began_at, who, what)

    def begin(self) -> None:
        """Let time begin: attendees arrive by the curve from now on."""
        self.began_at = time.monotonic()
        script = self._script
        times = arrivals(script.curve, script.attendees, script.duration_seconds)
        self._tasks += [asyncio.create_task(self._attend(number, at)) for number, at in enumerate(times)]

    async def look_on(self) -> None:
        """Be the host until the room ends."""
        token = self._token("rehearsal-host", "host")
        await self._be(
            HOST, Host(self._url, token, on_change=lambda change: self.note(HOST, change), ssl_context=self._tls)
        )

    async def leave(self) -> None:
        """Wait until everybody has gone, as they do when the room ends."""
        self._measuring.cancel()
        if self._tasks:
            done, _ = await asyncio.wait(self._tasks, timeout=LEAVING_SECONDS)
            for task in done:
                task.result()  # a bug of ours shall not pass for an attendee without an answer

    async def stop(self) -> None:
        """Put an end to whoever is still there."""
        tasks = (*self._tasks, self._measuring)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _attend(self, number: int, at: float) -> None:
        await asyncio.sleep(self.began_at + at - time.monotonic())
        attendee = Attendee(
            self._url,
            self._token(f"rehearsal-{number}", "attendee"),
            refresh="reconnect",
            on_change=lambda change: self.note(number, change),
            ssl_context=self._tls,
        )
        await self._be(number, attendee)

    async def _be(self, who: int, side: Attendee | Host) -> None:
        """Write down all that somebody is told, until their connection ends for good."""
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with self._dialling:
                    if who != HOST:
                        self.note(who, Came())
                    await stack.enter_async_context(side)
                async for message in side:
                    self.note(who, message)
        except Stopped as stopped:
            self.note(who, Gone(stopped.code, stopped.reason))
        except Problem as problem:
            self.note(who, Gone(problem.status, problem.code or ""))
        else:
            self.note(who, Gone(4410, "ended"))

    async def _measure_lag(self) -> None:
        """Sample how late this process is, because what it measures is late by that too."""
        loop = asyncio.get_running_loop()
        while True:
            wanted = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._journal.lags.append(loop.time() - wanted)

    def _token(self, participant: str, role: Literal["host", "attendee"]) -> str:
        return mint(self._secret, participant, account=self._script.account, room=self._script.room, role=role)
