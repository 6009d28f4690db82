"""Programs that a test needs and that come with no Python package: a proxy, PHP, promtool."""

from __future__ import annotations

import os
import shutil

import pytest

EVERYTHING = "CAPACITY_TEST_EVERYTHING"
"""Set where everything must be installed, as in `.ci/run`: a test that would be skipped fails."""


def installed(program: str, package: str) -> str:
    """Return the program's path; skips the test where it is missing, saying which of Debian's packages has it."""
    path = shutil.which(program)
    if path is None:
        missing(f"{program} is not installed (apt-get install {package})")
    assert path is not None
    return path


def missing(why: str) -> None:
    """Skip the test for what is not there, or fail it where everything must be."""
    if os.environ.get(EVERYTHING):
        pytest.fail(f"{why}, and {EVERYTHING} is set")
    pytest.skip(why)
