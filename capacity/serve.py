"""Running the server: one process, or several that share one listening socket, and the embedded Valkey if there is one.

    run ── embedded Valkey (when no CAPACITY_REDIS_URL is set), owned by this process
     ├── one worker:  uvicorn here, with the application of `capacity.app`
     └── several:     a supervisor here; every worker is `capacity serve` again, with the socket inherited

SIGTERM and Ctrl-C: connections are told that we restart, then closed; after STOP_SECONDS the process ends whatever
happens, so that it never outlives the ten seconds of the contract. A worker ends with its supervisor, also by kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import threading
import time
from types import FrameType

import msgspec
import structlog
import uvicorn

from capacity.app import Application, build, check
from capacity.errors import SettingError
from capacity.settings import Settings
from capacity.store.embedded import EmbeddedValkey
from capacity.store.embedded_child import die_with_parent

BACKLOG = 2048
DRAIN_SECONDS = 5  # for connections to close after they were told
STOP_SECONDS = 9.0
WORKER_STOP_SECONDS = 8.0
RESTART_SECONDS, RESTART_SECONDS_MAX = 0.5, 30.0
HEALTHY_SECONDS = 60.0
SETTING_EXIT_CODE = 2

_log = structlog.get_logger(__name__)


def run(settings: Settings, *, host: str, port: int, workers: int = 1, log_level: str = "info") -> None:
    """Serve until told to stop. Raises SettingError for what cannot work: the port, the data directory, a setting."""
    _raise_file_limit()
    check(settings)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(host, port))
        if settings.redis_url is None:
            valkey = stack.enter_context(EmbeddedValkey(settings.data_dir))
            settings = msgspec.structs.replace(settings, redis_url=valkey.url)
            _log.info("embedded Valkey runs", data_dir=str(settings.data_dir), pid=valkey.pid)
        if workers == 1:
            serve(build(settings), listener)
        else:
            assert settings.redis_url is not None
            environ = {**os.environ, "CAPACITY_REDIS_URL": settings.redis_url}
            asyncio.run(_Supervisor(listener, workers, environ, log_level).run())


def work(settings: Settings, *, listening_fd: int, supervisor_pid: int) -> None:
    """Be one worker of a supervisor: serve on the socket that it opened, for as long as it lives."""
    if sys.platform == "linux":
        if not die_with_parent(supervisor_pid, signal.SIGTERM):
            return
    else:
        threading.Thread(target=_end_after, args=(supervisor_pid,), daemon=True).start()
    _raise_file_limit()
    with socket.socket(fileno=listening_fd) as listener:
        serve(build(settings), listener)


def serve(application: Application, listener: socket.socket) -> None:
    """Serve on the socket until SIGTERM or SIGINT. The main thread's work; others may run beside it."""
    Server(application, address=address_of(listener)).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises SettingError when the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (socket.gaierror, UnicodeError):
        raise SettingError(f"--host: expected an address or name of this machine, got {host!a}.") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()  # str() of it would say what was tried, too
        raise SettingError(
            f"--host, --port: cannot listen on {host}:{port}: {reason}; name another address or port."
        ) from None


def address_of(listener: socket.socket) -> str:
    """Return the URL that the socket listens on."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """uvicorn, with our way of ending: drain first, no signal raised again at the end, and a last resort."""

    def __init__(self, application: Application, *, address: str) -> None:
        super().__init__(
            uvicorn.Config(
                app=application.asgi,
                http=application.http_class,
                loop="uvloop",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                workers=1,  # or uvicorn looks at WEB_CONCURRENCY
                backlog=BACKLOG,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._application = application
        self._address = address
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drained = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        # What is there now stays: the collector need not look at it ever again.
        gc.collect()
        gc.freeze()
        _log.info("listening", address=self._address, pid=os.getpid())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT. This may run in the middle of anything, so the loop does the rest."""
        if not self.should_exit:
            end_at_the_latest_in(STOP_SECONDS)
        elif sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        if not self._drained:
            self._drained = True
            self._application.hub.drain()


def end_at_the_latest_in(seconds: float) -> None:
    """End this process after so many seconds, whatever holds it up; what ends with its parent ends too."""

    def end() -> None:
        _log.error("not ended in time; ending at once", seconds=seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


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


class _Supervisor:
    """Keeps the workers running until SIGTERM or SIGINT, then ends them."""

    def __init__(self, listener: socket.socket, workers: int, environ: dict[str, str], log_level: str) -> None:
        self._listener = listener
        self._workers = workers
        self._environ = environ
        self._log_level = log_level
        self._stopping = asyncio.Event()
        self._wrong_setting = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        _log.info("supervising", address=address_of(self._listener), workers=self._workers, pid=os.getpid())
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._keep_running())
        if self._wrong_setting:
            sys.exit(SETTING_EXIT_CODE)  # the worker has printed the line

    def _stop(self) -> None:
        if not self._stopping.is_set():
            end_at_the_latest_in(STOP_SECONDS + 0.5)
        self._stopping.set()

    async def _keep_running(self) -> None:
        """Run one worker, and again whenever it ends, ever later if it does so soon."""
        pause_seconds = RESTART_SECONDS
        first = True
        while not self._stopping.is_set():
            began = time.monotonic()
            worker = await self._start()
            ended = asyncio.ensure_future(worker.wait())
            stopping = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if self._stopping.is_set():
                await _end(worker)
                await ended
                return
            if first and worker.returncode == SETTING_EXIT_CODE:
                self._wrong_setting = True
                self._stop()
                return
            first = False
            if time.monotonic() - began > HEALTHY_SECONDS:
                pause_seconds = RESTART_SECONDS
            _log.error("a worker ended; it is started again", pid=worker.pid, code=worker.returncode)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_seconds)
            pause_seconds = min(2 * pause_seconds, RESTART_SECONDS_MAX)

    async def _start(self) -> asyncio.subprocess.Process:
        fd = self._listener.fileno()
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "capacity", "serve", "--log-level", self._log_level),
            *("--listening-fd", str(fd), "--supervisor-pid", str(os.getpid())),
            env=self._environ,
            pass_fds=(fd,),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the supervisor
        )


async def _end(worker: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL for one that does not end by it in time."""
    with contextlib.suppress(ProcessLookupError):
        worker.terminate()
    try:
        await asyncio.wait_for(worker.wait(), WORKER_STOP_SECONDS)
    except TimeoutError:
        _log.error("a worker did not end in time; it is killed", pid=worker.pid)
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
