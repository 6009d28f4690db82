"""How the file descriptors of a process are shared out, so that it never runs out of them.

A process that has none left cannot reach its store, answer a health check or say no. So connections are refused while
some are left: first WebSockets, with an answer; then, far later, all others, without one.
"""

from __future__ import annotations

import resource
import sys
from typing import Final, NamedTuple

OURS: Final = 96
"""Kept for ourselves: two clients of the store with 32 connections each, subscriptions, listener, log, key file."""
HTTP_MIN, HTTP_MAX, HTTP_PART = 32, 1024, 8
"""Kept for connections that are no WebSockets: an eighth, within these bounds."""


class Shares(NamedTuple):
    """The most connections of a process at once, and how many of them may be WebSockets."""

    connections_max: int
    sockets_max: int


def shares(files_max: int | None = None) -> Shares:
    """Share out so many file descriptors; None: as many as this process may have open (the soft limit)."""
    if files_max is None:
        files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files_max == resource.RLIM_INFINITY:
            return Shares(sys.maxsize, sys.maxsize)
    connections_max = max(files_max - OURS, files_max // 2)
    http = min(max(HTTP_MIN, files_max // HTTP_PART), HTTP_MAX)
    return Shares(connections_max, max(connections_max - http, connections_max // 2))
