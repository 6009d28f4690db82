"""Small disturbances that must not grow: a store that was away for a moment, a network that flapped, a token that expired."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser import scenes
from tests.browser.conftest import Pages
from tests.browser.platform import Platform
from tests.browser.scenes import Stage
from tests.browser.service import Room, Service, wait_for

UNAVAILABLE = {"type": "error", "code": "unavailable", "message": "The store cannot be used."}
NOTHING_HELD = {"type": "error", "code": "nothing_held", "message": "No seat is held for you."}
ADMIT = """addEventListener("DOMContentLoaded", () => {
  document.querySelector("capacity-waiting-room").setAttribute("on-unavailable", "admit");
})"""


class Line:
    """A server with one person in its line. It answers what the page asks while its store is `well`, and else later."""

    def __init__(self, pages: Pages, service: Service) -> None:
        self.well = True
        self.asked = 0
        self.sockets: list[WebSocketRoute] = []
        stage = Stage(pages, service)
        self.page = stage.page()
        self.page.clock.install()
        self.page.add_init_script(ADMIT)
        self.page.route_web_socket(scenes.SOCKET, self._serve)
        self.page.goto(stage.address("/join", stage.attendee()))
        self.expect("waiting")

    def _serve(self, route: WebSocketRoute) -> None:
        self.sockets.append(route)
        route.on_message(lambda _: self._answer(route))
        route.send(json.dumps(scenes.waiting()))

    def _answer(self, route: WebSocketRoute) -> None:
        self.asked += 1
        if self.well:
            route.send(json.dumps(NOTHING_HELD))

    def expect(self, state: str) -> None:
        expect(self.page.locator("capacity-waiting-room")).to_have_attribute("state", state)

    def expect_connection(self, state: str) -> None:
        expect(self.page.locator("[part=connection]")).to_have_attribute("data-state", state)


def test_a_store_that_was_away_for_a_moment_lets_nobody_in(pages: Pages, service: Service) -> None:
    """Once it is back nobody is told anything new: the page asks before it believes."""
    line = Line(pages, service)
    line.sockets[0].send(json.dumps(UNAVAILABLE))
    line.expect_connection("reconnecting")
    line.page.clock.run_for(11_000)
    wait_for(lambda: line.asked == 1, what="the question")
    line.expect_connection("connected")
    line.page.clock.run_for(60_000)
    line.expect("waiting")


def test_a_store_that_stays_away_lets_in_who_may(pages: Pages, service: Service) -> None:
    line = Line(pages, service)
    line.well = False
    line.sockets[0].send(json.dumps(UNAVAILABLE))
    line.expect_connection("reconnecting")
    line.page.clock.run_for(11_000)
    wait_for(lambda: line.asked == 1, what="the question")
    line.expect("waiting")
    line.page.clock.run_for(6_000)
    line.expect("admitted")
    line.page.clock.run_for(300_000)
    assert len(line.sockets) == 1, "the connection is what keeps the place, and was given up"
    # The store is back, and what was asked is answered: all is well, and nobody who is in is put out.
    line.sockets[0].send(json.dumps(NOTHING_HELD))
    line.expect_connection("connected")
    line.expect("admitted")
    assert line.asked == 1


def test_a_page_that_wakes_while_the_store_is_away_keeps_its_connection(pages: Pages, service: Service) -> None:
    line = Line(pages, service)
    line.well = False
    line.sockets[0].send(json.dumps(UNAVAILABLE))
    line.expect_connection("reconnecting")
    line.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    line.page.clock.run_for(8_000)
    assert (line.asked, len(line.sockets)) == (0, 1)


def test_a_network_that_flapped_lets_nobody_in(pages: Pages, service: Service) -> None:
    line = Line(pages, service)
    line.page.evaluate("dispatchEvent(new Event('offline'))")
    line.expect_connection("reconnecting")
    line.page.evaluate("dispatchEvent(new Event('online'))")
    line.expect_connection("connected")
    line.page.clock.run_for(60_000)
    line.expect("waiting")
    assert len(line.sockets) == 1


def test_an_error_does_not_cost_the_held_seat(pages: Pages, service: Service) -> None:
    line = Line(pages, service)
    line.page.evaluate("Math.random = () => 0.5")
    line.sockets[0].send(json.dumps(scenes.refresh(spread_ms=60_000)))
    line.expect("held")
    line.sockets[0].send(json.dumps({**NOTHING_HELD, "code": "not_allowed"}))
    expect(line.page.locator("[part=countdown]")).not_to_have_text("Now")
    line.page.clock.run_for(31_000)
    line.expect("waiting")  # what this server says to each new connection
    assert len(line.sockets) == 2, "the page has reloaded itself, which takes the seat"


def test_who_leaves_over_a_dead_connection_has_left(pages: Pages, service: Service) -> None:
    line = Line(pages, service)
    line.page.get_by_role("button", name="Leave the line").click()
    line.page.clock.run_for(4_000)
    expect(line.page.locator("h1")).to_have_text("You have left")


def test_a_token_address_that_fails_after_a_long_connection_is_asked_less_and_less(
    pages: Pages, service: Service, platform: Platform, room: Room
) -> None:
    pages.allowed = re.compile("status of 503")
    platform.give = lambda: (200, room.token("ada", ttl_seconds=20))  # to be renewed for each connection
    page = pages.blank()
    page.clock.install()
    page.add_init_script("Math.random = () => 0.9")
    sockets: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        sockets.append(route)
        route.send(json.dumps(scenes.waiting()))

    page.route_web_socket(scenes.SOCKET, serve)
    page.goto(platform.page(service, '<capacity-waiting-room token-url="/token"></capacity-waiting-room>'))
    expect(page.locator("capacity-waiting-room")).to_have_attribute("state", "waiting")
    page.clock.run_for(11_000)
    platform.give = lambda: (503, "")
    platform.asked = 0
    sockets[0].close(code=1012, reason="restarting")
    for _ in range(60):
        page.clock.run_for(500)
        page.evaluate("fetch('/').then(() => 0)")  # behind the page's own question, so that is answered
    assert 2 <= platform.asked <= 8, "as often as a page that never was connected, not once a second"


def test_a_host_whose_token_expired_ends_the_room_with_a_fresh_one(
    pages: Pages, service: Service, platform: Platform
) -> None:
    platform.give = lambda: (200, Stage(pages, service).host())
    page = pages.blank()
    said: list[tuple[int, str]] = []
    sockets: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        sockets.append(route)
        number = len(sockets)

        def answer(text: str | bytes) -> None:
            said.append((number, json.loads(text)["type"]))
            if number == 1:
                route.send(json.dumps({"type": "error", "code": "token_expired", "message": "Expired."}))
            else:
                route.send(json.dumps(scenes.ended()))

        route.on_message(answer)
        route.send(json.dumps(scenes.occupancy(3, 50)))

    page.route_web_socket(scenes.SOCKET, serve)
    page.goto(platform.page(service, '<capacity-room token-url="/token"></capacity-room>'))
    page.get_by_role("button", name="End for everyone…").click()
    page.get_by_role("button", name="End for everyone", exact=True).click()
    expect(page.locator("capacity-room [part=state]")).to_have_text("Ended")
    assert said == [(1, "end"), (2, "end")]


def test_the_purchase_over_a_page_can_be_pressed(pages: Pages, service: Service, platform: Platform) -> None:
    """The overlay lets presses through to the page, its dialog does not."""
    stage = Stage(pages, service)
    account = stage.account("starter")
    platform.give = lambda: (200, stage.host(account))
    page = pages.blank()

    def serve(route: WebSocketRoute) -> None:
        for message in (scenes.occupancy(50, 50), scenes.near_full(50, 50)):
            route.send(json.dumps(message))

    page.route_web_socket(scenes.SOCKET, serve)
    page.goto(platform.page(service, '<capacity-host-banner overlay token-url="/token"></capacity-host-banner>'))
    page.locator("[part~=upgrade]").click()
    page.locator("capacity-plan-dialog").get_by_role("button", name="Buy for").click()
    expect(page.locator("#change-title")).to_have_text("Done")
    assert stage.desk("GET", account, "")["plan"] == "business"


def test_a_payment_that_waits_is_shown_to_whoever_wants_to_buy(pages: Pages, service: Service) -> None:
    stage = Stage(pages, service)
    account = stage.account("starter")
    stage.buy(account, {"plan": "growth"}, "confirm")
    page = stage.scripted("/host", stage.host(account), scenes.occupancy(50, 50), scenes.near_full(50, 50))
    page.locator("[part~=upgrade]").click()
    dialog = page.locator("capacity-plan-dialog")
    expect(dialog.get_by_role("link", name="Confirm the payment")).to_be_visible()
    dialog.get_by_role("button", name="Do not pay").click()
    expect(dialog.locator("[part=due]")).to_have_text("$52.20")
    assert stage.desk("GET", account, "")["payment"] is None


def test_the_add_on_is_bought_for_the_number_on_the_screen(pages: Pages, service: Service) -> None:
    stage = Stage(pages, service)
    account = stage.account("growth")
    page = scenes.billing(stage, account)
    page.get_by_role("button", name="Change…").click()
    dialog = page.locator("capacity-plan-dialog")
    number, buy = dialog.locator("input[type=number]"), dialog.locator("button.primary")
    expect(buy).to_be_enabled()
    number.fill("200")
    expect(buy).to_be_disabled()
    number.fill("4")
    expect(dialog.get_by_text("4 rooms open at the same time")).to_be_visible()
    buy.click()
    expect(page.locator("#change-title")).to_have_text("Done")
    assert stage.desk("GET", account, "")["concurrent_sessions"] == 4


@pytest.mark.parametrize("late", ["token-url", "token"])
def test_an_element_is_told_later_who_it_is_for(
    pages: Pages, service: Service, platform: Platform, room: Room, late: str
) -> None:
    room.open()
    platform.give = lambda: (200, room.token("ada"))
    page = pages.open(platform.page(service, "<capacity-waiting-room></capacity-waiting-room>"))
    element = page.locator("capacity-waiting-room")
    expect(element).to_have_attribute("state", "stopped")
    value = {"token-url": "/token", "token": room.token("ada")}[late]
    element.evaluate("(element, [name, value]) => element.setAttribute(name, value)", [late, value])
    expect(element).to_have_attribute("state", "seated")
    element.evaluate("(element) => element.setAttribute('lang', 'de')")
    expect(page.get_by_role("button", name="Webinar verlassen")).to_be_visible()
    if late == "token":
        element.evaluate("(element, token) => element.setAttribute('token', token)", room.token("bob"))
        room.until(seated=1, away=1)


def test_the_seat_is_told_once_for_each_connection(pages: Pages, room: Room) -> None:
    room.open()
    page = pages.blank()
    page.add_init_script("window.told = []; addEventListener('capacity-seated', ({ detail }) => told.push(detail));")
    page.goto(room.join_address("ada"))
    expect(page.locator("capacity-waiting-room")).to_have_attribute("state", "seated")
    answers: list[Any] = []
    page.on("websocket", lambda socket: answers.append(socket))
    for _ in range(3):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    wake(page)
    assert len(page.evaluate("told")) == 1


def wake(page: Page) -> None:
    """Wait until what was asked is answered: the client's own question, which is answered in order."""
    page.evaluate(
        """() => new Promise((done) => {
          const { client } = document.querySelector("capacity-waiting-room");
          client.on("pass", done);
          client.send("pass");
        })"""
    )
