"""The last release: unpacked to run as a process, or imported beside this one."""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

(WHEEL,) = Path(__file__).parent.glob("capacity-*.whl")
"""Exactly one: the release before this."""
VERSION = WHEEL.name.split("-")[1]


def unpack(directory: Path) -> Path:
    """Put the package of the last release into a directory; a process that runs there finds it before any other."""
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(directory)
    return directory


def modules(directory: Path, *names: str) -> list[ModuleType]:
    """Import modules of the last release from where it was unpacked, such as `capacity.store.rooms`.

    They keep what they imported; in `sys.modules` stands this release again afterwards.
    """
    with _without_this_release():
        sys.path.insert(0, str(directory))
        try:
            return [importlib.import_module(name) for name in names]
        finally:
            sys.path.remove(str(directory))


@contextmanager
def _without_this_release() -> Iterator[None]:
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "capacity"}
    for name in ours:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "capacity"]:
            del sys.modules[name]
        sys.modules.update(ours)
