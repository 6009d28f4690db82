"""A platform, a store, and a room on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.hooks.platform import Platform, platform
from tests.hooks.room import Room, client_of


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    """A client of an empty store."""
    found = client_of(redis_url)
    yield found
    await found.aclose()


@pytest.fixture
def room(client: Any) -> Room:
    """A room that is not open yet."""
    return Room(client)


@pytest.fixture
async def endpoint() -> AsyncIterator[Platform]:
    """The platform's server."""
    async with platform() as server:
        yield server
