"""The tables as people see them: at every width, with what is untrusted, and with a store that does not answer."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from capacity.hub.status import HubStatus
from capacity.top import table
from capacity.top.document import Hub, Top
from capacity.top.view import Order, View
from tests.top.looks import hub, look, room

FULL = room(
    "acme/launch", seat_limit=1200, occupied=1200, seated=1150, held=20, away=30, waiting=4321, free=0, peak=1200,
    level="full", arrivals_per_second=12.5, full_in_seconds=0.0, hubs=["h1", "h2"],
)  # fmt: skip
FILLING = room("acme/talk", occupied=40, seated=40, full_in_seconds=190.0, arrivals_per_second=0.3)
TOP = look(FULL, FILLING, hubs=(hub("h1", connections=1234, rooms=2, joins_per_second=8.4), hub("h2", connections=66)))


def lines(top: Top | None, width: int, height: int = 24, view: View | None = None, problem: str = "") -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), record=True, force_terminal=True)
    console.print(table.screen(view or View(), top, problem, width, height))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [40, 80, 100, 160, 240])
@pytest.mark.parametrize("height", [8, 24])
def test_a_screen_is_as_wide_and_high_as_the_terminal(width: int, height: int) -> None:
    rooms = [room(f"acme/room-{number:04}", waiting=number) for number in range(100)]
    for top in (None, TOP, look(*rooms, hubs=tuple(hub(f"hub-{number}") for number in range(30)))):
        found = lines(top, width, height)
        assert len(found) == height
        assert max(map(len, found)) <= width
        assert found[-1].startswith("q quit")


def test_eighty_columns_have_all_that_matters() -> None:
    found = lines(TOP, 80)
    assert found[0] == "capacity · redis 0.3 ms · 2 hubs · 1,300 connections · 2 rooms"
    assert found[1].split() == [
        "hub▴", "state", "connections", "rooms", "joins/s", "lag", "ms", "redis", "ms", "p99", "ms",
    ]  # fmt: skip
    assert found[2].split() == ["h1", "ready", "1,234", "2", "8.4", "3.5", "0.7", "2.2"]
    assert found[5].split() == [
        "room", "limit", "seated", "held", "away", "waiting▾", "rate", "in", "forecast", "hubs",
    ]  # fmt: skip
    assert found[6].split() == ["acme/launch", "1,200", "1,150", "20", "30", "4,321", "12.5", "full", "2"]
    assert found[7].split() == ["acme/talk", "100", "40", "0", "0", "0", "0.3", "3m10s", "1"]


def test_wide_terminals_have_everything() -> None:
    text = "\n".join(lines(TOP, 160))
    for cells in (*table.ROOMS, *table.HUBS):
        assert cells.title in text
    assert "████████ 100%" in text and "███░░░░░  40%" in text and "web-1:77" in text


def test_narrow_ones_keep_the_column_that_is_sorted_by() -> None:
    shown = [cells.word for cells in table.fitting(table.ROOMS, 50, "peak")]
    assert {"room", "limit", "seated", "waiting", "peak"} == set(shown)
    (head,) = [line for line in lines(TOP, 50, view=View(rooms=Order("peak", reverse=True))) if "limit" in line]
    assert "peak▴" in head


def test_hubs_that_die_drain_or_say_nothing() -> None:
    hubs = (
        hub("h1", silent_seconds=7.2),
        hub("h2", problems=["draining", "feed_lost"]),
        Hub("h3", None, None),
        hub("h4", silent_seconds=None),
    )
    found = lines(look(hubs=hubs), 160)
    assert [" ".join(line.split()[:4]) for line in found[2:6]] == [
        "h1 silent 7s 0",
        "h2 draining, feed_lost 0",
        "h3 unknown – –",
        "h4 silent – 0",
    ]


def test_nobodys_text_is_obeyed() -> None:
    said = HubStatus(version="1\x1b[2J", host="a\nb\u202e", problems=["\x1b]0;x\x07"])
    found = "\n".join(lines(look(hubs=(Hub("h\x1b1", 0.1, said),)), 200, problem=""))
    assert "\x1b" not in found and "\x07" not in found and "\u202e" not in found and "a\ufffdb" in found


def test_what_is_wrong_stands_in_the_first_line_and_the_last_look_below() -> None:
    found = lines(TOP, 80, problem="the store cannot be read (no answer)")
    assert found[0] == "looking again: the store cannot be read (no answer)"
    assert found[6].startswith("acme/launch")
    assert lines(None, 80)[0] == "looking"


def test_the_first_and_the_last_line_say_what_was_chosen() -> None:
    view = View(account="acme", filter="l", paused=True)
    assert lines(TOP, 120, view=view)[0].endswith(" · 2 rooms · account acme · filter l · paused")
    assert lines(TOP, 80, view=View(prompt="filter", typed="lau"))[-1].startswith("filter: lau▏")


def test_scrolling_ends_at_the_last_room() -> None:
    top = look(*(room(f"acme/{number:02}") for number in range(30)), hubs=(hub(),))
    view = View(rooms=Order("room"), skipped=5)
    assert lines(top, 80, 12, view)[5].startswith("acme/05")
    last = lines(top, 80, 12, View(rooms=Order("room"), skipped=29))
    assert last[10].startswith("acme/29") and last[5].startswith("acme/24")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.4, "0s"), (59.6, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90_000, "1d01h"), (1e7, "115d")],
)
def test_times_are_short(seconds: float | None, text: str) -> None:
    assert table._span(seconds) == text


def test_the_connections_of_a_hub_that_is_silent_are_counted_no_more() -> None:
    top = look(FULL, hubs=(hub("h1", connections=800), hub("h2", silent_seconds=7.0, connections=575)))
    assert lines(top, 100)[0] == "capacity · redis 0.3 ms · 1 hub and 1 silent · 800 connections · 1 room"
