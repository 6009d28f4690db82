"""A small file system that can be full; it needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SIZE = "48m"
CHUNK = bytes(1 << 20)


def missing() -> str:
    """Return why no file system can be mounted here, or ""."""
    if os.geteuid() != 0:
        return "mounting a small file system needs root"
    return "" if shutil.which("mount") else "there is no mount"


def mount(path: Path) -> None:
    """Mount a small one."""
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)], check=True, capture_output=True)


def unmount(path: Path) -> None:
    """Take it away."""
    subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


def fill(path: Path) -> None:
    """Write a file until nothing fits any more."""
    with path.open("wb", buffering=0) as file:
        for chunk in (CHUNK, bytes(512)):
            try:
                while True:
                    file.write(chunk)
            except OSError:
                continue
