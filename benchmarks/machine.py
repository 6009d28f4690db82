"""The machine under the benchmark: which core runs what, and what a process has used."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from capacity.store.embedded import EmbeddedValkey

READY_SECONDS = 30.0

SERVER_CORES = {min(os.sched_getaffinity(0))}
"""Where what is measured runs."""
LOAD_CORES = os.sched_getaffinity(0) - SERVER_CORES or SERVER_CORES
"""Where the load and the store run."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a process has used with all its threads, user and system, to the nanosecond: clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Store:
    """A Valkey for the whole benchmark, as `capacity serve` runs it, but on a port: not every peer speaks over a unix socket."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Return what the store has used."""
        return cpu_seconds(self.pid)


@contextlib.contextmanager
def store(directory: Path) -> Iterator[Store]:
    """Run one on the cores of the caller."""
    port = free_port()
    with EmbeddedValkey(directory, options={"port": str(port), "bind": "127.0.0.1"}) as valkey:
        assert valkey.pid is not None
        yield Store(f"redis://127.0.0.1:{port}", valkey.pid)


@contextlib.contextmanager
def running(command: Sequence[str], cores: set[int], port: int, environ: dict[str, str]) -> Iterator[int]:
    """Run a server on some cores until the block ends; yields its pid when it takes connections on the port."""
    process = subprocess.Popen(command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, cores)
    try:
        _await(process, port)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline or process.poll() is not None:
            raise RuntimeError(f"{process.args!r} does not listen")
        time.sleep(0.05)


def description() -> str:
    """Return the machine in a line: cores, processor, memory, kernel, Python."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} cores {model}, {memory:.0f} GiB, {kernel}, Python {platform.python_version()}"
