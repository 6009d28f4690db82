"""What is shown in which order, and what each key changes about that."""

from __future__ import annotations

from functools import reduce

import pytest

from capacity.store.keys import RoomName
from capacity.top.command import RoomOrder
from capacity.top.table import CELLS
from capacity.top.view import COLUMNS, ROOM_WORDS, Order, Pane, View
from tests.top.looks import hub, look, room

TOP = look(
    room("acme/a", waiting=5, occupied=90, seated=90, full_in_seconds=30.0, arrivals_per_second=0.5, seat_limit=90),
    room("acme/b", waiting=0, occupied=10, seated=8, held=2, state="not_started", hubs=["h1", "h2"]),
    room("Beta/c", waiting=5, occupied=95, seated=95, full_in_seconds=0.0, arrivals_per_second=3.0, away=1),
    room("beta/d", waiting=7, occupied=1, seated=1, full_in_seconds=600.0, peak=3),
    hubs=(hub("h2", connections=9), hub("h1", connections=5), hub("h0", silent_seconds=None)),
)


def pressing(keys: list[str], view: View | None = None) -> View:
    return reduce(View.pressed, keys, view or View())


def names(view: View) -> str:
    return "".join(room.room for room in view.rooms_of(TOP))


@pytest.mark.parametrize(
    ("word", "order", "reversed"),
    [
        ("room", "cabd", "dbac"),
        ("state", "bcad", "cadb"),
        ("limit", "cbda", "acbd"),
        ("occupied", "cabd", "dbac"),
        ("seated", "cabd", "dbac"),
        ("held", "bcad", "cadb"),
        ("away", "cabd", "abdc"),
        ("waiting", "dcab", "bcad"),
        ("rate", "cabd", "acbd"),
        ("forecast", "cadb", "dacb"),
        ("peak", "dcab", "cabd"),
        ("hubs", "bcad", "cadb"),
    ],
)
def test_rooms_by_every_column_both_ways(word: str, order: str, reversed: str) -> None:
    assert names(View(rooms=Order(word))) == order
    assert names(View(rooms=Order(word, reverse=True))) == reversed


def test_the_words_are_the_same_everywhere() -> None:
    assert [order.value for order in RoomOrder] == list(ROOM_WORDS)
    for pane, columns in COLUMNS.items():
        assert {cells.word for cells in CELLS[pane]} == {column.word for column in columns}


def test_hubs_by_connections_those_that_said_nothing_last() -> None:
    silent = hub("h3")
    top = look(hubs=(*TOP.hubs, type(silent)("h3", None, None)))
    for reverse, expected in ((False, ["h2", "h1", "h0", "h3"]), (True, ["h0", "h1", "h2", "h3"])):
        assert [hub.id for hub in View(hubs=Order("connections", reverse)).hubs_of(top)] == expected
    for column in COLUMNS["hubs"]:
        assert {hub.id for hub in View(hubs=Order(column.word)).hubs_of(top)} == {"h0", "h1", "h2", "h3"}


def test_filters_meet_the_name_and_the_account() -> None:
    assert names(View(filter="BETA/")) == "dc" and names(View(filter="/b")) == "b"
    assert names(View(account="beta")) == "d" and names(View(account="acme", filter="A/a")) == "" == names(
        View(account="acm")
    )
    assert View(filter="a").matches(RoomName("x", "Ya")) and not View(account="x").matches(RoomName("X", "y"))


def test_typing_a_filter() -> None:
    typing = pressing(["/", *"beta", "backspace", "q", "left"])
    assert typing.prompt == "filter" and typing.typed == "betq" and typing.filter == "" and not typing.done
    assert pressing(["backspace", "enter"], typing).filter == "bet"
    assert pressing(["escape"], typing) == View()
    account = pressing(["a", *"acme", "enter"])
    assert account.account == "acme" and pressing(["a"], account).typed == "acme"
    assert pressing(["escape"], pressing(["/", "x", "enter"], account)) == View()
    assert pressing(["ctrl-c"], typing).done


def test_sorting_by_keys_goes_round_in_each_pane() -> None:
    assert pressing([">"]).rooms == Order("rate") == pressing(["right"]).rooms
    assert pressing(["<", "r"]).rooms == Order("away", reverse=True)
    assert pressing(["<"] * len(ROOM_WORDS)).rooms == Order("waiting")
    hubs = pressing(["tab", "<"])
    assert hubs.hubs == Order(COLUMNS["hubs"][-1].word) and hubs.rooms == Order("waiting")
    pane: Pane = pressing(["tab"], hubs).pane
    assert pane == "rooms"


def test_the_other_keys() -> None:
    assert pressing(["p"]).paused and not pressing(["p", " "]).paused
    assert pressing(["down", "j", "k"]).skipped == 1 and pressing(["up"]).skipped == 0
    assert pressing(["down", "/", "x", "enter"]).skipped == 0
    assert pressing(["q"]).done and pressing(["ctrl-d"]).done
    assert pressing(["z", "é", "enter"]) == View()
