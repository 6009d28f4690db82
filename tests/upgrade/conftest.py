"""The last release, unpacked once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.service import Billing
from tests.upgrade import frozen


@pytest.fixture(scope="session")
def last_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that has the package of the last release."""
    return frozen.unpack(tmp_path_factory.mktemp("release"))


@pytest.fixture
async def billing(redis_url: str) -> AsyncIterator[Billing]:
    """An external billing system on the same store."""
    system = Billing(redis_url)
    yield system
    await system.close()
