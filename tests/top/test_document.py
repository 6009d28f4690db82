"""What docs/operations.md says of `capacity top` is what there is: the commands run, the fields and the keys are these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from capacity.hub.status import HubStatus
from capacity.hub.timings import Spread
from capacity.store.keys import RoomName
from capacity.top.document import Hub, Room, Store, Top
from capacity.top.view import View
from tests.docs.documents import ROOT, blocks, rows, section, words
from tests.support.terminal import Terminal
from tests.top import seeded

pytestmark = pytest.mark.anyio
OPERATIONS = ROOT / "docs" / "operations.md"
HEADING = "capacity top"
VALUES = {"near_full", "full", "--sort", "--reverse", "--limit", "id"}
"""What the table of fields names besides fields."""


def tables() -> tuple[list[list[str]], list[list[str]]]:
    """Return the rows of the table of keys and of the table of fields."""
    found = rows(section(OPERATIONS, HEADING))
    heads = [number for number, row in enumerate(found) if row[0] in ("key", "field")]
    assert [found[number][0] for number in heads] == ["key", "field"]
    return found[heads[0] + 1 : heads[1]], found[heads[1] + 1 :]


def test_every_field_of_the_document_is_documented_and_no_other() -> None:
    _, fields = tables()
    documented = {word.removesuffix("[]").rpartition(".")[2] for row in fields for cell in row for word in words(cell)}
    documented = {word.removesuffix("[]") for word in documented}
    there = {name for kind in (Top, Store, Hub, HubStatus, Spread, Room) for name in kind.__struct_fields__}
    assert there <= documented, there - documented
    assert documented - there <= VALUES | {"occupancy"}, documented - there


def test_every_key_of_the_table_does_something() -> None:
    keys, _ = tables()
    names = {"esc": "escape", "↑": "up", "↓": "down", "&lt;": "<"}
    view = View(filter="x", skipped=1)
    for row in keys:
        for key in words(row[0]):
            assert view.pressed(names.get(key, key)) != view, f"{key!r} does nothing"


async def test_the_commands_as_they_stand(store: Any, redis_url: str, tmp_path: Path) -> None:
    for room, waiting in (("a", 1), ("b", 4)):
        await seeded.room(store, RoomName("acme", room), limit=2, seated=2, waiting=waiting)
    await seeded.room(store, RoomName("beta", "c"), waiting=7)
    await seeded.beating(store, "h1", RoomName("acme", "a"), RoomName("acme", "b"), RoomName("beta", "c"))
    instead = {"--interval 5": "", "capacity top": "capacity top --interval 0.2"}
    with Terminal(tmp_path, instead=instead, CAPACITY_REDIS_URL=redis_url) as terminal:
        looks, waiting_of_acme = blocks(OPERATIONS, "sh", HEADING)
        *tables, document = terminal.types(looks).splitlines()
        assert int(terminal.types(waiting_of_acme)) == 5
    everything, acme = "\n".join(tables).split("capacity · ")[1:]
    assert "beta/c" in everything and "acme/a" in acme and "beta/c" not in acme
    top = msgspec.json.decode(document, type=Top)
    assert json.loads(document) == msgspec.to_builtins(top)
    assert [(room.room, room.waiting) for room in top.rooms] == [("c", 7), ("b", 4), ("a", 1)]
