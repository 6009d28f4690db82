"""The same seed is the same run: twice in one process, and in another one that hashes its strings differently."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.world import World

SEEDS = ("3", "17", "42")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_is_the_same_run(seed: str, url: str) -> None:
    first = World(seed, url, tracing=True).run()
    World("another", url).run()
    assert World(seed, url, tracing=True).run().trace == first.trace
    program = (
        "import sys; from tests.simulation.world import World; print(World(*sys.argv[1:], tracing=True).run().trace)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, seed, url],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout.strip() == first.trace, found.stderr


def test_another_seed_is_another_run(url: str) -> None:
    assert World("3", url, tracing=True).run().trace != World("17", url, tracing=True).run().trace
