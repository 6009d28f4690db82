"""Ending tasks that talk to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

AGAIN_SECONDS = 0.2


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: a cancellation that meets a timeout inside redis-py 8.1 can be lost there, and a task that runs for ever goes on.
    Who is cancelled here meanwhile is so afterwards: the task that ends others is itself ended like this, and left alone
    they would outlive the clients that they use.
    """
    pending = list(tasks)
    cancelled: asyncio.CancelledError | None = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=AGAIN_SECONDS)
        except asyncio.CancelledError as error:
            cancelled = error
        pending = [task for task in pending if not task.done()]
    if cancelled is not None:
        raise cancelled
