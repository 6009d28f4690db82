"""The bodies of the HTTP answers, as types. They are encoded from them, and `/openapi.json` is made from them.

Instants here are RFC 3339 in UTC; `held_until` alone is in ms since the epoch, as in the messages of the WebSocket.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from starlette.responses import Response

from capacity.domain.instants import at
from capacity.domain.money import Money
from capacity.domain.plans import Catalogue
from capacity.settings import Payments
from capacity.store.rooms import Report, Waited
from capacity.store.verdicts import Page, Verdict, Word

JSON = "application/json"
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last instant with a date. West of Greenwich that year goes on, and an event may say so."""


class Health(msgspec.Struct, frozen=True):
    """The process runs."""

    status: Literal["ok"]
    version: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether this process can take new connections; `problems` says in words why not."""

    status: Literal["ready", "not_ready"]
    problems: list[str]


class RoomReport(msgspec.Struct, frozen=True):
    """A room's run from opening to end. `joined` and `turned_away` count participants, not connections."""

    opened_at: datetime
    ended_at: datetime | None
    peak: int
    joined: int
    waited: Waited
    turned_away: int
    limit_changes: int


class PlanOnSale(msgspec.Struct, frozen=True):
    """A plan of the catalogue."""

    id: str
    name: str
    seats: int
    cycle_days: int
    price: Money
    concurrent_session_price: Money
    trial: bool


class Plans(msgspec.Struct, frozen=True):
    """Every plan on sale, and how purchases are paid; `payments` is null where there is no billing desk."""

    plans: list[PlanOnSale]
    payments: Payments | None

    @classmethod
    def of(cls, catalogue: Catalogue, payments: str | None) -> Plans:
        """Return what is on sale in the catalogue, in its order. `payments` is the kind of the desk's gateway."""
        return msgspec.convert({"plans": catalogue.on_sale(), "payments": payments}, cls, from_attributes=True)


class Accepted(msgspec.Struct, frozen=True):
    """The event is in the stream; it is applied from there."""

    id: str
    source: str


class HandledEvent(msgspec.Struct, frozen=True):
    """What became of one entry of the stream. Null: it could not be read, was not given, or does not apply."""

    entry: str
    verdict: Word
    reason: str | None
    id: str | None
    source: str | None
    account: str | None
    plan: str | None
    seats: int | None
    concurrent_sessions: int | None
    version: int | None
    time: datetime | None
    handled_at: datetime
    replay_of: str | None


class HandledEvents(msgspec.Struct, frozen=True):
    """A page of them, newest first; `next` goes into `before` to have the page after it."""

    events: list[HandledEvent]
    next: str | None


class Replayed(msgspec.Struct, frozen=True):
    """A rejected event is in the stream again, as `entry`."""

    entry: str
    replay_of: str


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
