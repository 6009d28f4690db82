"""What must hold when the dust has settled: what the store has, what the hubs have and what everybody was told are the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from capacity.store import keys, scripts
from capacity.store.keys import RoomName
from tests.simulation import promises
from tests.simulation.people import Host, Person
from tests.support import checker

if TYPE_CHECKING:
    from tests.simulation.world import World

CAREFUL = {"scripts_forgotten", "full", "hub_killed", "hub_stopped", "clock_forward", "clock_back"}
"""Faults that lose nothing of what is published."""


def found(world: World) -> list[str]:
    """Return every violation, as sentences."""
    return [
        *_hubs(world),
        *_account(world),
        *(line for room in world.rooms for line in _room(world, room)),
        *_logs(world),
    ]


def _hubs(world: World) -> Iterator[str]:
    backend = world.network.backend
    living = {node.name for node in world.nodes if node.accepting}
    for node in world.nodes:
        if not node.accepting:
            continue
        if problems := node.hub.problems():
            yield f"{node.name} has problems: {problems}"
        if node.hub.connections != len(node.wires):
            yield f"{node.name} counts {node.hub.connections} connections; there are {len(node.wires)}"
    flat = backend.read(("HGETALL", keys.BEATS))
    if (beating := {name.decode() for name in flat[::2]}) != living:
        yield f"hubs that beat: {sorted(beating)}; that live: {sorted(living)}"
    for key in backend.read(("KEYS", keys.hub_rooms("*"))):
        if (name := key.decode().rpartition(":")[2]) not in living and key.decode() not in world.network.late_indexes:
            yield f"the index of {name} was left behind"
    if pending := backend.pending():
        yield f"{pending} plan changes are pending"


def _account(world: World) -> Iterator[str]:
    seats = world.network.backend.read(("HGET", keys.account_key(world.rooms[0].account), "seats"))
    if seats is None or int(seats) != world.billing.seats:
        yield f"the account has {seats} seats; the highest version says {world.billing.seats}"


def inspect(world: World, room: RoomName, names: list[str]) -> Any:
    """Return what the store says of people in a room, without a hub."""
    context = msgspec.json.encode(
        {"room": room.room, "operation": 0, "hub": "", "wall": world.network.backend.wall_ms}
        | {
            name: getattr(world.rules, name)
            for name in ("grace_ms", "place_ms", "hold_ms", "idle_ms", "ended_ms", "step_ms")
        }
    )
    every = keys.room_keys(room)
    return msgspec.json.decode(
        world.network.backend.read(("EVAL", scripts.ROOM["inspect"].text, len(every), *every, context, *names))
    )


def _room(world: World, room: RoomName) -> Iterator[str]:
    people = [person for person in world.people if person.room == room]
    by_name = {person.name: person for person in people}
    truth = inspect(world, room, list(by_name))
    if truth["status"] == "unknown_account":
        return
    for line in _in_room(world, room, truth, by_name):
        yield f"{room.room}: {line}"


def _in_room(world: World, room: RoomName, truth: Any, by_name: dict[str, Person]) -> Iterator[str]:
    backend = world.network.backend
    shown, results = truth["room"], dict(zip(by_name, truth["results"], strict=True))
    flat = backend.read(("HGETALL", keys.room_key(room, "people")))
    there = {name.decode() for name in flat[::2]}
    connected = {name for name, person in by_name.items() if person.role == "attendee" and person.open_wires}
    if there != connected:
        yield f"the store has {sorted(there)}; connected are {sorted(connected)}"
    if (there or shown["state"] == "open") and shown["seat_limit"] != world.billing.seats:
        yield f"its limit is {shown['seat_limit']}; the plan has {world.billing.seats}"
    occupied = shown["seated"] + shown["away"] + shown["held"]
    ready = backend.read(("ZCARD", keys.room_key(room, "ready")))
    if shown["state"] == "open" and occupied < shown["seat_limit"] and ready:
        yield f"{shown['seat_limit'] - occupied} seats are free, and {ready} wait"
    hubs = {name.decode() for name in backend.read(("HKEYS", keys.room_key(room, "hubs")))}
    if dead := hubs - {node.name for node in world.nodes if node.accepting}:
        yield f"dead hubs may still act: {sorted(dead)}"
    for person in by_name.values():
        if len(person.open_wires) > 1:
            yield f"{person.name} has {len(person.open_wires)} connections; nobody replaced the older ones"
        if person.wire is None:
            continue
        if not person.wire.open:
            yield f"{person.name} could not come back: {person.log[-3:]}"
        elif isinstance(person, Host):
            yield from _host(person, shown)
        else:
            yield from _attendee(person, shown, *results[person.name])


def _attendee(person: Person, shown: Any, state: str, number: int, lease: str) -> Iterator[str]:
    assert person.wire is not None
    mine = person.wire.connection.lease if person.wire.connection is not None else ""
    if lease != mine:
        yield f"{person.name} is connected by {mine}; the store has {lease or 'nothing'} ({state})"
    if person.state != state:
        yield f"{person.name} was told {person.state or 'nothing'}, and is {state}"
    elif state == "waiting" and person.told["waiting"]["position"] != number:
        yield f"{person.name} was told place {person.told['waiting']['position']}, and stands at {number}"
    if person.limit != shown["seat_limit"]:
        yield f"{person.name} was told a limit of {person.limit}; it is {shown['seat_limit']}"


def _host(person: Host, shown: Any) -> Iterator[str]:
    told = person.told.get("occupancy", {})
    for name in ("state", "seat_limit", "seated", "away", "held", "waiting", "peak"):
        if told.get(name) != shown[name]:
            yield f"{person.name} was told {name} {told.get(name)}; it is {shown[name]}"
    if person.limit != shown["seat_limit"]:
        yield f"{person.name} was told a limit of {person.limit}; it is {shown['seat_limit']}"
    # Of a limit of 0 nothing is said to a host who comes while nobody waits, and nothing more when somebody does.
    if shown["state"] == "open" and shown["seat_limit"] and bool(person.level) != (shown["told"] > 0):
        yield f"{person.name} was told {person.level or 'of no level'}; the level is {shown['told']}"


def _logs(world: World) -> Iterator[str]:
    everywhere = promises.Surroundings(
        losses=world.nemesis.losses, interruptions=world.nemesis.interruptions, steps=world.nemesis.steps,
        lease_seconds=world.scenario.lease_seconds, grace_seconds=world.scenario.times.grace / 1000,
        deaf=not CAREFUL.issuperset(world.scenario.faults),
    )  # fmt: skip
    for person in world.people:
        ends = [at for room, at in world.network.room_ends if room == person.room.room]
        surroundings = replace(everywhere, room_ends=ends)
        if isinstance(person, Host):
            lines = promises.to_host(person.log, surroundings, person.room.room)
        else:
            lines = promises.to_attendee(person.log, surroundings)
        for line in lines:
            yield f"{person.name} in {person.room.room}: {line}"
    if not everywhere.losses and not everywhere.cut_off(0, world.loop.time()):
        for room in world.rooms:
            logs = {p.name: p.log for p in world.people if p.room == room and p.role == "attendee"}
            limit = max(seats for _, seats in world.billing.published_at) if world.billing.published_at else 0
            for line in checker.check_seats_told(logs, limit):
                yield f"{room.room}: {line}"
