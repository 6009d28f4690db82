"""python-socketio on uvicorn, with its Redis manager; admission by redis-py."""

# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import redis.asyncio as redis
import socketio
import uvicorn

SEATS = int(os.environ["CAPACITY_SEATS"])
URL = os.environ["REDIS_URL"]
KEYS = ["{bench}:seats", "{bench}:line", "{bench}:counter"]

store = redis.Redis(connection_pool=redis.BlockingConnectionPool.from_url(URL, max_connections=32))
admit = store.register_script(Path(__file__).with_name("admit.lua").read_text())
release = store.register_script(Path(__file__).with_name("release.lua").read_text())
participants: dict[str, str] = {}

# always_connect: the client is told that it is connected before it is told anything else.
server = socketio.AsyncServer(
    async_mode="asgi",
    client_manager=socketio.AsyncRedisManager(URL),
    transports=["websocket"],
    always_connect=True,
)


async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str]) -> None:
    """Seat the participant, or line it up; and say so, which needs no way round by Redis: the client is here."""
    participant = participants[sid] = auth["id"]
    is_seated, number = await admit(keys=KEYS, args=[participant, SEATS])
    if is_seated:
        decision = {"type": "seated", "participant": participant, "seat_limit": SEATS, "occupied": number}
    else:
        decision = {"type": "waiting", "participant": participant, "position": number}
    await server.emit("decision", decision, to=sid, ignore_queue=True)


async def say(sid: str, text: str) -> None:
    """Pass a message of the control client on to everybody else."""
    if participants[sid] == "control":
        await server.emit("said", text, skip_sid=sid)


async def disconnect(sid: str, reason: str) -> None:
    """Give up the seat or place."""
    await release(keys=KEYS[:2], args=[participants.pop(sid)])


for handler in (connect, say, disconnect):
    server.on(handler.__name__, handler)

if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(server),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
    )
