"""A store that tests write into by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as aioredis


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Any]:
    """An empty store, emptied afterwards: what is seeded has no TTL."""
    async with aioredis.Redis.from_url(redis_url) as client:
        yield client
        await client.flushall()
