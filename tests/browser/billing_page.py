"""The account page as its reader sees it: what it says, what can be pressed, and the dialog; and what the desk says."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.scenes import Stage
from tests.browser.service import Room, token

DAY_SECONDS = 86_400
CHANGES = {"upgrade": "Upgrade", "downgrade": "Downgrade", "sessions": "Change…"}


def days_ago(days: float, *, seconds: float = 0) -> str:
    """The instant so many days, less some seconds, before now."""
    return datetime.fromtimestamp(time.time() - days * DAY_SECONDS + seconds, UTC).isoformat()


def day(instant: str) -> str:
    """An instant as the page writes it in English: `November 24, 2026`."""
    local = datetime.fromisoformat(instant).astimezone()
    return f"{local:%B} {local.day}, {local.year}"


def dollars(amount: int) -> str:
    """Cents as the page writes them in English: `$1,234.56`."""
    return f"${amount / 100:,.2f}"


class BillingPage:
    """The page of one account, opened by a host who may buy."""

    def __init__(self, stage: Stage, account: str, *, page: Page | None = None) -> None:
        self.stage = stage
        self.account = account
        self.page = page if page is not None else stage.page()
        self.dialog = self.page.get_by_role("dialog")
        self.alert = self.page.get_by_role("alert").filter(has_text=".")
        self.plans = self.dialog.get_by_role("radio")
        self.rows = self.page.locator("tbody tr")
        self.amounts = self.rows.locator("td:last-child strong")
        self.states = self.rows.locator("td:last-child div")

    def open(self) -> BillingPage:
        """Open, and wait until the details are there."""
        self.page.goto(self.stage.address("/account", self.stage.host(self.account)))
        expect(self.fact("plan_size")).to_be_visible()
        return self

    def fact(self, name: str) -> Locator:
        """What the details say of it."""
        return self.page.locator(f"dd[part={name}]")

    def notice(self, name: str) -> Locator:
        """One of the notices over the details."""
        return self.page.locator(f".notice[data-key={name}]")

    def button(self, name: str) -> Locator:
        """A button, by its name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def part(self, name: str) -> Locator:
        """A part of the dialog."""
        return self.dialog.locator(f"[part~={name}]")

    def change(self, purpose: str) -> None:
        """Open the dialog, and wait for its price."""
        self.button(CHANGES[purpose]).click()
        expect(self.part("due")).to_be_visible()

    def choose(self, plan: str) -> None:
        """Choose another plan by its id, and wait for its price."""
        shown = self.part("summary").get_attribute("data-key")
        self.dialog.locator(f"input[value={plan}]").check()
        expect(self.dialog.locator(f"[data-key='{shown}']")).to_have_count(0)
        expect(self.part("due")).to_be_visible()

    def press_buy(self, card: str | None = None) -> None:
        """Pay with a card."""
        if card is not None:
            self.dialog.get_by_label("Test card").select_option(card)
        self.dialog.locator("button.primary").click()

    def buy(self, card: str | None = None) -> None:
        """Pay with a card, wait until it is done, and go back to the details."""
        self.press_buy(card)
        expect(self.dialog.get_by_role("heading", name="Done")).to_be_visible()
        self.button("Back").click()
        expect(self.dialog).to_have_count(0)

    def look_again(self) -> None:
        """Come back to the page from another tab."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    # ---- what the desk says

    def state(self) -> dict[str, Any]:
        """The account as the desk has it."""
        return self.stage.desk("GET", self.account, "")

    def quoted(self, **change: object) -> dict[str, Any]:
        """What the desk says to a change: its quote, or why not."""
        return dict(self._ask("POST", "/quotes", change).json())

    def csv(self) -> str:
        """The ledger as the desk writes it."""
        return self._ask("GET", "/ledger?format=csv&limit=5000").text

    def ledger(self, *kinds: str) -> list[dict[str, str]]:
        """The rows of the ledger of these kinds; all by default."""
        return [row for row in csv.DictReader(io.StringIO(self.csv())) if not kinds or row["kind"] in kinds]

    def catalogue(self) -> dict[str, Any]:
        """What is on sale, and how it is paid."""
        return dict(self._ask("GET", None).json())

    def _ask(self, method: str, path: str | None, body: object = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token('platform', account=self.account, role='service')}"}
        address = "/v1/plans" if path is None else f"/v1/accounts/{self.account}{path}"
        return self.stage.service.http.request(method, address, json=body, headers=headers)

    def room(self) -> Room:
        """A room of the account that is open."""
        room = Room(self.stage.service, self.account, "live")
        room.open()
        return room


def once(lost: Callable[[Route], None]) -> Callable[[Route, Request], None]:
    """Return a handler that treats the first request so, and lets the others pass."""
    seen: list[Request] = []

    def handle(route: Route, request: Request) -> None:
        seen.append(request)
        if len(seen) == 1:
            lost(route)
        else:
            route.continue_()

    return handle
