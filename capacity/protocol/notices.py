"""Notices: what an account should be told of by the platform, as CloudEvents on a stream. The desk itself sends no mail.

{"specversion": "1.0", "id": "…", "source": "…", "type": "capacity.payment.declined", "subject": ACCOUNT,
 "time": RFC 3339, "data": {"account": ACCOUNT, "plan": "…", "status": "overdue", "seats_until": RFC 3339}}
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

PAYMENT_DECLINED = "capacity.payment.declined"
"""The charge for a period was declined; it is tried again, and the seats stay until `seats_until`."""
ACCOUNT_SUSPENDED = "capacity.account.suspended"
"""The grace, or the trial, is over; the account has no seats until it buys a plan."""


class NoticeData(msgspec.Struct, frozen=True):
    """The `data` of a notice."""

    account: str
    plan: str
    status: str
    seats_until: datetime | None


class Notice(msgspec.Struct, frozen=True):
    """The whole notice, as it stands in the stream."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: NoticeData


def build(
    type: str,
    account: str,
    *,
    source: str,
    id: str,
    time: datetime,
    plan: str,
    status: str,
    seats_until: datetime | None,
) -> bytes:
    """Return a notice as JSON."""
    data = NoticeData(account, plan, status, seats_until)
    return msgspec.json.encode(Notice("1.0", id, source, type, account, time, data))
