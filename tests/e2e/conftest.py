"""One hub on an empty Valkey, and a billing system beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.service import Billing, Hub, serving, settings


@pytest.fixture
async def billing(redis_url: str) -> AsyncIterator[Billing]:
    """An external billing system on the same store."""
    system = Billing(redis_url)
    yield system
    await system.close()


@pytest.fixture
async def hub(redis_url: str, billing: Billing) -> AsyncIterator[Hub]:
    """One hub with short times (`tests.support.service.settings`)."""
    async with serving(settings(redis_url)) as running:
        yield running


@pytest.fixture
async def hubs(redis_url: str, billing: Billing) -> AsyncIterator[tuple[Hub, Hub]]:
    """Two hubs on one store."""
    async with serving(settings(redis_url)) as first, serving(settings(redis_url)) as second:
        yield first, second
