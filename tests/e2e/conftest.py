"""One hub on an empty Valkey, and a billing system beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.process import HubProcess
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
async def hubs(redis_url: str, billing: Billing, tmp_path: Path) -> AsyncIterator[tuple[Hub, Hub]]:
    """Two hub processes on one store."""
    async with HubProcess(redis_url, tmp_path) as first, HubProcess(redis_url, tmp_path) as second:
        yield first, second
