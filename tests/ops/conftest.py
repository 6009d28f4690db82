"""What the tests of the program share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ops.programs import Program


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def begin(*arguments: str, data_dir: Path = tmp_path / "data", **rest: Any) -> Program:
        programs.append(Program(data_dir, tmp_path / f"log-{len(programs)}", *arguments, **rest))
        return programs[-1]

    yield begin
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()
