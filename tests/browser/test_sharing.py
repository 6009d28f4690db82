"""One connection for all elements of a page: shared, told to who comes later, given up with the last of them."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Pages
from tests.browser.service import Room
from tests.browser.test_client import counted


def test_elements_share_one_connection(pages: Pages, room: Room) -> None:
    room.open()
    page = pages.blank()
    sockets = counted(page)
    page.goto(room.join_address("ada"))
    element = page.locator("capacity-waiting-room")
    expect(element).to_have_attribute("state", "seated")
    page.evaluate("document.querySelector('main').append(document.createElement('capacity-waiting-room'))")
    expect(element.nth(1)).to_have_attribute("state", "seated")
    element.first.evaluate("(first) => document.querySelector('footer').append(first)")
    expect(element).to_have_count(2)
    room.until(seated=1)
    element.first.evaluate("(first) => first.remove()")
    expect(element).to_have_count(1)
    assert len(sockets) == 1
    room.until(seated=1)
    element.first.evaluate("(last) => last.remove()")
    room.until(seated=0, away=1)
    assert len(sockets) == 1


def test_an_element_that_comes_later_is_told_how_it_stands_now(pages: Pages, room: Room) -> None:
    """Not what was so before: a hold that was taken would reload the page."""
    room.open()
    page = pages.blank()
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => document.querySelector('capacity-waiting-room').toggleAttribute('claim'))"
    )
    element = page.locator("capacity-waiting-room")
    with room.guests(2) as guests:
        page.goto(room.join_address("ada"))
        expect(element).to_have_attribute("state", "waiting")
        page.evaluate("window.capacityMark = true")
        guests[0].send('{"type":"leave"}')
        expect(element).to_have_attribute("state", "seated")
        room.give(3)
        expect(page.get_by_text("The room has 3 seats.")).to_be_visible()
        page.evaluate("document.querySelector('main').append(document.createElement('capacity-waiting-room'))")
        expect(element.nth(1)).to_have_attribute("state", "seated")
        # One that is moved as well.
        element.first.evaluate("(first) => document.querySelector('footer').append(first)")
        expect(page.get_by_text("The room has 3 seats.")).to_have_count(2)
        # The reload of a hold would have come at once.
        page.evaluate("new Promise((done) => setTimeout(done))")
        assert element.evaluate_all("(all) => all.map(({ state }) => state)") == ["seated", "seated"]
        assert page.evaluate("window.capacityMark === true")


def test_a_banner_that_comes_later_is_told_how_it_stands_now(pages: Pages, room: Room) -> None:
    host = pages.open(room.host_address())
    banner = host.locator(".banner:not(.ghost)")
    with room.guests(2) as guests:
        expect(banner).to_have_attribute("data-level", "full")
        guests[0].send('{"type":"leave"}')
        expect(banner).to_have_attribute("data-level", "calm")
        room.give(3)
        expect(banner).to_have_attribute("data-level", "good")
        with room.guests(2, "more"):
            expect(host.locator("[part=free]")).to_have_text("0")
            host.evaluate("document.querySelector('main').append(document.createElement('capacity-host-banner'))")
            expect(banner.nth(1)).to_have_attribute("data-level", "full")
            expect(host.locator(".news li").first).to_contain_text("The room is full.")
            host.evaluate("document.querySelector('main').append(document.querySelector('capacity-room'))")
            expect(host.locator(".news li", has_text="The seat limit rose")).to_have_count(1)
