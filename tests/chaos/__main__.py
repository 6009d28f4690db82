"""python -m tests.chaos: every scenario, a table at the end, exit code 1 if anything did not hold."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

import uvloop

from tests.chaos import report
from tests.chaos.outcome import Outcome, Scenario
from tests.chaos.runner import play
from tests.chaos.scenarios import ALL


def main() -> int:
    """Read the command line, play, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same moves (not the same timing)")
    parser.add_argument("--only", default="", help="names of scenarios, separated by commas")
    parser.add_argument("--seconds", type=float, help="how long the faults of each scenario go on")
    parser.add_argument("--keep", type=Path, help="a directory for the logs of scenarios in which something was wrong")
    parser.add_argument("--markdown", action="store_true", help="end with the table as Markdown")
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    options = parser.parse_args()
    chosen = {name for name in options.only.split(",") if name}
    if unknown := chosen - {scenario.name for scenario in ALL}:
        parser.error(f"--only: expected names from --list, got {', '.join(sorted(unknown))}")
    scenarios = [scenario for scenario in ALL if not chosen or scenario.name in chosen]
    if options.list:
        for scenario in scenarios:
            print(f"{scenario.name:20} {scenario.what}{(reason := scenario.needs()) and f' (skipped: {reason})'}")
        return 0
    outcomes = uvloop.run(_all(scenarios, options.seed, options.seconds, options.keep))
    print()
    print(report.markdown(outcomes) if options.markdown else report.text(outcomes))
    print()
    print(report.summary(outcomes))
    return int(any(outcome.failed for outcome in outcomes))


async def _all(scenarios: list[Scenario], seed: int, seconds: float | None, keep: Path | None) -> list[Outcome]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that no process is left behind
    outcomes = []
    for scenario in scenarios:
        began = time.monotonic()
        outcome = await play(scenario, seed, seconds=seconds, keep=keep)
        outcomes.append(outcome)
        said = f"skipped: {outcome.skipped}" if outcome.skipped else "FAILED" if outcome.failed else "held"
        print(f"{scenario.name:20} {said} ({time.monotonic() - began:.0f} s)", flush=True)
        for note in outcome.notes:
            print(f"    note: {note}", flush=True)
        for violation in outcome.violations:
            print(f"    {violation}", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
