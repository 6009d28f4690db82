"""What `capacity rehearse` does from its options to its exit code."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console

from capacity import publishing
from capacity.client import PlanPublisher, StreamPublisher, WebhookPublisher
from capacity.client.errors import address_of
from capacity.errors import SettingError
from capacity.flags import Failed
from capacity.rehearsal import show
from capacity.rehearsal.checker import verdict_of
from capacity.rehearsal.journal import Journal
from capacity.rehearsal.report import page_of
from capacity.rehearsal.room_for_many import make_room
from capacity.rehearsal.script import Script
from capacity.rehearsal.stage import SOURCE, Stage
from capacity.settings import Settings


def run(settings: Settings, url: str, script: Script, *, report: Path | None, as_json: bool) -> int:
    """Rehearse, show the verdict and write the report. Returns 0 if every promise held, else 1.

    `report`: where the HTML goes; None: a name with the date, here. Raises SettingError, and Failed for what was tried.
    """
    try:
        url = address_of(url)
    except ValueError as error:
        raise SettingError(f"URL: {error}.") from None
    key = settings.token_key
    if not key or key.startswith("file:"):
        raise SettingError(
            "CAPACITY_TOKEN_KEY: expected the HS256 secret that the server checks tokens with, to sign those of the audience, "
            f"got {'the file of a public key' if key else 'nothing'}."
        )
    at = datetime.now(UTC)
    target = report if report is not None else Path(f"capacity-rehearsal-{at:%Y-%m-%d-%H%M%S}.html")
    if not target.parent.is_dir():
        raise SettingError(f"--report: expected a file in a directory that is there, got {str(target)!a}.")
    make_room(script.attendees)
    err = Console(stderr=True)
    journal = _rehearse(settings, url, script, key, err)
    verdict = verdict_of(journal)
    try:
        target.write_text(page_of(journal, verdict, url, at), "utf-8")
    except OSError as error:
        raise Failed(f"the report could not be written to {str(target)!a}: {error.strerror}") from None
    out = Console()
    if as_json:
        out.out(msgspec.json.encode(verdict).decode(), highlight=False)
    else:
        show.show(verdict, out)
    err.print(f"The report with pictures: {target}", highlight=False, markup=False, soft_wrap=True)
    return 0 if verdict.held else 1


def _publisher(settings: Settings, url: str) -> PlanPublisher:
    """By webhook where there is a secret to sign with, else into the stream of the store."""
    if settings.webhook_secrets:
        return WebhookPublisher(url, settings.webhook_secrets[0], source=SOURCE)
    return StreamPublisher(publishing.store_url(settings, instead=", or CAPACITY_WEBHOOK_SECRET"), source=SOURCE)


def _rehearse(settings: Settings, url: str, script: Script, key: str, console: Console) -> Journal:
    def warn(text: str) -> None:
        console.print(f"capacity: {text}", highlight=False, soft_wrap=True, markup=False)

    async def play() -> Journal:
        # As Ctrl-C does; what ends a job in CI shall not leave an open room behind.
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        stage = Stage(script, url, key, _publisher(settings, url), warn=warn)
        show.announce(script, url, console)
        with show.progress(stage.journal, console) as looks:
            return await stage.play(looks)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(play())
    except asyncio.CancelledError:
        raise Failed("the rehearsal was ended from outside; the room is ended and the account put back") from None
