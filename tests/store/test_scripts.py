"""What every script of a room keeps to, read from its text."""

from __future__ import annotations

import re
from importlib.resources import files

from capacity.store.scripts import ROOM_VERBS

LUA = files("capacity.store") / "lua"
COUNTED = ("PEOPLE", "LINE", "READY", "HOLDS", "SEAT_AWAY", "LINE_AWAY", "MET", "REPORT")
READS = ("HGET", "ZRANK")


def test_no_verb_changes_a_counted_set_behind_the_counts_back() -> None:
    for verb in ROOM_VERBS:
        text = (LUA / f"{verb}.lua").read_text("utf-8")
        calls = re.findall(r"call\('([A-Z]+)', *([A-Z_]+)", text)
        assert [(command, key) for command, key in calls if key in COUNTED and command not in READS] == [], verb
