"""The audit streams of all rooms, read while they are written: what the store loses later is known here.

With CAPACITY_AUDIT=on every script that changes a room appends what it did (`write_down` in _prelude.lua).
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from capacity.store import keys
from capacity.store.keys import RoomName
from tests.chaos import tasks
from tests.chaos.audience import Account
from tests.support.waiting import wait_until

EVERY_SECONDS = 0.1
PIECE = 500
ALL_WITHIN_SECONDS = 20.0
LATE_SECONDS = 40.0
"""An entry that seems to be older when it is read is of a clock that was stepped."""


class Entry(NamedTuple):
    """One change of a room, and when it was made (monotonic; `body` is what the script wrote)."""

    at: float
    id: str
    body: dict[str, Any]


class Audit:
    """`entries` has every room's changes in order; a store that forgot begins a new generation, in the same list."""

    def __init__(self, store: Any, accounts: list[Account]) -> None:
        self._store = store
        self._names = {
            account.id: [*(RoomName(account.id, room) for room in account.rooms), account.show] for account in accounts
        }
        self._last: dict[RoomName, str] = {name: "0" for names in self._names.values() for name in names}
        self.entries: dict[RoomName, list[Entry]] = {name: [] for name in self._last}
        self._task: asyncio.Task[None] | None = None
        self._wall_ahead = time.time() - time.monotonic()

    def _instant(self, read_at: float, wall_ms: int) -> float:
        """Return when an entry was written: by the store's clock, if that can be true; it may be read long afterwards."""
        written_at = wall_ms / 1000 - self._wall_ahead
        return written_at if read_at - LATE_SECONDS < written_at < read_at else read_at

    def begin(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Read all that is there, and stop."""
        if self._task is not None:
            await tasks.end([self._task])
        await wait_until(self.read, within_seconds=ALL_WITHIN_SECONDS, what="the whole audit")

    def save(self, directory: Path) -> None:
        """Write each room's entries as JSON lines."""
        for name, entries in self.entries.items():
            with (directory / f"audit-{name.room}.jsonl").open("w") as file:
                file.writelines(json.dumps([entry.at, entry.id, entry.body]) + "\n" for entry in entries)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.read()

    async def read(self) -> bool:
        """Read what came since the last time, and return whether that is all; of an account whose node is away, later."""
        whole = True
        for names in self._names.values():
            try:
                while await self._read(names):
                    pass
            except (RedisError, OSError):
                whole = False
        return whole

    async def _read(self, names: list[RoomName]) -> bool:
        by_key = {keys.audit(name).encode(): name for name in names}
        found = await self._store.xread({key: self._last[name] for key, name in by_key.items()}, count=PIECE)
        now = time.monotonic()
        fullest = 0
        for key, pieces in found.items() if isinstance(found, dict) else found or ():
            name = by_key[key]
            entries = pieces[0] if isinstance(found, dict) else pieces
            fullest = max(fullest, len(entries))
            for id, fields in entries:
                body = json.loads(fields[b"entry"])
                self.entries[name].append(Entry(self._instant(now, body["wall"]), id.decode(), body))
                self._last[name] = id.decode()
        return fullest == PIECE
