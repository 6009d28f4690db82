"""The options of `capacity rehearse`. What it needs is imported when it runs, so that other commands start without."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capacity.flags import settings_without, with_flags
from capacity.rehearsal.curves import Curve


@with_flags("token_key", "webhook_secret", "redis_url", "data_dir")
def rehearse(
    url: Annotated[str, typer.Argument(help="Address of the server, such as http://localhost:8000.")],
    attendees: Annotated[int, typer.Option(help="How many come.")],
    duration: Annotated[float, typer.Option(help="How long it takes, in seconds.")] = 30.0,
    curve: Annotated[Curve, typer.Option(help="How they arrive.")] = "doors",
    seats: Annotated[int | None, typer.Option(help="Seats at first. Default: 70 % of the attendees.")] = None,
    raise_to: Annotated[int | None, typer.Option(help="Seats after the raise. Default: enough for all.")] = None,
    raise_at: Annotated[float, typer.Option(help="When the plan is raised, as a share of the duration.")] = 0.6,
    account: Annotated[
        str | None, typer.Option(help="The account to rehearse with. Default: a new one, rehearsal-….")
    ] = None,
    room: Annotated[
        str | None, typer.Option(help="The room, which nobody opened yet. Default: a new one, rehearsal-….")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Where the page with pictures goes. Default: capacity-rehearsal-DATE.html here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as one JSON document.")] = False,
) -> None:
    """Rehearse a webinar with simulated attendees against your own server, and say which promises it kept."""
    import secrets

    from capacity.rehearsal import command, script

    chosen = script.script_of(
        account=account,
        room=room,
        attendees=attendees,
        duration_seconds=duration,
        curve=curve,
        seats=seats,
        raise_to=raise_to,
        raise_at=raise_at,
        suffix=secrets.token_hex(4),
    )
    raise typer.Exit(command.run(settings_without(), url, chosen, report=report, as_json=as_json))
