"""The runs with odd seeds; the others are in a file of their own, so that two processes can share the work."""

from __future__ import annotations

import pytest

from tests.simulation.runs import PARTS, check, check_bites, seeds

SEEDS = seeds(1)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_contract_holds(part: int, url: str) -> None:
    check(SEEDS[part::PARTS], url)


def test_every_fault_bit() -> None:
    check_bites(SEEDS)
