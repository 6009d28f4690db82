"""The host's page against a real server: the banner as the room fills, opening and ending, the picture over time."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from capacity.errors import ErrorCode
from tests.browser import scenes
from tests.browser.conftest import Pages
from tests.browser.service import Room, Service, wait_for

UPDATES = 1_000
UPDATES_A_FRAME = 4
LONG_TASK_US = 50_000
TASKS = "disabled-by-default-devtools.timeline"


def expect_banner(page: Page, level: str, title: str) -> None:
    banner = page.locator(".banner:not(.ghost)")
    expect(banner).to_have_attribute("data-level", level)
    expect(banner.locator("[part=title]")).to_have_text(title)


def banner_text(page: Page) -> Any:
    return expect(page.locator(".banner:not(.ghost) [part=text]"))


def open_host(pages: Pages, room: Room) -> Page:
    """Open a host page and wait until it has opened the room."""
    page = pages.open(room.host_address())
    expect(page.locator("capacity-room [part=state]")).to_have_text("Open")
    return page


def test_seats_are_kept_for_those_who_are_away(pages: Pages, room: Room) -> None:
    host = open_host(pages, room)
    with room.guests(2):
        expect_banner(host, "full", "The room is full: nobody waits yet")
    # The guests' connections are lost, their seats are kept: they are away until their grace is over.
    expect(host.locator("[part=away]")).to_have_text("2")
    room.give(10)
    expect_banner(host, "good", "The seat limit rose from 2 to 10")
    expect(host.locator("[part=occupied]")).to_have_text("2")


def test_a_lowered_limit_is_told(pages: Pages, room: Room) -> None:
    host = open_host(pages, room)
    expect_banner(host, "calm", "2 seats are free")
    room.give(1)
    expect_banner(host, "calm", "The seat limit fell from 2 to 1")
    expect(host.locator("[part=limit]")).to_have_text("of 1 seat taken")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_moves_when_a_banner_comes_and_when_the_limit_rises(pages: Pages, room: Room, width: int) -> None:
    """Without a click before it: browsers do not count what moves right after one."""
    host = pages.open(room.host_address(name="Hanna"), width=width)
    expect_banner(host, "calm", "2 seats are free")
    with room.guests(2):
        expect_banner(host, "full", "The room is full: nobody waits yet")
        with room.guests(3, "waiting"):
            expect_banner(host, "full", "The room is full: 3 people wait")
            room.give(3)
            expect_banner(host, "good", "The seat limit rose from 2 to 3")
            expect(host.locator("[part=held]")).to_have_text("1")
            room.give(25)
            expect_banner(host, "good", "The seat limit rose from 3 to 25")
            expect(host.locator("[part=held]")).to_have_text("3")
    assert host.evaluate("window.capacityShifts") == []


PLACES = """() => Object.fromEntries([...document.querySelectorAll("[data-capacity]")].flatMap(({ localName, shadowRoot }) =>
  [...shadowRoot.querySelectorAll(".banner:not(.ghost), .card, h2, .gauge, dt, .plot, .keys, .bad, .actions, .line")]
    .filter((node) => !node.closest(".banner > *, dialog"))
    .map((node, index) => [`${localName} ${node.localName}.${node.className} (${index})`, node.getBoundingClientRect()])
    .map(([name, { x, y }]) => [name, [Math.round(x + scrollX), Math.round(y + scrollY)]])))"""
"""Where the parts of the console begin, also those below what the screen shows, which no browser counts as moved."""

LONG = "A webinar about everything that a room can hold, and about who waits for it"
ASKED = {"type": "upgrade_requested", "room": scenes.ROOM, "participant": "o", "name": "Omar", "plan": "business"}
OTHER = {**scenes.near_full(46, 50), "room": LONG}
REFUSED = {"type": "error", "code": ErrorCode.CONCURRENT_SESSIONS_REACHED, "message": ""}
AWAY = {"type": "error", "code": ErrorCode.UNAVAILABLE, "message": ErrorCode.UNAVAILABLE.message}
BANNER = ".banner:not(.ghost)"
STATES: tuple[tuple[str, list[scenes.Message], str, str], ...] = (
    ("not started", [scenes.occupancy(0, 50, line=3, state="not_started")], BANNER, "3 people wait for you"),
    ("refused", [REFUSED], "[part=refusal]", "as many rooms open as its plan allows"),
    ("no store", [AWAY], "[part=refusal]", "cannot reach its store"),
    ("open", [scenes.occupancy(20, 50)], "[part=state]", "Open"),
    ("forecast", [scenes.occupancy(46, 50), scenes.near_full(46, 50)], BANNER, "At this rate"),
    ("no forecast", [scenes.near_full(46, 50, soon=None)], BANNER, "Nearly full"),
    ("forecast again", [scenes.near_full(46, 50, soon=900.0)], BANNER, "15 minutes"),
    ("full", [scenes.occupancy(50, 50, line=1_234), scenes.near_full(50, 50, line=1_234)], BANNER, "1,234 people"),
    ("asked", [ASKED], BANNER, "Omar asks"),
    ("other rooms' news", [OTHER, {**OTHER, "level": "full"}] * 3, ".news li:nth-child(6)", LONG),
    ("raised", [scenes.limit_change(1_000, 50), scenes.occupancy(999, 1_000, held=949)], BANNER, "949 people"),
    ("full, told late", [scenes.near_full(1_000, 1_000, line=7)], "[part=occupied]", "999"),
)
LOST = (
    (1012, "restarting", "The service is restarting"),
    (4429, "overloaded", "The service is busy"),
    (1011, "unavailable", "The service is not available"),
    (1006, "", "The connection was lost"),
)
"""How a connection ends, and the words for it."""


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_nothing_moves_in_the_states_that_only_load_brings(pages: Pages, service: Service, width: int) -> None:
    """A slow processor, forecasts that come and go, long news, a raise that is no news any more, connections that end."""
    stage = scenes.Stage(pages, service, width=width)
    page = stage.page()
    page.clock.install()
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 6})
    opened: list[WebSocketRoute] = []
    page.route_web_socket(scenes.SOCKET, lambda route: opened.append(route))
    page.goto(stage.address("/host", stage.host()))
    expect(page.locator("[part=occupied]")).to_have_text("–")
    wait_for(lambda: page.evaluate("true") and opened, what="a connection")
    places = page.evaluate(PLACES)
    moved: list[str] = []

    def look(state: str, selector: str, text: str) -> None:
        expect(page.locator(selector)).to_contain_text(text)
        for name, place in page.evaluate(PLACES).items():
            if place != places.setdefault(name, place):
                moved.append(f"{state}: {name} from {places[name]} to {place}")
                places[name] = place

    for state, messages, selector, text in STATES:
        for message in messages:
            opened[-1].send(json.dumps(message))
        look(state, selector, text)
    page.clock.run_for(8_000)
    look("no news any more", BANNER, "The room is full: nobody waits yet")
    for code, reason, text in LOST:
        last = len(opened)
        opened[-1].close(code=code, reason=reason)
        look(text, "[part=connection]", text)
        page.clock.run_for(60_000)
        wait_for(lambda last=last: page.evaluate("true") and len(opened) > last, what="another connection")  # type: ignore[misc]
        opened[-1].send(json.dumps(scenes.occupancy(999, 1_000)))
        look(f"{text}, and is back", "[part=connection]", "Connected")
    pages.allowed = re.compile("ERR_FAILED")
    page.route("**/static/plan-dialog.js*", lambda route: route.abort())
    opened[-1].send(json.dumps(scenes.near_full(999, 1_000, soon=2_700.0)))
    look("forecast", BANNER, "45 minutes")
    page.get_by_role("button", name="Upgrade").click()
    look("no purchase to be had", "[part=asks]", "cannot be reached")
    assert not moved, "\n".join(moved)
    assert page.evaluate("window.capacityShifts") == []


def test_the_host_ends_the_webinar_for_everyone(pages: Pages, room: Room) -> None:
    host = open_host(pages, room)
    attendee = pages.open(room.join_address("attendee"))
    expect(attendee.get_by_role("heading", name="You have a seat")).to_be_visible()
    state, dialog = host.locator("capacity-room [part=state]"), host.locator("dialog")
    host.get_by_role("button", name="End for everyone…").click()
    dialog.get_by_role("button", name="Go on with the webinar").click()
    expect(dialog).to_be_hidden()
    expect(state).to_have_text("Open")

    host.get_by_role("button", name="End for everyone…").click()
    dialog.get_by_role("button", name="End for everyone").press("Enter")

    expect(attendee.get_by_role("heading", name="The webinar has ended")).to_be_visible()
    expect(attendee.locator("[part=reason]")).to_contain_text("The host has ended it.")
    expect(state).to_have_text("Ended")
    expect_banner(host, "calm", "The webinar has ended")
    expect(host.get_by_role("button", name="End for everyone…")).to_have_count(0)
    expect(host.get_by_role("heading", name="Webinar")).to_be_focused()


def test_a_second_room_opens_when_the_first_has_ended(pages: Pages, service: Service, room: Room) -> None:
    room.open()
    other = Room(service, room.account, "other")
    host = pages.open(other.host_address())
    refusal, state = host.locator("[part=refusal]"), host.locator("capacity-room [part=state]")
    expect(refusal).to_contain_text("as many rooms open as its plan allows")
    expect(state).to_have_text("Not started")
    host.get_by_role("button", name="Open the room").click()
    expect(refusal).to_contain_text("as many rooms open as its plan allows")

    room.end()
    host.get_by_role("button", name="Open the room").click()

    expect(state).to_have_text("Open")
    expect(refusal).to_have_text("")


def test_links_that_are_not_a_hosts(pages: Pages, service: Service, room: Room) -> None:
    expect_banner(pages.open(f"{service.url}/host"), "calm", "This link is not complete")
    attendee = f"{service.url}/host#{room.token('attendee')}"
    expect_banner(pages.open(attendee), "calm", "This is not a host\u2019s link")
    old = f"{service.url}/host#{room.token('host', 'host', ttl_seconds=-100)}"
    expect_banner(pages.open(old), "calm", "This link does not work any more")
    room.until(state="not_started", waiting=0, occupied=0)


def test_the_account_page_shows_the_seats(pages: Pages, room: Room) -> None:
    host = pages.open(room.host_address(name="Hanna Berg"))
    picture = host.get_by_role("button", name="Menu")
    expect(picture).to_contain_text("HB")
    picture.click()
    host.get_by_role("link", name="Billing details").click()
    expect(host).to_have_url(re.compile("/account#"))
    expect(host.locator("[part=account]")).to_have_text(room.account)
    expect(host.locator("[part=plan_size]")).to_have_text("2 seats in each room")
    picture.click()
    host.get_by_role("link", name="Back to the room").click()
    expect(host.locator("[part=limit]")).to_have_text("of 2 seats taken")


# ---- the picture over time


def drawn(page: Page) -> list[str | None]:
    return [page.locator(f"capacity-chart path.{name}").get_attribute("d") for name in ("taken", "waiting", "limit")]


def test_the_picture_grows_and_a_reload_keeps_it(pages: Pages, room: Room) -> None:
    host = open_host(pages, room)
    says = host.locator("capacity-chart figure .unseen")
    expect(says).to_have_text("Seats taken: 0 at first, 0 now. Waiting: 0. Seat limit: 2.")
    with room.guests(3):
        expect(says).to_have_text("Seats taken: 0 at first, 2 now. Waiting: 1. Seat limit: 2.")
        taken, waiting, limit = drawn(host)
        for path in (taken, waiting, limit):
            assert path is not None and re.match(r"M\d+ \d+(H\d+V\d+)+H600", path), path
        assert taken != waiting != limit
        host.reload()
        # What there was before is still in it, and goes on.
        expect(says).to_have_text("Seats taken: 0 at first, 2 now. Waiting: 1. Seat limit: 2.")
        room.give(5)
        expect(says).to_contain_text("Seats taken: 0 at first, 3 now. Waiting: 0. Seat limit: 5.")
    # Another room's is another picture.
    other = open_host(pages, room)
    expect(other.locator("capacity-chart figure .unseen")).to_contain_text("at first")
    assert other.evaluate("sessionStorage.length") == 0


def page_tasks(trace: bytes) -> list[int]:
    """Return how long each task of a page's main thread had the processor, in µs."""
    events = json.loads(trace)["traceEvents"]
    main = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        event["tdur"]
        for event in events
        if event["name"] == "RunTask" and (event["pid"], event["tid"]) in main and "tdur" in event
    ]


def test_a_thousand_updates_do_not_keep_the_page_busy(pages: Pages, service: Service, chromium: Browser) -> None:
    """No task of the page takes 50 ms of its processor. Of its processor: the clock's time is other processes' as well."""
    stage = scenes.Stage(pages, service)
    page = stage.page()
    opened: list[WebSocketRoute] = []
    page.route_web_socket(scenes.SOCKET, lambda route: opened.append(route))
    page.goto(stage.address("/host", stage.host()))
    wait_for(lambda: page.evaluate("true") and opened, what="a connection")
    opened[0].send(json.dumps(scenes.occupancy(0, 1_000)))
    expect_banner(page, "calm", "1,000 seats are free")
    chromium.start_tracing(page=page, categories=["__metadata", TASKS])
    began = time.monotonic()
    for number in range(1, UPDATES + 1):
        opened[0].send(json.dumps(scenes.occupancy(number, 1_000, line=number % 7, held=number % 5, away=number % 3)))
        if number >= 900 and number % 10 == 0:
            opened[0].send(json.dumps(scenes.near_full(number, 1_000, line=number % 7)))
        if number % UPDATES_A_FRAME == 0:
            page.evaluate("new Promise(requestAnimationFrame)")
    expect_banner(page, "full", "The room is full: 6 people wait")
    expect(page.locator("[part=occupied]")).to_have_text("1,000")
    assert time.monotonic() - began < 60
    tasks = page_tasks(chromium.stop_tracing())
    assert len(tasks) > UPDATES
    assert max(tasks) < LONG_TASK_US
