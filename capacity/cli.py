"""The program: `capacity serve`, `demo`, `token`, `publish`, `events`, `hooks`, `backup`, `rehearse`, `top` and `doctor`.

Whatever cannot work is one line on stderr: exit code 2 for a setting or an argument, 1 for something that was tried and
failed. Settings are read from the environment; every one has a flag, which wins.
"""

from __future__ import annotations

import os
import re
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from capacity import __version__, log, settings
from capacity.errors import Refused, SettingError
from capacity.flags import SETTINGS, Failed, settings_without, with_flags
from capacity.rehearsal.options import rehearse
from capacity.setting_readers import directory
from capacity.top.command import top

TTL_SECONDS_MAX = 10 * 366 * 24 * 3600
_UNITS_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

app = typer.Typer(
    name="capacity",
    help="Seats, waiting rooms and live seat limits for webinars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Role(StrEnum):
    host = "host"
    attendee = "attendee"
    service = "service"


class Verdict(StrEnum):
    applied = "applied"
    duplicate = "duplicate"
    stale = "stale"
    rejected = "rejected"


def main() -> None:
    """Run the program of sys.argv. Does not return."""
    try:
        app()
    except SettingError as error:
        _die(error, 2)
    except Failed as error:
        _die(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _die(error: Exception, code: int) -> None:
    print(f"capacity: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"capacity {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)]
Inherited = Annotated[int | None, typer.Option(hidden=True)]


@app.command()
@with_flags(*SETTINGS)
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that share the port, under a supervisor that restarts them, and replaces them on SIGHUP. "
            "Without it this process serves alone.",
            min=1,
            max=64,
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Serve /metrics here and no longer on the public port; each further worker on the next port.",
            min=0,
            max=65535,
        ),
    ] = None,
    metrics_host: Annotated[str | None, typer.Option(help="Address of that port. Default: 127.0.0.1.")] = None,
    listening_fd: Inherited = None,
    supervisor_pid: Inherited = None,
    ready_fd: Inherited = None,
    metrics_fd: Inherited = None,
    succeeding: Annotated[bool, typer.Option("--succeeding", hidden=True)] = False,
) -> None:
    """Serve rooms until told to stop (SIGTERM, Ctrl-C)."""
    from capacity import serve as server

    loaded = settings.load(os.environ)
    log.set_up(loaded.log_level, loaded.log_format)
    if listening_fd is not None and supervisor_pid is not None and ready_fd is not None:
        server.work(
            loaded,
            listening_fd=listening_fd,
            supervisor_pid=supervisor_pid,
            ready_fd=ready_fd,
            metrics_fd=metrics_fd,
            succeeding=succeeding,
        )
        return
    code = server.run(
        loaded, host=host, port=port, workers=workers, metrics_host=metrics_host, metrics_port=metrics_port
    )
    raise typer.Exit(code)


@app.command()
@with_flags(*SETTINGS)
def demo(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    audience: Annotated[bool, typer.Option(help="Let a simulated audience arrive.")] = True,
) -> None:
    """Serve one room with people in it, to be looked at in a browser. Logs warnings, if not told otherwise."""
    from capacity import demo as demonstration

    level, format = (os.environ.get(settings.variable_of(name), "") for name in ("log_level", "log_format"))
    told = settings.load({}, require_token_key=False, log_level=level.strip() or "warning", log_format=format)
    log.set_up(told.log_level, told.log_format)
    given = os.environ.get("CAPACITY_DATA_DIR", "").strip()
    data_dir = directory("CAPACITY_DATA_DIR", given) if given else None
    raise typer.Exit(demonstration.run(os.environ, host=host, port=port, audience=audience, data_dir=data_dir))


@app.command()
@with_flags("token_key")
def token(
    account: Annotated[str, typer.Option(help="The account; * for a service that acts on all.")],
    sub: Annotated[str, typer.Option(help="The participant.")],
    role: Annotated[Role, typer.Option(help="Who that is.")],
    room: Annotated[str | None, typer.Option(help="The room; a service needs none.")] = None,
    name: Annotated[str | None, typer.Option(help="A name to show to hosts.")] = None,
    billing: Annotated[bool, typer.Option("--billing", help="This host may buy.")] = False,
    ttl: Annotated[str, typer.Option(help="How long it is valid: seconds, or such as 30m, 12h, 7d.")] = "12h",
) -> None:
    """Print a token signed with the HS256 secret of CAPACITY_TOKEN_KEY."""
    import jwt

    from capacity.protocol.tokens import claims_of

    key = settings.load({"CAPACITY_TOKEN_KEY": os.environ.get("CAPACITY_TOKEN_KEY", "")}).token_key
    if key.startswith("file:"):
        raise SettingError(
            "CAPACITY_TOKEN_KEY: expected an HS256 secret to sign with, got the file of a public key; "
            "whoever has the private key signs the tokens."
        )
    if billing and role is not Role.host:
        raise SettingError(f"--billing: expected with --role host, got --role {role}; only a host may buy.")
    claims: dict[str, Any] = {"aud": "capacity", "exp": int(time.time()) + _seconds(ttl)}
    claims |= {"sub": sub, "account": account, "role": str(role)}
    claims |= {"room": room} if room is not None else {}
    claims |= {"name": name} if name is not None else {}
    claims |= {"billing": True} if billing else {}
    try:
        claims_of(claims)
    except Refused as refused:
        raise SettingError(refused.detail) from None
    print(jwt.encode(claims, key, algorithm="HS256"))


@app.command()
@with_flags("redis_url", "data_dir", "webhook_secret", "plans")
def publish(
    account: Annotated[str, typer.Argument(help="The account whose plan changed.")],
    seats: Annotated[int, typer.Option(help="Seats per room from now on.")],
    plan: Annotated[
        str | None, typer.Option(help="The plan's id; without it, the monthly plan with as many seats, else custom.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Grows with every change of the account.")] = None,
    concurrent_sessions: Annotated[int | None, typer.Option(help="Rooms that may be open at once.")] = None,
    url: Annotated[str | None, typer.Option(help="Post it, signed, to this server, instead of to the stream.")] = None,
) -> None:
    """Tell the service of a plan change, as a billing system does."""
    from capacity import publishing

    event = publishing.event(
        settings_without("token_key"),
        account,
        seats=seats,
        plan=plan,
        version=version,
        concurrent_sessions=concurrent_sessions,
    )
    try:
        loaded = settings_without("token_key")
        said = publishing.post(loaded, event, url) if url is not None else publishing.append(loaded, event)
    except publishing.NotPublished as error:
        raise Failed(f"not published: {error}") from None
    print(said)


@app.command()
@with_flags("redis_url", "data_dir")
def events(
    account: Annotated[str | None, typer.Option(help="Of this account alone.")] = None,
    verdict: Annotated[Verdict | None, typer.Option(help="With this verdict alone.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=10_000)] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, as GET /v1/events answers.")
    ] = False,
    replay: Annotated[
        str | None, typer.Option(metavar="ENTRY", help="Put this rejected event back into the stream instead.")
    ] = None,
) -> None:
    """Show what became of every plan-changed event, or replay a rejected one."""
    import msgspec
    from rich.console import Console

    from capacity import console
    from capacity.protocol.answers import Replayed
    from capacity.web.answers import handled_events

    loaded = settings_without("token_key")
    try:
        if replay is not None:
            if account is not None or verdict is not None:
                raise SettingError("--replay: expected without --account and --verdict; the entry says which event.")
            done = Replayed(console.replay(loaded, replay), replay)
            print(msgspec.json.encode(done).decode() if as_json else f"replayed {replay} as entry {done.entry}")
            return
        page = console.events(loaded, account=account, verdict=None if verdict is None else verdict.value, limit=limit)
    except console.NotShown as error:
        raise Failed(f"not {'shown' if replay is None else 'replayed'}: {error}") from None
    if as_json:
        print(msgspec.json.encode(handled_events(page)).decode())
    else:
        Console().print(console.table(page))


@app.command()
@with_flags("redis_url", "data_dir", "hook_urls")
def hooks(
    limit: Annotated[int, typer.Option(help="How many dead letters, newest first.", min=1, max=10_000)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    replay: Annotated[
        str | None, typer.Option(metavar="ENTRY", help="Send this dead letter again instead, or all of them.")
    ] = None,
) -> None:
    """Show which outbound webhooks wait and which were given up, or send these again."""
    import msgspec
    from rich.console import Console

    from capacity import dead_letters
    from capacity.console import NotShown

    loaded = settings_without("token_key", "hook_secret")
    try:
        if replay is not None:
            done = dead_letters.replay(loaded, replay)
            print(msgspec.json.encode(done).decode() if as_json else done)
            return
        state = dead_letters.state(loaded, limit)
    except NotShown as error:
        raise Failed(f"not {'shown' if replay is None else 'replayed'}: {error}") from None
    if as_json:
        print(msgspec.json.encode(state).decode())
    else:
        Console().print(*dead_letters.tables(state), sep="\n")


@app.command()
@with_flags("data_dir")
def backup(
    target: Annotated[Path, typer.Argument(help="Directory to make; it must not exist yet.")],
) -> None:
    """Copy the data of the embedded Valkey, whether or not the server runs. The copy is a data directory."""
    from capacity.store.backup import NotBackedUp, back_up

    loaded = settings_without("token_key", "hook_secret")
    if loaded.redis_url is not None:
        raise SettingError(
            "CAPACITY_REDIS_URL: expected not set, because the data directory of the embedded Valkey is copied; "
            "a Redis of your own is backed up by its own means."
        )
    try:
        size = back_up(loaded.data_dir, target.absolute())
    except NotBackedUp as error:
        raise Failed(f"not backed up: {error}") from None
    print(f"backed up {size:,} bytes of {loaded.data_dir} to {target}")


app.command()(rehearse)


@app.command()
@with_flags(*SETTINGS)
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Look for what is wrong: settings, keys, this machine, the store. Exits with 1 if something must be mended."""
    from rich.console import Console

    from capacity.doctor.examination import report

    loaded = settings.load(os.environ)
    log.set_up(loaded.log_level, loaded.log_format)
    text, code = report(loaded, as_json=as_json)
    Console(highlight=False).print(text, soft_wrap=True)
    raise typer.Exit(code)


app.command()(top)


def _seconds(text: str) -> int:
    matched = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text.strip())
    seconds = int(matched[1]) * _UNITS_SECONDS[matched[2]] if matched else 0
    if not 0 < seconds <= TTL_SECONDS_MAX:
        raise SettingError(f"--ttl: expected seconds, or such as 30m, 12h, 7d, at most ten years, got {text!a}.")
    return seconds
