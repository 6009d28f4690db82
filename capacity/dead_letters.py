"""What `capacity hooks` does: shows what waits for the endpoints of outbound webhooks and what was given up, and sends that again."""

from __future__ import annotations

from datetime import datetime

import msgspec
from rich.table import Table

from capacity.console import NotShown, ask, plain
from capacity.domain import ids
from capacity.domain.instants import at
from capacity.errors import SettingError
from capacity.hooks import endpoint
from capacity.settings import Settings
from capacity.store.hook_queue import LETTERS_PIECE, Dead, HookQueue
from capacity.store.redis import Clients

ALL = "all"


class Queue(msgspec.Struct, frozen=True):
    """An endpoint, without path and credentials, and how many deliveries wait for it."""

    endpoint: str
    waiting: int


class DeadLetter(msgspec.Struct, frozen=True):
    """A delivery that was given up. `event` is what was sent."""

    entry: str
    id: str
    endpoint: str
    type: str
    account: str
    room: str
    attempts: int
    reason: str
    died_at: datetime
    event: msgspec.Raw


class State(msgspec.Struct, frozen=True):
    """The queues of the endpoints in the settings, and the newest dead letters; `more`: there are older ones."""

    queues: list[Queue]
    letters: list[DeadLetter]
    more: bool


class Replayed(msgspec.Struct, frozen=True):
    """How many dead letters are on their way again; `left`: those of endpoints that the settings no longer have."""

    replayed: int
    left: int

    def __str__(self) -> str:
        left = f"; {self.left} left alone, their endpoint is not in CAPACITY_HOOK_URLS" if self.left else ""
        return f"{self.replayed} on their way again{left}"


def state(settings: Settings, limit: int) -> State:
    """Return what waits, and the newest dead letters. Raises SettingError if there is no store, and NotShown."""

    async def look(clients: Clients) -> State:
        queue = HookQueue(clients.scripts)
        queues = [Queue(endpoint.shown(url), await queue.waiting(endpoint.id_of(url))) for url in settings.hook_urls]
        letters: list[DeadLetter] = []
        before: str | None = None
        while len(letters) <= limit:
            piece = await queue.dead(before=before, count=min(limit + 1 - len(letters), LETTERS_PIECE))
            letters += map(_shown, piece)
            if not piece:
                break
            before = piece[-1].entry
        return State(queues, letters[:limit], len(letters) > limit)

    return ask(settings, look)


def replay(settings: Settings, which: str) -> Replayed:
    """Send a dead letter again, or all. Raises SettingError for what is no entry and without endpoints, and NotShown."""
    if which != ALL and not ids.is_entry(which):
        raise SettingError(
            f"--replay: expected all, or the entry of a dead letter such as 1795428760000-0, got {which!a}."
        )
    if not settings.hook_urls:
        raise SettingError(
            "CAPACITY_HOOK_URLS: expected the addresses that the service runs with, got nothing; set it."
        )
    known = {endpoint.id_of(url) for url in settings.hook_urls}

    async def one(clients: Clients) -> Replayed:
        queue = HookQueue(clients.scripts)
        dead = await queue.letter(which)
        if dead is None:
            raise NotShown(f"there is no dead letter {which}")
        if dead.letter.endpoint not in known:
            raise NotShown(f"its endpoint, {dead.letter.to}, is not in CAPACITY_HOOK_URLS")
        return Replayed(int(await queue.replay(dead)), 0)

    async def every(clients: Clients) -> Replayed:
        queue = HookQueue(clients.scripts)
        replayed, left, before = 0, 0, None
        while piece := await queue.dead(before=before):
            for dead in piece:
                if dead.letter.endpoint in known:
                    replayed += await queue.replay(dead)
                else:
                    left += 1
            before = piece[-1].entry
        return Replayed(replayed, left)

    return ask(settings, every if which == ALL else one)


def tables(state: State) -> list[Table | str]:
    """Return the state for people: the queues, and the dead letters one line each, cut to what the terminal has."""
    shown: list[Table | str] = []
    if state.queues:
        queues = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        queues.add_column("endpoint", no_wrap=True)
        queues.add_column("waiting", justify="right")
        for queue in state.queues:
            queues.add_row(plain(queue.endpoint), str(queue.waiting))
        shown += [queues, ""]
    if not state.letters:
        return [*shown, "no dead letters"]
    letters = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    letters.add_column("entry", no_wrap=True, min_width=15)
    letters.add_column("died (UTC)", no_wrap=True, min_width=11)
    letters.add_column("reason", no_wrap=True, min_width=len("reason"))
    letters.add_column("type", no_wrap=True, min_width=len("near_full"))
    for name in ("room", "endpoint"):
        letters.add_column(name, overflow="ellipsis", no_wrap=True)
    for letter in state.letters:
        letters.add_row(
            letter.entry,
            f"{letter.died_at:%m-%d %H:%M}",
            plain(letter.reason),
            plain(letter.type.removeprefix("room.")),
            plain(f"{letter.account} {letter.room}"),
            plain(letter.endpoint.removeprefix("https://")),
        )
    shown.append(letters)
    if state.more:
        shown.append("there are older ones: --limit")
    return shown


def _shown(dead: Dead) -> DeadLetter:
    letter, delivery = dead.letter, dead.letter.delivery
    return DeadLetter(
        entry=dead.entry,
        id=letter.id,
        endpoint=letter.to,
        type=delivery.type,
        account=delivery.account,
        room=delivery.room,
        attempts=delivery.attempts,
        reason=letter.reason,
        died_at=at(dead.died_at),
        event=delivery.body,
    )
