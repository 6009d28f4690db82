"""The judgement of one scenario: every check on everything that was seen, and whether the faults were felt at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos import checks, hooks

if TYPE_CHECKING:
    from tests.chaos.world import World

VOID_LAG_MS = 100.0
"""A harness whose own loop was later than this (p99) cannot say how late a message came."""
STARVED_LAG_MS = 1000.0
"""After half a lease without a turn of its loop a process has not had the CPU that these short times take for granted."""
RAISES_SHARE = 99


def judge(world: World) -> None:
    """Fill in the outcome of a world whose faults are over."""
    outcome, scenario, journal = world.outcome, world.scenario, world.journal
    outcome.admissions = journal.seated
    outcome.moves = journal.counts["arrives"] + journal.counts["departs"]
    outcome.machine = world.monitor.machine()
    if outcome.machine["lag_worst_ms"] > STARVED_LAG_MS:
        outcome.notes.append(
            f"the machine was short of CPU (the harness stood still for {outcome.machine['lag_worst_ms']:.0f} ms, load average "
            f"{outcome.machine['load']:.1f}): hubs may have been taken for dead; repeat this on a quiet one"
        )
    outcome.violations += world.settled[: checks.SHOWN_MAX]
    if len(world.settled) > checks.SHOWN_MAX:
        outcome.violations.append(f"… and {len(world.settled) - checks.SHOWN_MAX} more of the kind at the end")
    for name, entries in world.audit.entries.items():
        outcome.violations += checks.audited(name.room, entries, loses_data=scenario.loses_data)
        outcome.violations += checks.clients_oversold(
            name.room, journal.events, checks.Ceilings.of(entries), world.excused
        )
    outcome.violations += checks.broken_promises(
        [event for event in journal.events if event.at < world.rooms_end_at],
        loses_data=scenario.loses_data,
        excused=world.was_cut_off,
    )
    if not scenario.loses_data:
        crossings = {name.room: checks.crossings(entries) for name, entries in world.audit.entries.items()}
        outcome.violations += checks.repeated_notices(journal.events, crossings)
    _judge_webhooks(world)
    for hub in world.hubs:
        outcome.violations += hub.faults(scenario.errors)[: checks.SHOWN_MAX]
    if world.monitor.statuses[500]:
        outcome.violations.append(f"I11 HTTP 500 was answered {world.monitor.statuses[500]} times")
    _judge_idle(world)
    _judge_raises(world)
    _judge_bites(world)


def _judge_webhooks(world: World) -> None:
    outcome, platform = world.outcome, world.platform
    outcome.webhooks, outcome.tries = len({one.id for one in platform.came if one.taken}), len(platform.came)
    found = hooks.untrue(world.story, platform.came, world.lost_at)
    if not world.scenario.clock_slack_seconds:  # an hour off, what is signed now is refused as old
        found += [f"webhooks: {fault}" for fault in platform.faults]
    if dead := world.felt()["hook_dead"]:
        found.append(f"webhooks: {dead} were given up")
    if not outcome.webhooks:
        found.append("webhooks: none was taken, and nothing was held")
    outcome.violations += found[: checks.SHOWN_MAX]
    if len(found) > checks.SHOWN_MAX:
        outcome.violations.append(f"… and {len(found) - checks.SHOWN_MAX} more of webhooks")


def _judge_idle(world: World) -> None:
    outcome = world.outcome
    for room, seconds in world.monitor.idle_seconds.items():
        outcome.idle_seconds = max(outcome.idle_seconds, seconds)
        if seconds > world.scenario.idle_seconds_max:
            outcome.violations.append(
                f"I2 {room.room}: a free seat was nobody's for {seconds:.1f} s, and somebody waited"
            )


def _judge_raises(world: World) -> None:
    outcome = world.outcome
    raises = [under_way for under_way in world.audience.raises if under_way.published_at > world.lost_at]
    seconds = [
        max(0.0, at - max(under_way.published_at, world.reachable_since(hub, under_way.published_at)))
        for under_way in raises
        for at, hub in under_way.learned
    ]
    outcome.refresh_p99_seconds = checks.percentile(seconds, RAISES_SHARE)
    outcome.refresh_worst_seconds = max(seconds, default=None)
    for under_way in raises:
        if under_way.waiting:
            names = sorted(visitor.name for visitor in under_way.waiting)[:3]
            outcome.violations.append(
                f"I5 {len(under_way.waiting)} who wait never learned of version {under_way.version} of {under_way.account}: "
                f"{names}"
            )
    p99, most = outcome.refresh_p99_seconds, world.scenario.refresh_p99_seconds
    if p99 is None:
        outcome.violations.append("I5 no raise reached anybody who waited: nothing was measured")
    elif p99 > most and outcome.machine["lag_p99_ms"] > VOID_LAG_MS:
        outcome.notes.append(
            f"the refresh time is void: the harness itself was {outcome.machine['lag_p99_ms']:.0f} ms late"
        )
    elif p99 > most:
        outcome.violations.append(f"I5 p99 of raises is {p99:.3f} s, {most} s are the most")


def _judge_bites(world: World) -> None:
    outcome = world.outcome
    felt = world.felt()
    lost = [event for event in world.journal.of("closed") if event.at < world.rooms_end_at]
    reconnects = sum(event.fields["answered"] and event.fields["code"] != 1000 for event in lost)
    felt["reconnects"] += reconnects
    for alternatives in world.scenario.bites:
        seen = {name: felt[name] + outcome.bites[name] for name in alternatives if felt[name] + outcome.bites[name]}
        outcome.bites.update({name: count for name, count in seen.items() if name not in outcome.bites})
        if not seen:
            outcome.violations.append(f"the fault did not bite: none of {', '.join(alternatives)} was seen")
