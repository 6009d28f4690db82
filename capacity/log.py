"""Logging, set up once per process: structlog to stderr, for people on a terminal and as JSON lines otherwise.

A line is an event, named in lower case with underscores, and its fields; docs/operations.md lists them all. Every line also says
which process wrote it. The records of uvicorn, asyncio and every other library pass through the same renderer, sentences as they are.
What must never be logged (tokens, keys, signatures) is not passed to a logger in the first place; there is no filter to rely on.
"""

from __future__ import annotations

import logging
import os
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from capacity.settings import LogFormat, LogLevel

FIRST = ("timestamp", "level", "event")

_process: dict[str, object] = {}


def set_up(level: LogLevel = "info", format: LogFormat = "auto") -> None:
    """Send everything of at least `level` to stderr. `auto`: text if that is a terminal, else JSON."""
    stream = sys.stderr
    human = format == "text" or (format == "auto" and stream.isatty())
    _process["pid"] = os.getpid()
    shared: list[Processor] = [
        _name_process,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        if human
        else [structlog.processors.format_exc_info, _lead, structlog.processors.JSONRenderer()]
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),  # what is below the level costs a call and no more
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=()), *shared],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, number))


def identify(hub: str) -> None:
    """Say on every line from now on which hub this process is."""
    _process["hub"] = hub


def _lead(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Put first what a reader looks for first."""
    return {name: event.pop(name) for name in FIRST if name in event} | dict(event)


def _name_process(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Add what every line says of its process, where the event does not say it itself."""
    for name, value in _process.items():
        event.setdefault(name, value)
    return event
