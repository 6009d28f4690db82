"""What `capacity events` does: shows what became of the plan-changed events, and replays a rejected one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError
from rich.table import Table
from rich.text import Text

from capacity.domain import ids
from capacity.domain.instants import at
from capacity.errors import Refused, SettingError, Unavailable
from capacity.protocol.answers import Word
from capacity.publishing import store_url
from capacity.settings import Settings
from capacity.store.redis import Clients
from capacity.store.verdicts import Page, Verdict, Verdicts

Answer = TypeVar("Answer")

STYLES = {"applied": "green", "rejected": "bold red", "duplicate": "dim", "stale": "dim"}
ENTRY_CHARACTERS = 15
HANDLED_CHARACTERS = 14
VERDICT_CHARACTERS = 9


class NotShown(Exception):
    """The store could not be asked, or refused. `str()` says why in a few words."""


def events(settings: Settings, *, account: str | None, verdict: Word | None, limit: int) -> Page:
    """Return the newest verdicts, looking through all that are kept. Raises SettingError for no account id, and NotShown."""
    if account is not None and not ids.is_account(account):
        raise SettingError(f"--account: expected the id of an account, got {account!a}.")

    async def look(clients: Clients) -> Page:
        verdicts = Verdicts(clients.scripts)
        found: list[Verdict] = []
        before: str | None = None
        while True:
            page = await verdicts.page(account=account, verdict=verdict, limit=limit - len(found), before=before)
            found += page.verdicts
            before = page.next
            if before is None or len(found) == limit:
                return Page(found, before)

    return ask(settings, look)


def replay(settings: Settings, entry: str) -> str:
    """Put the rejected event of an entry back into the stream; returns its new entry id. Raises SettingError and NotShown."""
    if not ids.is_entry(entry):
        raise SettingError(f"--replay: expected the id of an entry such as 1795428760000-0, got {entry!a}.")
    return ask(settings, lambda clients: Verdicts(clients.scripts).replay(entry))


def table(page: Page) -> Table:
    """Return the page for people: one line each, in 80 columns or what the terminal has; what is too long is cut off."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    found.add_column("entry", min_width=ENTRY_CHARACTERS, no_wrap=True)
    found.add_column("handled (UTC)", min_width=HANDLED_CHARACTERS, no_wrap=True)
    found.add_column("verdict", min_width=VERDICT_CHARACTERS, no_wrap=True)
    found.add_column("account", overflow="ellipsis", no_wrap=True)
    found.add_column("what", overflow="ellipsis", no_wrap=True)
    for verdict in page.verdicts:
        handled_at = at(verdict.handled_at)
        found.add_row(
            verdict.entry,
            f"{handled_at:%m-%d %H:%M:%S}",
            Text(verdict.verdict, STYLES[verdict.verdict]),
            plain(verdict.account or "?"),
            plain(verdict.reason or f"{verdict.seats} seats, {verdict.plan}"),
        )
    return found


def plain(text: str) -> Text:
    """Return anybody's text without what a terminal would obey."""
    return Text("".join(character if character.isprintable() else "\ufffd" for character in text))


def ask(settings: Settings, question: Callable[[Clients], Awaitable[Answer]]) -> Answer:
    """Ask the store of the settings. Raises SettingError if there is none, and NotShown."""
    url = store_url(settings)

    async def ask() -> Answer:
        clients = Clients(url)
        try:
            return await question(clients)
        finally:
            await clients.aclose()

    try:
        return asyncio.run(ask())
    except Refused as refused:
        raise NotShown(refused.detail) from None
    except (Unavailable, RedisError, OSError) as error:
        raise NotShown(f"the store did not answer ({str(error) or type(error).__name__})") from None
