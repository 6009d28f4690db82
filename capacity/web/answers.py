"""What the service knows, as it is answered over HTTP: the types of `protocol.answers`, filled."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from capacity.domain.instants import at
from capacity.protocol.answers import HandledEvent, HandledEvents, RoomReport
from capacity.protocol.reports import Report
from capacity.store.verdicts import Page, Verdict

JSON = "application/json"
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last instant with a date. West of Greenwich that year goes on, and an event may say so."""


def handled_events(page: Page) -> HandledEvents:
    """Return the page as it is answered."""
    return HandledEvents([_handled_event(verdict) for verdict in page.verdicts], page.next)


def _handled_event(verdict: Verdict) -> HandledEvent:
    return HandledEvent(
        entry=verdict.entry,
        verdict=verdict.verdict,
        reason=verdict.reason,
        id=verdict.id,
        source=verdict.source,
        account=verdict.account,
        plan=verdict.plan,
        seats=verdict.seats,
        concurrent_sessions=verdict.concurrent_sessions,
        version=verdict.version,
        time=None if verdict.time is None else at(min(verdict.time, _LAST_MS)),
        handled_at=at(verdict.handled_at),
        replay_of=verdict.replay_of,
    )


def room_report(report: Report) -> RoomReport:
    """Return the report as it is answered."""
    return RoomReport(
        opened_at=at(report.opened_at),
        ended_at=None if report.ended_at is None else at(report.ended_at),
        peak=report.peak,
        joined=report.joined,
        waited=report.waited,
        turned_away=report.turned_away,
        limit_changes=report.limit_changes,
    )


def answer(body: msgspec.Struct, status: int = 200) -> Response:
    """Return the body as JSON."""
    return Response(msgspec.json.encode(body), status, media_type=JSON)
