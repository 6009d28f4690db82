"""The log lines that the code can write, read off its source: event, level and fields of every call of a logger."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tests.docs.documents import PACKAGE

METHODS = ("debug", "info", "warning", "error", "exception", "critical", "log")
"""Of a logger; the last three are no levels of ours, and stand in no table."""
LOGGERS = ("log", "_log")
ROOM_FIELDS = ("account", "room")
"""What `LiveRoom.fields` has."""


class Line(NamedTuple):
    """One call of a logger. `event` is None where it is no word in quotes."""

    place: str
    event: str | None
    level: str
    fields: frozenset[str]


@cache
def lines() -> tuple[Line, ...]:
    """Return every call of a logger in the package; `watch.complain` writes one for its caller."""
    return tuple(_lines())


def _lines() -> Iterator[Line]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            place = f"{path.relative_to(PACKAGE.parent)}:{node.lineno}"
            first = node.args[0]
            event = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
            name = ast.unparse(node.func)
            if name == "complain":
                yield Line(place, event, "error", frozenset({"error", "at"}))
            elif name.rpartition(".")[0] in LOGGERS and name.rpartition(".")[2] in METHODS:
                fields: set[str] = set()
                for keyword in node.keywords:
                    fields |= {keyword.arg} if keyword.arg is not None else _spread(keyword.value)
                yield Line(place, event, name.rpartition(".")[2], frozenset(fields))


def _spread(value: ast.expr) -> set[str]:
    """Return the fields that a `**` adds: a room's, or those of a mapping, which nobody can read off."""
    return set(ROOM_FIELDS) if ast.unparse(value).endswith(".fields") else set()
