"""The waiting room's finer points: its attributes, tokens and holds that run out, the countdown, focus and announcements."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser import scenes
from tests.browser.conftest import Pages
from tests.browser.service import Room, Service, wait_for
from tests.browser.test_join_page import SEATED, expect_heading

HOLD_SECONDS = 2
QUIET_MS = 20_000
LISTEN = """
  window.told = [];
  for (const name of ["unavailable", "refresh", "stopped"])
    addEventListener(`capacity-${name}`, (event) => told.push([name, event.detail]));
"""
HEAR = """
  window.said = [];
  const status = document.querySelector("capacity-waiting-room").shadowRoot.querySelector("[role=status]");
  new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true, subtree: true });
"""


def with_attributes(page: Page, **attributes: str) -> None:
    """Give the element of the page that is opened next these attributes; `_` stands for a dash."""
    for name, value in attributes.items():
        arguments = f"{json.dumps(name.replace('_', '-'))}, {json.dumps(value)}"
        page.add_init_script(
            "addEventListener('DOMContentLoaded', () => "
            f"document.querySelector('capacity-waiting-room').setAttribute({arguments}))"
        )


def in_state(page: Page, state: str) -> None:
    expect(page.locator("capacity-waiting-room")).to_have_attribute("state", state)


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("window.capacityMark === true"))


@contextlib.contextmanager
def waiting_next(page: Page, room: Room, address: str) -> Iterator[None]:
    """A page that is next in the line of a full room, and marked; then the seat before it is freed."""
    room.open()
    with room.guests(2) as guests:
        page.goto(address)
        expect(page.locator("[part=reason]")).to_have_text("All seats of this webinar are taken.")
        page.evaluate("window.capacityMark = true")
        yield
        guests[0].send('{"type":"leave"}')
        expect_heading(page, SEATED)
        room.until(seated=2, waiting=0)


# ---- attributes


@pytest.mark.parametrize(
    ("choice", "prevented", "admitted"), [("wait", False, False), ("admit", False, True), ("admit", True, False)]
)
def test_what_happens_without_the_service(
    pages: Pages, room: Room, choice: str, prevented: bool, admitted: bool
) -> None:
    page = pages.blank()
    page.clock.install()
    page.clock.pause_at(time.time() + 1)  # from then on it goes by what it is told alone, however busy the machine is
    with_attributes(page, on_unavailable=choice)
    page.add_init_script(LISTEN)
    if prevented:
        page.add_init_script("addEventListener('capacity-unavailable', (event) => event.preventDefault())")
    down = True

    def serve(route: WebSocketRoute) -> None:
        if down:
            route.close(code=1013, reason="unavailable")
        else:
            route.connect_to_server()

    page.route_web_socket(scenes.SOCKET, serve)
    page.goto(room.join_address("ada"))
    expect(page.locator("[part=connection]")).to_contain_text("The service is not available at the moment.")
    page.clock.run_for(9_000)
    assert page.evaluate("told") == []
    page.clock.run_for(2_000)
    expect_heading(page, "Come in" if admitted else "One moment…")
    page.clock.run_for(60_000)
    assert page.evaluate("told") == [["unavailable", {"admit": choice == "admit"}]]
    page.clock.resume()
    if not admitted:
        expect(page.locator(".lead")).to_contain_text("We keep trying, and you need not do anything.")

    room.open()
    page.evaluate("window.capacityMark = true")
    with room.guests(2) as guests:
        down = False
        page.clock.run_for(31_000)
        room.until(waiting=1)
        expect(page.locator("[part=connection]")).to_have_text("Connected")
        in_state(page, "admitted" if admitted else "waiting")
        # Whoever was let in stays in: their seat is taken in place.
        guests[0].send('{"type":"leave"}')
        expect_heading(page, SEATED)
        assert is_marked(page) == admitted


def test_somebody_seated_stays_so_without_the_service(pages: Pages, service: Service) -> None:
    stage = scenes.Stage(pages, service)
    page = stage.page()
    page.clock.install()
    with_attributes(page, on_unavailable="admit")
    page.add_init_script(LISTEN)

    def serve(route: WebSocketRoute) -> None:
        route.send(json.dumps(scenes.SEATED))
        route.send(json.dumps({"type": "error", "code": "unavailable", "message": "The store cannot be used."}))

    page.route_web_socket(scenes.SOCKET, serve)
    page.goto(stage.address("/join", stage.attendee()))
    in_state(page, "seated")
    expect(page.locator("[part=connection]")).to_contain_text("Your seat is kept for a short while.")
    page.clock.run_for(15_000)  # and the time in which a connection that is there may answer
    assert page.evaluate("told") == [["unavailable", {"admit": False}]]
    expect_heading(page, SEATED)


def test_a_place_can_be_hidden(pages: Pages, room: Room) -> None:
    page = pages.blank()
    with_attributes(page, hide_position="")
    room.open()
    with room.guests(3):
        page.goto(room.join_address("ada"))
        expect_heading(page, "You are in the waiting room")
        for part in ("position", "waiting", "place"):
            expect(page.locator(f"[part={part}]")).to_have_count(0)
        expect(page.locator("[role=status]")).to_have_text("All seats of this webinar are taken.")
        assert page.title() == "You are in the waiting room · main"
        page.evaluate("document.querySelector('capacity-waiting-room').removeAttribute('hide-position')")
        expect(page.locator("[part=position]")).to_have_text("Place 2")
        expect(page.locator("[part=waiting]")).to_have_text("in a line of 2")
        wait_for(lambda: page.title() == "Place 2 · main", what="the title")


def test_a_page_that_claims_is_not_reloaded(pages: Pages, room: Room) -> None:
    page = pages.blank()
    with_attributes(page, claim="")
    with waiting_next(page, room, room.join_address("ada")):
        pass
    assert is_marked(page)


# ---- what runs out


def test_a_seat_is_claimed_in_place_when_the_link_has_expired(pages: Pages, room: Room) -> None:
    """A reload would connect with the same token, which the server would refuse."""
    token = room.token("ada", ttl_seconds=2)
    over = time.time() + 2
    page = pages.blank()
    with waiting_next(page, room, f"{room.service.url}/join#{token}"):
        wait_for(lambda: time.time() > over, what="the token's end")
    assert is_marked(page)


def test_a_seat_that_was_not_taken_in_time_leads_back_to_the_line(
    pages: Pages, tmp_path_factory: pytest.TempPathFactory
) -> None:
    service = Service(
        tmp_path_factory.mktemp("brief"), "--no-audience", environ={"CAPACITY_HOLD_SECONDS": str(HOLD_SECONDS)}
    )
    try:
        service.start()
        room = service.room("brief", seats=1)
        room.open()
        page = pages.blank()
        page.add_init_script(LISTEN)
        page.add_init_script("addEventListener('capacity-refresh', (event) => event.preventDefault())")
        with room.guest("first") as first:
            page.goto(room.join_address("ada"))
            expect(page.locator("[part=position]")).to_have_text("You are next")
            with room.guest("later") as later:
                first.send('{"type":"leave"}')
                in_state(page, "held")
                expect(page.locator("[part=reason]")).to_have_text("A seat has become free.")
                while json.loads(later.recv(10))["type"] != "refresh":
                    pass
                later.send('{"type":"claim"}')
                in_state(page, "waiting")
                expect(page.locator("[part=position]")).to_have_text("You are next")
                room.until(seated=1, held=0, waiting=1)
        assert [name for name, _ in page.evaluate("told")] == ["refresh"]
    finally:
        pages.close()  # before its server goes, of which it would complain
        service.close()


def held(pages: Pages, service: Service) -> tuple[Page, list[WebSocketRoute]]:
    """A page whose seat is held, with a reload after half a minute, and then taken."""
    stage = scenes.Stage(pages, service)
    page = stage.page()
    page.clock.install()
    page.add_init_script("Math.random = () => 0.5")
    opened: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        opened.append(route)
        for message in (scenes.waiting(), scenes.refresh(spread_ms=60_000)) if len(opened) == 1 else (scenes.SEATED,):
            route.send(json.dumps(message))

    page.route_web_socket(scenes.SOCKET, serve)
    page.goto(stage.address("/join", stage.attendee()))
    in_state(page, "held")
    page.evaluate("window.capacityMark = true")
    return page, opened


def seconds_left(page: Page) -> int:
    text = page.locator("[part=countdown]").inner_text()
    return 0 if text == "Now" else int(text)


def test_the_reload_comes_at_its_moment_within_the_spread_and_is_counted_down(pages: Pages, service: Service) -> None:
    page, opened = held(pages, service)
    first = seconds_left(page)
    assert 25 <= first <= 30, "half of the spread of a minute"
    page.clock.run_for(10_000)
    wait_for(lambda: seconds_left(page) <= first - 10, what="ten seconds less")
    assert len(opened) == 1 and is_marked(page)
    page.clock.run_for(20_000)
    expect_heading(page, SEATED)
    assert len(opened) == 2 and not is_marked(page)


def test_a_held_seat_can_be_taken_at_once(pages: Pages, service: Service) -> None:
    page, opened = held(pages, service)
    page.get_by_role("button", name="Refresh now").click()
    expect_heading(page, SEATED)
    assert len(opened) == 2 and not is_marked(page)


def test_leaving_without_a_connection_ends_it_here(pages: Pages, service: Service) -> None:
    stage = scenes.Stage(pages, service)
    page = stage.page()
    page.clock.install()
    page.add_init_script("Math.random = () => 1")
    opened: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        opened.append(route)
        route.send(json.dumps(scenes.waiting()))

    page.route_web_socket(scenes.SOCKET, serve)
    page.goto(stage.address("/join", stage.attendee()))
    in_state(page, "waiting")
    opened[0].close(code=1012, reason="restarting")
    expect(page.locator("[part=connection]")).to_contain_text("The service is restarting.")
    page.get_by_role("button", name="Leave the line").click()
    expect_heading(page, "You have left")
    page.clock.fast_forward("05:00")
    assert len(opened) == 1


# ---- for those who use a keyboard or a screen reader


def test_focus_goes_on_at_the_heading_when_its_button_is_gone(pages: Pages, room: Room) -> None:
    room.open()
    page = pages.open(room.join_address("ada"))
    heading = page.locator("h1")
    expect_heading(page, SEATED)
    expect(heading).not_to_be_focused()
    page.get_by_role("button", name="Leave the webinar").press("Enter")
    expect_heading(page, "You have left")
    expect(heading).to_be_focused()
    page.get_by_role("button", name="Join again").press("Enter")
    expect_heading(page, SEATED)
    expect(heading).to_be_focused()


def test_focus_stays_where_it_is_while_the_place_changes(pages: Pages, service: Service) -> None:
    page, opened = in_line(pages, service)
    leave = page.get_by_role("button", name="Leave the line")
    leave.focus()
    opened[0].send(json.dumps(scenes.waiting(5)))
    expect(page.locator("[part=position]")).to_have_text("Place 5")
    expect(leave).to_be_focused()
    opened[0].send(json.dumps(scenes.refresh()))
    expect_heading(page, "A seat is yours")
    expect(page.locator("h1")).to_be_focused()


def in_line(pages: Pages, service: Service) -> tuple[Page, list[WebSocketRoute]]:
    """A page at place 20, whose announcements are collected."""
    stage = scenes.Stage(pages, service)
    page = stage.page()
    page.clock.install()
    opened: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        opened.append(route)
        route.send(json.dumps(scenes.waiting(20)))

    page.route_web_socket(scenes.SOCKET, serve)
    page.goto(stage.address("/join", stage.attendee()))
    expect(page.locator("[role=status]")).to_have_text("All seats of this webinar are taken. Place 20")
    page.evaluate(HEAR)
    return page, opened


def test_a_screen_reader_is_told_of_changes_and_not_of_every_place(pages: Pages, service: Service) -> None:
    page, opened = in_line(pages, service)
    said: list[str] = []

    def hears(*texts: str) -> None:
        said.extend(texts)
        wait_for(lambda: len(page.evaluate("said")) >= len(said), what=f"announcements {said}")
        assert page.evaluate("said") == said

    for position in range(19, 9, -1):
        opened[0].send(json.dumps(scenes.waiting(position)))
    expect(page.locator("[part=position]")).to_have_text("Place 10")
    page.clock.run_for(1_000)
    assert page.evaluate("said") == []
    page.clock.run_for(QUIET_MS)
    hears("All seats of this webinar are taken. Place 10")
    # The last places, each as it comes.
    for position, place in ((3, "Place 3"), (2, "Place 2"), (1, "You are next")):
        opened[0].send(json.dumps(scenes.waiting(position)))
        hears(f"All seats of this webinar are taken. {place}")
    opened[0].send(json.dumps(scenes.waiting(1)))
    opened[0].send(json.dumps(scenes.refresh()))
    hears("A seat is yours. This page refreshes by itself, and then you are in.")
    opened[0].send(json.dumps(scenes.SEATED))
    hears(SEATED)
