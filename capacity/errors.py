"""Every way the service says no: one constant each, and one sentence.

- `Close`: why a WebSocket was closed. The code tells the client what to do (docs/protocol.md): 1012 and 1013 reconnect,
  4401 fetch a new token, everything else stop.
- `ErrorCode`: the `code` of an `error` message and of an HTTP problem detail.
- `Refused`: a request that the rules refuse; nothing was changed. The edge turns it into an answer.
- `Unavailable`: the store cannot be used at the moment; whether the change happened is not known.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Close(NamedTuple):
    """A WebSocket close: the code on the wire and its one-word reason (RFC 6455, section 7.4)."""

    code: int
    reason: str


LEFT = Close(1000, "left")
PROTOCOL_ERROR = Close(1002, "protocol_error")
BAD_DATA = Close(1007, "bad_data")
BAD_MESSAGE = Close(1008, "bad_message")
TOO_BIG = Close(1009, "too_big")
RESTARTING = Close(1012, "restarting")
OVERLOADED = Close(1013, "overloaded")
UNAVAILABLE = Close(1013, "unavailable")
UNAUTHORIZED = Close(4401, "unauthorized")
TOKEN_EXPIRED = Close(4401, "token_expired")
INVALID_ID = Close(4401, "invalid_id")
UNKNOWN_ACCOUNT = Close(4404, "unknown_account")
REPLACED = Close(4409, "replaced")
ENDED = Close(4410, "ended")
RATE_LIMITED = Close(4429, "rate_limited")


class ErrorCode(StrEnum):
    """What was refused. The text after each is the default `message` (and the `title` of the problem)."""

    message: str

    def __new__(cls, value: str, message: str = "") -> ErrorCode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.message = message
        return member

    INVALID_ID = "invalid_id", "The id must be 1 to 128 of A-Z a-z 0-9 _ . : @ - and not . or .. alone."
    NOT_ALLOWED = "not_allowed", "Only a host may do this."
    NOTHING_HELD = "nothing_held", "No seat is held for you; wait for a refresh message."
    NOT_SEATED = "not_seated", "Only a seated attendee gets a seat pass."
    CONCURRENT_SESSIONS_REACHED = (
        "concurrent_sessions_reached",
        "The account has as many rooms open as its plan allows; end one, or add concurrent sessions.",
    )
    TOKEN_EXPIRED = "token_expired", "The token has expired; fetch a new one."
    UNAVAILABLE = "unavailable", "The service cannot reach its store; seats are kept, try again shortly."
    UNAUTHORIZED = "unauthorized", "A valid token is needed: Authorization: Bearer <token>."
    FORBIDDEN = "forbidden", "The token does not allow this."
    NOT_FOUND = "not_found", "There is nothing at this address."
    METHOD_NOT_ALLOWED = "method_not_allowed", "This address does not take that method."
    UNKNOWN_ACCOUNT = "unknown_account", "Nobody has put this account, and no plan-changed event has named it yet."
    ACCOUNT_EXISTS = (
        "account_exists",
        "The account exists with another plan or period; plans change by a quote and a purchase.",
    )
    ACCOUNT_NOT_MANAGED = "account_not_managed", "The account's plan comes by plan-changed events, not from this desk."
    UNKNOWN_PLAN = "unknown_plan", "The catalogue has no such plan; GET /v1/plans lists those on sale."
    PLAN_NOT_ON_SALE = "plan_not_on_sale", "The plan is not on sale; GET /v1/plans lists those that are."
    NO_CHANGE = "no_change", "The account has exactly this already."
    TRIAL_NOT_AVAILABLE = "trial_not_available", "There is no way from a paid plan back to the free trial."
    CURRENCY_MISMATCH = "currency_mismatch", "The currency is not the one that the account or the plan is paid in."
    INVALID_AMOUNT = "invalid_amount", "What was paid must be between 0 and the list price of plan and add-on."
    INVALID_PERIOD = "invalid_period", "The period must have begun, and must not be over."
    ADD_ON_NOT_AVAILABLE = "add_on_not_available", "The trial has no concurrent sessions to buy; choose a paid plan."
    ADD_ON_WHOLE_BATCH = "add_on_whole_batch", "Concurrent sessions are cancelled as a whole: ask for 1."
    MIXED_CHANGE = (
        "mixed_change",
        "One quote goes in one direction: what becomes more is bought now, what becomes less comes next period.",
    )
    TOO_MANY_REQUESTS = "too_many_requests", "Too much was asked for this account; try again in a minute."
    UNKNOWN_QUOTE = "unknown_quote", "The account has no such quote; ask for a new one."
    QUOTE_STALE = "quote_stale", "The quote was used, has expired, or the account changed since; ask for a new one."
    IDEMPOTENCY_KEY_MISSING = (
        "idempotency_key_missing",
        "A purchase needs an Idempotency-Key header of 1 to 255 printable ASCII characters.",
    )
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", "This Idempotency-Key came with another purchase before."
    PAYMENT_DECLINED = "payment_declined", "The payment was declined; nothing was charged and nothing changed."
    PAYMENT_PENDING = "payment_pending", "A payment of this account is under way; wait for it, then try again."
    UNKNOWN_PARTICIPANT = "unknown_participant", "This participant has no seat and no place in this room."
    NO_REPORT = "no_report", "The room was never opened, or its report is older than 30 days."
    UNKNOWN_EVENT = (
        "unknown_event",
        "No rejected event is set aside under this entry: there was none, it was replayed, or it is older than 7 days.",
    )
    NOT_REPLAYABLE = "not_replayable", "The event would be rejected again; mend the cause first."
    MALFORMED = "malformed", "The request could not be read."
    INVALID_SIGNATURE = "invalid_signature", "The webhook signature does not match, or its timestamp is off."
    SUBJECT_MISMATCH = "subject_mismatch", "subject and data.account name different accounts."
    TOO_LARGE = "too_large", "The request body is too large."
    OVERLOADED = "overloaded", "Too many requests at once; try again after the time in Retry-After."
    UNKNOWN_TYPE = "unknown_type", "The event is of a type that this service does not take."
    REQUEST_TIMEOUT = "request_timeout", "The request did not come to its end in time."
    UPGRADE_REQUIRED = "upgrade_required", "This address speaks WebSocket, version 13."
    HEADER_TOO_LARGE = "header_too_large", "The request's header is too large."
    INTERNAL_ERROR = "internal_error", "Something went wrong on our side."
    FOREIGN_ORIGIN = "foreign_origin", "This origin is not allowed to connect."


class Refused(Exception):
    """The rules refuse this; nothing was changed. `detail` says what came and what to do, if the code does not."""

    def __init__(self, code: ErrorCode, detail: str | None = None) -> None:
        super().__init__(detail or code.message)
        self.code = code
        self.detail = detail or code.message


class Unavailable(Exception):
    """The store cannot be used: connection lost, timed out, read-only, loading, out of memory, cluster down."""


class StoreFull(Unavailable):
    """The store has no memory left: it refuses what needs some, and does what frees some."""


class SettingError(Exception):
    """A setting that cannot work. `str()` is the one line that the start prints before it exits with code 2."""
