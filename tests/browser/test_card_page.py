"""The page of the test card's bank: its owner confirms a payment there, or does not, and the seats rise or stay."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Pages
from tests.browser.service import Room, Service, token

SMALL, LARGE = 25, 50


@pytest.fixture
def room(service: Service, request: pytest.FixtureRequest) -> Room:
    """A room of an account that the billing desk manages, on the smallest plan."""
    account = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)
    found = Room(service, account, "main")
    ask(service, account, "PUT", "", {"plan": "starter"})
    found.open()
    return found


def ask(service: Service, account: str, method: str, path: str, body: object, **headers: str) -> dict[str, Any]:
    """Ask the desk as the platform does."""
    authorization = f"Bearer {token('platform', account=account, role='service')}"
    answer: httpx.Response = service.http.request(
        method, f"/v1/accounts/{account}{path}", json=body, headers={"Authorization": authorization, **headers}
    )
    assert answer.status_code in (200, 202), answer.text
    return dict(answer.json())


def pending(service: Service, account: str) -> tuple[dict[str, Any], str]:
    """Buy with the card that wants its owner; returns the quote and the address to confirm at."""
    quote = ask(service, account, "POST", "/quotes", {"plan": "growth"})
    return quote, bought(service, account, quote)["action_url"]


def bought(service: Service, account: str, quote: dict[str, Any]) -> dict[str, Any]:
    body = {"quote": quote["id"], "payment_method": "confirm"}
    return ask(service, account, "POST", "/purchases", body, **{"Idempotency-Key": "key"})


def test_the_owner_confirms_and_the_seats_rise(service: Service, room: Room, pages: Pages) -> None:
    quote, address = pending(service, room.account)
    page = pages.open(f"{service.url}{address}", width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Yes, pay").click()
    expect(page.locator("#text")).to_contain_text("Paid. You can close this page.")
    room.until(seat_limit=LARGE)
    assert bought(service, room.account, quote)["status"] == "completed"


def test_the_owner_refuses_and_nothing_changes(service: Service, room: Room, pages: Pages) -> None:
    _, address = pending(service, room.account)
    page = pages.open(f"{service.url}{address}", dark=True)
    page.get_by_role("button", name="No, do not pay").click()
    expect(page.locator("#text")).to_contain_text("Not paid. You can close this page.")
    room.until(seat_limit=SMALL)


def test_a_payment_that_is_over_says_so(service: Service, room: Room, pages: Pages) -> None:
    _, address = pending(service, room.account)
    first, second = (pages.open(f"{service.url}{address}") for _ in range(2))
    first.get_by_role("button", name="Yes, pay").click()
    expect(first.locator("#text")).to_contain_text("Paid.")
    pages.allowed = re.compile("the server responded with a status of 404")
    second.get_by_role("button", name="No, do not pay").click()
    expect(second.locator("#text")).to_contain_text("This payment is over")
    room.until(seat_limit=LARGE)
