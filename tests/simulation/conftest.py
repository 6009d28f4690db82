"""The server that the runs of one file use, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import binaries, running


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that only these runs use."""
    with running(binaries()["valkey"], Path(tmp_path_factory.mktemp("simulation"))) as address:
        yield address
