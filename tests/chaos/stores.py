"""One store process that can be killed, frozen, started again with its file or without, and told a wrong time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import redis
import redis.asyncio as aioredis

from tests.chaos import mounts
from tests.support.certificates import Certificates
from tests.support.servers import binaries, free_port

READY_WITHIN_SECONDS = 20.0
LIBRARY = "*/faketime/libfaketime.so.1"


def tls_arguments(tls: Certificates) -> tuple[str, ...]:
    """Return the arguments of a server, or a sentinel, that speaks TLS with clients and with its like."""
    files = ("--tls-cert-file", str(tls.certificate), "--tls-key-file", str(tls.key))
    return (*files, "--tls-ca-cert-file", str(tls.authority), "--tls-auth-clients", "no", "--tls-replication", "yes")


def faketime() -> Path | None:
    """Return the library that lies about the time, if it is installed."""
    return next(Path("/usr/lib").glob(LIBRARY), None)


def faketime_missing() -> str:
    """Return why the clock of a store cannot be changed here, or ""."""
    return "" if faketime() else "libfaketime is not installed (Debian: faketime)"


class Store:
    """A server alone, with an append-only file. `arguments`: further ones of its command line; `clock`: a file that says how far
    its clock is off (libfaketime), changed while it runs; `small_disk`: its file lies on a small file system of its own;
    `tls`: it listens on `tls_port` as well, and speaks TLS with its like.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        binary: str | None = None,
        clock: Path | None = None,
        small_disk: bool = False,
        tls: Certificates | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.log = directory / f"store-{self.port}.log"
        self.data = directory / f"store-{self.port}"
        self.data.mkdir(exist_ok=True)
        self.small_disk = small_disk
        if small_disk:
            mounts.mount(self.data)
        self._binary = binary or binaries()["valkey"]
        self._arguments = arguments
        self.tls_port: int | None = None
        if tls is not None:
            self.tls_port = free_port()
            self._arguments = (*arguments, "--tls-port", str(self.tls_port), *tls_arguments(tls))
        self._clock = clock
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, with_data: bool = True) -> None:
        """Start it and wait until it answers; without its data it has forgotten everything."""
        if not with_data:
            for entry in self.data.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.data)]
        command += ["--logfile", str(self.log), "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
        environ = dict(os.environ)
        if self._clock is not None:
            self.set_clock(0)
            environ |= {
                "LD_PRELOAD": str(faketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        self.process = subprocess.Popen(
            [*command, *self._arguments], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        client: Any = redis.Redis(port=self.port, socket_timeout=2)
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"the store did not start; its log ends: {self.log_end()}") from None
                time.sleep(0.02)
        client.close()

    @property
    def known_port(self) -> int:
        """The port by which its like know it."""
        return self.tls_port or self.port

    def set_clock(self, seconds: int) -> None:
        """Say how far the clock is off; it steps at once."""
        assert self._clock is not None
        new = self._clock.with_suffix(".new")
        new.write_text(f"{seconds:+d}s")
        new.replace(self._clock)

    def log_end(self) -> str:
        """Return the end of the server's log."""
        return self.log.read_text("utf-8", "replace")[-2000:] if self.log.exists() else ""

    def kill(self) -> None:
        """End it as a crash does; what it wrote is in the page cache, so its file has everything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Stop it in its tracks."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def client(self, **options: Any) -> Any:
        """Return a client of the harness: it goes to the server itself, past every fault on the way."""
        return aioredis.Redis(port=self.port, socket_timeout=3, socket_connect_timeout=1, **options)

    # ---- what a world asks of every kind of store

    def stop(self) -> None:
        """End it for good."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        if self.small_disk:
            mounts.unmount(self.data)
