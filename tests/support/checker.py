"""Holds the audit of a room against the pure model: what each call changed, replayed in its order.

An audit entry is what `write_down` of `_prelude.lua` writes: the verb and its arguments, the room before and after it,
and what was told. There is one for each call that changed something; the store's order is the order in which it happened.
So a check is a replay, and not a search. The checker knows nothing of how the calls came about: simulations and real
processes use it alike.

A violation is a sentence that names the entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from tests.support import model

Entry = dict[str, Any]
COUNTS = ("seated", "away", "held", "waiting")
NOT_REFUSED = model.NEVER


class Said(Protocol):
    """A line of a participant's own log: when, on which of their connections, and what."""

    @property
    def at(self) -> float:
        """The instant, on one clock for all."""

    @property
    def connection(self) -> int:
        """Which of their connections, counted up."""

    @property
    def kind(self) -> str:
        """The type of a message, or `drop`, `leave`, `close`, `lost`, `give_up`."""


def decode(raw: bytes) -> Entry:
    """Return an entry from the field `entry` of the stream."""
    entry: Entry = msgspec.json.decode(raw)
    return entry


def check_audit(entries: Sequence[Entry]) -> list[str]:
    """Return the violations in one history of one room, from its first entry on.

    A store that lost data has two histories: one up to the loss, and one that goes on from what was left.
    """
    replay = Replay()
    found: list[str] = []
    for number, entry in enumerate(entries):
        for line in (*_limit(entry), *_continuity(entries[number - 1] if number else None, entry), *replay.step(entry)):
            found.append(f"entry {number} ({entry['verb']} of {entry['hub']}, operation {entry['operation']}): {line}")
        if len(found) > 20:
            break
    return found


def _limit(entry: Entry) -> Iterator[str]:
    """Seats are never oversold."""
    before, after = entry["before"], entry["after"]
    limit, taken, had = after["seat_limit"], occupied(after), occupied(before)
    more = max(0, taken - limit) - max(0, had - limit)  # had there been too many before, then the limit was lowered
    given_back = max(0, after.get("over", 0) - before.get("over", 0))
    if more > given_back:
        yield f"{taken} seats of {limit} are taken; {had} were before, and {given_back} were given back after a loss"
    counted = [after[name] for name in COUNTS]
    if min(counted) < 0:
        yield f"a count is below 0: {counted}"


def _continuity(previous: Entry | None, entry: Entry) -> Iterator[str]:
    """What a call finds is what the call before left: nothing changes a room but what writes it down."""
    before = entry["before"]
    if previous is None:
        return
    left = previous["after"]
    names = ("epoch", "revision", "state", "seat_limit", *COUNTS, "peak", "told")
    differ = [f"{name} {left[name]} became {before[name]}" for name in names if left[name] != before[name]]
    if differ and not (left["state"] == "ended" and before["revision"] == 0):
        yield f"since the last entry {', '.join(differ)}"
    after = entry["after"]
    if after["revision"] != before["revision"] + 1 and after["epoch"] == before["epoch"]:
        yield f"the revision went from {before['revision']} to {after['revision']}"


class Replay:
    """One room's model, driven by the audit."""

    def __init__(self) -> None:
        self._room: model.Room | None = None

    def step(self, entry: Entry) -> Iterator[str]:
        """Make the model do what an entry says, and compare."""
        room = self._prepared(entry)
        if room is None:
            return
        room.enter()
        room.wall = entry["wall"]
        arguments = entry.get("arguments", [])
        results = list(getattr(self, f"_{entry['verb']}", self._nothing)(room, entry, arguments) or [])
        room.leave_call()
        after = entry["after"]
        room.known, room.epoch, room.revision = True, after["epoch"], after["revision"]
        yield from _compare(room, entry, results)

    def _prepared(self, entry: Entry) -> model.Room | None:
        """Bring the model to where the entry begins, in its clock and its settings."""
        times = model.Times(entry["grace_ms"], entry["place_ms"], entry["hold_ms"])
        before = entry["before"]
        if self._room is None and before["revision"] > 0:
            return None  # the audit begins in the middle
        if self._room is None or (before["revision"] == 0 and self._room.known):
            self._room = model.Room(entry["seats"], NOT_REFUSED, times)
        room = self._room
        room.times, room.account_limit = times, entry["seats"]
        room.sessions = 0 if "concurrent_sessions_reached" in entry.get("results", []) else NOT_REFUSED
        room.wall, room.ran_at = entry["now"], 0
        room.asked = entry.get("server", "")
        if before.get("due_at") is None:
            room.settling_until = 0  # a call that changed nothing else, and is not written down, found it over
        if before["revision"]:
            room.epoch, room.revision = before["epoch"], before["revision"]
        if entry.get("ended") == "idle" and not room.people:
            room.idle_since = -model.IDLE  # a hub's hosts go without an entry when the hub is fenced
        return room

    # ---- the verbs

    def _nothing(self, room: model.Room, entry: Entry, arguments: list[str]) -> None:
        """Do only what is due: sweep."""

    def _join(self, room: model.Room, entry: Entry, arguments: list[str]) -> Iterable[Any] | None:
        if room.state == "ended":
            return None
        return [room.join(name, lease) for name, lease in _pairs(arguments)]

    def _leave(self, room: model.Room, entry: Entry, arguments: list[str]) -> Iterable[Any] | None:
        return [room.leave(name, lease) for name, lease in _pairs(arguments)]

    def _away(self, room: model.Room, entry: Entry, arguments: list[str]) -> Iterable[Any] | None:
        return [room.away(name, lease) for name, lease in _pairs(arguments)]

    def _claim(self, room: model.Room, entry: Entry, arguments: list[str]) -> Iterable[Any] | None:
        return [room.claim(name, lease) for name, lease in _pairs(arguments)]

    def _host(self, room: model.Room, entry: Entry, arguments: list[str]) -> Iterable[Any] | None:
        if room.state == "ended":
            return None
        refusal = room.host(entry["hub"], int(arguments[0]), arguments[2:])
        return [refusal] if refusal else []

    def _fence(self, room: model.Room, entry: Entry, arguments: list[str]) -> None:
        room.fence(arguments[0])

    def _open(self, room: model.Room, entry: Entry, arguments: list[str]) -> Iterable[Any] | None:
        refusal = room.open(arguments[0] == "1")
        return [refusal] if refusal else []

    def _end(self, room: model.Room, entry: Entry, arguments: list[str]) -> None:
        room.end(arguments[0])

    def _put_out(self, room: model.Room, entry: Entry, arguments: list[str]) -> None:
        room.put_out(arguments[0])

    def _attach(self, room: model.Room, entry: Entry, arguments: list[str]) -> None:
        epoch, revision = arguments[1], int(arguments[2])
        room.attach(entry["hub"], arguments[0] == "1", epoch, revision)

    def _reassert(self, room: model.Room, entry: Entry, arguments: list[str]) -> None:
        if room.state == "ended":
            return
        for start in range(0, len(arguments), 5):
            name, lease, had, sequence, joined_at = arguments[start : start + 5]
            room.reassert(name, lease, had, int(sequence), int(joined_at))


def _compare(room: model.Room, entry: Entry, results: list[Any]) -> Iterator[str]:
    """Yield where the entry differs from the model."""
    after, told = entry["after"], room.told
    counts = room.counts()
    offers = [(offer["reason"], offer["participants"]) for offer in entry.get("offers", [])]
    pairs: list[tuple[str, Any, Any]] = [
        ("state", room.state, after["state"]),
        ("seat_limit", room.limit, after["seat_limit"]),
        *((name, counts[name], after[name]) for name in COUNTS),
        ("told", room.level, after["told"]),
        ("offers", told.offers, offers),
        ("expired", told.expired, entry.get("expired", [])),
        ("replaced", told.replaced, [tuple(pair) for pair in entry.get("replaced", [])]),
        ("doubted", told.doubted, [tuple(pair) for pair in entry.get("doubted", [])]),
        ("put_out", told.put_out, entry.get("put_out", [])),
        ("previous", told.previous, entry.get("previous")),
        ("opened", told.opened, entry.get("opened", False)),
        ("ended", told.ended, entry.get("ended")),
        ("near", told.near, entry.get("near", {}).get("level")),
        ("cleared", told.cleared, entry.get("cleared", False)),
        ("over", room.over, after.get("over", 0)),
    ]
    if entry["verb"] in ("leave", "away", "claim") and results and room.state != "ended":
        pairs.append(("results", results, entry.get("results", [])))
    if entry["verb"] == "join" and results:
        pairs.append(("results", _joined(room, entry["arguments"]), [result[0] for result in entry.get("results", [])]))
    for name, expected, came in pairs:
        if expected != came:
            yield f"{name} is {came}, and should be {expected}"


def _joined(room: model.Room, arguments: list[str]) -> list[str]:
    """Return what each of a join should be answered, from where the model has them when the call is over."""
    words = {"seat": "seated", "line": "waiting", "hold": "held"}
    return ["put_out" if name in room.barred else words[room.people[name].where] for name, _ in _pairs(arguments)]


def occupied(snapshot: Mapping[str, Any]) -> int:
    """Return how many seats of a snapshot are taken."""
    return int(snapshot["seated"] + snapshot["away"] + snapshot["held"])


def _pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(arguments[::2], arguments[1::2], strict=True))


def check_seats_told(logs: Mapping[str, Sequence[Said]], limit_max: int) -> list[str]:
    """Return when more participants of a room believed at once to be seated than it ever had seats, by their own logs."""
    steps: list[tuple[float, int, str]] = []
    for name, log in logs.items():
        since: float | None = None
        for said in log:
            if said.kind == "seated" and since is None:
                since = said.at
            elif since is not None and said.kind in (
                "drop",
                "leave",
                "close",
                "lost",
                "give_up",
                "ended",
                "waiting",
                "connect",
            ):
                steps += [(since, 1, name), (said.at, -1, name)]
                since = None
        if since is not None:
            steps.append((since, 1, name))
    count, found = 0, []
    for at, step, name in sorted(steps):
        count += step
        if step > 0 and count > limit_max:
            found.append(
                f"at {at:.3f} {count} were told that they are seated, {name} the last; there were {limit_max} seats"
            )
    return found
