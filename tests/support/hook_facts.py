"""What webhooks are told, in short: by the events that were written, and by the model of a room."""

from __future__ import annotations

from typing import Any

from capacity.protocol import hooks
from capacity.protocol.hooks import Crossing, Ending, Event, Raise, TurnedAway
from tests.support import model

Fact = tuple[str, dict[str, Any]]


def in_short(event: Event) -> Fact:
    """Return an event's type and what it says, without its place in the room's history; who left stands in no order."""
    data, said = event.data, dict[str, Any]()
    names: tuple[str, ...]
    match data:
        case Crossing():
            names = ("seat_limit", "occupied", "waiting")
        case Raise():
            names = ("previous", "seat_limit", "told", "occupied", "waiting")
        case TurnedAway():
            names = ("reason", "count", "participants")
        case Ending():
            names = ("reason", "peak", "joined", "turned_away")
            said["opened"] = data.opened_at is not None
    said |= {name: getattr(data, name) for name in names}
    if said.get("reason") == "left":
        said["participants"] = sorted(said["participants"])
    return hooks.type_of(event), said


def told_by(room: model.Room) -> list[Fact]:
    """Return what the last call of the model is to tell, in order."""
    told = room.told
    facts: list[Fact] = []
    if told.raised is not None:
        facts.append(("room.seat_limit_raised", told.raised))
    left = sorted(name for name in told.gave_up if name in room.turned_away and name not in told.hoping)
    for reason, names in (("left", left), ("ended", told.hoping)):
        if names:
            facts.append(("room.turned_away", {"reason": reason, "count": len(names), "participants": names}))
    if told.near is not None:
        numbers = {"seat_limit": room.limit, "occupied": room.occupied, "waiting": len(room.at("line"))}
        facts.append((f"room.{told.near}", numbers))
    if told.ended is not None:
        report = told.report or {"peak": 0, "joined": 0, "turned_away": 0}
        said = {"opened": told.report is not None, "reason": told.ended, **report}
        facts.append(("room.ended", said))
    return facts
