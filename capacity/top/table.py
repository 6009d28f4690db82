"""A look as two tables of text, as wide and as high as there is room: what matters less is left out first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from capacity.console import plain
from capacity.top.document import Hub, Room, Top
from capacity.top.view import Order, Pane, View, rising

SILENT_SECONDS = 3.0
"""Longer than a hub that lives is silent: it beats once a second."""
NOTHING = "–"
RISING, FALLING = "▴", "▾"
HELP = "q quit  / filter  a account  < > sort  r reverse  tab table  ↑↓ scroll  p pause  esc all"
BAR_CHARACTERS = 8
LEVEL_STYLES = {"": "", "near_full": "yellow", "full": "bold red"}
HUB_ROWS_SHARE = 3
"""The hubs get at most one in so many lines while there are more rooms than lines."""


class Cells(NamedTuple):
    """One column as it is drawn: the word that sorts by it, its title and width, and how one row's cell looks."""

    word: str
    title: str
    width: int
    text: Callable[[Any], Text | str]
    rank: int
    """The columns of the highest rank go first where there is not enough room; those of rank 0 stay."""
    left: bool = False
    grows: bool = False
    """It takes the room that is left."""


def _count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def _decimal(number: float | None) -> str:
    return NOTHING if number is None else f"{number:,.1f}"


def _span(seconds: float | None) -> str:
    """Return a time in at most six characters."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24:02}h" if days < 100 else f"{days}d"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"


def _share(room: Room) -> Text:
    share = room.occupied / room.seat_limit if room.seat_limit else float(room.occupied > 0)
    full = min(BAR_CHARACTERS, int(share * BAR_CHARACTERS))
    bar = "█" * full + "░" * (BAR_CHARACTERS - full)
    return Text(f"{bar} {min(share, 9.99):4.0%}", LEVEL_STYLES[room.level])


def _forecast(room: Room) -> Text | str:
    if room.full_in_seconds == 0:
        return Text("full", LEVEL_STYLES["full"])
    return _span(room.full_in_seconds)


def _silent(hub: Hub) -> bool:
    return hub.silent_seconds is None or hub.silent_seconds > SILENT_SECONDS


def _state(hub: Hub) -> Text:
    if hub.status is None:
        return Text("unknown", "dim")
    if _silent(hub):
        return Text(f"silent {_span(hub.silent_seconds)}", "bold red")
    if hub.status.problems:
        return Text(plain(", ".join(hub.status.problems)).plain, "yellow")
    return Text("ready", "green")


def _said(read: Callable[[Any], Text | str]) -> Callable[[Hub], Text | str]:
    """Return what draws a cell from a hub's status, if it has said one."""
    return lambda hub: NOTHING if hub.status is None else read(hub.status)


ROOMS = (
    Cells("room", "room", 17, lambda room: plain(room.name), 0, left=True, grows=True),
    Cells("state", "state", 11, lambda room: room.state.replace("_", " "), 8, left=True),
    Cells("limit", "limit", 7, lambda room: _count(room.seat_limit), 0),
    Cells("occupied", "occupied", 13, _share, 7),
    Cells("seated", "seated", 7, lambda room: Text(_count(room.seated), LEVEL_STYLES[room.level]), 0),
    Cells("held", "held", 5, lambda room: _count(room.held), 4),
    Cells("away", "away", 5, lambda room: _count(room.away), 5),
    Cells("waiting", "waiting", 8, lambda room: Text(_count(room.waiting), "bold" if room.waiting else ""), 0),
    Cells("rate", "rate in", 8, lambda room: _decimal(room.arrivals_per_second), 2),
    Cells("forecast", "forecast", 9, _forecast, 3),
    Cells("peak", "peak", 7, lambda room: _count(room.peak), 6),
    Cells("hubs", "hubs", 5, lambda room: _count(len(room.hubs)), 1),
)
HUBS = (
    Cells("hub", "hub", 10, lambda hub: plain(hub.id), 0, left=True),
    Cells("state", "state", 10, _state, 0, left=True, grows=True),
    Cells("connections", "connections", 12, _said(lambda said: _count(said.connections)), 0),
    Cells("rooms", "rooms", 6, _said(lambda said: _count(said.rooms)), 4),
    Cells("joins", "joins/s", 8, _said(lambda said: _decimal(said.joins_per_second)), 2),
    Cells("unanswered", "unanswered", 11, _said(lambda said: _count(said.unanswered)), 6),
    Cells("lag", "lag ms", 7, _said(lambda said: _decimal(said.loop_lag.max_ms)), 1),
    Cells("calls", "calls", 7, _said(lambda said: _count(said.store_calls.count)), 7),
    Cells("mean", "redis ms", 9, _said(lambda said: _decimal(said.store_calls.mean_ms)), 3),
    Cells("p99", "p99 ms", 7, _said(lambda said: _decimal(said.store_calls.p99_ms)), 3),
    Cells("version", "version", 8, _said(lambda said: plain(said.version)), 5, left=True),
    Cells("process", "process", 12, _said(lambda said: plain(f"{said.host}:{said.pid}")), 8, left=True, grows=True),
)
CELLS: dict[Pane, tuple[Cells, ...]] = {"rooms": ROOMS, "hubs": HUBS}


def screen(view: View, top: Top | None, problem: str, width: int, height: int) -> RenderableType:
    """Return a whole screen. `problem`: why there is no newer look than `top`."""
    parts: list[RenderableType] = [summary(view, top, problem)]
    left = height - 2
    if top is not None:
        hubs = view.hubs_of(top)
        rooms = view.rooms_of(top)
        most = max(left // HUB_ROWS_SHARE, left - len(rooms) - 4)
        hub_lines = min(len(hubs), max(1, most))
        room_lines = max(0, left - hub_lines - 3)
        skipped = min(view.skipped, max(0, len(rooms) - room_lines))
        parts += [
            pane(view, "hubs", hubs[:hub_lines], width),
            Text(),
            pane(view, "rooms", rooms[skipped : skipped + room_lines], width),
        ]
        left -= hub_lines + 3 + min(room_lines, len(rooms) - skipped)
    parts += [Text()] * max(0, left)
    parts.append(_bottom(view))
    return Group(*parts)


def printed(view: View, top: Top, width: int) -> RenderableType:
    """Return everything, for a pipe or a file."""
    return Group(
        summary(view, top, ""),
        Text(),
        pane(view, "hubs", view.hubs_of(top), width),
        Text(),
        pane(view, "rooms", view.rooms_of(top), width),
    )


def summary(view: View, top: Top | None, problem: str) -> Text:
    """Return the first line."""
    line = Text(no_wrap=True, overflow="ellipsis")
    if problem:
        line.append(f"looking again: {plain(problem).plain}", "bold red")
        return line
    if top is None:
        return line.append("looking", "dim")
    living = [hub for hub in top.hubs if not _silent(hub)]
    connections = sum(hub.status.connections for hub in living if hub.status is not None)
    silent = len(top.hubs) - len(living)
    parts = [
        f"{top.store.scheme} {_decimal(top.store.answer_ms)} ms",
        f"{len(living)} hub{'s' * (len(living) != 1)}" + f" and {silent} silent" * (silent > 0),
        f"{_count(connections)} connections",
        f"{_count(top.rooms_total)} room{'s' * (top.rooms_total != 1)}",
    ]
    parts += [f"account {view.account}"] if view.account else []
    parts += [f"filter {view.filter}"] if view.filter else []
    line.append("capacity", "bold").append(" · " + plain(" · ".join(parts)).plain)
    return line.append(" · paused", "bold yellow") if view.paused else line


def pane(view: View, name: Pane, rows: Sequence[Any], width: int) -> Table:
    """Return one of the tables, in so many columns of text."""
    order: Order = getattr(view, name)
    shown = fitting(CELLS[name], width, order.word)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", width=width)
    for cells in shown:
        title = Text(cells.title, "reverse" if cells.word == order.word and view.pane == name else "")
        if cells.word == order.word:
            title.append(RISING if rising(name, order) else FALLING)
        table.add_column(
            title,
            justify="left" if cells.left else "right",
            width=None if cells.grows else cells.width,
            ratio=1 if cells.grows else None,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        table.add_row(*(cells.text(row) for cells in shown))
    return table


def fitting(columns: Sequence[Cells], width: int, sorted_by: str) -> list[Cells]:
    """Return the columns that fit: those of high rank are left out, but for the one that is sorted by."""
    shown = list(columns)
    while sum(cells.width + 1 for cells in shown) - 1 > width:
        spare = [cells for cells in shown if cells.rank and cells.word != sorted_by]
        if not spare:
            break
        shown.remove(max(spare, key=lambda cells: cells.rank))
    return shown


def _bottom(view: View) -> Text:
    if view.prompt:
        line = Text.assemble((f"{view.prompt}: ", "bold"), view.typed, ("▏", "blink"), ("  enter, esc", "dim"))
    else:
        line = Text(HELP, "dim")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
