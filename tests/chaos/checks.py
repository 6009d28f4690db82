"""What must hold, each as a function from what was seen to a list of violations in words. Pure, so that tests can hold them to account.

The numbers (I1, I2, …) are those of docs/guarantees.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from capacity.settings import Settings
from tests.chaos.audit import Entry
from tests.chaos.journal import Event
from tests.support.checker import check_audit

CEILING_SLACK_SECONDS = 1.0
"""What a change takes to reach clients: a limit counts from a little before to a little after."""
CROSSED_SECONDS = 0.5
"""What a crossing takes to reach hosts."""
SHOWN_MAX = 5
ENDED_MS = 1000 * Settings(data_dir=Path()).ended_seconds
"""How long the store keeps a room that ended."""

Excused = Callable[[int, float], bool]
"""(hub, instant) → whether what clients of that hub believe does not count: it cannot reach them, or the store."""


def nobody(hub: int, at: float) -> bool:
    """No hub is excused."""
    return False


class Ceilings:
    """How many seats a room may have, over time: the limit, or as many as were occupied when it was lowered."""

    def __init__(self, steps: Iterable[tuple[float, int]]) -> None:
        self._steps = sorted(steps)
        self._instants = [at for at, _ in self._steps]

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Ceilings:
        """Read them from a room's audit; `audited` says whether that is in order itself."""
        return cls((entry.at, ceiling(entry.body["after"])) for entry in entries if "after" in entry.body)

    def around(self, at: float) -> int:
        """Return the highest ceiling about an instant; 0 before the first."""
        first = max(0, bisect_right(self._instants, at - CEILING_SLACK_SECONDS) - 1)
        last = bisect_right(self._instants, at + CEILING_SLACK_SECONDS)
        return max((seats for _, seats in self._steps[first:last]), default=0)


def occupied(snapshot: dict[str, Any]) -> int:
    """Return seated + away + held."""
    return int(snapshot["seated"] + snapshot["away"] + snapshot["held"])


def ceiling(snapshot: dict[str, Any]) -> int:
    """Return the limit, or what is occupied where that is more."""
    return max(int(snapshot["seat_limit"]), occupied(snapshot))


def histories(entries: Sequence[Entry]) -> list[list[dict[str, Any]]]:
    """Return the audit of a room in pieces, each of which goes on from what the one before left: a loss of data begins a new one."""
    found: list[list[dict[str, Any]]] = []
    left: dict[str, Any] | None = None
    for entry in entries:
        before = entry.body["before"]
        if left is None or (before["epoch"], before["revision"]) != (left["epoch"], left["revision"]):
            found.append([])
        found[-1].append(entry.body)
        left = entry.body["after"]
    return found


def forgotten(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether nothing is missing between two calls but a room that was over, and that for as long as it is kept, by the store's clock."""
    ended, anew = left["after"], right["before"]
    return bool(ended["state"] == "ended" and not anew["revision"] and anew["at"] - ended["at"] >= ENDED_MS)


def audited(room: str, entries: Sequence[Entry], *, loses_data: bool) -> list[str]:
    """I1, I3, I4, I7: every call did what the model says (tests/support/checker.py), and nothing happened that no call wrote down."""
    pieces = histories(entries)
    try:
        found = [f"audit of {room}, {line}" for piece in pieces for line in check_audit(piece)]
    except Exception as error:  # an entry that the checker does not understand is one that nobody has checked
        found = [f"audit of {room} could not be replayed: {type(error).__name__}: {error}"]
    breaks = sum(not forgotten(left[-1], right[0]) for left, right in pairwise(pieces))
    if breaks and not loses_data:
        found.append(f"audit of {room}: the history broke {breaks} times, and no data was lost on purpose")
    return found[:SHOWN_MAX]


def clients_oversold(room: str, events: Sequence[Event], ceilings: Ceilings, excused: Excused = nobody) -> list[str]:
    """I1 by the clients: at no instant are more of them connected and seated, by what they were told, than the room has seats."""
    sitting: dict[str, int] = {}
    found = []
    for event in events:
        if event.room != room:
            continue
        if event.kind == "unseated":
            sitting.pop(event.participant, None)
        elif event.kind == "seated":
            sitting[event.participant] = event.hub
            count = sum(not excused(hub, event.at) for hub in sitting.values())
            seats = ceilings.around(event.at)
            if count > seats:
                found.append(
                    f"I1 {room}: {count} clients had a seat of {seats} at {event.at:.3f}, last {event.participant}"
                )
    return found[:SHOWN_MAX]


def unsettled(room: str, store: dict[str, str], clients: dict[str, str]) -> list[str]:
    """I2: the store has exactly the seats and places of those who are connected. Both: participant → seated, held, waiting."""
    found = []
    for participant in sorted(store.keys() | clients.keys()):
        there, here = store.get(participant, "nothing"), clients.get(participant, "nothing")
        if there != here:
            found.append(f"I2 {room}: {participant} is {here} by the client, {there} in the store")
    return found


def leaks(violations: Iterable[str]) -> int:
    """Return how many of the unsettled are seats that nobody uses."""
    return sum("by the client, seated" in text or "by the client, away in" in text for text in violations)


def broken_promises(events: Iterable[Event], *, loses_data: bool, excused: Excused = nobody) -> list[str]:
    """What clients were told that they must not be told: a seat or hold lost within its time, a stop that nobody asked for.

    Excused is who lost the connection while its hub was cut off: the service may have counted the grace from before.
    """
    names = {"stopped": "was told to stop", "refused": "was refused", "webhook_refused": "was refused an event"}
    if not loses_data:
        names |= {"seat_not_kept": "I7 lost a seat within the grace", "hold_not_kept": "I7 lost a hold before its end"}
    found = [
        f"{event.participant or 'billing'} {names[event.kind]} at {event.at:.3f} by hub {event.hub}: {event.fields}"
        for event in events
        if event.kind in names
        and not ("lost_at" in event.fields and excused(event.fields["lost_by"], event.fields["lost_at"]))
    ]
    kinds = Counter(text.split(" at ")[0].split(" ", 1)[1] for text in found)
    return found[:SHOWN_MAX] + [f"… {count} times in all: {kind}" for kind, count in kinds.items() if count > SHOWN_MAX]


def repeated_notices(events: Iterable[Event], crossings: Mapping[str, Sequence[float]]) -> list[str]:
    """I4 by the hosts: no level is told again on a connection unless the room crossed it again, or has a new limit.

    `crossings`: by room, when its scripts told or cleared a level. A hub that was cut off tells only the last of several.
    """
    told: dict[str, tuple[int, float]] = {}
    found = []
    for event in events:
        host = event.participant
        if event.kind in ("welcomed", "near_full_cleared", "seat_limit"):
            told[host] = (0, event.at)
        elif event.kind == "near_full":
            level = 2 if event.fields["level"] == "full" else 1
            before, since = told.get(host, (0, event.at))
            instants = [at for at in crossings[event.room] if since - CROSSED_SECONDS < at < event.at + CROSSED_SECONDS]
            # Three: the one that was told before, its clearing, and the new one. The new one alone is enough.
            crossed = len(instants) >= 3 or any(at > since + CROSSED_SECONDS for at in instants)
            if level <= before and not crossed:
                found.append(
                    f"I4 {host} was told {event.fields['level']} again at {event.at:.3f}, and nothing was crossed"
                )
            told[host] = (level, event.at)
    return found[:SHOWN_MAX]


def crossings(entries: Sequence[Entry]) -> list[float]:
    """Return when a room's scripts told or cleared a level."""
    return [entry.at for entry in entries if entry.body.get("near") or entry.body.get("cleared")]


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Return the nearest-rank percentile, or None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(percent) // 100) - 1)] if ordered else None
