"""The command itself: its options, and what goes to stdout. What it needs is imported when it runs, so that other commands start fast."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from capacity.flags import Failed, settings_without, with_flags


class RoomOrder(StrEnum):
    room = "room"
    state = "state"
    limit = "limit"
    occupied = "occupied"
    seated = "seated"
    held = "held"
    away = "away"
    waiting = "waiting"
    rate = "rate"
    forecast = "forecast"
    peak = "peak"
    hubs = "hubs"


@with_flags("redis_url", "data_dir")
def top(
    sort: Annotated[RoomOrder, typer.Option(help="Which column the rooms are sorted by.")] = RoomOrder.waiting,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    filter: Annotated[str, typer.Option(help="Rooms with this in ACCOUNT/ROOM alone.")] = "",
    account: Annotated[str, typer.Option(help="Rooms of this account alone.")] = "",
    interval: Annotated[float, typer.Option(help="Seconds between two looks at the store.", min=0.2, max=600)] = 1.0,
    limit: Annotated[int, typer.Option(help="How many rooms are printed, with --json and into a pipe.", min=1)] = 200,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead, of two looks; see docs/operations.md.")
    ] = False,
) -> None:
    """Show all rooms and hubs live: who has how many seats, who waits, how fast hubs and store are."""
    import msgspec
    from rich.console import Console

    from capacity.top import screen

    settings = settings_without("token_key")
    wish = screen.Wish(interval, limit, sort.value, reverse, filter, account)
    try:
        if as_json:
            typer.echo(msgspec.json.encode(screen.document(settings, wish)).decode())
        else:
            screen.show(settings, wish, Console())
    except screen.NotSeen as error:
        raise Failed(f"not shown: {error}") from None
