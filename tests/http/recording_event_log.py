"""An event log for the tests of HTTP: writes down what it is asked, and refuses when told to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from capacity.errors import ErrorCode, Refused, Unavailable
from capacity.protocol.answers import Word
from capacity.store.verdicts import Page, Verdict

ENTRY, REPLAYED, NEXT = "1795428760000-0", "1795428790000-0", "1795428760123-0"
UNREADABLE = Verdict(entry=ENTRY, verdict="rejected", handled_at=1_795_428_760_123, reason="malformed")
APPLIED = Verdict(
    entry="1795428750000-3", verdict="applied", handled_at=1_795_428_750_003, id="evt-1042", source="/billing",
    account="acme", plan="business", seats=100, concurrent_sessions=2, version=7, time=253_402_387_139_000,
    replay_of="1795428740000-0",
)  # fmt: skip


@dataclass
class RecordingEventLog:
    """Has a page of two, and replays `ENTRY` alone."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    failure: Exception | None = None

    def reset(self) -> None:
        """Forget everything."""
        self.calls, self.failure = [], None

    def break_down(self) -> None:
        """From now on every call fails as without a store."""
        self.failure = Unavailable("connection refused")

    def refuse_replays(self) -> None:
        """From now on the cause of every rejection stands."""
        self.failure = Refused(ErrorCode.NOT_REPLAYABLE, "It would be rejected again, malformed: it is still no event.")

    async def page(self, *, account: str | None, verdict: Word | None, limit: int, before: str | None) -> Page:
        self._called("page", account, verdict, limit, before)
        return Page([UNREADABLE, APPLIED], NEXT)

    async def replay(self, entry: str, account: str | None) -> str:
        self._called("replay", entry, account)
        if entry != ENTRY:
            raise Refused(ErrorCode.UNKNOWN_EVENT)
        return REPLAYED

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if self.failure:
            raise self.failure
