"""What one person may expect of what they are told, whatever goes wrong around them; from their own log alone.

What a fault excuses is said by `Surroundings`, and as narrowly as the contract allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from capacity.errors import LEFT
from tests.simulation.people import Said

SLACK_SECONDS = 1.5
STEP_SECONDS = 3.0
"""How much of a grace a step of the store's clock may take."""
MESSAGES = ("seated", "waiting", "refresh", "seat_limit", "ended", "error", "pass")


@dataclass(frozen=True)
class Surroundings:
    """What went wrong while people were connected; instants in seconds."""

    losses: Sequence[float]
    interruptions: Sequence[tuple[float, float, str]]
    steps: Sequence[float]
    lease_seconds: float
    grace_seconds: float
    deaf: bool
    """Whether what was published could get lost: then a level may be told once more, by the resync that follows."""
    room_ends: Sequence[float] = ()
    """When their room was over: nobody keeps a seat beyond that, and who was away hears of it only by what comes next."""

    def cut_off(self, since: float, until: float) -> bool:
        """Whether a hub may have been taken for dead, or the store have lost somebody's seat, between two instants."""
        if any(since - SLACK_SECONDS <= at <= until for at in self.losses):
            return True
        return any(
            end - begin >= self.lease_seconds - 1.5 and begin <= until and end >= since - self.grace_seconds
            for begin, end, _ in self.interruptions
        )

    def grace_left(self, since: float) -> float:
        """Return for how long after an instant a lost connection certainly keeps its seat."""
        steps = sum(1 for at in self.steps if at >= since)
        return self.grace_seconds - STEP_SECONDS * steps - SLACK_SECONDS


def to_attendee(log: Sequence[Said], around: Surroundings) -> Iterator[str]:
    """Yield what an attendee was told that they should not have been."""
    state, connection, answered, over = "", 0, False, False
    since, limit = 0.0, None
    for said in log:
        if said.connection != connection:
            connection, state, answered, over = said.connection, "", False, False
            since = said.at
        kind, fields = said.kind, said.fields
        where = f"at {said.at:.3f} on connection {connection}"
        if kind not in MESSAGES:
            continue
        if over:
            yield f"{kind} after ended, {where}"
        if not answered and kind not in ("seated", "waiting", "ended"):
            yield f"{kind} came first, {where}"
        answered = True
        if kind == "seat_limit" and limit not in (fields["previous"], fields["seat_limit"]) and not around.deaf:
            yield f"a limit of {fields['seat_limit']} after {fields['previous']}, and {limit} was known, {where}"
        limit = fields.get("seat_limit", limit)
        if kind == "seated":
            state = "seated"
        elif kind == "waiting":
            reason = fields["reason"]
            if state == "seated" and reason != "seat_lost":
                yield f"waiting ({reason}) after seated, {where}"
            if reason == "seat_lost" and not around.cut_off(since, said.at):
                yield f"a seat was lost without a cause, {where}"
            state = "waiting"
        elif kind == "refresh":
            if state == "seated" and not around.cut_off(since, said.at):
                yield f"refresh after seated, {where}"
            state = "held"
        elif kind == "ended":
            over = True
    yield from _seats_kept(log, around)


def _seats_kept(log: Sequence[Said], around: Surroundings) -> Iterator[str]:
    """Yield each seat that somebody had, and did not find again although they came back in time."""
    seated_at: float | None = None
    lost_at: float | None = None
    for said in log:
        if said.kind == "seated":
            seated_at, lost_at = said.at, None
        elif said.kind in ("ended", "leave", "host") or said.fields.get("code") == LEFT.code:
            seated_at = None
        elif said.kind in ("drop", "lost", "close", "give_up", "second_tab") and lost_at is None:
            lost_at = said.at
        elif said.kind == "waiting" and seated_at is not None:
            gone_at = lost_at if lost_at is not None else said.at
            if (
                said.at - gone_at < around.grace_left(gone_at)
                and said.fields["reason"] != "seat_lost"
                and not around.cut_off(seated_at, said.at)
                and not any(gone_at <= at <= said.at for at in around.room_ends)
            ):
                yield f"came back {said.at - gone_at:.3f} s after {gone_at:.3f} and found no seat, at {said.at:.3f}"
            seated_at = None


def to_host(log: Sequence[Said], around: Surroundings, room: str) -> Iterator[str]:
    """Yield what a host was told of their room that they should not have been."""
    connection, over, answered = 0, False, False
    last: tuple[str, int] | None = None
    for said in log:
        if said.connection != connection:
            connection, over, answered, last = said.connection, False, False, None
        kind, fields = said.kind, said.fields
        where = f"at {said.at:.3f} on connection {connection}"
        if fields.get("room", room) != room:
            continue  # who may buy hears of the account's other rooms, too
        if over and kind not in ("close", "lost", "drop", "connect", "leave", "unnoticed", "end", "open", "give_up"):
            yield f"{kind} after ended, {where}"
        if kind in ("near_full", "near_full_cleared", "seat_limit") and not answered:
            yield f"{kind} came first, {where}"
        if kind == "occupancy":
            answered = True
        elif kind == "ended":
            over = True
        elif kind in ("seat_limit", "near_full_cleared"):
            last = None
        elif kind == "near_full":
            this = fields["level"], fields["seat_limit"]
            if last == this and not around.deaf:
                yield f"{this} was told twice, {where}"
            last = this
