"""Plan-changed events: CloudEvents 1.0 in structured JSON, as they stand in the stream and in the webhook's body.

    {"specversion": "1.0", "id": "…", "source": "…", "type": "capacity.plan.changed", "subject": ACCOUNT,
     "time": RFC 3339, "data": {"account": ACCOUNT, "plan": "…", "seats": 120, "concurrent_sessions": 2, "version": 7}}

Anybody may write to the stream, so nothing is taken on trust: whatever the bytes are, the answer is a PlanChanged or a
Rejected. Attributes that we do not know are ignored.
Source of the envelope: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from capacity.domain.ids import is_account
from capacity.domain.instants import EPOCH, at, ms_of
from capacity.protocol.reasons import reason_of

PLAN_CHANGED = "capacity.plan.changed"
MEDIA_TYPE = "application/cloudevents+json"
SEATS_MAX = 1_000_000
CONCURRENT_SESSIONS_MAX = 1_000_000
VERSION_MAX = 2**53 - 1
"""The largest integer that every JSON reader, and a Lua number, keeps exactly."""
TEXT_CHARACTERS_MAX = 1024
PLAN_CHARACTERS_MAX = 128

Reason = Literal["malformed", "unknown_type", "subject_mismatch", "invalid_id"]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Plan = Annotated[str, msgspec.Meta(min_length=1, max_length=PLAN_CHARACTERS_MAX)]
Seats = Annotated[int, msgspec.Meta(ge=0, le=SEATS_MAX)]
ConcurrentSessions = Annotated[int, msgspec.Meta(ge=1, le=CONCURRENT_SESSIONS_MAX)]
Version = Annotated[int, msgspec.Meta(ge=0, le=VERSION_MAX)]


class PlanChanged(msgspec.Struct, frozen=True):
    """What an account may use, absolutely. None: `concurrent_sessions` stay as they are, no `version` was given."""

    id: str
    source: str
    account: str
    time_ms: int
    plan: str
    seats: int
    concurrent_sessions: int | None
    version: int | None


class Glimpse(msgspec.Struct, frozen=True):
    """What could be made out of an event that is no PlanChanged, field by field; None for the rest."""

    id: str | None = None
    source: str | None = None
    account: str | None = None
    """None as well where `subject` and `data.account` name two: nobody knows whose event it is."""
    time_ms: int | None = None
    plan: str | None = None
    seats: int | None = None
    concurrent_sessions: int | None = None
    version: int | None = None


class Rejected(ValueError):
    """An event that cannot be read. `reason` is the word beside it in the rejected stream, `str()` a sentence."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class PlanData(msgspec.Struct, frozen=True, omit_defaults=True):
    """The `data` of the event, as it stands on the wire."""

    account: str
    plan: Plan
    seats: Seats
    concurrent_sessions: ConcurrentSessions | None = None
    version: Version | None = None


class PlanChangedEvent(msgspec.Struct, frozen=True):
    """The whole event, as it stands on the wire."""

    specversion: Literal["1.0"]
    id: Text
    source: Text
    type: Literal["capacity.plan.changed"]
    subject: str
    time: Instant
    data: PlanData


class _Kind(msgspec.Struct):
    """Only what says whether this is an event for us: another type may carry any data."""

    specversion: Literal["1.0"]
    type: str


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode = msgspec.json.Decoder(PlanChangedEvent).decode
_encode = msgspec.json.Encoder().encode


def parse(raw: bytes | str) -> PlanChanged:
    """Return the plan change that the JSON says.

    Raises Rejected, and never anything else: `unknown_type` for an event of another type, `subject_mismatch` when
    `subject` and `data.account` differ, `invalid_id` when the account is no account id, `malformed` for all the rest.
    """
    try:
        kind = _decode_kind(raw)
        if kind.type != PLAN_CHANGED:
            raise Rejected("unknown_type", f"The event's type must be {PLAN_CHANGED}.")
        event = _decode(raw)
        time_ms = ms_of(event.time)
    except (msgspec.DecodeError, UnicodeError, OverflowError) as error:
        raise Rejected("malformed", f"The event cannot be read: {reason_of(error)}.") from None
    except RecursionError:
        raise Rejected("malformed", "The event cannot be read: it is nested too deeply.") from None
    if time_ms < 0:
        raise Rejected("malformed", "The event cannot be read: its time is before 1970.")
    if event.subject != event.data.account:
        raise Rejected("subject_mismatch", "The event's subject and data.account name different accounts.")
    if not is_account(event.data.account):
        raise Rejected("invalid_id", "The event's data.account is not an account id.")
    return PlanChanged(
        id=event.id,
        source=event.source,
        account=event.data.account,
        time_ms=time_ms,
        plan=event.data.plan,
        seats=event.data.seats,
        concurrent_sessions=event.data.concurrent_sessions,
        version=event.data.version,
    )


def glance(raw: bytes | str) -> Glimpse:
    """Return what can be made out of anything that stands where an event should; never raises."""
    try:
        event = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Glimpse()
    attributes = event if isinstance(event, dict) else {}
    data = attributes.get("data")
    data = data if isinstance(data, dict) else {}
    named = {account for account in (attributes.get("subject"), data.get("account")) if is_account(account)}
    time = _read(attributes.get("time"), Instant)
    return Glimpse(
        id=_read(attributes.get("id"), Text),
        source=_read(attributes.get("source"), Text),
        account=named.pop() if len(named) == 1 else None,
        time_ms=None if time is None or time < EPOCH else ms_of(time),
        plan=_read(data.get("plan"), Plan),
        seats=_read(data.get("seats"), Seats),
        concurrent_sessions=_read(data.get("concurrent_sessions"), ConcurrentSessions),
        version=_read(data.get("version"), Version),
    )


def _read(value: Any, kind: Any) -> Any:
    """The value, if it is of the kind; else None."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def build(
    account: str,
    plan: str,
    seats: int,
    *,
    source: str,
    id: str,
    time_ms: int,
    concurrent_sessions: int | None = None,
    version: int | None = None,
) -> bytes:
    """Return the event as JSON. Raises Rejected for what `parse` would not take, so that none such is ever sent."""
    try:
        time = at(time_ms)
        raw = _encode(
            PlanChangedEvent(
                specversion="1.0",
                id=id,
                source=source,
                type="capacity.plan.changed",
                subject=account,
                time=time,
                data=PlanData(account, plan, seats, concurrent_sessions, version),
            )
        )
    except (OverflowError, UnicodeError, msgspec.MsgspecError) as error:
        raise Rejected("malformed", f"The event cannot be written: {error}.") from None
    parse(raw)
    return raw
