"""Tasks are ended whatever they do with a cancellation, and whoever ends them is ended with them."""

from __future__ import annotations

import asyncio

import pytest

from capacity.store.tasks import end

pytestmark = pytest.mark.anyio
LOST = 2


async def stubborn(lost: int = LOST) -> None:
    """Runs for ever, and loses so many cancellations, as one that waits for redis-py may."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost -= 1
            if lost < 0:
                raise


async def started(*tasks: asyncio.Task[None]) -> None:
    """Let them come to where they wait."""
    await asyncio.wait(tasks, timeout=0)


async def test_a_task_that_loses_cancellations_is_ended() -> None:
    task = asyncio.create_task(stubborn())
    await started(task)
    await end([task])
    assert task.cancelled()


async def test_who_ends_others_is_not_ended_before_them() -> None:
    """As the clerk with the accounts that it serves: what they use is closed when the clerk has ended."""
    child = asyncio.create_task(stubborn())

    async def parent() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await end([child])

    task = asyncio.create_task(parent())
    await started(task, child)
    await end([task])
    assert child.cancelled() and task.cancelled()


async def test_who_is_cancelled_while_ending_others_is_so_afterwards() -> None:
    child = asyncio.create_task(stubborn())
    task = asyncio.create_task(end([child]))
    await started(task, child)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert child.cancelled()
