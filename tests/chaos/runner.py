"""Plays scenarios, one after the other, each in a world and a directory of its own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import traceback
from pathlib import Path

from tests.chaos.ensembles import store_of
from tests.chaos.outcome import Outcome, Scenario
from tests.chaos.world import World

WITHIN_SECONDS = 180.0
"""What a scenario may take besides its faults; one that takes longer hangs."""


async def play(
    scenario: Scenario,
    seed: int,
    *,
    seconds: float | None = None,
    keep: Path | None = None,
) -> Outcome:
    """Play one scenario. What it left (logs, the journal) is kept in `keep` if something was wrong."""
    if reason := scenario.needs():
        return Outcome(scenario.name, seed, skipped=reason)
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{scenario.name}-"))
    world = World(scenario, seed, directory, seconds or scenario.seconds)
    try:
        async with asyncio.timeout(WITHIN_SECONDS + world.seconds):
            await world.start(store_of(scenario, directory))
            outcome = await world.play()
    except Exception as error:  # the world could not be made or played: a failure of the run, told with the others
        outcome = world.outcome
        outcome.violations.append(f"the scenario broke off: {type(error).__name__}: {error} ({_place(error)})")
    finally:
        async with asyncio.timeout(WITHIN_SECONDS):
            await world.stop()
    if keep is not None and outcome.failed:
        world.journal.save(directory / "journal.jsonl")
        if hasattr(world, "audit"):
            world.audit.save(directory)
        shutil.copytree(directory, keep / f"{scenario.name}-{seed}", dirs_exist_ok=True, ignore=_no_sockets)
    shutil.rmtree(directory, ignore_errors=True)
    return outcome


def _place(error: BaseException) -> str:
    """Return where in the harness an error came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "chaos" in frame.filename]
    return ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-3:])


def _no_sockets(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(directory) / name).is_socket()]
