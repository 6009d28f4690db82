"""A copy of the embedded Valkey's data, taken whether or not it runs. The copy is a data directory in its own right.

Valkey keeps its append-only file in pieces, which a manifest lists. It only appends to the last one, never changes the
others, and replaces the manifest as a whole when a rewrite has made new ones (valkey.io/topics/persistence, "Log rewriting"
and "Backing up AOF persistence"). So pieces that were opened while the manifest stayed the same go together, also when
they are deleted afterwards, and of the last one any beginning will do: a write that is cut off there is dropped at the
start, as after a power cut. The server is asked nothing and held up by nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from capacity.errors import SettingError

FOLDER = "appendonlydir"
MANIFEST = "appendonly.aof.manifest"
_TRIES_MAX = 100
_PIECE = re.compile(rb"^file (\S+) seq \d+ type ([bih])\b")
_HISTORY = b"h"
"""The type of a piece that is about to be deleted."""


class NotBackedUp(Exception):
    """The copy could not be made, and nothing is left of it. `str()` says why in a few words."""


class _Pieces(NamedTuple):
    manifest: bytes
    files: Sequence[tuple[str, BinaryIO, int]]
    """Name, content and how many bytes of it belong to the copy."""


def back_up(data_dir: Path, target: Path) -> int:
    """Copy the data to a directory that does not exist yet; returns how many bytes. It is there as a whole, or not at all.

    Raises SettingError where there is nothing to copy or something at the target, and NotBackedUp.
    """
    if target.exists():
        raise SettingError(
            f"TARGET: expected a directory that does not exist yet, got {str(target)!r}, which is there."
        )
    part = target.with_name(f"{target.name}.part-{os.getpid()}")
    with contextlib.ExitStack() as stack:
        pieces = _opened(data_dir / FOLDER, stack)
        try:
            _write(pieces, part)
            os.rename(part, target)
            _sync(target.parent)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise NotBackedUp(f"{str(target)!r} cannot be written: {(error.strerror or str(error)).lower()}") from None
    return sum(size for _, _, size in pieces.files)


def _opened(folder: Path, stack: contextlib.ExitStack) -> _Pieces:
    """Return the pieces of one moment, open until the stack is closed."""
    for _ in range(_TRIES_MAX):
        try:
            manifest = (folder / MANIFEST).read_bytes()
        except OSError as error:
            raise SettingError(
                f"CAPACITY_DATA_DIR: {str(folder.parent)!r} has no data of an embedded Valkey that can be read: "
                f"{(error.strerror or str(error)).lower()}."
            ) from None
        matched = [(line, _PIECE.match(line)) for line in manifest.splitlines(keepends=True)]
        kept = [(line, found[1].decode()) for line, found in matched if found and found[2] != _HISTORY]
        try:
            opened = [(name, stack.enter_context((folder / name).open("rb"))) for _, name in kept]
            files = [(name, file, os.fstat(file.fileno()).st_size) for name, file in opened]
            if (folder / MANIFEST).read_bytes() == manifest:
                return _Pieces(b"".join(line for line, _ in kept), files)
        except FileNotFoundError:
            continue  # a rewrite has just ended
        except OSError as error:
            raise NotBackedUp(f"{str(folder)!r} cannot be read: {(error.strerror or str(error)).lower()}") from None
    raise NotBackedUp(f"the files in {str(folder)!r} do not stay the same")


def _write(pieces: _Pieces, target: Path) -> None:
    """Write the pieces as a data directory that its owner alone may read, down to the disk."""
    folder = target / FOLDER
    target.mkdir(mode=0o700, parents=True)
    folder.mkdir(mode=0o700)
    for name, source, size in pieces.files:
        with open(folder / name, "xb", opener=_private) as copy:
            while (left := size - copy.tell()) and (block := source.read(min(left, 1 << 20))):
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
    with open(folder / MANIFEST, "xb", opener=_private) as manifest:
        manifest.write(pieces.manifest)
        manifest.flush()
        os.fsync(manifest.fileno())
    _sync(folder)
    _sync(target)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(directory: Path) -> None:
    """Have the names in a directory reach the disk."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
