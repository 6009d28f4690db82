"""The simulated audience: a process of its own that speaks only the public wire.

    CAPACITY_TOKEN_KEY=… python -m capacity.demo.audience http://127.0.0.1:8000 --account demo --room welcome

Guests arrive until the room is full and a line waits behind it; how many that is they hear from the server, so that
more come after an upgrade. Each does what a real page does, by `capacity.client`: comes back within the spread when told to
refresh, follows the close codes. Some leave, or lose the connection and return. The process ends when its standard input
does, which is a pipe from the demo: so it never outlives the demo, however that ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
import threading
import time
from typing import Literal

from capacity.client import Attendee, NotConnected, Problem, Stopped
from capacity.demo.tokens import mint

SECRET_VARIABLE = "CAPACITY_TOKEN_KEY"
DROP_SECONDS_MAX = 8.0
TURNED_AWAY_SECONDS = 10.0
FILL_SECONDS = 40.0

Plan = Literal["leave", "drop", "ended"]


class Audience:
    """The guests that are here, and how many should be. `limit` is what the server said last."""

    def __init__(self, options: argparse.Namespace, secret: str) -> None:
        self.options = options
        self.secret = secret
        self.limit = 0
        self.turned_away_at = -TURNED_AWAY_SECONDS
        self._here: set[asyncio.Task[None]] = set()
        self._arrived = 0

    @property
    def wanted(self) -> int:
        """How many guests there should be: all seats taken, and a line. Nobody comes where all are turned away."""
        if time.monotonic() - self.turned_away_at < TURNED_AWAY_SECONDS:
            return 0
        return int(max(1, min(self.limit + self.options.line, self.options.people_max)))

    async def arrive(self) -> None:
        """Let guests come, one by one and a little unevenly, for as long as the process lives."""
        while True:
            missing = self.wanted - len(self._here)
            if missing > 0:
                self._arrived += 1
                task = asyncio.create_task(Guest(self, self._arrived).attend())
                self._here.add(task)
                task.add_done_callback(self._here.discard)
            # A large plan fills faster: nobody wants to watch a thousand seats fill one by one.
            await asyncio.sleep(random.expovariate(max(self.options.rate, missing / FILL_SECONDS)))


class Guest:
    """One attendee with one page, which reloads itself when told to refresh."""

    def __init__(self, audience: Audience, number: int) -> None:
        options = audience.options
        self._audience = audience
        token = mint(
            audience.secret,
            f"guest-{number}",
            account=options.account,
            room=options.room,
            role="attendee",
            name=f"Guest {number}",
        )
        self._attendee = Attendee(options.url, token, refresh="reconnect")
        self._leaves_at = time.monotonic() + random.expovariate(1 / options.stay_seconds)

    async def attend(self) -> None:
        """Be there, and come back after every loss, until the guest leaves or is turned away."""
        plan = await self._visit()
        while plan == "drop":
            await asyncio.sleep(random.uniform(1, DROP_SECONDS_MAX))
            plan = await self._visit()
        if plan == "ended":
            self._audience.turned_away_at = time.monotonic()

    async def _visit(self) -> Plan:
        """Be connected until something is to be done about it, and do it."""
        try:
            async with self._attendee:
                plan = await self._follow()
                if plan == "leave":
                    await self._attendee.leave()
                return plan
        except NotConnected:
            return "drop"  # lost just now: comes back to leave, or a place would be kept for nobody
        except (Stopped, Problem):
            return "ended"

    async def _follow(self) -> Plan:
        """Hear the server until something is to be done about it."""
        now = time.monotonic()
        drops_at = now + random.expovariate(1 / self._audience.options.drop_seconds)
        try:
            async with asyncio.timeout(min(self._leaves_at, drops_at) - now):
                async for message in self._attendee:
                    self._audience.limit = getattr(message, "seat_limit", self._audience.limit)
        except TimeoutError:
            return "leave" if self._leaves_at <= drops_at else "drop"
        return "ended"


def _end_with_standard_input() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdin.buffer.read()
    os._exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m capacity.demo.audience", description="A simulated audience.")
    parser.add_argument("url", help="address of the server, such as http://127.0.0.1:8000")
    parser.add_argument("--account", default="demo")
    parser.add_argument("--room", default="welcome")
    parser.add_argument("--rate", type=float, default=1.5, help="least arrivals a second")
    parser.add_argument("--line", type=int, default=20, help="how many wait behind a full room")
    parser.add_argument("--people-max", type=int, default=400, help="the most guests at once")
    parser.add_argument("--stay-seconds", type=float, default=600.0, help="how long a guest stays, on average")
    parser.add_argument("--drop-seconds", type=float, default=400.0, help="how long a connection lasts, on average")
    return parser.parse_args()


def main() -> int:
    """Run until standard input ends. Exit code 2 without a secret."""
    options = _options()
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not secret:
        print(f"{SECRET_VARIABLE} must hold the secret that the server checks tokens with.", file=sys.stderr)
        return 2
    threading.Thread(target=_end_with_standard_input, name="standard-input", daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Audience(options, secret).arrive())
    return 0


if __name__ == "__main__":
    sys.exit(main())
