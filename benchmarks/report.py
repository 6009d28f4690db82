"""What the benchmark prints: a table of all systems with the ratios to ours, and what is promised of ours beside what was found."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.comparison import Figures

OURS = "Capacity"
RAW = "raw write loop"
FAIR_PEER = "ws + Redis"

COLUMNS = {
    "join_us": "µs a join",
    "joins_per_s": "joins/s",
    "p99_ms": "p99 ms",
    "store_us": "Redis µs a join",
    "message_us": "µs a message",
    "last_ms": "last of 5,000, ms",
    "memory_kib": "KiB a connection",
    "idle_ms": "idle ms/s",
}

Runs = Mapping[str, Sequence[Figures]]
"""System → what each run of it found."""


@dataclass(frozen=True)
class Promise:
    """Something that is to hold of a figure, and whether it does."""

    number: int
    what: str
    found: str
    holds: bool


def medians(runs: Iterable[Figures]) -> Figures:
    """Return the median of each figure over the runs that have it."""
    found: dict[str, list[float]] = {}
    for figures in runs:
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def table(runs: Runs) -> list[str]:
    """Return the lines of a Markdown table: medians, the range of µs a join, and how many times ours its CPU is."""
    lines = [
        f"| system (runs) | {' | '.join(COLUMNS.values())} | CPU of a join and of a message, ours = 1 |",
        f"|---|{'---|' * (len(COLUMNS) + 1)}",
    ]
    ours = medians(runs.get(OURS, ()))
    for system, figures in runs.items():
        middle = medians(figures)
        cells = [_shown(name, middle.get(name)) for name in COLUMNS]
        joins = [one["join_us"] for one in figures if "join_us" in one]
        cells[0] += f" [{min(joins):.0f}–{max(joins):.0f}]"
        ratio = (
            f"{middle['join_us'] / ours['join_us']:.2f} · {middle['message_us'] / ours['message_us']:.2f}"
            if ours
            else ""
        )
        lines.append(f"| {system} ({len(figures)}) | {' | '.join(cells)} | {ratio} |")
    return lines


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if name in ("join_us", "joins_per_s", "store_us", "last_ms", "p99_ms") else f"{value:.1f}"


def promises(runs: Runs) -> list[Promise]:
    """Return what is to be reached, beside what the medians say. Those of which a figure is missing are left out."""
    ours, raw, fair = (medians(runs.get(system, ())) for system in (OURS, RAW, FAIR_PEER))
    found: list[Promise] = []

    def most(number: int, what: str, name: str, limit: float, unit: str) -> None:
        if name in ours:
            found.append(
                Promise(
                    number,
                    f"{what} ≤ {limit:g} {unit}".rstrip(),
                    f"{ours[name]:.4g} {unit}".rstrip(),
                    ours[name] <= limit,
                )
            )

    most(1, "CPU of the hub a join (HS256)", "join_us", 180, "µs")
    if "joins_per_s" in ours and "joins_per_s" in fair:
        times = ours["joins_per_s"] / fair["joins_per_s"]
        found.append(Promise(1, f"joins/s ≥ 2 × {FAIR_PEER}", f"{times:.2f} ×", times >= 2))
    most(1, "CPU of Redis a join", "store_us", 45, "µs")
    for name, what in (("message_us", "a change of the limit"), ("refresh_us", "a raise, refresh included")):
        if name in ours and "message_us" in raw:
            times = ours[name] / raw["message_us"]
            found.append(Promise(2, f"CPU a message of {what} ≤ 1.3 × {RAW}", f"{times:.2f} ×", times <= 1.3))
    most(2, "raise for 10,000 on 2 hubs: event to the last refresh", "raise_last_ms", 1000, "ms")
    most(2, "the same, p99", "raise_p99_ms", 800, "ms")
    most(3, "hub memory an idle connection", "memory_kib", 4, "KiB")
    most(3, "Redis memory a seated participant", "seated_bytes", 350, "bytes")
    most(3, "Redis memory a waiting participant", "waiting_bytes", 350, "bytes")
    most(4, "CPU of a hub with 10,000 idle connections, pings included", "idle_ms", 10, "ms/s")
    most(4, "commands of that hub to Redis", "idle_commands", 10, "a second")
    most(5, "µs a join at 50,000 in the room, at 1,000 = 1", "growth", 1.3, "")
    most(5, "longest script at 100,000 in the room", "script_ms", 5, "ms")
    most(6, "500 joins and 500 leaves a second, 5,000 in line: cores of the hub", "churn_core", 0.5, "")
    most(6, "the same: wrong positions at the end", "churn_wrong_positions", 0, "")
    most(7, "9,000 reload within their spread (9 s): event to the last seated", "stampede_spread_s", 10, "s")
    most(7, "the same: p99 of a reload", "stampede_spread_p99_ms", 1500, "ms")
    most(7, "the same: holds lost", "stampede_spread_lost", 0, "")
    return found


def promised(runs: Runs) -> list[str]:
    """Return the lines of a Markdown table of the promises."""
    lines = ["| | to reach | found | |", "|---|---|---|---|"]
    for promise in promises(runs):
        lines.append(
            f"| {promise.number} | {promise.what} | {promise.found} | {'holds' if promise.holds else '**missed**'} |"
        )
    return lines


def others(runs: Runs) -> list[str]:
    """Return the lines of a Markdown list: our figures that no promise is made of."""
    names = {
        "eddsa_join_us": "µs of hub CPU a join with EdDSA tokens",
        "raise_p50_ms": "ms to the median client of the raise for 10,000",
        "raise_message_us": "µs of CPU of both hubs for each message of it",
        "raise_store_us": "µs of CPU of the store for each who waited",
        "join_at_1000_us": "µs a join, hub and store, at 1,000 in the room",
        "join_at_50000_us": "the same at 50,000",
        "scripts_over_2_ms": "% of the scripts at 100,000 over 2 ms",
        "churn_store_core": "cores of the store in the churn",
        "churn_per_s": "joins a second in the churn, and as many leaves",
        "stampede_at_once_s": "s until all 9,000 are seated again when they reload all at once",
        "stampede_at_once_p99_ms": "ms, p99 of a reload then",
        "load_us": "µs of the load client a join",
    }
    ours = medians(runs.get(OURS, ()))
    return [f"- {ours[name]:.4g} {what}" for name, what in names.items() if name in ours]
