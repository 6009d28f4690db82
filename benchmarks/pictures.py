"""The pictures of a comparison: for each figure a bar for each system, its range over the runs as a line."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from benchmarks.report import COLUMNS, OURS, RAW, Runs, medians

PICTURES = {
    "joins": ("join_us", "CPU of the server process for each join (µs, less is better)"),
    "rate": ("joins_per_s", "Joins a second, server on one core (more is better)"),
    "messages": ("message_us", "CPU of the server process for each message of a broadcast (µs, less is better)"),
    "memory": ("memory_kib", "Resident memory for each idle connection, of 10,000 (KiB, less is better)"),
}
OUR_COLOUR, FLOOR_COLOUR, COLOUR = "#0b6e4f", "#b8b8b8", "#5b7db1"

matplotlib.rcParams.update({"svg.hashsalt": "capacity", "font.family": "sans-serif", "font.size": 11})


def draw(runs: Runs, directory: Path) -> list[Path]:
    """Draw an SVG of each figure into the directory; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    return [_bars(runs, name, title, directory / f"{file}.svg") for file, (name, title) in PICTURES.items()]


def _bars(runs: Runs, name: str, title: str, path: Path) -> Path:
    assert name in COLUMNS
    systems = [system for system, found in runs.items() if any(name in one for one in found)]
    middle = [medians(runs[system])[name] for system in systems]
    every = [[one[name] for one in runs[system] if name in one] for system in systems]
    ranges = [
        [value - min(found) for value, found in zip(middle, every, strict=True)],
        [max(found) - value for value, found in zip(middle, every, strict=True)],
    ]
    figure = Figure(figsize=(8.4, 0.52 * len(systems) + 1.1), layout="constrained")
    axes = figure.subplots()
    colours = [OUR_COLOUR if one == OURS else FLOOR_COLOUR if one == RAW else COLOUR for one in systems]
    bars = axes.barh(systems, middle, color=colours, xerr=ranges, error_kw={"ecolor": "#333", "lw": 1, "capsize": 3})
    axes.bar_label(bars, [f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in middle], padding=6)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.savefig(path, metadata={"Date": None})
    return path
