"""What a run showed, as a table for a terminal or for docs/guarantees.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.chaos.outcome import Outcome

HEADS = (
    "scenario",
    "admissions",
    "faults injected",
    "how they bit",
    "violations",
    "leaks",
    "healed",
    "refresh p99 / worst",
    "seat freed",
    "seat idle",
)


def row(outcome: Outcome) -> list[str]:
    """Return the cells of one scenario."""
    return [
        outcome.name,
        f"{outcome.admissions:,}",
        _counted(outcome.faults),
        _counted(outcome.bites),
        str(len(outcome.violations)),
        str(outcome.leaks),
        _seconds(outcome.heal_seconds),
        f"{_seconds(outcome.refresh_p99_seconds)} / {_seconds(outcome.refresh_worst_seconds)}",
        _seconds(outcome.freed_seconds),
        _seconds(outcome.idle_seconds or None),
    ]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "–"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table in Markdown."""
    rows = [list(HEADS), ["---"] * len(HEADS), *(row(outcome) for outcome in outcomes if not outcome.skipped)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def text(outcomes: Sequence[Outcome]) -> str:
    """Return the table for a terminal: what was done and felt stands in a line below each scenario."""
    narrow = [number for number, head in enumerate(HEADS) if head not in ("faults injected", "how they bit")]
    rows = [[row(outcome)[number] for number in narrow] for outcome in outcomes if not outcome.skipped]
    heads = [HEADS[number] for number in narrow]
    widths = [max(len(cells[column]) for cells in (heads, *rows)) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(heads, widths, strict=True))]
    played = [outcome for outcome in outcomes if not outcome.skipped]
    for outcome, cells in zip(played, rows, strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)))
        lines.append(f"    did {_counted(outcome.faults)}; felt {_counted(outcome.bites)}")
        lines += [f"    note: {note}" for note in outcome.notes]
        lines += [f"    VIOLATION: {violation}" for violation in outcome.violations]
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the totals, the state of the machine, and what was skipped and why."""
    played = [outcome for outcome in outcomes if not outcome.skipped]
    total = Counter[str]()
    for outcome in played:
        total.update(outcome.faults)
    machine = [outcome.machine for outcome in played if outcome.machine]
    lines = [
        f"{len(played)} scenarios, {sum(outcome.seconds for outcome in played):.0f} s, "
        f"{sum(outcome.admissions for outcome in played):,} admissions, {sum(outcome.moves for outcome in played):,} joins and "
        f"leaves, {sum(total.values())} faults; {sum(len(outcome.violations) for outcome in played)} violations, "
        f"{sum(outcome.leaks for outcome in played)} leaks",
        f"{sum(outcome.webhooks for outcome in played):,} webhooks in {sum(outcome.tries for outcome in played):,} tries",
    ]
    if machine:
        lines.append(
            f"the harness: {max(m['cpu_percent'] for m in machine):.0f} % of a core at most, its loop late by "
            f"{max(m['lag_p99_ms'] for m in machine):.0f} ms (p99, the worst scenario), load average up to "
            f"{max(m['load'] for m in machine):.1f}"
        )
    lines += [f"skipped: {outcome.name}: {outcome.skipped}" for outcome in outcomes if outcome.skipped]
    return "\n".join(lines)
