"""The table of log lines in docs/operations.md: every event that the code can write, and no other."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from tests.docs.documents import ROOT, rows, words
from tests.support.log_events import lines

WRITER = "capacity/web/watch.py"
"""`complain` writes the line of its caller."""


class Row(NamedTuple):
    """What the table says of an event."""

    level: str
    fields: set[str]


def table() -> dict[str, Row]:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    start = text.index("| event | level | fields |")
    found: dict[str, Row] = {}
    for events, level, fields, meaning in rows(text[start : text.index("\n\n", start)])[1:]:
        for event in words(events):
            assert event not in found and meaning, event
            found[event] = Row(level, words(fields))
    return found


def test_events_are_words() -> None:
    for line in lines():
        if line.event is None:
            assert line.place.startswith(WRITER), f"{line.place}: an event is a word in quotes"
        else:
            assert re.fullmatch(r"[a-z]+(_[a-z]+)*", line.event), f"{line.place}: {line.event!r} is no event"


def test_every_event_and_no_other_stands_in_the_table() -> None:
    written: defaultdict[str, set[str]] = defaultdict(set)
    documented = table()
    for line in lines():
        if line.event is None:
            continue
        assert line.event in documented, f"{line.place}: docs/operations.md does not know {line.event}"
        row = documented[line.event]
        assert line.level == row.level, f"{line.place}: {line.event} is {row.level} in docs/operations.md"
        assert line.fields <= row.fields, f"{line.place}: {line.event} has {line.fields - row.fields} as well"
        written[line.event] |= line.fields
    assert documented.keys() == written.keys()
