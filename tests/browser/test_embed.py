"""The elements in a page of somebody else: another origin, a strict policy, tokens that expire, its own look and words."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser import scenes
from tests.browser.conftest import Pages
from tests.browser.platform import Platform
from tests.browser.service import Room, Service, wait_for

WAITING_ROOM = '<capacity-waiting-room token-url="/token"><h1 slot="seated">My webinar</h1></capacity-waiting-room>'
NOT_LOADED = re.compile("Failed to load resource")
LISTEN = """
  window.told = [];
  for (const name of ["seated", "waiting", "refresh", "unavailable", "stopped", "near-full", "seat-limit", "upgrade"])
    addEventListener(`capacity-${name}`, (event) => told.push([name, event.detail]));
"""


def listening(pages: Pages) -> Page:
    page = pages.blank()
    page.add_init_script(LISTEN)
    return page


def told(page: Page, name: str) -> list[dict[str, object]]:
    return [detail for event, detail in page.evaluate("window.told") if event == name]


def in_state(page: Page, state: str) -> None:
    expect(page.locator("capacity-waiting-room")).to_have_attribute("state", state)


def test_a_seat_shows_what_the_platform_put_there(
    pages: Pages, service: Service, platform: Platform, room: Room
) -> None:
    room.open()
    platform.give = lambda: (200, room.token("ada"))
    page = listening(pages)
    page.goto(platform.page(service, WAITING_ROOM))
    in_state(page, "seated")
    expect(page.get_by_role("heading", name="My webinar")).to_be_visible()
    assert told(page, "seated")[0]["participant"] == "ada"
    room.until(seated=1)


def test_a_held_seat_is_taken_by_a_reload_with_a_fresh_token(
    pages: Pages, service: Service, platform: Platform, room: Room
) -> None:
    """The token of the first connection has expired when the seat is held: the line was longer than it."""
    room.open()
    given: list[str] = []

    def give() -> tuple[int, str]:
        # JSON, and so short that only the leeway of the server lets it connect once.
        given.append(room.token("ada", ttl_seconds=-28 if not given else 3600, name=f"Token {len(given)}"))
        return 200, f'{{"token": "{given[-1]}"}}'

    platform.give = give
    with room.guests(2) as guests:
        page = listening(pages)
        page.goto(platform.page(service, WAITING_ROOM))
        in_state(page, "waiting")
        expect(page.get_by_role("heading", name="My webinar")).to_be_hidden()
        page.evaluate("window.capacityMark = true")
        time_over = time.time() + 3
        wait_for(lambda: time.time() > time_over, what="the first token's end")
        guests[0].send('{"type":"leave"}')
        in_state(page, "seated")
        assert not page.evaluate("window.capacityMark === true"), "the page has not reloaded itself"
        assert page.evaluate("sessionStorage.length") == 0, "the token that was handed over is left behind"
        room.until(seated=2, waiting=0)
    assert len(given) == 2, "fetched on loading and before the reload, and not again after it"


def test_a_seat_is_claimed_in_place_when_no_fresh_token_can_be_had(
    pages: Pages, service: Service, platform: Platform, room: Room
) -> None:
    pages.allowed = NOT_LOADED
    room.open()
    platform.give = lambda: (200, room.token("ada"))
    with room.guests(2) as guests:
        page = listening(pages)
        page.goto(platform.page(service, WAITING_ROOM))
        in_state(page, "waiting")
        page.evaluate("window.capacityMark = true")
        platform.give = lambda: (500, "")
        guests[0].send('{"type":"leave"}')
        in_state(page, "seated")
        assert page.evaluate("window.capacityMark === true")
        assert len(told(page, "refresh")) == 1


def test_the_page_may_take_the_seat_itself(pages: Pages, service: Service, platform: Platform, room: Room) -> None:
    room.open()
    platform.give = lambda: (200, room.token("ada"))
    with room.guests(2) as guests:
        page = listening(pages)
        page.add_init_script("addEventListener('capacity-refresh', (event) => event.preventDefault())")
        page.goto(platform.page(service, WAITING_ROOM))
        in_state(page, "waiting")
        guests[0].send('{"type":"leave"}')
        in_state(page, "held")
        room.until(held=1)
        page.evaluate("document.querySelector('capacity-waiting-room').client.send('claim')")
        in_state(page, "seated")


def test_a_platform_that_gives_no_token_ends_it(pages: Pages, service: Service, platform: Platform) -> None:
    pages.allowed = NOT_LOADED
    platform.give = lambda: (403, "not signed in")
    page = listening(pages)
    page.goto(platform.page(service, WAITING_ROOM))
    in_state(page, "stopped")
    expect(page.locator("h1").filter(visible=True)).to_have_text("This link does not work any more")
    assert told(page, "stopped") == [{"reason": "token", "ended": None}]


def test_a_hosts_token_takes_no_place_in_the_line(
    pages: Pages, service: Service, platform: Platform, room: Room
) -> None:
    platform.give = lambda: (200, room.token("hanna", "host"))
    page = pages.open(platform.page(service, WAITING_ROOM))
    in_state(page, "stopped")
    room.until(state="not_started")


@pytest.mark.parametrize("admit", [False, True])
def test_what_happens_without_the_service_is_the_pages_choice(
    pages: Pages, service: Service, platform: Platform, room: Room, admit: bool
) -> None:
    pages.allowed = re.compile("WebSocket")
    platform.give = lambda: (200, room.token("ada"))
    choice = 'on-unavailable="admit"' if admit else ""
    page = listening(pages)
    down = True
    routes: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        routes.append(route)
        if down:
            route.close(code=1013, reason="unavailable")
        else:
            route.connect_to_server()

    page.route_web_socket(scenes.SOCKET, serve)
    body = WAITING_ROOM.replace("token-url", f'{choice} unavailable-after="0.2" token-url')
    page.goto(platform.page(service, body))
    wait_for(lambda: told(page, "unavailable"), what="the event")
    assert told(page, "unavailable") == [{"admit": admit}]
    in_state(page, "admitted" if admit else "connecting")
    webinar = page.get_by_role("heading", name="My webinar")
    expect(webinar).to_be_visible() if admit else expect(webinar).to_be_hidden()
    room.open()
    down = False
    in_state(page, "seated")
    expect(webinar).to_be_visible()


def test_a_banner_and_a_gauge_share_one_connection(
    pages: Pages, service: Service, platform: Platform, room: Room
) -> None:
    platform.give = lambda: (200, room.token("hanna", "host", billing=True))
    page = listening(pages)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    body = '<capacity-gauge></capacity-gauge><capacity-host-banner token-url="/token"></capacity-host-banner>'
    page.goto(platform.page(service, body))
    with room.guests(2):
        expect(page.locator("capacity-gauge [part=occupied]")).to_have_text("2")
        expect(page.locator(".banner:not(.ghost)")).to_have_attribute("data-level", "full")
    assert len(sockets) == 1 and platform.asked == 1
    assert [warning["level"] for warning in told(page, "near-full")] == ["full"]
    # An element that comes later is found, and told what the others know.
    page.evaluate("document.body.append(document.createElement('capacity-chart'))")
    expect(page.locator("capacity-chart path.taken")).to_have_attribute("d", re.compile("^M"))
    # The last one that goes closes the connection; the room is not the page's to end.
    page.evaluate("document.querySelectorAll('body > *').forEach((element) => element.remove())")
    wait_for(lambda: len(sockets) == 1, what="no second connection")
    room.until(state="open")


def test_an_overlay_is_there_when_it_has_something_to_say(
    pages: Pages, service: Service, platform: Platform, room: Room
) -> None:
    platform.give = lambda: (200, room.token("hanna", "host", billing=True))
    page = pages.blank()
    body = '<p id="own">My webinar</p><capacity-host-banner overlay token-url="/token"></capacity-host-banner>'
    page.goto(platform.page(service, body))
    room.until(state="open")
    own = page.locator("#own").bounding_box()
    banner = page.locator(".banner:not(.ghost)")
    expect(banner).to_be_attached()
    expect(banner).to_be_hidden()
    with room.guests(2):
        expect(banner).to_be_visible()
        assert page.locator("#own").bounding_box() == own
        page.get_by_role("button", name="Close").click()
        expect(banner).to_be_hidden()
        room.give(4)
        expect(banner).to_be_visible()
    assert page.evaluate("window.capacityShifts") == []


def test_the_upgrade_can_be_sold_by_the_page(pages: Pages, service: Service, platform: Platform, room: Room) -> None:
    platform.give = lambda: (200, room.token("hanna", "host", billing=True))
    page = listening(pages)
    page.add_init_script("addEventListener('capacity-upgrade', (event) => event.preventDefault())")
    page.goto(platform.page(service, '<capacity-host-banner token-url="/token"></capacity-host-banner>'))
    with room.guests(2):
        page.locator("[part~=upgrade]").click()
        sold = told(page, "upgrade")
        assert [sale["plan"] for sale in sold] == ["starter"]
        assert sold[0]["url"] == f"{service.url}/account"
        expect(page.locator("dialog")).to_have_count(0)


def test_colours_parts_words_and_direction_are_the_pages(
    pages: Pages, service: Service, platform: Platform, room: Room
) -> None:
    room.open()
    platform.give = lambda: (200, room.token("ada"))
    body = (
        '<capacity-waiting-room lang="de" token-url="/token"><b slot="waiting-title">Gleich</b>'
        '<p slot="waiting-info">Music</p></capacity-waiting-room>'
    )
    with room.guests(2):
        page = pages.blank(width=320, language="pl")
        page.goto(platform.page(service, body))
        in_state(page, "waiting")
        expect(page.locator("[part=reason]")).not_to_have_text("All seats of this webinar are taken.")
        expect(page.get_by_text("Gleich")).to_be_visible()
        expect(page.get_by_text("Music")).to_be_visible()
        colour = page.evaluate(
            """() => {
              const sheet = new CSSStyleSheet();
              sheet.replaceSync(":root { --capacity-ink: rgb(1, 2, 3); } ::part(position) { color: rgb(4, 5, 6); }");
              document.adoptedStyleSheets = [sheet];
              document.documentElement.dir = "rtl";
              const root = document.querySelector("capacity-waiting-room").shadowRoot;
              const colourOf = (selector) => getComputedStyle(root.querySelector(selector)).color;
              return [colourOf("h1"), colourOf("[part=position]")];
            }"""
        )
        assert colour == ["rgb(1, 2, 3)", "rgb(4, 5, 6)"]
        right = page.evaluate(
            "document.querySelector('capacity-waiting-room').shadowRoot.querySelector('button').getBoundingClientRect().right"
        )
        assert right > 240, "the button does not begin at the right"
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
