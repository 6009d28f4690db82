"""The runs with even seeds; the others are in a file of their own, so that two processes can share the work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.runs import PARTS, check, check_bites, seeds
from tests.support.servers import binaries, running

SEEDS = seeds(0)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that only these runs use."""
    with running(binaries()["valkey"], Path(tmp_path_factory.mktemp("simulation"))) as address:
        yield address


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_contract_holds(part: int, url: str) -> None:
    check(SEEDS[part::PARTS], url)


def test_every_fault_bit() -> None:
    check_bites(SEEDS)
