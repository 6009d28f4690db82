"""Hub processes under faults: `capacity serve`, its log as it was written, and what its metrics say."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.chaos import endpoint
from tests.support.servers import free_port
from tests.support.service import SECRET, WEBHOOK_SECRET
from tests.support.waiting import wait_until

READY_WITHIN_SECONDS = 40.0
SECRETS = (SECRET, WEBHOOK_SECRET, WEBHOOK_SECRET.removeprefix("whsec_"), endpoint.PATH, "eyJ")
"""What must not stand in a log; every token begins with the last one."""


class HubProcess:
    """A hub on a port of its own, which it keeps when it is started again. `files_max`: how many descriptors it may have."""

    def __init__(
        self,
        number: int,
        store_url: str,
        directory: Path,
        settings: Mapping[str, object],
        *,
        files_max: int | None = None,
    ) -> None:
        self.number = number
        self.port = free_port()
        self.log = directory / f"hub-{number}.log"
        self.store_url = store_url
        self._directory = directory
        self._settings = settings
        self.files_max = files_max
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    # ---- life

    def start(self) -> None:
        """Start it; it is ready a little later."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")}
        environ |= {f"CAPACITY_{name.upper()}": str(value) for name, value in self._settings.items()}
        environ |= {
            "CAPACITY_REDIS_URL": self.store_url,
            "CAPACITY_DATA_DIR": str(self._directory / "data"),
            "CAPACITY_TOKEN_KEY": SECRET,
            "CAPACITY_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "capacity", "serve", "--port", str(self.port)],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if self.files_max is not None:
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (self.files_max, self.files_max))

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send the process a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()

    async def ended(self, within_seconds: float) -> int | None:
        """Return the exit code once the process has ended, None if it does not in time."""
        assert self.process is not None
        try:
            return await asyncio.to_thread(self.process.wait, within_seconds)
        except subprocess.TimeoutExpired:
            return None

    # ---- what it says

    async def ready(self, http: httpx.AsyncClient, within_seconds: float = READY_WITHIN_SECONDS) -> None:
        """Wait until it takes connections."""
        await wait_until(lambda: self.says(http, 200), within_seconds=within_seconds, what=f"hub {self.number} ready")

    async def says(self, http: httpx.AsyncClient, status: int) -> bool:
        """Whether /readyz answers so."""
        try:
            return (await http.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == status
        except httpx.TransportError:
            return False

    def lines(self) -> list[dict[str, Any]]:
        """Return what the log has in JSON, oldest first; other lines as the field `text`."""
        found = []
        for line in self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"text": line})
        return found

    def events(self) -> Counter[str]:
        """Return how often each event stands in the log."""
        return Counter(str(line["event"]) for line in self.lines() if "event" in line)

    def faults(self, errors: Collection[str]) -> list[str]:
        """Return what must not stand in a log: a traceback, a secret, an internal error, an error that is none of `errors`."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        found = ["a traceback"] if "Traceback" in text else []
        found += ["a secret"] if any(secret in text for secret in SECRETS) else []
        for line in self.lines():
            if (line.get("level") in ("error", "critical") and line["event"] not in errors) or line.get(
                "status"
            ) == 500:
                found.append(json.dumps({name: line[name] for name in line if name != "timestamp"}))
            elif "text" in line and line["text"].strip():
                found.append(f"no JSON: {line['text'][:200]}")
        return [f"hub {self.number} logged {fault}" for fault in found]
