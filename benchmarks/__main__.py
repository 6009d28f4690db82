"""The benchmark: Capacity and its peers in the same run, then what is measured of Capacity alone.

    make bench                 the raw write loop, ws + Redis, bare Starlette and ours; 5 runs, about 20 minutes
    make bench-all             the other peers too
    make bench ARGS="--runs 1 --only own"

Prints the tables, and writes them, every figure and the pictures to a directory. Starts everything itself, on loopback; the server on
one core, store and load on the others. Run it on a machine that does nothing else.
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
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import uvloop

from benchmarks import comparison, own, report
from benchmarks.comparison import Figures, System
from benchmarks.dialects import PEERS, Peer
from benchmarks.machine import LOAD_CORES, Store, description, store
from benchmarks.ours import Tokens

FILES_NEEDED = 11_000
Started = Callable[[int], AbstractAsyncContextManager[System]]
"""How a system is started for so many people."""


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="all peers")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("comparison", "own"), help="one of the two parts")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="where tables, figures and pictures go")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_NEEDED:
        sys.exit(f"This needs {FILES_NEEDED:,} open files, and the limit is {hard:,} (ulimit -Hn).")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, LOAD_CORES)
    gc.disable()  # or the load client looks through 10,000 clients again and again; `_note` collects
    uvloop.run(run(arguments))


async def run(arguments: argparse.Namespace) -> None:
    """Measure, print and write."""
    peers = [peer for peer in PEERS if (arguments.all or peer.by_default)]
    for peer in peers:
        if missing := peer.missing():
            sys.exit(f"{peer.name} is not installed ({', '.join(missing)}): make bench and make bench-all install it.")
    runs: dict[str, list[Figures]] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, store(Path(name) / "store") as valkey:
        directory = Path(name)
        tokens = Tokens(directory)
        for number in range(1, arguments.runs + 1):
            if arguments.only != "own":
                await _compare(runs, number, peers, valkey, tokens)
            if arguments.only != "comparison":
                await _measure_own(runs, number, valkey, tokens, directory)
    versions = {key: value for peer in peers for key, value in peer.versions().items()}
    lines = [
        f"{datetime.date.today()} · {description()}",
        f"{arguments.runs} runs, {(time.monotonic() - began) / 60:.0f} minutes; medians",
        "",
        *report.table(runs),
        "",
        *report.promised(runs),
        "",
        *report.others(runs),
        "",
        "Versions: " + ", ".join(f"{key} {value}" for key, value in versions.items()),
    ]
    print("\n" + "\n".join(lines))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "report.md").write_text("\n".join(lines) + "\n", "utf-8")
    (arguments.out / "figures.json").write_text(json.dumps(runs, indent=1) + "\n", "utf-8")
    if arguments.only != "own":
        from benchmarks import pictures

        pictures.draw(runs, arguments.out)
    print(f"\nWritten to {arguments.out}/: report.md, figures.json, and a picture of each.")


async def _compare(
    runs: dict[str, list[Figures]], number: int, peers: list[Peer], valkey: Store, tokens: Tokens
) -> None:
    """Let each system take its turn."""
    systems: dict[str, Started] = {
        report.OURS: lambda _: comparison.ours_running(tokens, valkey),
        **{peer.name: partial(comparison.peer_running, peer, valkey) for peer in peers},
    }
    for name, start in systems.items():
        figures: Figures = {}
        idle = name == report.OURS or number == 1
        async with start(comparison.IDLE_CLIENTS) as system:
            figures |= await comparison.measure_crowd(system, idle=idle)
            if name == report.OURS:
                figures |= await comparison.measure_warm(system, valkey)
        if name != report.OURS:  # a peer is started with the number of its seats
            async with start(comparison.JOINS) as system:
                await comparison.warm_up(system)
                figures |= await comparison.measure_warm(system, valkey)
        _note(runs, number, name, figures)


async def _measure_own(
    runs: dict[str, list[Figures]], number: int, valkey: Store, tokens: Tokens, directory: Path
) -> None:
    """Measure what no peer has."""
    once: list[Callable[[], Awaitable[Figures]]] = [
        lambda: own.stored_bytes(valkey),
        lambda: own.idle_commands(valkey, tokens),
    ]
    each: list[Callable[[], Awaitable[Figures]]] = [
        lambda: own.refresh_one_hub(valkey, tokens),
        lambda: own.raise_limit(valkey, tokens),
        lambda: own.growth(valkey, tokens),
        lambda: own.longest_script(directory / f"scripts-{number}"),
        lambda: own.eddsa(valkey, directory),
        lambda: own.churn(valkey, tokens),
        lambda: own.stampede(valkey, tokens),
        lambda: own.stampede(valkey, tokens, at_once=True),
    ]
    figures: Figures = {}
    for measure in [*(once if number == 1 else []), *each]:
        figures |= await measure()
    _note(runs, number, report.OURS, figures)


def _note(runs: dict[str, list[Figures]], number: int, name: str, figures: Figures) -> None:
    shown = " ".join(f"{key}={value:.4g}" for key, value in figures.items())
    print(f"run {number} {name}: {shown}", flush=True)
    gc.collect()
    found = runs.setdefault(name, [])
    if len(found) < number:
        found.append({})
    found[number - 1] |= figures


if __name__ == "__main__":
    main()
