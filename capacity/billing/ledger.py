"""The ledger of an account: everything that happened to it, in order, never edited. Also as CSV.

| kind | says |
|---|---|
| `created` | the account came to the desk, with plan and sessions |
| `line` | one line of an invoice that was paid, or recorded as due |
| `payment` | the sum of an invoice that was paid; `description` names the gateway |
| `invoiced` | the sum of an invoice that is recorded as due |
| `declined` | a payment that was declined or not confirmed in time; `description` says why |
| `change` | plan and sessions from now on |
| `scheduled`, `taken_back` | a change that comes with the next period, or does not after all |
| `renewed` | a new period began |
| `promo_codes_voided` | by a downgrade that took effect |
| `overdue`, `suspended` | the charge for a period was declined; the seats are gone |
| `updated` | promo codes or payment data were changed |
| `released` | the account left the desk |
| `event` | the plan-changed event that was published |
| `refused` | what the rules did not allow; `code` says which |
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import msgspec

EntryKind = Literal[
    "created",
    "line",
    "payment",
    "invoiced",
    "declined",
    "change",
    "scheduled",
    "taken_back",
    "renewed",
    "promo_codes_voided",
    "overdue",
    "suspended",
    "updated",
    "released",
    "event",
    "refused",
]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. Which fields it has depends on its kind; `amount` is in minor units, instants are UTC.

    `invoice` is the payment that lines belong to; `by` is who asked, as ROLE:SUB, or `desk`.
    """

    at: datetime
    kind: EntryKind
    by: str
    invoice: str | None = None
    line: str | None = None
    description: str | None = None
    amount: int | None = None
    currency: str | None = None
    plan: str | None = None
    seats: int | None = None
    concurrent_sessions: int | None = None
    effective_at: datetime | None = None
    ends_at: datetime | None = None
    promo_codes: tuple[str, ...] | None = None
    version: int | None = None
    event: str | None = None
    code: str | None = None


class KeptEntry(Entry, frozen=True, kw_only=True, omit_defaults=True):
    """An entry with its id, which grows. Its kind may be one of a later release."""

    id: str
    kind: str  # type: ignore[assignment]


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
COLUMNS = ("id", *Entry.__struct_fields__)


def kept(id: str, entry: bytes) -> KeptEntry:
    """Return an entry as the store has it."""
    return msgspec.convert({"id": id, **_decode(entry)}, KeptEntry)


def to_csv(entries: Iterable[KeptEntry]) -> str:
    """Return entries as CSV (RFC 4180) with a row of names first.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for entry in entries:
        values = msgspec.to_builtins(entry)
        writer.writerow([_cell(values.get(column)) for column in COLUMNS])
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, tuple | list):
        value = " ".join(map(str, value))
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value
