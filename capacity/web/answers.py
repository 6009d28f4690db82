"""The bodies of the HTTP answers, as types. They are encoded from them, and `/openapi.json` is made from them.

Instants here are RFC 3339 in UTC; `held_until` alone is in ms since the epoch, as in the messages of the WebSocket.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from starlette.responses import Response

from capacity.domain.plans import Catalogue, Money
from capacity.store.rooms import Report, Waited

JSON = "application/json"


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
    """Every plan on sale."""

    plans: list[PlanOnSale]

    @classmethod
    def of(cls, catalogue: Catalogue) -> Plans:
        """Return what is on sale in the catalogue, in its order."""
        return msgspec.convert({"plans": catalogue.on_sale()}, cls, from_attributes=True)


class Accepted(msgspec.Struct, frozen=True):
    """The event is in the stream; it is applied from there."""

    id: str
    source: str


def room_report(report: Report) -> RoomReport:
    """Return the report as it is answered."""
    return RoomReport(
        opened_at=_instant(report.opened_at),
        ended_at=None if report.ended_at is None else _instant(report.ended_at),
        peak=report.peak,
        joined=report.joined,
        waited=report.waited,
        turned_away=report.turned_away,
        limit_changes=report.limit_changes,
    )


def answer(body: msgspec.Struct, status: int = 200) -> Response:
    """Return the body as JSON."""
    return Response(msgspec.json.encode(body), status, media_type=JSON)


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
