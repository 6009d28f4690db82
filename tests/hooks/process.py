"""A process that dies with webhooks under way: python -m tests.hooks.process REDIS_URL URL WHAT

write     makes a room full and dies before anything is relayed
deliver   delivers until it is killed
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from capacity.hooks.webhooks import Webhooks
from tests.hooks.platform import SECRET
from tests.hooks.room import Room, client_of

LEASE_MS = 300


async def run(redis_url: str, url: str, what: str) -> None:
    """Do it, and never return."""
    room = Room(client_of(redis_url), hub="dying")
    if what == "write":
        await room.open(1)
        reply = await room.rooms.call("join", room.name, ["ann", "dying.1"])
        assert reply.hooked
        os.kill(os.getpid(), signal.SIGKILL)
    Webhooks(client_of(redis_url), [url], [SECRET], outbox=room.outbox, lease_ms=LEASE_MS).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
