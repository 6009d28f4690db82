"""Buying more seats in the room: from the banner through the dialog to the desk, and what becomes of everybody there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Dialog, Locator, Page, Route, expect

from tests.browser import scenes
from tests.browser.conftest import Pages
from tests.browser.scenes import Stage
from tests.browser.service import Room, Service, wait_for
from tests.browser.test_host_page import banner_text, expect_banner

SEATS, NEXT_SEATS = 25, 50  # the two smallest monthly plans of the shipped catalogue
NEAR_FULL = 23  # ceil(0.9 * 25)
DUE, FULL_PRICE = "$14.50", "$40.00"  # 29 of 30 days are left
RISEN = f"The seat limit rose from {SEATS} to {NEXT_SEATS}"
POLL_MS = 1_500
NOT_LOADED = re.compile("Failed to load resource")


def mark(page: Page) -> None:
    """Leave a mark that a reload would wipe away."""
    page.evaluate("() => { window.capacityMark = true; }")


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("() => window.capacityMark === true"))


def dialog_of(page: Page) -> Locator:
    return page.locator("capacity-plan-dialog dialog")


def upgrade(page: Page) -> Locator:
    """Press Upgrade, and return the dialog once it says what is due."""
    page.locator("[part~=upgrade]").click()
    dialog = dialog_of(page)
    expect(dialog.locator("[part=due]")).to_have_text(DUE)
    return dialog


def buy(dialog: Locator, card: str = "pays") -> None:
    dialog.get_by_label("Test card").select_option(card)
    dialog.get_by_role("button", name=f"Buy for {DUE}").click()


def polls_until(page: Page, wanted: Locator) -> None:
    """Let the dialog ask again how it stands, in the page's own time, until something is seen."""

    def seen() -> bool:
        page.clock.run_for(POLL_MS)
        return wanted.is_visible()

    wait_for(seen, what=str(wanted))


def expect_done(dialog: Locator) -> None:
    expect(dialog.get_by_role("heading", name="Done")).to_be_visible()
    expect(dialog).to_contain_text(f"Each room has {NEXT_SEATS} seats now, open ones included.")
    expect(dialog).to_contain_text(f"Paid: {DUE}")
    dialog.get_by_role("button", name="Back").click()
    expect(dialog).to_be_hidden()


class FullRoom:
    """An open room, full, of an account at the desk that has the smallest plan."""

    def __init__(self, pages: Pages, service: Service) -> None:
        self._pages = pages
        self._stage = Stage(pages, service)
        self.room = Room(service, self._stage.account("starter"), "main")
        self.room.open()

    def host(self, participant: str = "host", **claims: Any) -> Page:
        page = self._pages.open(self.room.host_address(participant, **claims))
        expect_banner(page, "full", "The room is full: nobody waits yet")
        return page

    @property
    def account(self) -> dict[str, Any]:
        return self._stage.desk("GET", self.room.account, "")

    def entries(self, kind: str) -> list[dict[str, Any]]:
        ledger = self._stage.desk("GET", self.room.account, "/ledger")["entries"]
        return [entry for entry in ledger if entry["kind"] == kind]

    def buys(self, plan: str) -> None:
        """Let the platform buy."""
        self._stage.buy(self.room.account, {"plan": plan})


@pytest.fixture
def full(pages: Pages, service: Service) -> Iterator[FullRoom]:
    found = FullRoom(pages, service)
    with found.room.guests(SEATS):
        yield found


def test_the_room_fills_and_an_upgrade_lets_the_line_in(pages: Pages, service: Service) -> None:
    demo = service.demo_room()
    host = pages.open(service.address("/host"))
    expect(host.locator("capacity-room [part=state]")).to_have_text("Open")
    mark(host)
    button = host.locator("[part~=upgrade]")
    with demo.guests(NEAR_FULL - 1):
        expect(host.locator("[part=occupied]")).to_have_text(str(NEAR_FULL - 1))
        expect_banner(host, "calm", "3 seats are free")
        expect(button).to_have_count(0)

        with demo.guests(1, "third-last"):
            expect_banner(host, "near_full", "Nearly full: 2 seats are left")
            banner_text(host).to_contain_text(f"The plan Growth has {NEXT_SEATS} seats: {DUE} due today.")
            expect(button).to_be_visible()

            with demo.guests(2, "last"):
                expect_banner(host, "full", "The room is full: nobody waits yet")
                attendee = pages.open(service.address("/join"))
                expect(attendee.locator("[part=position]")).to_have_text("You are next")
                second = pages.open(demo.join_address("second"), width=360, dark=True)
                expect(second.locator("[part=position]")).to_have_text("Place 2")
                expect(second.locator("[part=waiting]")).to_have_text("in a line of 2")
                expect_banner(host, "full", "The room is full: 2 people wait")
                for page in (attendee, second):
                    assert page.evaluate("window.capacityShifts") == []
                    mark(page)

                dialog = upgrade(host)
                expect(dialog.get_by_role("radio")).to_have_count(6)
                expect(dialog.get_by_role("radio", checked=True)).to_have_value("growth")
                expect(dialog.locator("[part=summary]")).to_contain_text(f"At once: {NEXT_SEATS} seats in each room")
                expect(dialog.locator("[part=next]")).to_have_text(
                    re.compile(rf"From \w+ \d+, \d+ on the full price: {re.escape(FULL_PRICE)}")
                )
                buy(dialog)

                for page in (attendee, second):
                    expect(page.get_by_role("heading", name="You have a seat")).to_be_visible()
                    assert not is_marked(page), "the waiting page has not reloaded itself"
                    assert page.evaluate("window.capacityShifts") == []
                expect_done(dialog)
                expect_banner(host, "good", RISEN)
                expect(host.locator("[part=occupied]")).to_have_text(str(SEATS + 2))
                expect(host.locator("[part=limit]")).to_have_text(f"of {NEXT_SEATS} seats taken")
                expect(host.locator("capacity-gauge [part=waiting]")).to_have_text("0")
                expect(button).to_have_count(0)
                expect(host.locator(".news li").first).to_contain_text(RISEN)
    assert is_marked(host), "the host's page was reloaded"
    assert host.evaluate("window.capacityShifts") == []


def test_a_declined_card_changes_nothing_and_another_can_be_tried(pages: Pages, full: FullRoom) -> None:
    pages.allowed = re.compile("the server responded with a status of 402")
    host = full.host()
    dialog = upgrade(host)
    buy(dialog, "is declined")
    expect(dialog.get_by_role("alert")).to_have_text("The card was declined. Nothing was charged and nothing changed.")
    assert (full.account["plan"], full.entries("payment"), len(full.entries("declined"))) == ("starter", [], 1)
    full.room.until(seat_limit=SEATS)
    expect_banner(host, "full", "The room is full: nobody waits yet")
    buy(dialog)
    expect_done(dialog)
    expect_banner(host, "good", RISEN)
    assert len(full.entries("payment")) == 1


def test_a_card_is_confirmed_in_another_tab_and_the_dialog_goes_on_by_itself(full: FullRoom) -> None:
    host = full.host()
    mark(host)
    dialog = upgrade(host)
    buy(dialog, "wants to be confirmed")
    with host.expect_popup() as opened:
        dialog.get_by_role("link", name="Confirm the payment").click()
    expect(dialog).to_contain_text("Waiting for your confirmation…")
    full.room.until(seat_limit=SEATS)
    card = opened.value
    card.get_by_role("button", name="Yes, pay").click()
    expect(card.locator("#text")).to_contain_text("Paid. You can close this page.")
    card.close()
    expect_done(dialog)
    expect_banner(host, "good", RISEN)
    assert is_marked(host)
    assert len(full.entries("payment")) == 1


def test_a_payment_that_waits_can_be_given_up(pages: Pages, full: FullRoom) -> None:
    # What was asked before it was given up may be answered after it.
    pages.allowed = re.compile("the server responded with a status of 402")
    dialog = upgrade(full.host())
    buy(dialog, "wants to be confirmed")
    dialog.get_by_role("button", name="Do not pay").click()
    expect(dialog.get_by_role("alert")).to_have_text("Nothing was paid and nothing changed.")
    expect(dialog.locator("[part=due]")).to_have_text(DUE)
    assert (full.account["plan"], full.account["payment"]) == ("starter", None)
    buy(dialog)
    expect_done(dialog)


@pytest.mark.parametrize(("arrives", "lost"), [(False, 1), (True, 1), (True, 4)])
def test_an_answer_that_gets_lost_is_bought_once(pages: Pages, full: FullRoom, arrives: bool, lost: int) -> None:
    """Whether the request got lost on its way there, or its answer on the way back; also if its reader has to ask again."""
    pages.allowed = NOT_LOADED
    host = full.host()
    keys: list[str | None] = []

    def lose_the_first(route: Route) -> None:
        keys.append(route.request.header_value("Idempotency-Key"))
        if len(keys) > lost:
            route.continue_()
            return
        if arrives:
            route.fetch()
        route.abort()

    host.route("**/purchases", lose_the_first)
    dialog = upgrade(host)
    host.clock.install()
    buy(dialog)
    polls_until(host, dialog.locator("[data-key=unsure]" if lost == 4 else "[data-key=done]").first)
    if lost == 4:
        expect(dialog).to_contain_text(
            "It is not known yet whether it was bought. Try again: you never pay twice for it."
        )
        dialog.get_by_role("button", name="Try again").click()
    expect_done(dialog)
    expect_banner(host, "good", RISEN)
    assert len(keys) == lost + 1 and len({*keys}) == 1
    assert [(entry["amount"], entry["by"]) for entry in full.entries("payment")] == [(1450, "host:host")]
    assert [entry["line"] for entry in full.entries("line")] == ["plan"]


@pytest.mark.parametrize(
    ("status", "code", "told", "again"),
    [
        (403, "forbidden", "This link may not see or change billing. Ask a host who may.", f"Buy for {DUE}"),
        (503, "unavailable", "The service is busy. Please try again.", "Try again"),
    ],
)
def test_a_refused_upgrade_is_told_and_can_be_tried_again(
    pages: Pages, full: FullRoom, status: int, code: str, told: str, again: str
) -> None:
    pages.allowed = re.compile(f"the server responded with a status of {status}")
    host = full.host()
    dialog = upgrade(host)
    problem = json.dumps({"code": code, "detail": "", "status": status})
    host.route("**/purchases", lambda route: route.fulfill(status=status, body=problem))
    host.clock.install()
    buy(dialog)
    alert = dialog.get_by_role("alert")
    polls_until(host, alert)
    expect(alert).to_have_text(told)
    host.unroute("**/purchases")
    dialog.get_by_role("button", name=again).click()
    expect_done(dialog)
    assert len(full.entries("payment")) == 1


def test_a_price_that_could_not_be_had_can_be_asked_for_again(pages: Pages, full: FullRoom) -> None:
    pages.allowed = re.compile("the server responded with a status of 503")
    host = full.host()
    host.route("**/quotes", lambda route: route.fulfill(status=503, body='{"code": "unavailable", "detail": ""}'))
    host.locator("[part~=upgrade]").click()
    dialog = dialog_of(host)
    expect(dialog.get_by_role("alert")).to_have_text("The service is busy. Please try again.")
    host.unroute("**/quotes")
    dialog.get_by_role("button", name="Try again").click()
    expect(dialog.locator("[part=due]")).to_have_text(DUE)
    expect(dialog.get_by_role("alert")).to_have_count(0)
    buy(dialog)
    expect_done(dialog)
    # The button that opened the dialog is gone: whoever uses a keyboard goes on at the news.
    expect(host.locator(".banner:not(.ghost) [part=title]")).to_be_focused()


def test_a_price_that_has_changed_is_shown_before_it_is_paid(pages: Pages, full: FullRoom) -> None:
    pages.allowed = re.compile("the server responded with a status of 409")
    dialog = upgrade(full.host())
    dialog.get_by_role("radio", name="Business").first.check()
    expect(dialog.locator("[part=due]")).to_have_text("$52.20")
    full.buys("growth")
    dialog.get_by_role("button", name="Buy for $52.20").click()
    expect(dialog.get_by_role("alert")).to_have_text("The price has changed meanwhile. Please look at it again.")
    expect(dialog.locator("[part=due]")).to_have_text("$37.70")
    assert full.account["plan"] == "growth"
    dialog.get_by_role("button", name="Buy for $37.70").click()
    expect(dialog.get_by_role("heading", name="Done")).to_be_visible()
    assert full.account["plan"] == "business"


def test_a_host_who_may_not_buy_asks_one_who_may(full: FullRoom) -> None:
    buyer = full.host("buyer")
    asker = full.host("asker", billing=False, name="<b>Ann</b>")
    banner_text(asker).to_contain_text(f"The plan Growth has {NEXT_SEATS} seats.")
    expect(asker.locator("[part~=upgrade]")).to_have_count(0)
    expect(buyer.locator("[part~=ask]")).to_have_count(0)
    asker.locator("[part~=ask]").click()
    expect(asker.get_by_role("button", name="Asked")).to_be_disabled()
    # The name is text, whatever it looks like.
    expect(buyer.locator("[part=asks]")).to_have_text("<b>Ann</b> asks for more seats.")
    expect(buyer.locator(".news li").first).to_contain_text("<b>Ann</b> asks for more seats in main.")
    expect(buyer.locator("b")).to_have_count(0)

    dialog = upgrade(buyer)
    buy(dialog)
    expect_done(dialog)
    for page in (asker, buyer):
        expect_banner(page, "good", RISEN)
        expect(page.locator("[part~=ask]")).to_have_count(0)
    expect(buyer.locator("[part=asks]")).to_be_hidden()


# ---- plans that are sold elsewhere


def offered(pages: Pages, service: Service, url: str) -> Page:
    """A host's page of a full room that is offered a plan at an address."""
    stage = Stage(pages, service)
    full = scenes.near_full(2, 2, line=3)
    due = {"amount": 123_450, "currency": "EUR"}
    full["upgrade"] = {"plan": "more", "name": "More", "seats": 5, "due_now": due, "url": url}
    page = stage.scripted("/host", stage.host(stage.room().account), scenes.occupancy(2, 2, line=3), full)
    expect_banner(page, "full", "The room is full: 3 people wait")
    banner_text(page).to_have_text("The plan More has 5 seats: €1,234.50 due today.")
    return page


def test_an_upgrade_sold_elsewhere_opens_in_a_new_tab(pages: Pages, service: Service) -> None:
    page = offered(pages, service, "https://billing.example/upgrade?account=a")
    page.context.route("https://billing.example/**", lambda route: route.fulfill(body="plans"))
    with page.context.expect_page() as opened:
        page.locator("[part~=upgrade]").click()
    opened.value.wait_for_url("https://billing.example/upgrade?account=a")  # without the token
    assert opened.value.evaluate("[window.opener, document.referrer]") == [None, ""]
    expect(page.locator("[part~=upgrade]")).to_be_enabled()
    expect(dialog_of(page)).to_have_count(0)


def test_an_account_that_is_managed_elsewhere_is_told_so(pages: Pages, service: Service) -> None:
    page = offered(pages, service, "/account")
    page.locator("[part~=upgrade]").click()
    told = "The plan of this account is changed by your webinar platform, not here."
    expect(dialog_of(page).get_by_role("alert")).to_have_text(told)
    dialog_of(page).get_by_role("button", name="Close").click()
    expect(dialog_of(page)).to_be_hidden()


def test_an_upgrade_address_that_is_none_is_not_opened(pages: Pages, service: Service) -> None:
    page = offered(pages, service, "javascript:alert(1)")
    alerts: list[str] = []

    def heard(dialog: Dialog) -> None:
        alerts.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", heard)
    told = "window.told = 0; addEventListener('capacity-upgrade', () => (told += 1))"
    page.evaluate(f"() => {{ {told} }}")
    page.locator("[part~=upgrade]").click()
    wait_for(lambda: page.evaluate("told") == 1, what="the button is heard")
    assert (len(page.context.pages), alerts) == (1, [])
    expect(dialog_of(page)).to_have_count(0)


def test_only_a_host_of_the_account_who_may_buy_can(service: Service, room: Room) -> None:
    demo = service.demo_room()
    path = f"/v1/accounts/{demo.account}"

    def asks(token: str | None, method: str, what: str, body: object) -> int:
        headers = {"Idempotency-Key": "key"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        return service.http.request(method, path + what, headers=headers, json=body).status_code

    for token, status in (
        (None, 401),
        ("nonsense", 401),
        (demo.token("guest"), 403),
        (demo.token("host", "host"), 403),
        (room.token("host", "host", billing=True), 403),
    ):
        for method, what, body in (
            ("POST", "/quotes", {"plan": "scale"}),
            ("POST", "/purchases", {"quote": "any", "payment_method": "good"}),
            ("GET", "/ledger", None),
            ("GET", "", None),
        ):
            assert asks(token, method, what, body) == status, (token, what)
    buyer = demo.token("host", "host", billing=True)
    assert asks(buyer, "POST", "/quotes", {"plan": "scale"}) == 200
    assert asks(buyer, "POST", "/quotes", {"plan": "nothing"}) == 400
    assert asks(buyer, "POST", "/quotes", {"plan": "trial"}) == 409
    assert asks(buyer, "POST", "/purchases", {"quote": "any", "payment_method": "good"}) == 404
    # What the demo once had instead of a desk.
    assert service.http.post("/demo/upgrade", headers={"Authorization": f"Bearer {buyer}"}).status_code == 404
