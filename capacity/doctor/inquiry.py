"""What the store is asked, each server that takes writes by itself. Nothing is changed there, and everything has a deadline.

A user that may not ask something gets None for it: that is a finding, not a failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple, TypeVar

import msgspec
from redis.exceptions import ResponseError

from capacity.store import keys, permissions
from capacity.store.plan_changes import GROUP
from capacity.store.redis import Clients
from capacity.store.scripts import ScriptError, guarded
from capacity.store.versions import Server, server_of

CLOCK_READINGS = 5
REJECTED_MAX = 100
"""The most rejected events that are counted."""
LOOK_SECONDS = 0.2
NOBODY_SECONDS = 3.0
"""When no counter at all moved for so long, no hub lives: each counts once a second at least."""
REAPED_SECONDS = 3.0
"""How long after its lease a dead hub may still be there: the others need a moment to take it over."""
WATCH_SECONDS_MAX = 30.0

_REFUSALS = ("no permission", "noperm", "unknown command")
_CONFIG = ("appendfsync", "min-replicas-to-write", "cluster-require-full-coverage")

Answer = TypeVar("Answer")


class Clock(NamedTuple):
    """How far the server's clock is ahead of ours, in ms, and how far off this may be."""

    ahead_ms: float
    uncertain_ms: float


class ServerState(msgspec.Struct, frozen=True):
    """What one server says of itself. None: the user may not ask."""

    version: Server | None
    info: dict[str, str] | None
    """INFO, all of it."""
    config: dict[str, str] | None
    clock: Clock | None
    refused: list[str] | None
    """Commands that hubs need and the user may not use; None: it may not even run a script."""
    almighty: bool
    """Whether the user may empty the store."""


class Stream(msgspec.Struct, frozen=True):
    """The stream of plan changes. `lag` None: the server does not know. `oldest_ms`: how old the longest pending entry is."""

    exists: bool
    group: bool = False
    lag: int | None = None
    pending: int = 0
    oldest_ms: int = 0
    consumers: int = 0
    rejected: int = 0


class Hubs(msgspec.Struct, frozen=True):
    """Who counts up and who does not, with the rooms of those. `watched_seconds`: for how long they were looked at."""

    living: int
    silent: dict[str, int]
    watched_seconds: float


async def server(client: Any, *, cluster: bool) -> ServerState:
    """Ask one server, by a client that leads to it alone. Raises Unavailable."""
    info = await _info(client)
    return ServerState(
        version=server_of("\n".join(map(":".join, info.items())).encode()) if info is not None else None,
        info=info,
        config=await _config(client),
        clock=await _clock(client),
        refused=await _allowed(permissions.refused(client, cluster=cluster)),
        almighty=bool(await _allowed(permissions.may_flush(client))),
    )


async def stream(clients: Clients) -> Stream:
    """Look at the stream of plan changes and its group. Raises Unavailable."""
    client = clients.scripts
    try:
        groups = await guarded(client.xinfo_groups(keys.PLAN_CHANGES))
    except ResponseError as error:
        if not str(error).startswith("no such key"):
            raise
        return Stream(exists=False)
    rejected = len(await guarded(client.xrevrange(keys.REJECTED, count=REJECTED_MAX + 1)))
    ours = next((group for group in groups if group["name"].decode() == GROUP), None)
    if ours is None:
        return Stream(exists=True, rejected=rejected)
    pending = await guarded(client.xpending(keys.PLAN_CHANGES, GROUP))
    first = int(pending["min"].decode().partition("-")[0]) if pending["pending"] else 0
    return Stream(
        exists=True,
        group=True,
        lag=ours.get("lag"),
        pending=pending["pending"],
        oldest_ms=time.time_ns() // 1_000_000 - first if first else 0,
        consumers=ours["consumers"],
        rejected=rejected,
    )


async def hubs(clients: Clients, lease_seconds: float) -> Hubs:
    """Watch the counters of the hubs until each has moved, or has stood still for the lease. Raises Unavailable."""
    client = clients.scripts
    before: dict[bytes, bytes] = await guarded(client.hgetall(keys.BEATS))
    silent, began = set(before), time.monotonic()
    moved: set[bytes] = set()
    now = before
    while silent:
        watched = time.monotonic() - began
        if watched > min(lease_seconds + REAPED_SECONDS, WATCH_SECONDS_MAX) or (watched > NOBODY_SECONDS and not moved):
            break
        await asyncio.sleep(LOOK_SECONDS)
        now = await guarded(client.hgetall(keys.BEATS))
        moved |= {hub for hub, count in now.items() if count != before.get(hub)}
        silent = (silent & now.keys()) - moved
    rooms = {hub.decode(): len(await guarded(client.smembers(keys.hub_rooms(hub.decode())))) for hub in silent}
    return Hubs(len(moved & now.keys()), rooms, time.monotonic() - began)


async def _allowed(pending: Awaitable[Answer]) -> Answer | None:
    """Return the answer; None where the user may not ask, or the server does not have the command (some providers take CONFIG away)."""
    try:
        return await guarded(pending)  # type: ignore[no-any-return]
    except (ResponseError, ScriptError) as error:
        if any(word in str(error).lower() for word in _REFUSALS):
            return None
        raise


async def _info(client: Any) -> dict[str, str] | None:
    found: dict[str, Any] | None = await _allowed(client.info("everything"))
    return None if found is None else {name: str(value) for name, value in found.items()}


async def _config(client: Any) -> dict[str, str] | None:
    found: dict[Any, Any] | None = await _allowed(client.config_get(*_CONFIG))
    return None if found is None else {_text(name): _text(value) for name, value in found.items()}


async def _clock(client: Any) -> Clock | None:
    """Of several readings the one that was under way the shortest: half of that is what it may be off."""
    best: Clock | None = None
    for _ in range(CLOCK_READINGS):
        began = time.monotonic()
        answer = await _allowed(client.time())
        passed_ms = (time.monotonic() - began) * 1000
        if answer is None:
            return None
        seconds, microseconds = answer
        ahead_ms = seconds * 1000 + microseconds / 1000 - (time.time() * 1000 - passed_ms / 2)
        if best is None or passed_ms / 2 < best.uncertain_ms:
            best = Clock(ahead_ms, passed_ms / 2)
    return best


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
