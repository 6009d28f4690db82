"""A hub as a process of its own, that can be killed, frozen and told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import httpx

from tests.support.servers import free_port
from tests.support.service import SECRET, WEBHOOK_SECRET, Hub
from tests.support.waiting import wait_until


class HubProcess(Hub):
    """`capacity serve` on a port of its own; its log is kept in a file. `files_max`: file descriptors that it may have.

    `package`: the directory of another release's package, to be run instead. `port`: that of one that has ended.
    """

    def __init__(
        self,
        redis_url: str | None,
        directory: Path,
        *,
        files_max: int | None = None,
        package: Path | None = None,
        port: int | None = None,
        **settings: object,
    ) -> None:
        port = port or free_port()
        super().__init__(f"http://127.0.0.1:{port}")
        values = {"grace_seconds": 2, "place_seconds": 3, "hold_seconds": 5, "lease_seconds": 1} | settings
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")}
        environ |= {f"CAPACITY_{name.upper()}": str(value) for name, value in values.items()}
        environ |= {
            "CAPACITY_REDIS_URL": redis_url or "",  # empty: the embedded Valkey
            "CAPACITY_DATA_DIR": str(directory / "data"),
            "CAPACITY_TOKEN_KEY": SECRET,
            "CAPACITY_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        command = [sys.executable, "-m", "capacity", "serve", "--port", str(port)]
        if files_max is not None:
            command = ["sh", "-c", f'ulimit -n {files_max} && exec "$@"', "sh", *command]
        self.log = directory / f"hub-{port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=package,  # where `python -m` looks first
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def __aenter__(self) -> Self:
        await self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        await self.close()
        await asyncio.to_thread(self.process.wait)
        assert "Traceback" not in self.log.read_text(), self.log.read_text()

    async def ready(self, within_seconds: float = 20.0) -> None:
        """Wait until it says that it is ready."""
        await wait_until(
            lambda: self.says(200), within_seconds=within_seconds, what=f"ready; log: {self.log.read_text()[-3000:]}"
        )

    async def says(self, status: int) -> bool:
        """Whether /readyz answers so."""
        try:
            return (await self.http.get("/readyz")).status_code == status
        except httpx.TransportError:
            return False

    async def ended(self, within_seconds: float = 10.0) -> int:
        """Return the exit code, waiting for the end."""
        await wait_until(lambda: self.process.poll() is not None, within_seconds=within_seconds, what="the hub to end")
        assert self.process.returncode is not None
        return self.process.returncode
