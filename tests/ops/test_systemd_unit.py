"""The unit of docs/operations.md, as systemd reads it."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from capacity.server import STOP_SECONDS
from tests.docs.documents import ROOT, blocks, section
from tests.support.installed import installed

EXPOSURE_MAX = 15
"""In tenths; systemd calls up to 19 good."""
(UNIT,) = blocks(ROOT / "docs" / "operations.md", "ini", "systemd")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there: systemd looks whether it is."""
    path = tmp_path / "capacity.service"
    path.write_text(UNIT.replace("/opt/capacity/bin/capacity", sys.executable))
    return path


def test_systemd_understands_every_line(unit: Path) -> None:
    analyze = installed("systemd-analyze", "systemd")
    # As on a machine without man, which `Documentation=man:…` would have it run.
    environ = {**os.environ, "PATH": str(unit.parent)}
    done = subprocess.run([analyze, "verify", unit], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_calls_it_well_protected(unit: Path) -> None:
    analyze = installed("systemd-analyze", "systemd")
    command = [analyze, "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " OK " in done.stdout.splitlines()[-1], done.stdout + done.stderr


def test_it_starts_what_the_program_understands_and_gives_time_to_drain() -> None:
    service = service_section()
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/bin/capacity")
    command = [sys.executable, "-m", "capacity", *arguments, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Usage: " in done.stdout, done.stderr
    assert int(service["TimeoutStopSec"]) > STOP_SECONDS
    # %S is where StateDirectory is made.
    assert service["Environment"] == f"CAPACITY_DATA_DIR=%S/{service['StateDirectory']}"


def test_other_commands_run_as_the_service_does() -> None:
    service = service_section()
    (line,) = re.findall(r"`(systemd-run [^`]+)`", section(ROOT / "docs" / "operations.md", "systemd"))
    words = shlex.split(line)
    program = shlex.split(service["ExecStart"])[0]
    assert words[-2:] == [program, "doctor"]
    assert f"--uid={service['User']}" in words
    properties = {words[at + 1] for at, word in enumerate(words) if word == "-p"}
    assert properties == {f"{name}={service[name]}" for name in ("EnvironmentFile", "LimitNOFILE")}
    assert words[words.index("-E") + 1] == service["Environment"].replace("%S", "/var/lib")


def service_section() -> configparser.SectionProxy:
    """The unit's lines under [Service]; of a name that comes twice, the last."""
    reader = configparser.ConfigParser(strict=False, interpolation=None)
    reader.optionxform = str  # type: ignore[assignment, method-assign]
    reader.read_string(UNIT)
    return reader["Service"]
