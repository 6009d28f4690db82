"""The data directory of the embedded Valkey: who may use it, where its socket is, and what a dead owner left running.

Two locks, both flock, so the kernel drops them with the last process that holds them:

- `lock` is held by the process that started the server (the owner), and by nobody it starts. A second start finds it
  taken and is refused. It is free the moment the owner dies, however it dies.
- `valkey.pid` is locked before the server starts and inherited by it, so it stays taken for as long as anything of the
  server runs. The next owner waits for it, so that two servers never append to one file, and kills by the pid in it a
  server that outlived its owner. The server is killed and not adopted: its log, its tie to a parent and its settings
  are those of another process, and its append-only file has everything.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from capacity.errors import SettingError

SOCKET_PATH_BYTES_MAX = 100  # sun_path has 108 bytes on Linux, 104 on macOS, the closing NUL included
LEFTOVER_SECONDS = 10.0
_POLL_SECONDS = 0.02


class DataDirectory:
    """One data directory, claimed by this process from `claim` to `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def claim(self) -> None:
        """Take the directory, creating it with mode 0700. Raises SettingError when it cannot be used or is in use.

        The mode of a directory that exists is left alone: it may be somebody's home or a mounted volume. What is
        written there is readable for its owner alone in any case.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingError(
                f"CAPACITY_DATA_DIR: {str(self.path)!r} cannot be used: {error.strerror}; "
                "name a directory that can be written."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            reason = (
                "in use by another capacity" if isinstance(error, BlockingIOError) else f"not usable: {error.strerror}"
            )
            raise SettingError(
                f"CAPACITY_DATA_DIR: the data directory {str(self.path)!r} is {reason}; stop that one, name another "
                "directory, or set CAPACITY_REDIS_URL."
            ) from None
        self._lock = lock

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def socket(self) -> Path:
        """Return where the server's socket goes: here, or in a private directory when this path is too long for one."""
        here = self.path / "valkey.sock"
        if len(os.fsencode(here)) <= SOCKET_PATH_BYTES_MAX:
            return here
        name = hashlib.blake2b(os.fsencode(self.path), digest_size=8).hexdigest()
        for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
            directory = Path(base or "/nowhere") / f"capacity-{os.getuid()}"
            socket = directory / f"{name}.sock"
            if len(os.fsencode(socket)) <= SOCKET_PATH_BYTES_MAX and _private(directory):
                return socket
        raise SettingError(
            f"CAPACITY_DATA_DIR: {str(self.path)!r} is too long for a socket, and no short private directory can be "
            "made for one; name a shorter path."
        )

    def locked_pid_file(self) -> int:
        """Return the pid file, locked and emptied, once the last server is gone. The caller closes it."""
        fd = os.open(self.path / "valkey.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LEFTOVER_SECONDS
        sent: signal.Signals | None = None
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left < 0:
                    os.close(fd)
                    raise SettingError(
                        f"CAPACITY_DATA_DIR: the last server on {str(self.path)!r} still runs and cannot be ended; "
                        "its pid is in valkey.pid."
                    ) from None
                # Gently first: it writes its buffers out. It may be in the middle of ending by itself, too.
                wanted = signal.SIGTERM if left > LEFTOVER_SECONDS / 2 else signal.SIGKILL
                if sent is not wanted and self._signal_leftover(wanted):
                    sent = wanted
                time.sleep(_POLL_SECONDS)
            else:
                os.ftruncate(fd, 0)
                return fd

    def _signal_leftover(self, number: signal.Signals) -> bool:
        """Signal the server of the pid file. The file is locked, so its pid is not an old one; look all the same."""
        pid, _ = self._record()
        if pid is None or "valkey-server" not in _command(pid):
            return False
        try:
            os.kill(pid, number)
        except OSError:
            return False
        return True

    def running_socket(self) -> Path | None:
        """Return the socket that the last server on this directory listened on, if it is still there."""
        _, socket = self._record()
        return socket if socket is not None and socket.is_socket() else None

    def _record(self) -> tuple[int | None, Path | None]:
        """Return the pid and the socket of the pid file; (None, None) while the server has not written them."""
        try:
            record = json.loads((self.path / "valkey.pid").read_bytes())
            return int(record["pid"]), Path(record["socket"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, None


def _private(directory: Path) -> bool:
    """Make the directory, and say whether it is ours alone: others may write to /tmp too."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _command(pid: int) -> str:
    """Return the name of the program that runs as this pid, or ""."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    except OSError:
        pass
    found = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()
