"""The bodies of the HTTP answers, as types: the service encodes them, clients decode them, `/openapi.json` describes them.

Instants here are RFC 3339 in UTC; `held_until` alone is in ms since the epoch, as in the messages of the WebSocket.
What the billing desk is asked and answers stands in `desk_bodies`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from capacity.domain.money import Money
from capacity.domain.plans import Catalogue
from capacity.protocol.reports import Waited
from capacity.settings import Payments

Word = Literal["applied", "duplicate", "stale", "rejected"]
"""What became of a plan-changed event."""


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


class ParticipantState(msgspec.Struct, frozen=True):
    """Where one participant stands; `position` while waiting, `held_until` (ms) while held."""

    participant: str
    state: Literal["seated", "away", "waiting", "held", "put_out", "absent"]
    position: int | None
    held_until: int | None


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


class Problem(msgspec.Struct, frozen=True):
    """A problem detail (RFC 9457, section 3.1); `code` is our one word for it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
