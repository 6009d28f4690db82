"""Instants: milliseconds since the epoch inside, datetimes in UTC on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def at(ms: int) -> datetime:
    """Return an instant as it stands in bodies and ledgers. Raises OverflowError beyond the year 9999."""
    return EPOCH + ms * _MILLISECOND


def ms_of(instant: datetime) -> int:
    """Return the ms since the epoch of a datetime with a zone, rounded down. Negative before 1970."""
    return (instant - EPOCH) // _MILLISECOND
