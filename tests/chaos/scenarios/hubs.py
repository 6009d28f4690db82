"""No fault at all, and faults of hub processes: killed, frozen, restarted in turn, short of file descriptors."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from pathlib import Path

from redis.exceptions import RedisError

from capacity.store.keys import RoomName
from tests.chaos import times
from tests.chaos.hostile import Hostile
from tests.chaos.monitor import room_people
from tests.chaos.outcome import Scenario
from tests.chaos.world import World

DOOMED_SHARE = 0.4
FREED_POLL_SECONDS = 0.1
FREEZES_SECONDS = (0.5, 3.0, 8.0)
SETTLE_SECONDS = 2.0
TERM_WITHIN_SECONDS = 10.0
FILES_MAX = 100
BUSY_SHARE_MAX = 0.9


async def nothing(world: World) -> None:
    """Let the service run."""
    await world.wait(world.seconds)


async def kill(world: World) -> None:
    """Kill hubs one after the other; each comes back after a second, and some of its people never do."""
    rounds = max(1, round(world.seconds / 5))
    watching = []
    for _ in range(rounds):
        number = world.chance.randrange(len(world.hubs))
        gone = []
        for attendee in world.connected_to(number):
            if attendee.state == "seated" and world.chance.random() < DOOMED_SHARE:
                attendee.doomed = True
                gone.append((RoomName(attendee.account, attendee.room), attendee.name))
        world.fault("kill -9 hub")
        world.hubs[number].kill()
        watching.append(asyncio.create_task(_watch_freed(world, gone, time.monotonic())))
        await world.wait(1.0 + world.chance.random())
        world.hubs[number].start()
        world.over()
        await world.hubs[number].ready(world.http)
        await world.wait(SETTLE_SECONDS)
    await asyncio.gather(*watching)


async def _watch_freed(world: World, gone: list[tuple[RoomName, str]], killed_at: float) -> None:
    """Wait until nobody of those who do not come back has anything in the store (I7)."""
    names: dict[RoomName, set[str]] = {}
    for room, participant in gone:
        names.setdefault(room, set()).add(participant)
    left = len(gone)
    while left and time.monotonic() - killed_at < times.FREED_WITHIN_SECONDS:
        await asyncio.sleep(FREED_POLL_SECONDS)
        try:
            left = 0
            for room, people in names.items():
                left += len(people & (await room_people(world.redis, room)).keys())
        except (RedisError, OSError):
            left = len(gone)
    seconds = time.monotonic() - killed_at
    world.bit("seats_freed", len(gone) - left)
    if left:
        world.violate(f"I7 {left} of {len(gone)} seats of a killed hub were not free after {seconds:.1f} s")
    else:
        world.outcome.freed_seconds = max(world.outcome.freed_seconds or 0.0, seconds)


async def freeze(world: World) -> None:
    """Stop hubs in their tracks, for shorter and longer than the lease."""
    for number, seconds in zip(world.chance.sample(range(len(world.hubs)), 3), FREEZES_SECONDS, strict=True):
        world.fault(f"SIGSTOP hub {seconds} s")
        world.hubs[number].signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        await world.wait(seconds)
        world.hubs[number].signal(signal.SIGCONT)
        world.over()
        world.cut_off(number, stopped_at)
        await world.wait(SETTLE_SECONDS)
    world.bit("seats_lost_and_said_so", sum(e.fields.get("reason") == "seat_lost" for e in world.journal.of("waiting")))


async def restart_in_turn(world: World) -> None:
    """SIGTERM every hub in turn, each with a client that does not read and one that says goodbye without reading."""
    before = {attendee.name for attendee in world.audience.attendees if attendee.state == "seated"}
    for hub in world.hubs:
        account = world.chance.choice(world.accounts)
        rude = Hostile(hub.port, account.id, account.rooms[0])
        await rude.stall()
        await rude.close_unread()
        world.fault("SIGTERM hub")
        began = time.monotonic()
        hub.signal(signal.SIGTERM)
        code = await hub.ended(TERM_WITHIN_SECONDS)
        rude.end()
        if code != 0:
            world.violate(
                f"hub {hub.number} ended with {code} {time.monotonic() - began:.1f} s after SIGTERM, 0 was expected"
            )
        hub.start()
        world.over()
        await hub.ready(world.http)
        await world.wait(SETTLE_SECONDS)
    codes = [event.fields["code"] for event in world.journal.of("closed") if event.fields["answered"]]
    world.bit("closed_1012", codes.count(1012))
    if wrong := len(codes) - codes.count(1012):
        world.violate(f"{wrong} clients lost their connection to a draining hub without 1012: {sorted(set(codes))}")
    await world.heal()
    lost = before - {attendee.name for attendee in world.audience.attendees if attendee.state == "seated"}
    if lost:
        world.violate(f"{len(lost)} seats were lost by restarts: {sorted(lost)[:5]}")


async def exhaust_files(world: World) -> None:
    """Let a hub have so few file descriptors that it cannot take everybody who comes; then give it more."""
    hub = world.hubs[0]
    assert hub.process is not None
    world.fault(f"hub with {FILES_MAX} file descriptors")
    before, began = cpu_seconds(hub.process.pid), time.monotonic()
    while time.monotonic() - began < world.seconds:
        await world.wait(times.SLACK_SECONDS)
        world.bit("unanswered", len(world.audience.unanswered(1.0)))
    share = (cpu_seconds(hub.process.pid) - before) / (time.monotonic() - began)
    if share > BUSY_SHARE_MAX:
        world.violate(f"a hub without free file descriptors was busy for {share:.0%} of the time")
    resource.prlimit(
        hub.process.pid, resource.RLIMIT_NOFILE, resource.prlimit(hub.process.pid, resource.RLIMIT_NOFILE)[1:] * 2
    )
    world.over()
    await world.wait(SETTLE_SECONDS)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


SCENARIOS = (
    Scenario("baseline", "no fault", nothing, refresh_p99_seconds=0.25, idle_seconds_max=1.0),
    Scenario(
        "kill-hub",
        "kill -9 of hubs, started again after a second",
        kill,
        (("hub_dead",), ("hub_reaped",), ("seats_freed",)),
        seconds=15.0,
    ),
    Scenario(
        "freeze-hub", "SIGSTOP of hubs for 0.5, 3 and 8 s", freeze, (("hub_dead",), ("hub_forgotten", "room_resynced"))
    ),
    Scenario(
        "rolling-restart",
        "SIGTERM of all hubs in turn, each with a stalled and a hostile client: no seat lost",
        restart_in_turn,
        (("draining",), ("closed_1012",)),
        calm=True,
        crowd=2.0,
    ),
    Scenario(
        "files",
        "a hub without file descriptors for all who come",
        exhaust_files,
        (("unanswered",),),
        files_max=FILES_MAX,
    ),
)
