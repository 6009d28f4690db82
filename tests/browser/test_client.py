"""The client by itself: where its tokens come from, when it comes back, how it notices that a connection is dead."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.browser import scenes
from tests.browser.conftest import Pages
from tests.browser.service import Room, Service, wait_for

NOT_LOADED = re.compile("Failed to load resource")
NO_SOCKET = re.compile(r"WebSocket connection to '[^']*' failed|Failed to load resource")
PROBE_MS = 5_000
START = """
  async (token) => {
    const { CapacityClient, tokenFrom } = await import("/static/capacity.js");
    window.heard = [];
    window.client = new CapacityClient({ token: token ?? tokenFrom("/token"), random: () => 0 });
    for (const type of ["connection", "seated", "waiting", "refresh"])
      client.on(type, (detail) => heard.push([type, detail]));
    client.connect();
  }
"""
WAKE = "document.dispatchEvent(new Event('visibilitychange'))"


class Tokens:
    """A platform's address for tokens: gives these answers, then the last one again, and counts."""

    def __init__(self, page: Page, *answers: tuple[int, str]) -> None:
        self.asked = 0
        self._answers = answers
        page.route("**/token", self._give)

    def _give(self, route: Route) -> None:
        status, body = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        route.fulfill(status=status, body=body) if status else route.abort()


class Server:
    """A server that says what a test wants it to, and remembers what it heard."""

    def __init__(self, page: Page, *first: scenes.Message) -> None:
        self.routes: list[WebSocketRoute] = []
        self.heard: list[str] = []
        self._first = first
        page.route_web_socket(scenes.SOCKET, self._serve)

    def _serve(self, route: WebSocketRoute) -> None:
        self.routes.append(route)
        route.on_message(lambda message: self.heard.append(str(message)))
        for message in self._first:
            route.send(json.dumps(message))

    def send(self, message: scenes.Message) -> None:
        self.routes[-1].send(json.dumps(message))


def empty(pages: Pages, service: Service, *, clock: bool = False) -> Page:
    """Return a page of ours that opens no connection by itself."""
    page = pages.blank()
    if clock:
        page.clock.install()
    page.goto(service.url)
    return page


def counted(page: Page) -> list[str]:
    """Return a list that grows with every WebSocket of the page."""
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    return sockets


def heard(page: Page, type: str) -> list[dict[str, Any]]:
    return [detail for told, detail in page.evaluate("window.heard") if told == type]


def until(page: Page, type: str, **wanted: object) -> None:
    """Wait until the last of what the client told of this type says all of this."""
    wait_for(lambda: wanted.items() <= [{}, *heard(page, type)][-1].items(), what=f"{type} with {wanted}")


# ---- tokens


def test_a_refused_token_is_replaced_once_and_then_it_stops(pages: Pages, service: Service, room: Room) -> None:
    page = empty(pages, service, clock=True)
    sockets = counted(page)
    tokens = Tokens(page, (200, room.token("ada", ttl_seconds=-100)))
    page.evaluate(START)
    until(page, "connection", state="stopped", stop="token", code=4401, reason="token_expired")
    page.clock.fast_forward("05:00")
    assert (tokens.asked, len(sockets)) == (2, 2)
    until(page, "connection", state="stopped")


def test_a_token_that_was_good_again_may_be_refused_again(pages: Pages, service: Service, room: Room) -> None:
    room.open()
    page = empty(pages, service)
    tokens = Tokens(page, (200, room.token("ada", ttl_seconds=-100)), (200, json.dumps({"token": room.token("bob")})))
    page.evaluate(START)
    until(page, "seated", participant="bob")
    assert tokens.asked == 2

    server = Server(page, scenes.waiting())
    page.evaluate("client.connect()")
    for number in (1, 2, 3):
        wait_for(lambda number=number: len(heard(page, "waiting")) == number, what=f"connection {number}")  # type: ignore[misc]
        assert tokens.asked == 1 + number
        server.routes[-1].close(code=4401, reason="token_expired")
    wait_for(lambda: len(heard(page, "waiting")) == 4, what="connection 4")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_token_that_is_denied_ends_it(pages: Pages, service: Service, status: int) -> None:
    pages.allowed = NOT_LOADED
    page = empty(pages, service, clock=True)
    sockets = counted(page)
    tokens = Tokens(page, (status, "no"))
    page.evaluate(START)
    until(page, "connection", state="stopped", stop="token")
    page.clock.fast_forward("05:00")
    assert (tokens.asked, sockets) == (1, [])


def test_whatever_else_a_token_source_answers_is_tried_again(pages: Pages, service: Service, room: Room) -> None:
    pages.allowed = NOT_LOADED
    room.open()
    page = empty(pages, service)
    good = (200, f" {room.token('ada')}\n")
    tokens = Tokens(page, (500, ""), (0, ""), (503, ""), (200, "nonsense"), (200, "{}"), (200, "{"), (429, ""), good)
    page.evaluate(START)
    until(page, "seated", participant="ada")
    assert tokens.asked == 8
    assert {told["reason"] for told in heard(page, "connection") if "reason" in told} == {"token"}


def test_a_token_about_to_expire_is_replaced_before_connecting(pages: Pages, service: Service, room: Room) -> None:
    room.open()
    page = empty(pages, service)
    tokens = Tokens(page, (200, room.token("ada", ttl_seconds=20)), (200, room.token("bob")))
    page.evaluate(START)
    until(page, "seated", participant="ada")
    page.evaluate("client.connect()")
    until(page, "seated", participant="bob")
    # That one is good for an hour.
    page.evaluate("client.connect()")
    wait_for(lambda: len(heard(page, "seated")) == 3, what="the third connection")
    assert tokens.asked == 2
    assert all("code" not in told for told in heard(page, "connection")), "the server refused one"


def test_a_page_that_is_looked_at_while_it_gets_a_token_gets_one(pages: Pages, service: Service, room: Room) -> None:
    room.open()
    page = empty(pages, service)
    asked: list[Route] = []
    page.route("**/token", lambda route: asked.append(route))
    page.evaluate(START)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow'))")
    page.evaluate(WAKE)
    wait_for(lambda: page.evaluate("heard.length") and asked, what="a token is asked for")
    for route in asked:
        route.fulfill(body=room.token("ada"))
    until(page, "seated", participant="ada")
    assert len(asked) == 1


# ---- coming back


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4429])
def test_codes_that_say_come_back(pages: Pages, room: Room, code: int) -> None:
    page = pages.blank()
    page.add_init_script("Math.random = () => 0.01")  # how long the delays are is another test
    connections: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        connections.append(route)
        if len(connections) <= 3:
            route.close(code=code, reason="tested")
        else:
            route.send(json.dumps(scenes.SEATED))

    page.route_web_socket(scenes.SOCKET, serve)
    page.goto(room.join_address("attendee"))
    expect(page.get_by_role("heading", name="You have a seat")).to_be_visible()
    assert len(connections) == 4


def test_the_delays_grow_and_have_full_jitter(pages: Pages, room: Room) -> None:
    page = pages.blank()
    page.goto(room.join_address("attendee"))
    delays = page.evaluate(
        """async () => {
          const { CapacityClient } = await import("/static/capacity.js");
          class Refused extends EventTarget {
            constructor() { super(); setTimeout(() => this.onclose({ code: 1013, reason: "overloaded" })); }
            close() {}
          }
          const longest = [], { WebSocket, setTimeout } = window;
          window.WebSocket = Refused;
          for (const random of [1, 0.5]) {
            const client = new CapacityClient({ token: "t", url: "ws://nowhere.example", random: () => random });
            const delays = [];
            await new Promise((done) => {
              client.on("connection", ({ state, delay_ms }) => {
                if (state !== "reconnecting" || delay_ms === 0) return;
                delays.push(delay_ms);
                if (delays.length < 7) return;
                client.disconnect();
                done();
              });
              window.setTimeout = (action) => setTimeout.call(window, action);  // no waiting between the attempts
              client.connect();
            });
            longest.push(delays);
          }
          Object.assign(window, { WebSocket, setTimeout });
          return longest;
        }"""
    )
    assert delays == [
        [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000],
        [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000],
    ]


def test_a_lost_network_costs_nobody_their_place(pages: Pages, room: Room) -> None:
    pages.allowed = NO_SOCKET
    room.open()
    with room.guests(2):
        page = pages.open(room.join_address("ada"))
        position, connection = page.locator("[part=position]"), page.locator("[part=connection]")
        expect(position).to_have_text("You are next")
        with room.guest("later"):
            page.context.set_offline(True)
            expect(connection).to_have_attribute("data-state", "reconnecting")
            expect(connection).to_have_text(
                "You are offline. It goes on when the network is back. Your place is kept for a short while."
            )
            page.context.set_offline(False)
            expect(connection).to_have_text("Connected")
            expect(position).to_have_text("You are next")
            room.until(waiting=2)


def test_a_page_that_slept_does_not_trust_its_connection(pages: Pages, room: Room) -> None:
    room.open()
    page = pages.blank()
    page.clock.install()
    sockets = counted(page)
    page.goto(room.join_address("ada"))
    seated = page.get_by_role("heading", name="You have a seat")
    expect(seated).to_be_visible()
    for _ in range(4):
        page.clock.run_for(60_000)  # a page that is awake ticks
    assert len(sockets) == 1
    page.clock.fast_forward("05:00")
    wait_for(lambda: page.evaluate("true") and len(sockets) == 2, what="a second connection")
    expect(page.locator("[part=connection]")).to_have_text("Connected")
    expect(seated).to_be_visible()
    room.until(seated=1, occupied=1)


@pytest.mark.parametrize("wake", ["dispatchEvent(new Event('online'))", WAKE])
def test_a_dead_connection_is_noticed_when_the_page_wakes(
    pages: Pages, service: Service, room: Room, wake: str
) -> None:
    page = empty(pages, service, clock=True)
    server = Server(page, scenes.waiting())
    page.evaluate(START, room.token("ada"))
    until(page, "connection", state="connected")
    page.evaluate(f"{wake}; {wake}")
    wait_for(lambda: page.evaluate("true") and server.heard == ['{"type":"claim"}'], what="one probe")
    page.clock.run_for(PROBE_MS - 1_000)
    assert len(server.routes) == 1
    page.clock.run_for(1_500)
    wait_for(lambda: page.evaluate("true") and len(server.routes) == 2, what="another connection")
    until(page, "connection", state="connected")

    # A server that answers, whatever it answers, keeps its connection.
    page.evaluate(wake)
    wait_for(lambda: page.evaluate("true") and len(server.heard) == 2, what="the second probe")
    server.send({"type": "error", "code": "nothing_held", "message": "No seat is held for you."})
    page.clock.run_for(2 * PROBE_MS)
    assert len(server.routes) == 2


def test_a_page_that_wakes_leaves_the_held_seat_to_its_reload(pages: Pages, service: Service, room: Room) -> None:
    page = empty(pages, service, clock=True)
    server = Server(page, scenes.waiting(), scenes.refresh())
    page.evaluate(START, room.token("ada"))
    wait_for(lambda: heard(page, "refresh"), what="a held seat")
    page.evaluate(WAKE)
    page.clock.run_for(2 * PROBE_MS)
    assert (server.heard, len(server.routes)) == ([], 1), "a probe would have taken the seat in place"
    # Once it is over, or the page has asked for it, a connection that does not answer is made anew.
    page.evaluate("client.send('claim')")
    page.evaluate(WAKE)
    page.clock.run_for(PROBE_MS + 500)
    wait_for(lambda: page.evaluate("true") and len(server.routes) == 2, what="another connection")
    assert len(server.heard) == 1
    wait_for(lambda: len(heard(page, "refresh")) == 2, what="a held seat again")
    page.clock.fast_forward(61_000)
    page.evaluate(WAKE)
    page.clock.run_for(PROBE_MS + 500)
    wait_for(lambda: page.evaluate("true") and len(server.routes) == 3, what="a third connection")


def test_offline_says_so_and_online_brings_it_back(pages: Pages, service: Service, room: Room) -> None:
    """A host's connection cannot be probed, and is made anew."""
    page = empty(pages, service)
    page.evaluate(START, room.token("hanna", "host"))
    until(page, "connection", state="connected")
    room.until(state="open")
    sockets = counted(page)
    page.evaluate("dispatchEvent(new Event('offline'))")
    until(page, "connection", state="reconnecting", reason="offline")
    page.evaluate("dispatchEvent(new Event('online'))")
    until(page, "connection", state="connected")
    assert len(sockets) == 1


def test_the_latest_of_each_event_is_remembered_for_who_comes_later(pages: Pages, service: Service, room: Room) -> None:
    page = empty(pages, service)
    page.evaluate(START, room.token("ada"))
    until(page, "waiting", reason="not_started")
    assert page.evaluate("client.latest('seated') === undefined")
    assert page.evaluate("client.latest('waiting')") == heard(page, "waiting")[-1]
    assert page.evaluate("client.latest('connection').state") == "connected"
    room.open()
    until(page, "refresh", reason="room_opened")
    assert page.evaluate("client.latest('waiting') === undefined"), "a seat is held: that has overtaken the place"
    page.evaluate("client.send('claim')")
    until(page, "seated", participant="ada")
    assert page.evaluate("client.latest('refresh') === undefined"), "it was taken"
    room.give(3)
    wait_for(lambda: page.evaluate("client.latest('seat_limit')?.seat_limit === 3"), what="the new limit")
    page.evaluate("client.connect()")
    wait_for(lambda: len(heard(page, "seated")) == 2, what="the second connection")
    assert page.evaluate("client.latest('seat_limit') === undefined"), "it was of the connection before"
