"""The report of a room's run: what HTTP answers, and what is told when a room ended. Pure; instants in ms."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Waited(msgspec.Struct, frozen=True):
    """How long those waited who got a seat after waiting; null while nobody did."""

    count: int
    p50_seconds: float | None
    p90_seconds: float | None


class Report(msgspec.Struct, frozen=True):
    """A room's run from opening to end; instants in ms. `joined` and `turned_away` count participants, not connections."""

    account: str
    room: str
    opened_at: int
    ended_at: int | None
    peak: int
    joined: int
    waited: Waited
    turned_away: int
    limit_changes: int

    @classmethod
    def of(cls, account: str, room: str, fields: Mapping[str, int]) -> Report:
        """Return the report of a hash as the scripts write it: its counts, and `w:SECONDS`, how many waited for so long."""
        histogram = sorted((int(field[2:]), count) for field, count in fields.items() if field.startswith("w:"))
        return cls(
            account=account,
            room=room,
            opened_at=fields["opened_at"],
            ended_at=fields.get("ended_at"),
            peak=fields.get("peak", 0),
            joined=fields.get("joined", 0),
            waited=Waited(
                count=fields.get("waited", 0),
                p50_seconds=_percentile(histogram, 50),
                p90_seconds=_percentile(histogram, 90),
            ),
            turned_away=fields.get("turned_away", 0),
            limit_changes=fields.get("limit_changes", 0),
        )


def _percentile(histogram: list[tuple[int, int]], percent: int) -> float | None:
    """Return the nearest-rank percentile of (seconds, count) in rising order."""
    total = sum(count for _, count in histogram)
    rank = -(-total * percent // 100)
    for seconds, count in histogram:
        rank -= count
        if rank <= 0:
            return float(seconds)
    return None
