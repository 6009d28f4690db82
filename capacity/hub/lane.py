"""Group commit: one call of a room's scripts is in flight at a time; what arrives meanwhile goes together in the next.

Who comes alone is asked for at once. Where many come, a call waits 4 ms for company: up to a hundred go together, at a quarter of the
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

BATCH_MAX = 100
"""The most participants of one call: it takes the store 2 ms, whatever else is in the room (benchmarks: `script_ms`)."""
PERSONAL = frozenset({"join", "away", "leave", "claim", "pass"})
"""The verbs that concern one participant each."""
BUSY_MAX = 1000
"""How many participants a run passes by at most: what is looked at for each call."""
GATHER_SECONDS = 0.004
"""After a call for several, how long the next one waits for company: it halves what a join costs the store, and more (decision 0016)."""


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
        """Take the next run out of the queue: operations of one verb that may go out, in their order.

        Those of a connection pass by what other participants asked for: where some come while others go, either find company. Nothing
        passes by what concerns the room, nor that by anything; except by what may not go out.
        """
        queue, let = self._queue, self._let
        run: list[Operation] = []
        passed: list[Operation] = []
        busy: set[str] = set()
        verb = ""
        while queue and len(run) < BATCH_MAX and len(busy) < BUSY_MAX:
            operation = queue[0]
            connection = operation.connection
            if let is not None and operation.verb not in let:
                passed.append(queue.popleft())
            elif not run:
                verb = operation.verb
                run.append(queue.popleft())
            elif operation.verb == verb and (
                not busy or connection is None or connection.claims.participant not in busy
            ):
                run.append(queue.popleft())
            elif connection is not None and verb in PERSONAL and operation.verb in PERSONAL:
                busy.add(connection.claims.participant)
                passed.append(queue.popleft())
            else:
                break
        queue.extendleft(reversed(passed))
        return run
