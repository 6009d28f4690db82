"""Programs under test: `capacity serve` as a process of its own, with its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from capacity import cli

SECRET = "a secret of thirty-two bytes or so"
ROOT = Path(cli.__file__).parent.parent
STOP_SECONDS_MAX = 10.0


class Program:
    """One `capacity serve` on a free port, with its log."""

    def __init__(
        self,
        data_dir: Path,
        log: Path,
        *arguments: str,
        command: Sequence[str] = (sys.executable, "-m", "capacity"),
        cwd: Path | None = None,
        **environ: str,
    ) -> None:
        self.data_dir = data_dir
        self.log_file = log
        others = {name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")}
        own = {"CAPACITY_TOKEN_KEY": SECRET, "CAPACITY_DATA_DIR": str(data_dir)}
        if command[0] == sys.executable:
            own["PYTHONPATH"] = str(ROOT)
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*command, "serve", "--port", "0", *arguments],
                env={**others, **own, **environ},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> list[dict[str, Any]]:
        lines = self.log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def listening(self) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == "listening"]

    def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"it ended: {self.log_file.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"not in time: {self.log_file.read_text()[-2000:]}"
            time.sleep(0.02)

    def ready(self, workers: int = 1) -> str:
        """Wait until it is ready; returns its address."""
        self.until(lambda: len(self.listening()) >= workers)
        address = str(self.listening()[-1]["address"])
        self.until(lambda: status_of(address + "/readyz") == 200)
        return address

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """Send the signal; returns the exit code and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS_MAX + 5), time.monotonic() - began


def status_of(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
    except OSError:
        return None


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether the process ends within so many seconds; one that nobody has awaited yet has ended, too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        if not found.stdout.strip() or found.stdout.startswith("Z"):
            return True
        time.sleep(0.02)
    return False


def children(pid: int) -> set[int]:
    """The processes that a process has started and that still run."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return {int(word) for word in found.stdout.split()}
