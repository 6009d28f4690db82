"""The host's page against a real server: the room fills, the banner comes, the upgrade works in place."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import Pages
from tests.browser.service import Room, Service

DEMO_SEATS, NEXT_SEATS = 25, 50  # the two smallest monthly plans of the shipped catalogue
NEAR_FULL = 23  # ceil(0.9 * 25)
LAYOUT_SHIFT_MAX = 0.01


def expect_banner(page: Page, level: str, title: str) -> None:
    expect(page.locator("#banner")).to_have_attribute("data-level", level)
    expect(page.locator("#banner-title")).to_have_text(title)


def open_host(pages: Pages, room: Room) -> Page:
    """Open a host page and wait until it has opened the room."""
    page = pages.open(room.host_address())
    expect(page.locator("#state")).to_have_text("Open")
    return page


def mark(page: Page) -> None:
    """Leave a mark that a reload would wipe away."""
    page.evaluate("() => { window.capacityMark = true; }")


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("() => window.capacityMark === true"))


def test_the_room_fills_and_an_upgrade_lets_the_line_in(pages: Pages, service: Service) -> None:
    demo = service.demo_room()
    host = pages.open(service.address("/host"))
    expect(host.locator("#state")).to_have_text("Open")
    mark(host)
    with demo.guests(NEAR_FULL - 1):
        expect(host.locator("#occupied")).to_have_text(str(NEAR_FULL - 1))
        expect_banner(host, "calm", "3 seats are free")
        expect(host.locator("#upgrade")).to_be_hidden()

        with demo.guests(1, "third-last"):
            expect_banner(host, "near_full", "Nearly full: 2 seats are left")
            expect(host.locator("#banner-text")).to_contain_text(f"has {NEXT_SEATS} seats")
            expect(host.locator("#upgrade")).to_be_visible()

            with demo.guests(2, "last"):
                expect_banner(host, "full", "The room is full: nobody waits yet")
                attendee = pages.open(service.address("/join"))
                expect(attendee.locator("#position")).to_have_text("You are next")
                second = pages.open(demo.join_address("second"), width=360, dark=True)
                expect(second.locator("#position")).to_have_text("Place 2")
                expect(second.locator("#position-of")).to_have_text("in a line of 2")
                expect_banner(host, "full", "The room is full: 2 people wait")
                for page in (attendee, second):
                    mark(page)

                host.locator("#upgrade").click()

                expect_banner(host, "good", f"The seat limit rose from {DEMO_SEATS} to {NEXT_SEATS}")
                for page in (attendee, second):
                    expect(page.get_by_role("heading", name="You have a seat")).to_be_visible()
                    assert not is_marked(page), "the waiting page has not reloaded itself"
                expect(host.locator("#occupied")).to_have_text(str(DEMO_SEATS + 2))
                expect(host.locator("#of-limit")).to_have_text(f"of {NEXT_SEATS} seats taken")
                expect(host.locator("#waiting")).to_have_text("0")
                expect(host.locator("#upgrade")).to_be_hidden()
                expect(host.locator("#news li").first).to_contain_text("The seat limit rose from 25 to 50.")
    assert is_marked(host), "the host's page was reloaded"
    assert host.evaluate("() => window.capacityShift") <= LAYOUT_SHIFT_MAX


def test_seats_are_kept_for_those_who_are_away(pages: Pages, room: Room) -> None:
    host = open_host(pages, room)
    with room.guests(2):
        expect_banner(host, "full", "The room is full: nobody waits yet")
    # The guests' connections are lost, their seats are kept: they are away until their grace is over.
    expect(host.locator("#away")).to_have_text("2")
    room.give(10)
    expect_banner(host, "good", "The seat limit rose from 2 to 10")
    expect(host.locator("#occupied")).to_have_text("2")


def test_a_lowered_limit_is_told(pages: Pages, room: Room) -> None:
    host = open_host(pages, room)
    expect_banner(host, "calm", "2 seats are free")
    room.give(1)
    expect(host.locator("#banner-title")).to_have_text("The seat limit fell from 2 to 1")
    expect(host.locator("#of-limit")).to_have_text("of 1 seat taken")


def test_a_host_who_may_not_buy_asks_one_who_may(pages: Pages, room: Room) -> None:
    room.open()
    buyer = pages.open(room.host_address("buyer"))
    asker = pages.open(room.host_address("asker", billing=False, name="<b>Ann</b>"))
    with room.guests(2):
        expect(asker.locator("#ask")).to_be_visible()
        expect(asker.locator("#upgrade")).to_be_hidden()
        asker.locator("#ask").click()
        # The name is text, whatever it looks like.
        expect(buyer.locator("#news li").first).to_contain_text("<b>Ann</b> asks for more seats in main.")
        expect(buyer.locator("#news b")).to_have_count(0)
        expect(asker.locator("#news li").first).to_contain_text("You asked")


def test_the_host_ends_the_webinar_for_everyone(pages: Pages, room: Room) -> None:
    host = open_host(pages, room)
    attendee = pages.open(room.join_address("attendee"))
    expect(attendee.get_by_role("heading", name="You have a seat")).to_be_visible()
    host.locator("#end").click()
    host.locator("#end-no").click()
    expect(host.locator("#end-dialog")).to_be_hidden()
    expect(host.locator("#state")).to_have_text("Open")

    host.locator("#end").click()
    host.locator("#end-yes").click()

    expect(attendee.get_by_role("heading", name="The webinar has ended")).to_be_visible()
    expect(attendee.locator("#stopped-text")).to_contain_text("The host has ended it.")
    expect(host.locator("#state")).to_have_text("Ended")
    expect_banner(host, "calm", "The webinar has ended")
    expect(host.locator("#end")).to_be_hidden()


def test_a_second_room_opens_when_the_first_has_ended(pages: Pages, service: Service, room: Room) -> None:
    room.open()
    other = Room(service, room.account, "other")
    host = pages.open(other.host_address())
    expect(host.locator("#refusal")).to_contain_text("as many rooms open as its plan allows")
    expect(host.locator("#state")).to_have_text("Not started")
    host.locator("#open").click()
    expect(host.locator("#refusal")).to_contain_text("as many rooms open as its plan allows")

    room.end()
    host.locator("#open").click()

    expect(host.locator("#state")).to_have_text("Open")
    expect(host.locator("#refusal")).to_have_text("")


@dataclass
class FullRoom:
    """A server that tells a host page of a full room, with an offer of which `url` can be chosen."""

    url: str

    def serve(self, route: WebSocketRoute) -> None:
        numbers = {"seat_limit": 2, "occupied": 2, "waiting": 3}
        rest = {"state": "open", "seated": 2, "away": 0, "held": 0, "free": 0, "peak": 2}
        offer = {
            "plan": "more",
            "name": "More",
            "seats": 5,
            "due_now": {"amount": 123450, "currency": "EUR"},
            "url": self.url,
        }
        full = {"level": "full", "upgrade": offer, "full_in_seconds": None}
        route.send(json.dumps({"type": "occupancy", "room": "main", **numbers, **rest}))
        route.send(json.dumps({"type": "near_full", "room": "main", **numbers, **full}))


def open_full_room(pages: Pages, room: Room, url: str) -> Page:
    page = pages.blank()
    page.route_web_socket(re.compile("/v1/ws$"), FullRoom(url).serve)
    page.goto(room.host_address())
    expect_banner(page, "full", "The room is full: 3 people wait")
    expect(page.locator("#banner-text")).to_have_text("The plan More has 5 seats, €1,234.50 due today.")
    return page


def test_an_upgrade_sold_elsewhere_opens_in_a_new_tab(pages: Pages, room: Room) -> None:
    page = open_full_room(pages, room, "https://billing.example/upgrade?account=a")
    page.context.route("https://billing.example/**", lambda route: route.fulfill(body="plans"))
    with page.expect_popup() as opened:
        page.locator("#upgrade").click()
    assert opened.value.url == "https://billing.example/upgrade?account=a"  # without the token
    expect(page.locator("#upgrade")).to_be_enabled()


def test_an_upgrade_on_the_account_page_takes_the_token_along(pages: Pages, room: Room) -> None:
    page = open_full_room(pages, room, "/account")
    with page.expect_popup() as opened:
        page.locator("#upgrade").click()
    expect(opened.value.locator("#account-name")).to_have_text(room.account)


def test_an_upgrade_address_that_is_none_is_not_opened(pages: Pages, room: Room) -> None:
    page = open_full_room(pages, room, "javascript:alert(1)")
    page.locator("#upgrade").click()
    expect(page.locator("#banner-text")).to_have_text("The upgrade address cannot be opened.")
    assert len(page.context.pages) == 1


@pytest.mark.parametrize("status", [403, 503])
def test_a_refused_upgrade_is_told_and_can_be_tried_again(pages: Pages, room: Room, status: int) -> None:
    pages.allowed = re.compile(f"the server responded with a status of {status}")
    page = open_full_room(pages, room, "/demo/upgrade")
    page.route("**/demo/upgrade", lambda route: route.fulfill(status=status))
    page.locator("#upgrade").click()
    expect(page.locator("#banner-text")).to_have_text("The upgrade was refused. Please try again.")
    expect(page.locator("#upgrade")).to_be_enabled()


def test_a_demo_upgrade_needs_a_host_of_the_demo_who_may_buy(service: Service, room: Room) -> None:
    demo = service.demo_room()
    for token, status in (
        (None, 401),
        ("nonsense", 401),
        (demo.token("guest"), 403),
        (demo.token("host", "host"), 403),
        (room.token("host", "host", billing=True), 403),
    ):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        assert service.http.post("/demo/upgrade", headers=headers).status_code == status, token
    buyer = {"Authorization": f"Bearer {demo.token('host', 'host', billing=True)}"}
    assert service.http.post("/demo/upgrade", headers=buyer, json={"plan": "nothing"}).status_code == 404
    assert service.http.post("/demo/upgrade", headers=buyer, json={"plan": "trial"}).status_code == 404
    assert service.http.post("/demo/upgrade", headers=buyer, content=b"[").status_code == 400
    assert service.http.get("/demo/upgrade", headers=buyer).status_code == 405


def test_links_that_are_not_a_hosts(pages: Pages, service: Service, room: Room) -> None:
    expect(pages.open(f"{service.url}/host").locator("#banner-title")).to_have_text("This link is not complete")
    attendee = f"{service.url}/host#{room.token('attendee')}"
    expect(pages.open(attendee).locator("#banner-title")).to_have_text("This is not a host's link")
    old = f"{service.url}/host#{room.token('host', 'host', ttl_seconds=-100)}"
    expect(pages.open(old).locator("#banner-title")).to_have_text("This link does not work any more")


def test_the_account_page_shows_the_seats(pages: Pages, room: Room) -> None:
    host = pages.open(room.host_address())
    host.locator("#account").click()
    expect(host).to_have_url(re.compile("/account#"))
    expect(host.locator("#account-name")).to_have_text(room.account)
    expect(host.locator("#seats")).to_have_text("2")
    host.locator("#host").click()
    expect(host.locator("#of-limit")).to_have_text("of 2 seats taken")
