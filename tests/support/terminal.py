"""A terminal in which the commands of a document are typed: its own home, what a reader has installed, and ports that are free."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

ANSWER_SECONDS = 60.0
READY_SECONDS = 30.0
KEPT = ".environment"


class Terminal:
    """A shell that goes on from block to block. `instead`: what stands in a block → what is typed here, such as a free port."""

    def __init__(self, home: Path, *, instead: Mapping[str, str] | None = None, **environ: str) -> None:
        self.home = home
        self.instead = dict(instead or {})
        self._running: list[subprocess.Popen[bytes]] = []
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")}
        self._environ |= {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CAPACITY_DATA_DIR": str(home / "data"),
        } | environ

    @property
    def path(self) -> str:
        """Where programs are looked for."""
        return self._environ["PATH"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            process.wait(15)

    def types(self, block: str, *, without: Iterable[str] = ()) -> str:
        """Run the lines of a block, but for those in `without`; returns what they printed. Fails when one of them does."""
        text = self._text(block, without)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{self._before()}\n{text}\nexport -p > {self._kept}"],
            cwd=self.home,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{text}\nended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def leaves_running(self, block: str, ready: str, *, without: Iterable[str] = ()) -> subprocess.Popen[bytes]:
        """Run the lines of a block, of which the last does not end; returns when the address `ready` answers 200."""
        *lines, last = self._text(block, without).splitlines()
        if lines:
            self.types("\n".join(lines))
        log = self.home / f"running-{len(self._running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", f"{self._before()}\nexec {last}"],
                cwd=self.home,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._running.append(process)
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(self._text(ready)):
            ended = process.poll() is not None
            assert not ended and time.monotonic() < deadline, f"{last}: {log.read_text()[-3000:]}"
            time.sleep(0.02)
        return process

    @property
    def _kept(self) -> str:
        return shlex.quote(str(self.home / KEPT))

    def _before(self) -> str:
        return f"[ ! -e {self._kept} ] || . {self._kept}"

    def _text(self, block: str, without: Iterable[str] = ()) -> str:
        left_out = set(without)
        text = "\n".join(line for line in block.strip().splitlines() if line not in left_out)
        for written, typed in self.instead.items():
            text = text.replace(written, typed)
        return text


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
