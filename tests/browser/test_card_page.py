"""The page of the test card's bank: its owner confirms a payment there, or does not, and the seats rise or stay."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Pages
from tests.browser.scenes import Stage
from tests.browser.service import Room, Service

SMALL, LARGE = 25, 50
QUESTION = "Here your bank would ask whether it is you who pays."
OVER = "This payment is over: it was decided, or its time has passed."


class Payment:
    """An account with an open room that has bought more seats with the card that wants its owner."""

    def __init__(self, pages: Pages, service: Service) -> None:
        self._stage = Stage(pages, service)
        self._account = self._stage.account("starter")
        self._quote = self._stage.desk("POST", self._account, "/quotes", {"plan": "growth"})
        self.room = Room(service, self._account, "main")
        self.room.open()
        action_url = str(self.bought()["action_url"])
        assert action_url.startswith("/card#")
        self.address = service.url + action_url
        self._pages = pages

    def bought(self) -> dict[str, object]:
        """Buy; or, with the same key, ask how it stands."""
        body = {"quote": self._quote["id"], "payment_method": "confirm"}
        return self._stage.desk("POST", self._account, "/purchases", body, key="key")

    def open(self, *, width: int = 1280, dark: bool = False, language: str = "en") -> Page:
        page = self._pages.open(self.address, width=width, dark=dark, language=language)
        expect(page.locator("#choice")).to_be_visible()
        return page


@pytest.fixture
def payment(pages: Pages, service: Service) -> Payment:
    return Payment(pages, service)


def expect_decided(page: Page, text: str) -> None:
    """It says so, and there is nothing left to decide."""
    expect(page.get_by_role("status")).to_have_text(text)
    expect(page.get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_text("")


def test_the_owner_confirms_and_the_seats_rise(payment: Payment) -> None:
    page = payment.open(width=360)
    expect(page.get_by_role("heading", name="Confirm the payment")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text(QUESTION)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    payment.room.until(seat_limit=SMALL)
    page.get_by_role("button", name="Yes, pay").focus()
    page.keyboard.press("Enter")
    expect_decided(page, "Paid. You can close this page.")
    payment.room.until(seat_limit=LARGE)
    assert payment.bought()["status"] == "completed"


def test_the_owner_refuses_and_nothing_changes(payment: Payment) -> None:
    page = payment.open(dark=True)
    page.get_by_role("button", name="No, do not pay").click()
    expect_decided(page, "Not paid. You can close this page.")
    payment.room.until(seat_limit=SMALL)


def test_a_payment_that_is_over_says_so(pages: Pages, payment: Payment) -> None:
    pages.allowed = re.compile("the server responded with a status of 404")
    first, second = payment.open(), payment.open()
    first.get_by_role("button", name="Yes, pay").click()
    expect(first.get_by_role("status")).to_contain_text("Paid.")
    second.get_by_role("button", name="No, do not pay").click()
    expect_decided(second, OVER)
    payment.room.until(seat_limit=LARGE)


def test_an_address_that_names_no_payment_says_so(pages: Pages, service: Service) -> None:
    pages.allowed = re.compile("the server responded with a status of 404")
    page = pages.open(f"{service.url}/card#nothing")
    page.get_by_role("button", name="Yes, pay").click()
    expect_decided(page, OVER)


@pytest.mark.parametrize(
    ("status", "text"), [(None, "The service cannot be reached"), (503, "The service is busy. Please try again.")]
)
def test_what_went_wrong_is_told_and_can_be_tried_again(
    pages: Pages, payment: Payment, status: int | None, text: str
) -> None:
    pages.allowed = re.compile("Failed to load resource")
    page = payment.open()
    page.route("**/payments/card", lambda route: route.abort() if status is None else route.fulfill(status=status))
    page.get_by_role("button", name="Yes, pay").click()
    expect(page.get_by_role("alert")).to_contain_text(text)
    payment.room.until(seat_limit=SMALL)
    page.unroute("**/payments/card")
    page.get_by_role("button", name="Yes, pay").click()
    expect_decided(page, "Paid. You can close this page.")
    payment.room.until(seat_limit=LARGE)


def test_the_bank_speaks_the_browsers_language(payment: Payment) -> None:
    page = payment.open(language="de-AT")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_label("Sprache")).to_have_value("de")
    expect(page.get_by_text("Yes, pay")).to_have_count(0)
