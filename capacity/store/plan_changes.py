"""The stream of plan-changed events: written by billing and by the webhook, read by one consumer group of all hubs.

A field `desk` beside the event says that our own billing desk wrote it. Only who can write to the store can add it, and the
webhook writes the event alone: nothing in an event makes it pass for the desk's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, NamedTuple

from redis.exceptions import ResponseError

from capacity.errors import Unavailable
from capacity.protocol.events import Glimpse, PlanChanged, glance
from capacity.store import scripts
from capacity.store.keys import PLAN_CHANGES, REJECTED, VERDICTS, account_feed, account_key, event_key, set_aside
from capacity.store.redis import BLOCK_MS, Clients
from capacity.store.scripts import Timer, guarded
from capacity.store.verdicts import NOT_REJECTED, Verdict

GROUP = "capacity"
KEPT_MS = 7 * 24 * 3600 * 1000
ENTRIES_MAX = 64

Outcome = Literal["applied", "duplicate", "stale", "managed_by_desk"]


class Entry(NamedTuple):
    """One entry of the stream. Fields that it has not are None."""

    id: str
    event: bytes | None
    """JSON, if it is what it should be."""
    desk: str | None = None
    """What our billing desk wrote beside the event; None: the event is from elsewhere."""
    replay_of: str | None = None
    """The rejected entry that this one repeats."""


class PlanChanges:
    """The stream, as one consumer of the group. Everything raises Unavailable when the store cannot be used."""

    def __init__(self, clients: Clients, consumer: str, timer: Timer | None = None) -> None:
        self._write = clients.scripts
        self._read = clients.reads
        self._consumer = consumer
        self._timer = timer

    async def append(self, event: bytes) -> str:
        """Write an event; returns its entry id once the store has taken it."""
        id: bytes = await guarded(self._write.xadd(PLAN_CHANGES, {"event": event}))
        return id.decode()

    async def apply(self, entry: Entry, event: PlanChanged) -> Outcome:
        """Apply the event of an entry to its account; the same entry again gets the same answer. The rooms follow when they are swept."""
        answer: bytes = await scripts.APPLY.run(
            self._write,
            (account_key(event.account), event_key(event.account, event.source, event.id), account_feed(event.account)),
            [
                event.plan,
                event.seats,
                "" if event.concurrent_sessions is None else event.concurrent_sessions,
                "" if event.version is None else event.version,
                event.time_ms,
                entry.id,
                entry.desk or "",
            ],
            self._timer,
        )
        return answer.decode()  # type: ignore[return-value]

    async def settle(self, entry: Entry, outcome: str, event: PlanChanged | None) -> bool:
        """Take an entry off the group's hands and write its verdict down, in one step; False if somebody else has done it.

        An outcome other than `applied`, `duplicate` and `stale` is the reason of a rejection, and sets the entry aside.
        `event` is None where the entry has none that can be read.
        """
        seen: PlanChanged | Glimpse = event or glance(entry.event or b"")
        verdict = Verdict.of(entry.id, outcome, seen, entry.replay_of).fields()
        aside: list[str | bytes | int] = []
        if outcome not in NOT_REJECTED:
            aside = ["event", entry.event or b"", "reason", outcome]
            aside += ["desk", entry.desk] if entry.desk else []
        settled = await scripts.SETTLE.run(
            self._write,
            (PLAN_CHANGES, VERDICTS, REJECTED, set_aside(entry.id)),
            [GROUP, entry.id, len(verdict), *verdict, *aside],
            self._timer,
        )
        return bool(settled)

    async def join_group(self) -> None:
        """Make sure that the group exists, from the stream's start."""
        try:
            await guarded(self._write.xgroup_create(PLAN_CHANGES, GROUP, id="0", mkstream=True))
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def pending(self) -> AsyncIterator[Entry]:
        """Yield what this consumer was given and did not finish: first thing after every (re)connect."""
        last = "0"
        while entries := await self._entries(last, block_ms=None):
            for entry in entries:
                yield entry
            last = entries[-1].id

    async def new(self) -> list[Entry]:
        """Return entries that nobody was given yet; waits up to BLOCK_MS for the first."""
        return await self._entries(">", block_ms=BLOCK_MS)

    async def abandoned(self, idle_ms: int) -> list[Entry]:
        """Take over entries that their consumer has not finished for so long."""
        answer = await self._grouped(
            self._write.xautoclaim(PLAN_CHANGES, GROUP, self._consumer, min_idle_time=idle_ms, count=ENTRIES_MAX)
        )
        return _entries(answer[1]) if answer else []

    async def backlog(self) -> tuple[int | None, int | None]:
        """Return how many entries nobody was given yet, and how many are given and not settled; None where that is not known."""
        for group in await self._grouped(self._write.xinfo_groups(PLAN_CHANGES)) or []:
            if group["name"].decode() == GROUP:
                return group.get("lag"), group.get("pending")
        return None, None

    async def forget_consumer(self, consumer: str) -> None:
        """Remove a dead consumer from the group, if it has nothing pending."""
        for known in await self._grouped(self._write.xinfo_consumers(PLAN_CHANGES, GROUP)) or []:
            if known["name"].decode() == consumer and known["pending"] == 0:
                await guarded(self._write.xgroup_delconsumer(PLAN_CHANGES, GROUP, consumer))

    async def trim(self, now_ms: int) -> None:
        """Drop what is older than 7 days, but nothing that is still pending or was given to nobody yet."""
        oldest = now_ms - KEPT_MS
        for group in await self._grouped(self._write.xinfo_groups(PLAN_CHANGES)) or []:
            if group["name"].decode() == GROUP:
                oldest = min(oldest, int(group["last-delivered-id"].decode().partition("-")[0]))
        summary = await self._grouped(self._write.xpending(PLAN_CHANGES, GROUP))
        if summary and summary["pending"]:
            oldest = min(oldest, int(summary["min"].decode().partition("-")[0]))
        for stream in (PLAN_CHANGES, VERDICTS, REJECTED):
            await guarded(self._write.xtrim(stream, minid=oldest, approximate=True))

    async def _entries(self, last: str, *, block_ms: int | None) -> list[Entry]:
        answer = await self._grouped(
            self._read.xreadgroup(GROUP, self._consumer, {PLAN_CHANGES: last}, count=ENTRIES_MAX, block=block_ms)
        )
        return _entries(answer[0][1]) if answer else []

    async def _grouped(self, pending: Any) -> Any:
        """Await a command of the group; a group that is gone (the store was emptied) is made anew."""
        try:
            return await guarded(pending)
        except ResponseError as error:
            if not str(error).startswith(("NOGROUP", "no such key")):
                raise
            await self.join_group()
            raise Unavailable("the consumer group had to be made anew") from None


def _entries(raw: Any) -> list[Entry]:
    return [_entry(id.decode(), fields or {}) for id, fields in raw]


def _entry(id: str, fields: dict[bytes, bytes]) -> Entry:
    """The entry as it came; one that was deleted while it was pending comes without fields."""

    def text(name: bytes) -> str | None:
        return fields.get(name, b"").decode(errors="replace") or None

    return Entry(id, fields.get(b"event"), text(b"desk"), text(b"replay_of"))
