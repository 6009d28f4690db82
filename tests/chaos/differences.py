"""How the store differs from what the clients believe and from what billing published: at the end of a scenario, in nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.checks import unsettled
from tests.chaos.monitor import room_numbers, room_people

if TYPE_CHECKING:
    from tests.chaos.world import World


async def differences(world: World) -> list[str]:
    """Return how the store differs from what the clients believe, and from what billing published."""
    found = []
    for name in world.rooms:
        clients = {
            attendee.name: attendee.state
            for attendee in world.audience.attendees
            if attendee.room == name.room and attendee.wanted
        }
        found += unsettled(name.room, await room_people(world.redis, name), clients)
        numbers = await room_numbers(world.redis, name)
        expected = world.billing.expected[name.account]
        if numbers["seat_limit"] != expected:
            found.append(f"I6 {name.room} has {numbers['seat_limit']} seats, the highest version says {expected}")
        if numbers["free"] and numbers["ready"]:
            found.append(f"I2 {name.room}: {numbers['free']} seats are free, and {numbers['ready']} connected wait")
        for visitor in world.audience.visitors:
            if visitor.room == name.room and visitor.wanted and visitor.limit != expected:
                found.append(f"I6 {visitor.name} knows of {visitor.limit} seats, the highest version says {expected}")
        for host in world.audience.hosts:
            if host.room == name.room:
                shown = host.occupancy or {}
                if any(shown.get(field) != numbers[field] for field in ("occupied", "waiting", "seat_limit")):
                    found.append(f"I5 {host.name} was shown {shown} last, the store has {numbers}")
    return found
