"""An event loop without time: when nothing is left to do, its clock jumps to the next timer. Nothing sleeps, and no socket is read.

Everything that runs belongs to a `Process`, or to the world around the processes. A process can be paused, as by SIGSTOP: what would
have run waits, timers included, and runs when it goes on. And it can be killed, as by SIGKILL: nothing of it runs any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import heapq
import inspect
import math
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
STARTED_AT = 1000.0
TICKS = 2**20
"""Of a second: a power of two, so that instants and durations of whole ticks are added and subtracted exactly."""


class Process:
    """What runs and stops together: everything that was started in its context, directly or not."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)
        self._loop = loop
        self._kept: list[asyncio.Handle] = []

    def pause(self) -> None:
        """Run nothing of it until it goes on."""
        self.paused = True

    def go_on(self) -> None:
        """Run what should have run meanwhile, in its order."""
        self.paused = False
        self._loop.run_next(self._kept)
        self._kept = []

    def kill(self) -> None:
        """Run nothing of it any more."""
        self.alive = False
        self._kept = []

    def keep(self, handle: asyncio.Handle) -> None:
        """Keep what cannot run now; nothing is kept of the dead."""
        if self.alive:
            self._kept.append(handle)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in this process."""
        return self.context.run(self._loop.create_task, work)

    def soon(self, call: Callable[..., object], *arguments: Any) -> None:
        """Make a call in this process."""
        self._loop.call_soon(call, *arguments, context=self.context)


class Stuck(Exception):
    """Nothing is left that could ever happen, and what was waited for has not."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Time is a number. `failures` has what the loop would have logged: exceptions that nobody caught."""

    _ready: Any  # of asyncio.BaseEventLoop, as they have been since Python 3.4
    _scheduled: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self._now = STARTED_AT
        self.world = contextvars.copy_context()
        self.failures: list[str] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_exception_handler(lambda _, what: self.failures.append(f"{what['message']}: {what.get('exception')}"))
        self.set_task_factory(self._remember)

    def time(self) -> float:
        """Seconds that never pass by themselves."""
        return self._now

    def outside(self, seconds: float, call: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        """Make a call later in the world, whichever process asks for it."""
        return self.call_later(seconds, call, *arguments, context=self.world)

    def in_order(self, last_at: float, seconds: float, call: Callable[..., object], *arguments: Any) -> float:
        """As `outside`, but after what was due at `last_at`; returns when it is due."""
        at = max(self._now + seconds, last_at + 1e-6)  # two timers of one instant run in any order
        self.call_at(at, call, *arguments, context=self.world)
        return at

    def run_next(self, handles: list[asyncio.Handle]) -> None:
        """Queue handles that were kept."""
        self._ready.extend(handles)

    def clear(self) -> None:
        """Close every coroutine that has not ended, so that none is found later by the garbage collector."""
        self._ready.clear()
        self._scheduled.clear()
        begun = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # those of the killed may wait for others that never began
            for task in self.tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    coroutine: Any = task.get_coro()
                    begun = begun and inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED
                    with contextlib.suppress(
                        RuntimeError
                    ):  # it awaits something while it is closed: there is no loop for that
                        coroutine.close()
            self.tasks.clear()
            self._ready.clear()
            if not begun:
                gc.collect()

    def _remember(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        self.tasks.append(task)
        return task

    # ---- what asyncio.BaseEventLoop leaves to its heirs, or does with a selector

    def _asyncgen_finalizer_hook(self, generator: Any) -> None:
        """Close a generator that nobody iterates any more, here and now: not in a task of whichever process runs."""
        with contextlib.suppress(StopIteration, RuntimeError):  # RuntimeError: it is being closed already
            generator.aclose().send(None)

    def _write_to_self(self) -> None:
        raise RuntimeError("no other thread may call this loop")

    def _process_events(self, events: object) -> None:
        raise RuntimeError("this loop reads no sockets")

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not scheduled:
                raise Stuck("nothing is ready and no timer runs")
            self._now = max(self._now, math.ceil(scheduled[0]._when * TICKS) / TICKS)
        while scheduled and scheduled[0]._when <= self._now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_PROCESS)
            if process is not None and (process.paused or not process.alive):
                process.keep(handle)
            else:
                handle._run()


def process() -> Process | None:
    """Return the process that runs now; None: the world."""
    return _PROCESS.get()
