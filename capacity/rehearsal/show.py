"""The rehearsal in the terminal: how it goes while it goes, and the verdict. All on stderr but the verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from capacity.rehearsal.journal import Hall, Journal
from capacity.rehearsal.script import Script
from capacity.rehearsal.verdict import Verdict, duration

LINES = 10
"""How many lines tell of a rehearsal where there is no terminal to draw a bar in."""


@contextlib.contextmanager
def progress(journal: Journal, console: Console) -> Iterator[Callable[[float], None]]:
    """Show how the rehearsal goes. What is yielded is called with the seconds that have passed."""
    total = journal.script.duration_seconds
    if not console.is_terminal:
        told = 0

        def tell(passed: float) -> None:
            nonlocal told
            if passed * LINES >= told * total:
                told += 1
                console.print(
                    f"{passed:5.1f} s  {_counts(journal.hall)}", highlight=False, markup=False, soft_wrap=True
                )

        yield tell
        return
    with Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("Rehearsing", total=total, counts="")
        yield lambda passed: bar.update(task, completed=passed, counts=_counts(journal.hall))


def _counts(hall: Hall) -> str:
    places = hall.places
    counts = [
        ("arrived", hall.came),
        ("seated", places["seated"]),
        ("held", places["held"]),
        ("waiting", places["waiting"]),
    ]
    counts += [("away", hall.away)] if hall.away else []
    return " · ".join(f"{name} {count:,}" for name, count in counts)


def announce(script: Script, url: str, console: Console) -> None:
    """Say what will happen."""
    console.print(
        f"{script.attendees:,} attendees come to {url} within {script.duration_seconds:g} s, as room {script.room} of "
        f"account {script.account}: {script.seats:,} seats, from {script.raise_at_seconds:g} s on {script.raise_to:,}. "
        "Ctrl-C ends it and clears up.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def verdict_table(verdict: Verdict) -> Table:
    """Return the promises as a table."""
    broken = sum(not promise.held for promise in verdict.promises)
    title = "Every promise held" if verdict.held else f"{broken} of {len(verdict.promises)} promises broken"
    table = Table("", "promise", "what was seen", title=title, title_style="bold green" if verdict.held else "bold red")
    for promise in verdict.promises:
        mark = "[green]held[/]" if promise.held else "[bold red]broken[/]"
        table.add_row(mark, promise.promise, escape(promise.says))
    return table


def show(verdict: Verdict, console: Console) -> None:
    """Print the verdict and the figures that explain it."""
    figures = verdict.figures
    console.print(verdict_table(verdict))
    seat = figures.seat
    lines = [
        f"{figures.seated_at_the_end:,} seated and {figures.waiting_at_the_end:,} waiting at the end; "
        f"the longest line had {figures.waiting_max:,}.",
    ]
    if seat.count:
        lines.append(
            f"{seat.count:,} waited for a seat: half of them up to {duration(seat.p50)}, the longest {duration(seat.max)}."
        )
    if figures.endings:
        ends = ", ".join(f"{end.count:,} × {end.code} {end.reason}".strip() for end in figures.endings)
        lines.append(f"Connections that were lost or refused: {ends}.")
    lines.append(
        f"This machine was late by {duration(figures.lag.p99)} (p99) itself, at most {duration(figures.lag.max)}."
    )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
