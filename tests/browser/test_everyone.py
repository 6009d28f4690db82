"""For everyone: every state of every page by axe, the keyboard, small and very large screens, slow phones, few bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, WebSocketRoute, expect

from capacity.web.pages import static_dir
from tests.browser import scenes
from tests.browser.conftest import LANGUAGES, Pages
from tests.browser.scenes import SCENES, Stage
from tests.browser.service import Room, Service, wait_for

PAGE_BYTES_MAX = 60_000
PURCHASE_BYTES_MAX = 82_000
EVERYTHING = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
BY_LOOK = {
    "type": "rule",
    "values": ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"],
}
COMPLAINTS = re.compile(r"Failed to load resource|net::ERR_FAILED")


def found_by_axe(page: Page, only: dict[str, Any]) -> list[str]:
    """What axe finds, one line each: rule, and where."""
    results = Axe().run(page, options={"runOnly": only, "resultTypes": ["violations"]})
    return [
        f"{violation['id']}: {node['target']} {node.get('failureSummary', '')}"
        for violation in results.response["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("name", SCENES)
def test_axe_finds_nothing(pages: Pages, service: Service, name: str) -> None:
    """On a desktop's screen in light; what the scheme and the size can change once more, dark and on a small phone."""
    pages.allowed = COMPLAINTS
    page = SCENES[name](Stage(pages, service))
    for width, dark, only in ((1280, False, EVERYTHING), (320, True, BY_LOOK)):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme="dark" if dark else "light")
        assert found_by_axe(page, only) == [], (name, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)


@pytest.mark.parametrize("name", ["join-waiting", "host-full", "account-details"])
def test_a_very_large_screen_is_used(pages: Pages, service: Service, name: str) -> None:
    page = SCENES[name](Stage(pages, service, width=3840))
    size = page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
    assert size >= 20, "the text of a 4K screen is as small as that of a phone"
    main = page.locator("main").bounding_box()
    assert main is not None and main["width"] >= 900
    assert abs(2 * main["x"] + main["width"] - 3840) < 20, "it is not in the middle"


def test_a_purchase_by_keyboard_alone(pages: Pages, service: Service) -> None:
    stage = Stage(pages, service)
    account = stage.account("starter")
    page = stage.scripted(
        "/host", stage.host(account), scenes.occupancy(50, 50, line=3), scenes.near_full(50, 50, line=3)
    )
    upgrade = page.locator("[part~=upgrade]")
    expect(upgrade).to_be_visible()
    focused = """() => {
      let at = document.activeElement;
      while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
      return at.textContent || at.value;
    }"""
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "Upgrade":
            break
    page.keyboard.press("Enter")
    expect(page.locator("[part=due]")).to_have_text("$52.20")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "business":
            break
    page.keyboard.press("ArrowUp")  # to the next smaller plan
    expect(page.locator("[part=due]")).to_have_text("$14.50")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "Buy for $14.50":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#change-title")).to_have_text("Done")
    assert page.evaluate(focused) == "Done", "the button that had the focus is gone, and the focus with it"
    page.keyboard.press("Escape")
    expect(page.locator("capacity-plan-dialog dialog")).to_be_hidden()
    assert page.evaluate(focused) == "Upgrade"
    assert stage.desk("GET", account, "")["plan"] == "growth"


def test_the_first_paint_of_the_waiting_room_does_not_wait_for_the_socket(pages: Pages, service: Service) -> None:
    stage = Stage(pages, service)
    page = stage.page()
    page.route_web_socket(scenes.SOCKET, lambda route: None)
    page.goto(stage.address("/join", stage.attendee()))
    expect(page.get_by_role("heading", name="One moment…")).to_be_visible()
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null")
    assert paint is not None


def test_the_first_paint_does_not_wait_for_the_modules_either(pages: Pages, service: Service) -> None:
    pages.allowed = COMPLAINTS
    stage = Stage(pages, service)
    page = stage.page()
    page.route("**/static/*.js", lambda route: route.abort())
    page.goto(stage.address("/join", stage.attendee()))
    wait_for(
        lambda: page.evaluate("performance.getEntriesByName('first-paint').length"), what="a paint without any script"
    )
    expect(page.locator(".wait")).to_be_visible()


@pytest.mark.parametrize(
    ("width", "language"),
    [(320, "en"), (768, "en"), (1280, "en"), (320, "de"), (320, "ru"), (1280, "pl"), (1280, "es")],
)
def test_nothing_moves_when_the_banner_comes(pages: Pages, service: Service, width: int, language: str) -> None:
    """From loading to near full, full, the raise and a lowered limit: the sum of all layout shifts is 0."""
    stage = Stage(pages, service, width=width, language=language)
    page = stage.page()
    opened: list[WebSocketRoute] = []
    page.route_web_socket(scenes.SOCKET, lambda route: opened.append(route))
    page.goto(stage.address("/host", stage.host()))
    expect(page.locator("capacity-gauge [part=occupied]")).to_have_text("–")
    banner = page.locator(".banner:not(.ghost)")
    asked = {"type": "upgrade_requested", "room": scenes.ROOM, "participant": "o", "name": "Omar", "plan": "business"}
    for level, messages in (
        ("calm", [scenes.occupancy(0, 50, line=3, state="not_started")]),
        ("calm", [scenes.occupancy(20, 50)]),
        ("near_full", [scenes.occupancy(46, 50), scenes.near_full(46, 50)]),
        ("full", [scenes.occupancy(50, 50, line=9), scenes.near_full(50, 50, line=9), asked]),
        ("good", [scenes.limit_change(100, 50), scenes.occupancy(59, 100, held=9)]),
        ("calm", [scenes.limit_change(50, 100)]),
    ):
        for message in messages:
            opened[0].send(json.dumps(message))
        expect(banner).to_have_attribute("data-level", level)
    assert page.evaluate("window.capacityShifts") == []


class Loaded(Stage):
    """A stage that counts the bytes of what its pages load of ours, uncompressed."""

    def page(self) -> Page:
        made = super().page()
        self.answers: list[Response] = []
        made.on("response", lambda answer: self.answers.append(answer))  # of a built-in it wants an attribute
        return made

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by address. Bodies are asked for here: a handler that asks would still be busy when the scene is over."""
        return {
            url: len(answer.body()) for answer in self.answers if "/v1/" not in (url := answer.url.partition("?")[0])
        }


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("name", ["join-waiting", "host-near-full", "account-details"])
def test_a_page_has_few_bytes(pages: Pages, service: Service, name: str, language: str) -> None:
    """All that a browser loads for a page of ours; no language has more bytes than Russian."""
    stage = Loaded(pages, service, language=language)
    SCENES[name](stage)
    sizes = stage.sizes
    assert any(url.endswith(f"/texts/{language}/common.js") for url in sizes)
    assert sum(sizes.values()) <= PAGE_BYTES_MAX, sizes


def test_a_page_and_the_purchase_have_few_bytes(pages: Pages, service: Service) -> None:
    """The purchase is loaded when somebody wants to buy."""
    stage = Loaded(pages, service, language="ru")
    scenes.dialog(stage)
    sizes = stage.sizes
    assert any(url.endswith("/plan-dialog.js") for url in sizes)
    assert sum(sizes.values()) <= PURCHASE_BYTES_MAX, sizes


def test_no_language_has_more_bytes_than_russian() -> None:
    texts = static_dir() / "texts"
    sizes = {
        folder.name: sum(path.stat().st_size for path in folder.iterdir())
        for folder in texts.iterdir()
        if folder.is_dir()
    }
    assert max(sizes, key=lambda language: sizes[language]) == "ru"


def test_every_module_is_loaded_by_some_page_or_by_an_element() -> None:
    """Nothing lies about that nobody imports."""
    files = {path.name: path.read_text() for path in static_dir().glob("*") if path.suffix in (".js", ".html", ".css")}
    for name in files:
        if name.endswith(".html") or name == "types.js":  # comments alone
            continue
        assert any(name in text for other, text in files.items() if other != name), name


def test_motion_stops_where_it_is_not_wanted(pages: Pages, service: Service) -> None:
    page = scenes.host("calm", scenes.occupancy(31, 50))(Stage(pages, service))
    duration = (
        "getComputedStyle(document.querySelector('capacity-gauge').shadowRoot.querySelector('.bar')).transitionDuration"
    )
    assert page.evaluate(duration) == "0s"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(duration) != "0s"


def test_names_are_only_ever_text(pages: Pages, service: Service, room: Room) -> None:
    name = "<img src=x onerror=alert(1)>"
    room.open()
    page = pages.open(room.join_address("attendee", name=name))
    expect(page.get_by_text(f"Welcome, {name}.")).to_be_visible()
    buyer = pages.open(room.host_address("buyer"))
    with room.guests(1):
        asker = pages.open(room.host_address("asker", billing=False, name=name))
        asker.locator("[part~=ask]").click()
        expect(buyer.locator("[part=asks]")).to_have_text(f"{name} asks for more seats.")
    for shown in (page, buyer, asker):
        expect(shown.locator("img")).to_have_count(0)


@pytest.mark.parametrize("path", ["/join", "/host", "/account"])
def test_without_javascript_the_page_says_what_it_needs(chromium: Browser, service: Service, path: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{service.url}{path}")
    said = page.locator("noscript p")
    expect(said.first).to_be_visible()
    expect(said.first).to_contain_text("This page needs JavaScript.")
    expect(page.locator(".wait")).to_be_visible(visible=False)
    assert page.locator("noscript [lang]").count() == len(LANGUAGES)
    context.close()


def test_a_place_survives_a_closed_tab(pages: Pages, room: Room) -> None:
    room.open()
    address = room.join_address("attendee")
    with room.guests(2):
        page = pages.open(address)
        expect(page.locator("[part=position]")).to_have_text("You are next")
        with room.guest("later"):
            page.close()
            room.until(waiting=2)
            again = pages.open(address)
            expect(again.locator("[part=position]")).to_have_text("You are next")
            expect(again.locator("[part=waiting]")).to_have_text("in a line of 2")
