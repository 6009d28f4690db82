"""Whatever the server says for «not now» is one state; what is a bug stays one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import SlotNotCoveredError

from capacity.store.scripts import unavailable

NOT_NOW = (
    "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script.",
    "MISCONF Errors writing to the AOF file",
    "CLUSTERDOWN The cluster is down",
    "NOREPLICAS Not enough good replicas to write.",
    "MASTERDOWN Link with MASTER is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
)
parsed: Callable[[str], Exception] = BaseParser.parse_error
"""What redis-py makes of an error that the server sent."""
BUGS = (
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR user_script:1: oops",
    "BUSYGROUP exists",
)


@pytest.mark.parametrize("text", NOT_NOW)
def test_not_now(text: str) -> None:
    """The client library makes classes of some of these and cuts the word off their text."""
    assert unavailable(parsed(text))


@pytest.mark.parametrize("text", BUGS)
def test_a_bug_is_no_outage(text: str) -> None:
    assert not unavailable(parsed(text))


def test_a_slot_without_a_node() -> None:
    assert unavailable(SlotNotCoveredError("slot 1 is not covered"))
