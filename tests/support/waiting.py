"""Waiting for a condition with a deadline, instead of sleeping a guess."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def wait_until(condition: Callable[[], Any], *, within_seconds: float = 5.0, what: str = "") -> Any:
    """Return the condition's first true value (it may be a coroutine function); fails with `what` after the deadline."""
    deadline = time.monotonic() + within_seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await _awaited(value)
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_seconds} s: {what or inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.01)


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value
