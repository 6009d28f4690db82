"""The attendee's page against a real server: a seat, a place in the line, and every way in which they end."""

from __future__ import annotations

import re
import signal

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import Pages
from tests.browser.service import Room, Service, wait_for

SEATED = "You have a seat"
NO_SOCKET = re.compile(r"WebSocket connection to '[^']*' failed")


def expect_heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1).filter(visible=True)).to_have_text(text)


def test_a_seat_is_shown_with_the_name_as_text(pages: Pages, room: Room) -> None:
    room.open()
    page = pages.open(room.join_address("attendee", name="<img src=x onerror=alert(1)>"))
    expect_heading(page, SEATED)
    expect(page.locator(".lead")).to_have_text("Welcome, <img src=x onerror=alert(1)>. You are in the webinar.")
    expect(page.locator("main img")).to_have_count(0)
    expect(page.locator("[part=connection]")).to_have_text("Connected")
    room.until(seated=1)
    page.reload()
    expect_heading(page, SEATED)
    room.until(seated=1, occupied=1)


def test_whoever_waits_takes_the_seat_that_is_freed(pages: Pages, room: Room) -> None:
    room.open()
    with room.guest("first") as first, room.guest("second"):
        page = pages.open(room.join_address("attendee"))
        expect_heading(page, "You are in the waiting room")
        expect(page.locator("[part=reason]")).to_have_text("All seats of this webinar are taken.")
        expect(page.locator("[part=position]")).to_have_text("You are next")
        loads: list[str] = []
        page.on("load", lambda loaded: loads.append(loaded.url))
        first.send('{"type":"leave"}')
        expect_heading(page, SEATED)
        assert len(loads) == 1, "the page should have reloaded itself once"
        room.until(seated=2, waiting=0)


def test_a_place_survives_a_reload(pages: Pages, room: Room) -> None:
    room.open()
    with room.guests(2):
        page = pages.open(room.join_address("attendee"))
        expect(page.locator("[part=position]")).to_have_text("You are next")
        with room.guest("later"):
            page.reload()
            expect(page.locator("[part=position]")).to_have_text("You are next")
            expect(page.locator("[part=waiting]")).to_have_text("in a line of 2")


def test_everybody_is_let_in_when_the_host_opens_the_room(pages: Pages, room: Room) -> None:
    page = pages.open(room.join_address("attendee"))
    expect(page.locator("[part=reason]")).to_have_text("The webinar has not started yet.")
    expect(page.locator("[part=position]")).to_have_text("First in line")
    host = pages.open(room.host_address())
    expect_heading(page, SEATED)
    expect(host.locator("[part=seated]")).to_have_text("1")


def test_a_seat_is_claimed_in_place_when_the_page_cannot_be_loaded(pages: Pages, room: Room) -> None:
    pages.allowed = re.compile("Failed to load resource")
    room.open()
    with room.guests(2) as guests:
        page = pages.open(room.join_address("attendee"))
        expect(page.locator("[part=position]")).to_have_text("You are next")
        page.evaluate("() => { window.capacityMark = true; }")
        page.route("**/join", lambda route: route.abort())
        guests[0].send('{"type":"leave"}')
        expect_heading(page, SEATED)
        assert page.evaluate("() => window.capacityMark === true")


def test_a_second_tab_replaces_the_first(pages: Pages, room: Room) -> None:
    room.open()
    first = pages.open(room.join_address("attendee"))
    expect_heading(first, SEATED)
    second = pages.open(room.join_address("attendee"))
    expect_heading(second, SEATED)
    expect_heading(first, "Open somewhere else")
    room.until(seated=1)
    first.get_by_role("button", name="Use this page instead").click()
    expect_heading(first, SEATED)
    expect_heading(second, "Open somewhere else")


def test_leaving_gives_the_seat_up_at_once(pages: Pages, room: Room) -> None:
    room.open()
    page = pages.open(room.join_address("attendee"))
    page.get_by_role("button", name="Leave the webinar").click()
    expect_heading(page, "You have left")
    room.until(occupied=0, away=0)
    page.get_by_role("button", name="Join again").click()
    expect_heading(page, SEATED)


def test_leaving_the_line(pages: Pages, room: Room) -> None:
    room.open()
    with room.guests(2):
        page = pages.open(room.join_address("attendee"))
        page.get_by_role("button", name="Leave the line").click()
        expect_heading(page, "You have left")
        room.until(waiting=0)


def test_an_ended_webinar(pages: Pages, room: Room) -> None:
    room.open()
    page = pages.open(room.join_address("attendee"))
    expect_heading(page, SEATED)
    room.end()
    expect_heading(page, "The webinar has ended")
    expect(page.locator("[part=reason]")).to_contain_text("It has been closed.")
    expect_heading(pages.open(room.join_address("late")), "The webinar has ended")


def test_links_that_cannot_work(pages: Pages, service: Service, room: Room) -> None:
    expect_heading(pages.open(f"{service.url}/join"), "This link is not complete")
    expect_heading(pages.open(f"{service.url}/join#nonsense"), "This link is not complete")
    old = room.token("attendee", ttl_seconds=-100)
    expect_heading(pages.open(f"{service.url}/join#{old}"), "This link does not work any more")
    expect_heading(pages.open(f"{service.url}/join#{old}ö/"), "This link does not work any more")
    nowhere = Room(service, "nobody-has-heard-of-it", "main")
    expect_heading(pages.open(nowhere.join_address("attendee")), "There is no such webinar")
    hosts = pages.open(f"{service.url}/join#{room.token('host', 'host')}")
    expect_heading(hosts, "This is a host\u2019s link")
    hosts.get_by_role("link", name="Go to the host\u2019s page").click()
    expect(hosts).to_have_url(re.compile(r"/host\?lang=en#"))


def test_another_link_in_the_address_bar_is_another_visit(pages: Pages, room: Room) -> None:
    room.open()
    page = pages.open(room.join_address("attendee", name="Ann"))
    expect(page.locator(".lead")).to_contain_text("Ann")
    page.evaluate("(token) => { location.hash = token; }", room.token("other", name="Bob"))
    expect(page.locator(".lead")).to_contain_text("Bob")


@pytest.mark.parametrize(
    ("code", "heading"),
    [
        (1000, "You have left"),
        (1008, "Something went wrong"),
        (1009, "Something went wrong"),
        (4401, "This link does not work any more"),
        (4404, "There is no such webinar"),
        (4409, "Open somewhere else"),
        (4410, "You are no longer in this webinar"),
    ],
)
def test_codes_that_say_stop(pages: Pages, room: Room, code: int, heading: str) -> None:
    page = pages.blank()
    connections: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        connections.append(route)
        route.close(code=code, reason="tested")

    page.route_web_socket(re.compile("/v1/ws$"), serve)
    page.clock.install()
    page.goto(room.join_address("attendee"))
    expect_heading(page, heading)
    page.clock.fast_forward("05:00")
    assert len(connections) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_server_costs_nobody_anything(
    pages: Pages, service: Service, room: Room, number: signal.Signals
) -> None:
    pages.allowed = NO_SOCKET
    room.open()
    host = pages.open(room.host_address())
    with room.guest("other"):
        seated = pages.open(room.join_address("seated"))
        expect_heading(seated, SEATED)
        waiting = pages.open(room.join_address("waiting"))
        expect(waiting.locator("[part=position]")).to_have_text("You are next")

        assert service.stop(number) == (0 if number is signal.SIGTERM else -number)
        for page in (host, seated, waiting):
            expect(page.locator("[part=connection]")).to_have_attribute("data-state", "reconnecting")
        expect(seated.locator("[part=connection]")).to_contain_text("Your seat is kept")
        expect(waiting.locator("[part=connection]")).to_contain_text("Your place is kept")
        service.start()

        for page in (host, seated, waiting):
            expect(page.locator("[part=connection]")).to_have_text("Connected", timeout=40_000)
        expect_heading(seated, SEATED)
        expect(waiting.locator("[part=position]")).to_have_text("You are next")
        expect(host.locator("[part=waiting]")).to_have_text("1")
        room.until(seated=1, waiting=1)


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_no_page_is_wider_than_the_screen(pages: Pages, room: Room, width: int, dark: bool) -> None:
    room.open()
    with room.guests(2):
        for address, ready in (
            (room.host_address(), "[part~=upgrade]"),
            (room.join_address("attendee"), "text=Leave the line"),
            (room.host_address().replace("/host", "/account"), "[part=plan_size]"),
        ):
            page = pages.open(address, width=width, dark=dark)
            expect(page.locator(ready)).to_be_visible()
            wait_for(
                lambda page=page: page.evaluate("() => document.documentElement.scrollWidth") <= width,  # type: ignore[misc]
                what=f"{address.partition('#')[0]} fits into {width} px",
            )
