"""Everything that a process logs while a test looks, whoever logs it: structlog's lines and the library's records."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from structlog.testing import capture_logs

CLIENTS = ("httpx", "httpcore", "websockets.client", "hypothesis")
"""Loggers of the tests' own side of a connection: they are no part of the service, and quote all that it was asked."""


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(CLIENTS):
            self.lines.append(self.format(record))


class Log:
    """What was logged so far."""

    def __init__(self, lines: list[dict[str, object]], records: list[str]) -> None:
        self._lines = lines
        self._records = records

    @property
    def text(self) -> str:
        """Return all of it, tracebacks included."""
        return "\n".join([*map(repr, self._lines), *self._records])

    def events(self, level: str) -> list[str]:
        """Return the names of the service's own lines of a level."""
        return [str(line["event"]) for line in self._lines if line["log_level"] == level]


@contextmanager
def recorded() -> Iterator[Log]:
    """Record, at every level, until the end of the block."""
    root, handler = logging.getLogger(), _Records()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with capture_logs() as lines:
            yield Log(lines, handler.lines)  # type: ignore[arg-type]
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
