"""Group commit: one call of a room's scripts is in flight at a time; what arrives meanwhile goes together in the next.

Who comes alone is asked for at once. Where many come, a call waits 2 ms for company: 10 to 20 participants a call, and a third of the
store's time for each (docs/decisions/0002, 0016). It also keeps the operations of a room in their order: a leave never overtakes the
join before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from capacity.hub.connection import Connection

BATCH_MAX = 200
"""The most participants of one call: keeps a script under a few ms."""
GATHER_SECONDS = 0.002
"""After a call for several, how long the next one waits for company: under load it halves what a join costs the store (decision 0016)."""


class Operation(NamedTuple):
    """One verb for one connection; `connection` is None for what concerns the room as a whole (`detail` says what)."""

    verb: str
    connection: Connection | None
    detail: str = ""


class Lane:
    """The queue of one room. `commit` is given a run of operations of the same verb, oldest first, and never runs twice at once."""

    def __init__(self, commit: Callable[[str, list[Operation]], Awaitable[None]]) -> None:
        self._commit = commit
        self._queue: deque[Operation] = deque()
        self._task: asyncio.Task[None] | None = None
        self._let: Collection[str] | None = ()
        """The verbs that may go out; None: all."""
        self._woken = asyncio.Event()

    def add(self, verb: str, connection: Connection | None = None, detail: str = "", *, first: bool = False) -> None:
        """Queue an operation, or put it `first`. One without a connection is queued once, however often it is asked for."""
        operation = Operation(verb, connection, detail)
        if connection is None and operation in self._queue:
            return
        if first:
            self._queue.appendleft(operation)
        else:
            self._queue.append(operation)
        self._woken.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def open(self) -> None:
        """Let calls go out."""
        self._let = None
        self._woken.set()

    def hold(self, but: Collection[str] = ()) -> None:
        """Keep calls back, but for those of some verbs and the one under way."""
        self._let = but
        self._woken.set()

    def __len__(self) -> int:
        return len(self._queue)

    def leases(self) -> set[str]:
        """Return the leases that wait for something to be done."""
        return {operation.connection.lease for operation in self._queue if operation.connection is not None}

    def withdraw(self, verb: str, connection: Connection) -> bool:
        """Take back an operation that no call was made for yet; False if it is too late."""
        try:
            self._queue.remove(Operation(verb, connection))
        except ValueError:
            return False
        return True

    def drop(self, verbs: Collection[str]) -> list[Operation]:
        """Take all waiting operations of some verbs out of the queue and return them."""
        dropped = [operation for operation in self._queue if operation.verb in verbs]
        self._queue = deque(operation for operation in self._queue if operation.verb not in verbs)
        return dropped

    def put_back(self, operations: list[Operation]) -> None:
        """Put operations that were not done at the head of the queue, in their order."""
        self._queue.extendleft(reversed(operations))

    def cancel(self) -> None:
        """Forget everything."""
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        try:
            while self._queue:
                self._woken.clear()
                run = self._next()
                if run:
                    await self._commit(run[0].verb, run)
                    if len(run) > 1:
                        await asyncio.sleep(GATHER_SECONDS)
                else:
                    await self._woken.wait()
        finally:
            self._task = None

    def _next(self) -> list[Operation]:
        """Take the next run out of the queue: operations of one verb that may go out, in their order."""
        queue, let = self._queue, self._let
        run: list[Operation] = []
        if let is None:
            verb = queue[0].verb
            while queue and queue[0].verb == verb and len(run) < BATCH_MAX:
                run.append(queue.popleft())
            return run
        kept: deque[Operation] = deque()
        while queue and len(run) < BATCH_MAX:
            operation = queue.popleft()
            if operation.verb in let and (not run or operation.verb == run[0].verb):
                run.append(operation)
            else:
                kept.append(operation)
        kept.extend(queue)
        self._queue = kept
        return run
