"""This machine: open files, the queue of new connections, the data directory."""

from __future__ import annotations

import os
import resource
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

from capacity.doctor.findings import Finding, ok, problem, warning
from capacity.server import BACKLOG
from capacity.web.descriptors import shares

CONNECTIONS_WISHED = 10_000
FREE_BYTES_MIN = 512 * 1024 * 1024
UNLIMITED = resource.RLIM_INFINITY


class Limits(NamedTuple):
    """What the kernel allows. `files_hard` may be UNLIMITED; None: this system does not say."""

    files_soft: int
    files_hard: int
    files_of_machine: int | None
    queue: int | None
    """Connections that wait to be accepted."""


class Directory(NamedTuple):
    """What the data directory is like. `mode` None: it is not there."""

    path: Path
    mode: int | None
    is_ours: bool
    writable: bool
    free_bytes: int


def limits() -> Limits:
    """Ask the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Limits(soft, hard, _number("/proc/sys/fs/file-max"), _number("/proc/sys/net/core/somaxconn"))


def directory(path: Path) -> Directory:
    """Look at the data directory, or at what it would be made in."""
    there = next(place for place in (path, *path.parents) if place.exists())
    try:
        status = path.stat()
    except OSError:
        status = None
    return Directory(
        path,
        None if status is None else status.st_mode,
        status is None or status.st_uid == os.geteuid(),
        os.access(there, os.W_OK | os.X_OK) and there.is_dir(),
        shutil.disk_usage(there).free,
    )


def judge_limits(found: Limits) -> list[Finding]:
    """Judge what a process may have. It raises its soft limit to the hard one by itself."""
    hard = found.files_hard
    connections = None if hard == UNLIMITED else shares(hard).sockets_max
    said = f"{'unlimited' if connections is None else f'{hard:,}'} (soft {found.files_soft:,}, raised at start)"
    if connections is not None:
        said += f": {connections:,} WebSockets a process"
    mend = "ulimit -Hn, LimitNOFILE= of the unit; what counts is the limit where the service runs"
    findings = [
        ok("open files", said)
        if connections is None or connections >= CONNECTIONS_WISHED
        else warning("open files", said, mend)
    ]
    machine = found.files_of_machine
    if machine is not None and hard != UNLIMITED and machine < hard:
        findings.append(
            warning(
                "open files", f"the whole machine may have {machine:,}, fewer than one process", "sysctl fs.file-max"
            )
        )
    if found.queue is not None:
        findings.append(
            ok("accept queue", f"{found.queue:,} connections (net.core.somaxconn)")
            if found.queue >= BACKLOG
            else warning(
                "accept queue",
                f"{found.queue:,} connections (net.core.somaxconn), where {BACKLOG:,} are asked for",
                f"sysctl net.core.somaxconn={BACKLOG}, or connections are dropped when many come at once",
            )
        )
    return findings


def judge_directory(found: Directory) -> Finding:
    """Judge the data directory of the embedded Valkey."""
    check, path = "data directory", str(found.path)
    if not found.writable or not found.is_ours:
        return problem(
            check,
            f"{path} cannot be written" if not found.writable else f"{path} is somebody else's",
            "run this as the user of the service, give that user the directory, or name another in CAPACITY_DATA_DIR",
        )
    if found.free_bytes < FREE_BYTES_MIN:
        return problem(
            check,
            f"{path} has {found.free_bytes // 1024**2} MiB left",
            "make room: without any, the embedded Valkey refuses writes",
        )
    if found.mode is None:
        return ok(check, f"{path} is not there yet; it will be made")
    if stat.S_IMODE(found.mode) & 0o022:
        return problem(
            check, f"{path} can be written by others (mode {stat.S_IMODE(found.mode):o})", f"chmod 700 {path}"
        )
    if stat.S_IMODE(found.mode) & 0o055:
        return warning(check, f"{path} is open to others (mode {stat.S_IMODE(found.mode):o})", f"chmod 700 {path}")
    return ok(check, f"{path}, {found.free_bytes // 1024**3} GiB free")


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
