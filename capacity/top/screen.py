"""`capacity top` on a terminal, in a pipe, and as one document."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import msgspec
from rich.console import Console
from rich.live import Live

from capacity.domain import ids
from capacity.errors import SettingError
from capacity.publishing import store_url
from capacity.settings import Settings
from capacity.store.keys import RoomName
from capacity.top import table
from capacity.top.document import Top
from capacity.top.keyboard import keys
from capacity.top.reading import FAILURES, Reader
from capacity.top.view import Order, View


class NotSeen(Exception):
    """The store could not be read. `str()` says why in a few words."""


class Wish(msgspec.Struct, frozen=True):
    """What somebody asked for."""

    interval_seconds: float = 1.0
    """Between two looks; what a single document says of rates and forecasts was seen within it."""
    limit: int = 200
    """How many rooms a document or a printed table has at most."""
    sort: str = "waiting"
    reverse: bool = False
    filter: str = ""
    account: str = ""

    def view(self) -> View:
        """Return what to show first. Raises SettingError for no account id."""
        if self.account and not ids.is_account(self.account):
            raise SettingError(f"--account: expected the id of an account, got {self.account!a}.")
        return View(filter=self.filter, account=self.account, rooms=Order(self.sort, self.reverse))


def document(settings: Settings, wish: Wish) -> Top:
    """Return all hubs, and the first rooms in the order wished for. Takes the interval, for two looks. Raises SettingError and NotSeen."""
    view, url = wish.view(), store_url(settings)

    async def look() -> Top:
        reader = Reader(url, view.matches)
        try:
            await reader.look_at_all()
            await asyncio.sleep(wish.interval_seconds)
            top = await reader.look_at_all()
        except FAILURES as error:
            raise NotSeen(_why(error)) from None
        finally:
            await reader.aclose()
        return msgspec.structs.replace(top, hubs=view.hubs_of(top), rooms=view.rooms_of(top)[: wish.limit])

    return asyncio.run(look())


def show(settings: Settings, wish: Wish, console: Console) -> None:
    """Show tables: on a terminal until somebody presses q, else once. Raises SettingError and NotSeen."""
    if console.is_terminal:
        view, url = wish.view(), store_url(settings)
        asyncio.run(_Screen(Reader(url, view.matches), view, wish.interval_seconds, console).run())
    else:
        console.print(table.printed(wish.view(), document(settings, wish), console.width))


class _Screen:
    """A terminal that shows a store."""

    def __init__(self, reader: Reader, view: View, interval_seconds: float, console: Console) -> None:
        self._reader = reader
        self._view = view
        self._interval_seconds = interval_seconds
        self._console = console
        self._top: Top | None = None
        self._problem = ""
        self._drawn_is_old = asyncio.Event()
        self._look_now = asyncio.Event()

    async def run(self) -> None:
        """Look and show until somebody has had enough. A store that cannot be read is said to be so, and looked for again."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._pressed, "ctrl-c")
        loop.add_signal_handler(signal.SIGWINCH, self._drawn_is_old.set)
        with Live(console=self._console, screen=True, auto_refresh=False) as live, keys(self._pressed):
            looking = loop.create_task(self._keep_looking())
            looking.add_done_callback(lambda _: self._drawn_is_old.set())
            try:
                while not self._view.done and not looking.done():
                    width, height = self._console.size
                    live.update(table.screen(self._view, self._top, self._problem, width, height), refresh=True)
                    await self._drawn_is_old.wait()
                    self._drawn_is_old.clear()
            finally:
                looking.cancel()
                await asyncio.wait([looking])
                await self._reader.aclose()
        if not looking.cancelled():
            looking.result()  # it only ends by a bug

    async def _keep_looking(self) -> None:
        while True:
            self._look_now.clear()
            if not self._view.paused:
                try:
                    self._top = await self._reader.look(self._shown())
                    self._problem = ""
                except FAILURES as error:
                    self._problem = _why(error)
                self._drawn_is_old.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), self._interval_seconds)

    def _shown(self) -> list[RoomName]:
        """Return the rooms that may be on the screen."""
        if self._top is None:
            return []
        rooms = self._view.rooms_of(self._top)[self._view.skipped :][: self._console.height]
        return [RoomName(room.account, room.room) for room in rooms]

    def _pressed(self, key: str) -> None:
        before, after = self._view, self._view.pressed(key)
        last = max(0, len(self._top.rooms) - 1) if self._top is not None else 0
        self._view = msgspec.structs.replace(after, skipped=min(after.skipped, last))
        self._reader.matches = self._view.matches
        if (before.filter, before.account, before.paused) != (after.filter, after.account, after.paused):
            self._look_now.set()
        self._drawn_is_old.set()


def _why(error: BaseException) -> str:
    return f"the store cannot be read ({str(error) or type(error).__name__})"
