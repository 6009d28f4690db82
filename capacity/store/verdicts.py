"""What became of every plan-changed event, for the ingest console: read newest first, and a rejected one put back into the stream.

The verdicts are written by `plan_changes.PlanChanges.settle`. Everything raises Unavailable when the store cannot be used.
"""

from __future__ import annotations

from typing import Any

import msgspec

from capacity.errors import ErrorCode, Refused
from capacity.protocol import events
from capacity.protocol.answers import Word
from capacity.protocol.events import Glimpse, PlanChanged
from capacity.store import scripts
from capacity.store.keys import PLAN_CHANGES, REJECTED, VERDICTS, account_key, set_aside
from capacity.store.scripts import guarded

NOT_REJECTED = ("applied", "duplicate", "stale")
PIECE = 500
"""The most verdicts that are read at a time."""
PIECES_MAX = 10
"""The most pieces that one page looks through for what is asked for; the next page goes on from there."""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one stream entry. None: it could not be read, was not given, or does not apply; instants in ms.

    These are also the fields of the stream, but for `handled_at`, which is when the verdict was written.
    """

    entry: str
    verdict: Word
    handled_at: int = 0
    reason: str | None = None
    """Why it was rejected."""
    id: str | None = None
    """The event's own; with `source`, its identity."""
    source: str | None = None
    account: str | None = None
    plan: str | None = None
    seats: int | None = None
    concurrent_sessions: int | None = None
    version: int | None = None
    time: int | None = None
    replay_of: str | None = None
    """The rejected entry that this one repeats."""

    @classmethod
    def of(cls, entry: str, outcome: str, event: PlanChanged | Glimpse, replay_of: str | None) -> Verdict:
        """Return the verdict on an entry; an outcome that is not one of `NOT_REJECTED` is the reason of a rejection."""
        rejected = outcome not in NOT_REJECTED
        return cls(
            entry=entry,
            verdict="rejected" if rejected else outcome,  # type: ignore[arg-type]
            reason=outcome if rejected else None,
            id=event.id,
            source=event.source,
            account=event.account,
            plan=event.plan,
            seats=event.seats,
            concurrent_sessions=event.concurrent_sessions,
            version=event.version,
            time=event.time_ms,
            replay_of=replay_of,
        )

    def fields(self) -> list[str | bytes | int]:
        """Return names and values in turn, as a stream takes them."""
        return [part for pair in msgspec.to_builtins(self).items() for part in pair]


class Page(msgspec.Struct, frozen=True):
    """Verdicts, newest first. `next`: where the next page begins; None if there is nothing older."""

    verdicts: list[Verdict]
    next: str | None


class Verdicts:
    """The verdicts of a store, and the events that were set aside."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def page(self, *, account: str | None, verdict: Word | None, limit: int, before: str | None) -> Page:
        """Return at most `limit` verdicts older than `before`, a page's `next`; None: from the newest.

        `account` and `verdict` narrow them. A page looks through so many verdicts at most, so one that is narrowed may have
        fewer than the limit, or none, and still a `next`.
        """
        found: list[Verdict] = []
        wanted = {b"account": account, b"verdict": verdict}
        narrowed = {name: text.encode() for name, text in wanted.items() if text is not None}
        count = PIECE if narrowed else min(limit, PIECE)
        for _ in range(PIECES_MAX):
            end = f"({before}" if before is not None else "+"
            piece = await guarded(self._client.xrevrange(VERDICTS, end, "-", count=count))
            for id, fields in piece:
                before = id.decode()
                if all(fields.get(name) == text for name, text in narrowed.items()):
                    found.append(_verdict(before, fields))
                    if len(found) == limit:
                        return Page(found, before)
            if len(piece) < count:
                return Page(found, None)
        return Page(found, before)

    async def replay(self, entry: str, account: str | None = None) -> str:
        """Put a rejected event back into the stream, once; returns its new entry id. With `account`: only one of that account.

        Raises Refused: `unknown_event` if nothing (or nothing of the account) is set aside under the entry,
        `not_replayable` if the event would be rejected again, and then nothing was changed.
        """
        id, fields = await self._aside(entry)
        raw, desk = fields[b"event"], fields.get(b"desk")
        if account is not None and events.glance(raw).account != account:
            raise Refused(ErrorCode.UNKNOWN_EVENT)
        await self._check(raw, desk)
        new: list[str | bytes | int] = ["event", raw, "replay_of", entry]
        new += ["desk", desk] if desk else []
        replayed = await scripts.REPLAY.run(self._client, (PLAN_CHANGES, REJECTED, set_aside(entry)), [id, *new])
        if replayed is None:
            raise Refused(ErrorCode.UNKNOWN_EVENT)
        return str(replayed.decode())

    async def _aside(self, entry: str) -> tuple[bytes, dict[bytes, bytes]]:
        """The entry of `plan-changes:rejected` for an entry of the stream: its id and its fields."""
        id: bytes | None = await guarded(self._client.get(set_aside(entry)))
        found = await guarded(self._client.xrange(REJECTED, id, id)) if id is not None else []
        if id is None or not found:
            raise Refused(ErrorCode.UNKNOWN_EVENT)
        return id, found[0][1]

    async def _check(self, raw: bytes, desk: bytes | None) -> None:
        """Return if the event would not be rejected now, as far as can be told without applying it."""
        try:
            event = events.parse(raw)
        except events.Rejected as error:
            raise Refused(ErrorCode.NOT_REPLAYABLE, f"It would be rejected again, {error.reason}: {error}") from None
        if not desk and await guarded(self._client.hget(account_key(event.account), "source")) == b"desk":
            raise Refused(
                ErrorCode.NOT_REPLAYABLE,
                "It would be rejected again, managed_by_desk: the account still belongs to the billing desk.",
            )


def _verdict(id: str, fields: dict[bytes, bytes]) -> Verdict:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    return msgspec.convert(text | {"handled_at": int(id.partition("-")[0])}, Verdict, strict=False)
