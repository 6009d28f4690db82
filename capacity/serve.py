"""Running the server: one process, or several that share one listening socket, and the embedded Valkey if there is one.

    run ── embedded Valkey (when no CAPACITY_REDIS_URL is set), owned by this process
     ├── alone:       `server.Server` here, with the application of `capacity.app`
     └── --workers N: `supervisor.Supervisor` here; every worker is `capacity serve` again, with the sockets inherited

SIGTERM and Ctrl-C: connections are told that we restart, then closed; after STOP_SECONDS the process ends whatever
happens, so that it never outlives the ten seconds of the contract. A worker ends with its supervisor, also by kill -9.
SIGHUP: a supervisor rolls; a process alone has nobody to hand its connections to, says so, and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from capacity import __version__, systemd
from capacity.app import build, check
from capacity.errors import SettingError, Unavailable
from capacity.server import BACKLOG, Server, address_of
from capacity.settings import Settings, misspelled
from capacity.store.embedded import EmbeddedValkey
from capacity.store.embedded_child import die_with_parent
from capacity.store.keys import SCHEMA
from capacity.store.redis import SCRIPT_TIMEOUT_SECONDS, Clients
from capacity.store.scripts import FAILURES
from capacity.supervisor import Supervisor

METRICS_HOST = "127.0.0.1"
PORT_MAX = 65_535

_log = structlog.get_logger(__name__)


def run(
    settings: Settings,
    *,
    host: str,
    port: int,
    workers: int | None = None,
    metrics_host: str | None = None,
    metrics_port: int | None = None,
) -> int:
    """Serve until told to stop; returns the exit code.

    `workers`: so many processes under a supervisor; None: this one alone, and none. `metrics_port`: the private port of
    the first process, whose number the others count up from, or 0 for free ones; None: `/metrics` is public.

    Raises SettingError for what cannot work: a port, the data directory, a setting.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until somebody is there to answer it
    _raise_file_limit()
    check(settings)
    for variable, meant in misspelled(os.environ):
        _log.warning("setting_unknown", variable=variable, meant=meant)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(host, port))
        metrics = [stack.enter_context(private) for private in _listen_privately(metrics_host, metrics_port, workers)]
        if settings.redis_url is None:
            valkey = stack.enter_context(EmbeddedValkey(settings.data_dir))
            settings = msgspec.structs.replace(settings, redis_url=valkey.url)
            _log.info("embedded_valkey_runs", data_dir=str(settings.data_dir), valkey=valkey.pid)
        assert settings.redis_url is not None
        asyncio.run(_check_schema(settings.redis_url))
        if workers is None:
            application = build(settings, metrics_apart=bool(metrics))
            address = address_of(listener)
            server = Server(application, address=address, metrics=metrics[0] if metrics else None, on_hangup=_stay)
            server.run(sockets=[listener])
            return 0
        environ = {**os.environ, "CAPACITY_REDIS_URL": settings.redis_url}
        return asyncio.run(_supervise(environ, listener, metrics or [None] * workers))


def work(
    settings: Settings,
    *,
    listening_fd: int,
    supervisor_pid: int,
    ready_fd: int,
    metrics_fd: int | None = None,
    succeeding: bool = False,
) -> None:
    """Be one worker of a supervisor: serve on the sockets that it opened, for as long as it lives.

    A byte is written to `ready_fd` when this hub takes connections. `succeeding`: another worker serves the private port
    until then, so that whoever reads the metrics sees one process, then the other.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is for the supervisor; a worker that it reaches goes on
    if sys.platform == "linux":
        if not die_with_parent(supervisor_pid, signal.SIGTERM):
            return
    else:
        threading.Thread(target=_end_after, args=(supervisor_pid,), daemon=True).start()
    _raise_file_limit()

    def tell_supervisor() -> None:
        os.write(ready_fd, b".")
        os.close(ready_fd)

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(fileno=listening_fd))
        metrics = None if metrics_fd is None else stack.enter_context(socket.socket(fileno=metrics_fd))
        server = Server(
            build(settings, metrics_apart=metrics is not None),
            address=address_of(listener),
            metrics=metrics,
            metrics_when_ready=succeeding,
            on_ready=tell_supervisor,
        )
        server.run(sockets=[listener])


async def _check_schema(url: str) -> None:
    """Raise SettingError for a store whose data is not ours to touch. One that does not answer now the hub looks at when it does."""
    clients = Clients(url)
    try:
        with contextlib.suppress(Unavailable, *FAILURES):
            async with asyncio.timeout(SCRIPT_TIMEOUT_SECONDS):
                await clients.schema.agree()
    finally:
        await clients.aclose()
    if clients.schema.unknown is not None:
        raise SettingError(
            f"the data of the store has schema {clients.schema.unknown[:20]!a}, and capacity {__version__} knows {SCHEMA}; "
            "start a release that knows it, or restore a backup of before (docs/operations.md)."
        )


def listen(host: str, port: int, *, flags: str = "--host, --port") -> socket.socket:
    """Return a listening socket. Raises SettingError, which names the `flags`, when the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (socket.gaierror, UnicodeError):
        flag = flags.partition(",")[0]
        raise SettingError(f"{flag}: expected an address or name of this machine, got {host!a}.") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()  # str() of it would say what was tried, too
        raise SettingError(
            f"{flags}: cannot listen on {host}:{port}: {reason}; name another address or port."
        ) from None


def _listen_privately(host: str | None, port: int | None, workers: int | None) -> Iterator[socket.socket]:
    """Yield a listening socket for the private port of each process; nothing without a port. Raises SettingError."""
    if port is None:
        if host is not None:
            raise SettingError("--metrics-host: expected together with --metrics-port, which was not given.")
        return
    count = workers or 1
    if port + count - 1 > PORT_MAX:
        raise SettingError(
            f"--metrics-port: expected at most {PORT_MAX - count + 1}, because {count} workers have a port each, got {port}."
        )
    for number in range(count):
        yield listen(host or METRICS_HOST, port and port + number, flags="--metrics-host, --metrics-port")


async def _supervise(environ: dict[str, str], listener: socket.socket, metrics: Sequence[socket.socket | None]) -> int:
    return await Supervisor([sys.executable, "-m", "capacity", "serve"], environ, listener, metrics=metrics).run()


def _stay() -> None:
    _log.warning(
        "nothing_to_roll", why="this process is alone; with --workers, be it 1, there is a supervisor that rolls"
    )
    systemd.reloading()
    systemd.ready()


def _raise_file_limit() -> None:
    """Take as many file descriptors as we are allowed to: a connection is one, and the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS says that there is no limit, and refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))


def _end_after(supervisor_pid: int) -> None:
    """End this process when its supervisor is gone, where the kernel cannot be asked to."""
    while os.getppid() == supervisor_pid:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
