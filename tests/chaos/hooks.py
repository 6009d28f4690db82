"""Outbound webhooks under faults: an endpoint that refuses some at first, and what must have come to it by the end.

What must be told is read off the audit, which is written by the same scripts but in another stream: every crossing, every raise
of an open room, every end. Who was turned away stands in no audit; of that no more is held than that the room's change exists.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiohttp import web

from capacity.protocol import hooks
from capacity.store.keys import RoomName
from tests.chaos.audit import Entry
from tests.hooks.platform import serving, verified
from tests.support.waiting import wait_until

REFUSED = 0.1
"""Of so many the first try is answered 500; the next comes 5 s later (`AGAIN_SECONDS`)."""
WITHIN_SECONDS = 45.0
"""After all is well: what a killed hub had taken is another's after a lease of 30 s, and so is what it left in an outbox."""
TURNED_AWAY = "room.turned_away"


class Told(NamedTuple):
    """What a webhook tells of: one change of a room."""

    account: str
    room: str
    epoch: str
    revision: int
    type: str


class Endpoint:
    """The platform's endpoint, on a port of its own. `taken`: by id what was answered 204; `faults`: what must not have come."""

    def __init__(self, seed: int) -> None:
        self.taken: dict[str, Told] = {}
        self.faults: list[str] = []
        self.tries: Counter[str] = Counter()
        self._bodies: dict[str, bytes] = {}
        self._chance = random.Random(seed)
        self._ends = contextlib.AsyncExitStack()

    async def start(self) -> str:
        """Start it; returns its address."""
        return await self._ends.enter_async_context(serving(self._take)) + "/hooks"

    async def stop(self) -> None:
        """End it."""
        await self._ends.aclose()

    async def all_of(self, wanted: Iterable[Told]) -> None:
        """Wait until these have come, or the time is over: the verdict says which have not."""
        missing = set(wanted)
        with contextlib.suppress(AssertionError):
            await wait_until(lambda: missing <= set(self.taken.values()), within_seconds=WITHIN_SECONDS)

    async def _take(self, request: web.Request) -> web.Response:
        try:
            headers, body = await verified(request)
            id, told = headers["webhook-id"], of(hooks.decode(body))
        except Exception as error:
            self.faults.append(f"a webhook that is none: {type(error).__name__}: {error}")
            return web.Response(status=400)
        if self._bodies.setdefault(id, body) != body:
            self.faults.append(f"webhook {id} came with another body: {told}")
        self.tries[id] += 1
        if self.tries[id] == 1 and self._chance.random() < REFUSED:
            return web.Response(status=500)
        self.taken[id] = told
        return web.Response(status=204)


def of(event: hooks.Event) -> Told:
    """Return what an event tells of."""
    data = event.data
    return Told(data.account, data.room, data.epoch, data.revision, hooks.type_of(event))


def wanted(audit: Mapping[RoomName, Iterable[Entry]]) -> set[Told]:
    """Return what the audit's changes are to be told as."""
    entries = [entry for of_room in audit.values() for entry in of_room]
    return {
        Told(*change, type)
        for change, entry in zip(_changes(audit), entries, strict=True)
        for type in _types(entry.body)
    }


def _types(body: dict[str, Any]) -> Iterable[str]:
    """Return the types of what a change is told as."""
    limit = body["after"]["seat_limit"]
    if near := body.get("near"):
        yield f"room.{near['level']}"
    if body.get("previous", limit) < limit and body["before"]["state"] == "open":
        yield "room.seat_limit_raised"
    if body.get("ended"):
        yield "room.ended"


def untrue(
    audit: Mapping[RoomName, Iterable[Entry]], taken: Mapping[str, Told], faults: Iterable[str], *, loses_data: bool
) -> list[str]:
    """Return what was not told, was told twice, or did not happen. A store that loses data loses some of both sides."""
    came = Counter(taken.values())
    found = [*faults, *(f"{told} came under {count} ids" for told, count in came.items() if count > _ids_max(told))]
    if not loses_data:
        should, changes = wanted(audit), set(_changes(audit))
        found += [f"{told} was never told" for told in sorted(should - came.keys())]
        found += [
            f"{told} did not happen"
            for told in sorted(came.keys() - should)
            if told.type != TURNED_AWAY or told[:-1] not in changes
        ]
    return [f"webhooks: {text}" for text in found]


def _ids_max(told: Told) -> int:
    return 2 if told.type == TURNED_AWAY else 1  # who left, and who was there at the end


def _changes(audit: Mapping[RoomName, Iterable[Entry]]) -> Iterable[tuple[str, str, str, int]]:
    for name, entries in audit.items():
        for entry in entries:
            yield name.account, name.room, entry.body["after"]["epoch"], entry.body["after"]["revision"]
