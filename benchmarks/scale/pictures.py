"""The pictures of docs/scale.md, drawn from the figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.pictures import COLOUR, FLOOR_COLOUR, OUR_COLOUR
from benchmarks.scale.costs import HERE, RESULTS, SIZE, Costs

PICTURES = HERE.parent.parent / "docs" / "scale"
WARNING_COLOUR = "#c2571a"

matplotlib.rcParams.update({"svg.hashsalt": "capacity", "font.family": "sans-serif", "font.size": 11})


def draw(directory: Path = PICTURES) -> list[Path]:
    """Draw every picture into the directory; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    results = json.loads(RESULTS.read_text("utf-8"))
    costs = Costs.read()
    pictures: dict[str, tuple[str, Callable[[Axes], None]]] = {
        "joins": ("CPU of a join, by how many go together in a call (µs)", lambda axes: _joins(axes, costs)),
        "fastest": ("Joins a second of one room, by hubs", lambda axes: _fastest(axes, results["fastest"])),
        "doors": ("100,000 arrive: 99 % have their seat after (ms)", lambda axes: _doors(axes, results["doors"])),
        "raise": ("A raise with 50,000 waiting: told after (ms)", lambda axes: _raise(axes, results["raise"])),
        "million": (
            "A million in 20,000 rooms: cores asked of each hub and of each shard",
            lambda axes: _million(axes, results["million"]),
        ),
    }
    found = []
    for name, (title, fill) in pictures.items():
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        axes = figure.subplots()
        fill(axes)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
        axes.spines[["top", "right"]].set_visible(False)
        path = directory / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None})
        found.append(path)
    return found


def _joins(axes: Axes, costs: Costs) -> None:
    batches = sorted({int(name.split("/")[3]) for name in costs.store if name.startswith("join/seated/")})
    hub = [costs.joins_call(batch) / batch * 1e6 for batch in batches]
    store = [costs.store[f"join/seated/{SIZE}/{batch}"] / batch for batch in batches]
    places = range(len(batches))
    bars = axes.bar([place - 0.2 for place in places], hub, 0.38, color=OUR_COLOUR, label="hub")
    axes.bar_label(bars, [f"{value:.0f}" for value in hub], padding=2)
    bars = axes.bar([place + 0.2 for place in places], store, 0.38, color=COLOUR, label="store")
    axes.bar_label(bars, [f"{value:.0f}" for value in store], padding=2)
    axes.set_xticks(list(places), [str(batch) for batch in batches])
    axes.legend(frameon=False)


def _hubs(axes: Axes, rows: list[dict[str, Any]]) -> None:
    hubs = sorted({row["hubs"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(hubs, [str(count) for count in hubs])
    axes.minorticks_off()
    axes.set_xlabel("hubs")


def _fastest(axes: Axes, rows: list[dict[str, Any]]) -> None:
    hubs = [row["hubs"] for row in rows]
    axes.plot(hubs, [row["joins_a_second"] for row in rows], "o-", color=OUR_COLOUR)
    axes.plot(hubs, [rows[0]["joins_a_second"] * count for count in hubs], "--", color=FLOOR_COLOUR)
    axes.annotate("so many hubs, so many times one", (hubs[3], rows[0]["joins_a_second"] * hubs[3]), (-8, 8),
                  textcoords="offset points", ha="right", color="#777")  # fmt: skip
    for row in rows:
        axes.annotate(f"{row['joins_a_second']:,}", (row["hubs"], row["joins_a_second"]), (4, -13),
                      textcoords="offset points", fontsize=9)  # fmt: skip
    axes.set_ylim(0, max(row["joins_a_second"] for row in rows) * 1.25)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _hubs(axes, rows)


def _doors(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for seconds, colour in zip(sorted({row["seconds"] for row in rows}), (OUR_COLOUR, COLOUR), strict=True):
        found = [row for row in rows if row["seconds"] == seconds]
        axes.plot([row["hubs"] for row in found], [row["join_p99_ms"] for row in found], "o-", color=colour,
                  label=f"within {seconds:.0f} s")  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False)
    _hubs(axes, rows)


def _raise(axes: Axes, rows: list[dict[str, Any]]) -> None:
    hubs = [row["hubs"] for row in rows]
    for name, label, colour in (("told_last_ms", "the last", OUR_COLOUR), ("told_p50_ms", "half of them", COLOUR)):
        axes.plot(hubs, [row[name] for row in rows], "o-", color=colour, label=label)
    axes.axhline(1000, color=WARNING_COLOUR, lw=1, ls="--")
    axes.annotate("promised: 99 % within 1 s", (hubs[-1], 1000), (0, 4), textcoords="offset points", ha="right",
                  color=WARNING_COLOUR, fontsize=9)  # fmt: skip
    axes.set_ylim(0)
    axes.legend(frameon=False)
    _hubs(axes, rows)


def _million(axes: Axes, rows: list[dict[str, Any]]) -> None:
    names = [
        f"{row['hubs']} hubs, {row['shards']} shards, "
        + (f"an account on {row['hubs_an_account']}" if row["hubs_an_account"] else "any hub")
        + (f", quiet every {row['quiet_sweep_seconds']:.0f} s" if row["quiet_sweep_seconds"] > 1 else "")
        for row in rows
    ]
    places = range(len(rows))
    for shift, name, colour in ((-0.2, "hub_core", OUR_COLOUR), (0.2, "shard_core", COLOUR)):
        values = [row[name] for row in rows]
        bars = axes.barh([place + shift for place in places], values, 0.38, color=colour, label=name.partition("_")[0])
        axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, fontsize=9)
    axes.axvline(1, color=WARNING_COLOUR, lw=1, ls="--")
    axes.set_yticks(list(places), names, fontsize=9)
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="lower right")
    axes.margins(x=0.1)
