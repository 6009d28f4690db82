"""The supervisor of `--workers`: so many worker processes on one listening socket, for as long as it lives.

    post 0 ── worker ── SIGHUP: a successor is started; when it is ready, the old one drains, then the next post's turn
    post 1 ── worker ── it dies: another is started, ever later if that happens soon
    …         SIGTERM: all drain at once, and it ends when they have

Nobody is sent away before somebody else is there: while a post is handed over it has two workers. A successor that does
not get ready stops the roll, and whoever is at work stays. A worker is told of by the pipe that it inherits: it writes a
byte when it is ready, and the end of the pipe without one means that it will not be.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from capacity import systemd
from capacity.server import STOP_SECONDS, address_of, end_at_the_latest_in

WORKER_STOP_SECONDS = 8.0
RESTART_SECONDS, RESTART_SECONDS_MAX = 0.5, 30.0
HEALTHY_SECONDS = 60.0
READY_SECONDS = 60.0
SETTING_EXIT_CODE = 2

_log = structlog.get_logger(__name__)


class Worker:
    """One worker process. `ready` becomes True when it is, False when it cannot be any more; `ended` is its exit code."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: int) -> None:
        """`pipe`: the end to read of the one that the process inherited; closed here."""
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._pipe = pipe
        self._killing: asyncio.TimerHandle | None = None
        self.pid = process.pid
        self.began_at = time.monotonic()
        self.ready: asyncio.Future[bool] = self._loop.create_future()
        self._loop.add_reader(pipe, self._heard)
        self.ended = asyncio.create_task(process.wait())
        self.ended.add_done_callback(self._stop_waiting)

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it takes connections."""
        return self.ready.done() and self.ready.result()

    def end(self) -> None:
        """Tell it to drain, and kill it when it has not ended WORKER_STOP_SECONDS later. Twice is once."""
        if self._killing is None and not self.ended.done():
            self._killing = self._loop.call_later(WORKER_STOP_SECONDS, self._kill)
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def _kill(self) -> None:
        _log.error("worker_killed", worker=self.pid, seconds=WORKER_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _heard(self) -> None:
        said = os.read(self._pipe, 1)
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)
        self.ready.set_result(bool(said))

    def _stop_waiting(self, _: object) -> None:
        if self._killing is not None:
            self._killing.cancel()


class Post:
    """What one worker at a time does, whoever it is. `metrics` is its own port's socket, which each hands on to the next."""

    def __init__(self, metrics: socket.socket | None) -> None:
        self.metrics = metrics
        self.worker: Worker | None = None

    def fill(self, worker: Worker | None) -> None:
        """Give the post to this worker; not if a successor was ready before it had been started."""
        if self.worker is None:
            self.worker = worker
        elif worker is not None:
            worker.end()

    @property
    def manned(self) -> bool:
        """Whether its worker is ready."""
        return self.worker is not None and self.worker.is_ready and not self.worker.ended.done()


class Supervisor:
    """Keeps a worker at every post until SIGTERM or SIGINT, then ends them; replaces all of them on SIGHUP."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        listener: socket.socket,
        *,
        metrics: Sequence[socket.socket | None],
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        """`command` is run with the arguments of `_arguments` behind it. `metrics`: for each worker its private port's
        socket, or None. `ready_seconds`: how long a successor may take to get ready."""
        self._command = command
        others = {name: value for name, value in environ.items() if name != systemd.VARIABLE}
        self._environ = {**others, "PYTHONSAFEPATH": "1"}  # or `-m` would import what lies in the current directory
        self._listener = listener
        self._posts = [Post(socket) for socket in metrics]
        self._ready_seconds = ready_seconds
        self._workers: set[Worker] = set()
        self._hangup = asyncio.Event()
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._were_ready = False
        self._exit_code = 0

    async def run(self) -> int:
        """Do it; returns the exit code when every worker has ended: SETTING_EXIT_CODE if a setting stopped the start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
        _log.info("supervising", address=address_of(self._listener), workers=len(self._posts))
        self._say_how_many_are_ready()
        async with asyncio.TaskGroup() as group:
            for post in self._posts:
                group.create_task(self._man(post))
            group.create_task(self._roll_when_told())
        await asyncio.gather(*(worker.ended for worker in self._workers))
        return self._exit_code

    def _stop(self) -> None:
        if not self._stopping.done():
            end_at_the_latest_in(STOP_SECONDS + 0.5)
            systemd.stopping()
            self._stopping.set_result(None)
            self._hangup.set()
            for worker in self._workers:
                worker.end()

    async def _man(self, post: Post) -> None:
        """Have a worker at the post until we stop: again whenever one dies, ever later if it does so soon."""
        pause_seconds = RESTART_SECONDS
        while not self._stopping.done():
            if post.worker is None:
                post.fill(await self._start(post))
            worker = post.worker
            if worker is not None:
                await self._wait_for(worker.ended)
                if self._stopping.done() or post.worker is not worker:
                    continue
                post.worker = None
                code = worker.ended.result()
                if code == SETTING_EXIT_CODE and not self._were_ready:
                    self._exit_code = code  # the worker has printed the line
                    self._stop()
                    return
                if time.monotonic() - worker.began_at > HEALTHY_SECONDS:
                    pause_seconds = RESTART_SECONDS
                _log.error("worker_ended", worker=worker.pid, code=code, restart_in_seconds=pause_seconds)
            await self._wait_for(seconds=pause_seconds)
            pause_seconds = min(2 * pause_seconds, RESTART_SECONDS_MAX)

    async def _roll_when_told(self) -> None:
        """Roll at each SIGHUP; one that comes during a roll lets another follow."""
        while True:
            await self._hangup.wait()
            if self._stopping.done():
                return
            self._hangup.clear()
            systemd.reloading()
            replaced = await self._roll()
            if self._stopping.done():
                return
            if replaced < len(self._posts):
                _log.error("roll_stopped", replaced=replaced, workers=len(self._posts))
                systemd.ready(f"the roll stopped after {replaced} of {len(self._posts)} workers")
            else:
                _log.info("rolled", workers=replaced)
                systemd.ready()

    async def _roll(self) -> int:
        """Replace the worker of one post after the other, until one does not work; returns how many were replaced."""
        _log.info("rolling", workers=len(self._posts))
        for number, post in enumerate(self._posts):
            if self._stopping.done() or not await self._relieve(post):
                return number
        return len(self._posts)

    async def _relieve(self, post: Post) -> bool:
        """Start a successor and, when it is ready, end the worker that is there. False: it did not get ready; nothing changed."""
        successor = await self._start(post, succeeding=True)
        if successor is None:
            return False
        await self._wait_for(successor.ready, seconds=self._ready_seconds)
        if not successor.is_ready:
            by_itself = successor.ready.done()
            successor.end()
            code = await successor.ended
            if not self._stopping.done():
                why = f"it ended, code {code}" if by_itself else f"not ready within {self._ready_seconds:g} s"
                _log.error("successor_failed", worker=successor.pid, why=why)
            return False
        relieved, post.worker = post.worker, successor
        if relieved is not None:
            relieved.end()
            await relieved.ended
        return True

    async def _start(self, post: Post, *, succeeding: bool = False) -> Worker | None:
        """Start a worker for the post; None when the system cannot: no memory, no interpreter any more."""
        pipe, ready_fd = os.pipe()
        try:
            arguments, inherited = self._arguments(post, ready_fd, succeeding=succeeding)
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *arguments,
                env=self._environ,
                pass_fds=inherited,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C, and the end of the terminal, are for the supervisor
            )
        except OSError as error:
            os.close(pipe)
            _log.error("worker_not_started", error=os.strerror(error.errno or 0).lower())
            return None
        finally:
            os.close(ready_fd)
        worker = Worker(process, pipe)
        self._workers.add(worker)
        worker.ended.add_done_callback(lambda _: self._workers.discard(worker))
        worker.ready.add_done_callback(lambda _: self._note(worker))
        if self._stopping.done():
            worker.end()
        return worker

    def _arguments(self, post: Post, ready_fd: int, *, succeeding: bool) -> tuple[list[str], list[int]]:
        """Return the arguments of a worker, and what it inherits.

        After an upgrade the supervisor of one release starts the workers of the next, so no argument may be taken away,
        nor mean something else.
        """
        listening_fd = self._listener.fileno()
        arguments = ["--listening-fd", str(listening_fd), "--ready-fd", str(ready_fd)]
        arguments += ["--supervisor-pid", str(os.getpid())]
        inherited = [listening_fd, ready_fd]
        if post.metrics is not None:
            arguments += ["--metrics-fd", str(post.metrics.fileno())]
            inherited.append(post.metrics.fileno())
        if succeeding:
            arguments.append("--succeeding")
        return arguments, inherited

    def _note(self, worker: Worker) -> None:
        """Say that a worker is ready, and once that all are."""
        if worker.is_ready:
            _log.info("worker_ready", worker=worker.pid)
        if self._were_ready or self._stopping.done():
            return
        if all(post.manned for post in self._posts):
            self._were_ready = True
            _log.info("workers_ready", workers=len(self._posts))
            systemd.ready()
        else:
            self._say_how_many_are_ready()

    def _say_how_many_are_ready(self) -> None:
        manned = sum(post.manned for post in self._posts)
        systemd.waiting(f"{manned} of {len(self._posts)} workers are ready")

    async def _wait_for(self, future: asyncio.Future[Any] | None = None, *, seconds: float | None = None) -> None:
        """Return when the future is done, when we stop, or after so many seconds."""
        futures = {self._stopping} if future is None else {self._stopping, future}
        await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
