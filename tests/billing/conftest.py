"""A billing desk with the test card on an empty Valkey, without hubs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.desk import DeskUnderTest

MakeDesk = Callable[..., DeskUnderTest]


@pytest.fixture
async def make_desk(redis_url: str) -> AsyncIterator[MakeDesk]:
    """A function that makes desks, each with its own options."""
    made: list[DeskUnderTest] = []

    def make(**options: Any) -> DeskUnderTest:
        made.append(DeskUnderTest(redis_url, **options))
        return made[-1]

    yield make
    for desk in made:
        await desk.close()


@pytest.fixture
async def at(make_desk: MakeDesk) -> DeskUnderTest:
    """The desk, and the clock to move."""
    return make_desk()
