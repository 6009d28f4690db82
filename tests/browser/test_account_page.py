"""The account page: the way to it, what it says of an account and of who may not see one, and its invoices."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from iso4217 import Currency
from playwright.sync_api import Page, Route, expect

from capacity.domain.money import decimal
from tests.browser import scenes
from tests.browser.billing_page import BillingPage, day, days_ago, dollars, once
from tests.browser.conftest import Pages
from tests.browser.scenes import Stage
from tests.browser.service import Room, Service, token, wait_for

REFUSED = re.compile("Failed to load resource: the server responded with a status of 4")
CUT_OFF = re.compile("net::ERR_FAILED")
FORBIDDEN = "This link may not see or change billing. Ask a host who may."
AGAIN = "Please open the page from your webinar platform again."
INVOICES_SHOWN = 12
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def stage(pages: Pages, service: Service) -> Stage:
    return Stage(pages, service)


# ---- the way there


def test_the_menu_under_the_picture_leads_to_the_billing_details_and_back(stage: Stage) -> None:
    key = stage.host(stage.account("growth"))
    page = stage.open("/host", key)
    picture = page.get_by_role("button", name="Menu")
    link = page.get_by_role("link", name="Billing details")
    expect(picture.locator("#initials")).to_have_text("HB")
    expect(picture).to_have_attribute("aria-expanded", "false")
    box, size = picture.bounding_box(), page.viewport_size
    assert box is not None and size is not None
    assert box["x"] + box["width"] > size["width"] * 0.9 and box["y"] < 100, "at the upper right"

    picture.focus()
    page.keyboard.press("Enter")
    expect(picture).to_have_attribute("aria-expanded", "true")
    expect(page.locator("#name")).to_have_text("Hanna Berg")
    page.keyboard.press("Tab")
    expect(link).to_be_focused()
    page.keyboard.press("Escape")
    expect(link).to_be_hidden()
    expect(picture).to_be_focused()
    picture.click()
    expect(link).to_be_visible()
    page.locator("capacity-gauge").click()
    expect(link).to_be_hidden()
    picture.click()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(link).to_be_hidden()

    picture.click()
    link.click()
    expect(page).to_have_url(re.compile(r"/account\?lang=en#"))
    assert page.url.partition("#")[2] == key
    expect(page.get_by_role("heading", name="Billing details")).to_be_visible()
    expect(page.locator("dd[part=plan_size]")).to_contain_text("Growth")
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Back to the room").click()
    expect(page).to_have_url(re.compile(r"/host\?lang=en#"))
    assert page.url.partition("#")[2] == key
    expect(page.locator("[part=state]")).to_have_text("Open")


def test_the_page_opens_no_connection_and_no_room(stage: Stage) -> None:
    account = stage.account("growth")
    billing = BillingPage(stage, account)
    sockets: list[str] = []
    billing.page.on("websocket", lambda socket: sockets.append(socket.url))
    billing.open()
    billing.change("upgrade")
    billing.buy()
    billing.look_again()
    expect(billing.fact("plan_size")).to_contain_text("Business")
    assert sockets == []
    Room(stage.service, account, scenes.ROOM).until(state="not_started", seated=0)


# ---- what it says


def test_the_details_are_the_desks(stage: Stage) -> None:
    account = stage.account("business", concurrent_sessions=3, promo_codes=["A", "B"], period_started_at=days_ago(3))
    billing = BillingPage(stage, account).open()
    period = billing.state()["period"]
    expect(billing.page).to_have_title(f"Billing details · {account}")
    for name, text in {
        "account": account,
        "plan_size": "Business · 100 seats in each room",
        "sessions": "3 rooms open at the same time",
        "period": f"{day(period['starts_at'])} – {day(period['ends_at'])}",
        "next_charge": f"{dollars(7900 + 2 * 2000)} on {day(period['ends_at'])}",
        "promo_codes": "A, B",
    }.items():
        expect(billing.fact(name)).to_have_text(text)
    expect(billing.page.get_by_text("There are none yet.")).to_be_visible()
    expect(billing.page.locator(".notice")).to_have_count(0)
    expect(billing.alert).to_have_count(0)


def test_what_others_wrote_is_shown_as_text(stage: Stage) -> None:
    account = stage.account("growth", promo_codes=["<b>BOLD</b>"])
    page = stage.open("/account", token("hanna", account=account, role="host", room="r", name=MARKUP, billing=True))
    expect(page.locator("dd[part=promo_codes]")).to_have_text("<b>BOLD</b>")
    page.get_by_role("button", name="Menu").click()
    expect(page.locator("#name")).to_have_text(MARKUP)
    expect(page.locator("img, b")).to_have_count(0)


def test_an_overdue_account_is_told_and_buys_its_plan_again(stage: Stage) -> None:
    account = scenes.overdue(stage)
    billing = BillingPage(stage, account).open()
    overdue = billing.state()["overdue"]
    expect(billing.notice("overdue")).to_contain_text("The charge for this period was declined.")
    expect(billing.notice("overdue")).to_contain_text(f"The seats stay until {day(overdue['seats_until'])}")
    expect(billing.fact("plan_size")).to_contain_text("50 seats")
    expect(billing.states).to_have_text("Declined")
    billing.change("upgrade")
    billing.choose("growth")
    expect(billing.part("due")).to_have_text("$40.00")
    billing.buy("good")
    expect(billing.notice("overdue")).to_have_count(0)
    expect(billing.states).to_have_text(["Paid", "Declined"])
    state = billing.state()
    assert (state["status"], state["plan"], state["overdue"]) == ("active", "growth", None)


def test_a_suspended_account_is_told_and_buys_a_plan(stage: Stage) -> None:
    billing = BillingPage(stage, stage.account("trial", period_started_at=days_ago(30, seconds=1)))
    wait_for(lambda: billing.state()["status"] == "suspended", what="the end of the trial")
    room = billing.room()
    room.until(seat_limit=0)
    billing.open()
    expect(billing.notice("suspended")).to_contain_text("The account has no seats")
    expect(billing.fact("plan_size")).to_contain_text("0 seats in each room")
    expect(billing.button("Downgrade")).to_have_count(0)
    billing.change("upgrade")
    expect(billing.part("due")).to_have_text("$25.00")
    billing.buy()
    expect(billing.notice("suspended")).to_have_count(0)
    room.until(seat_limit=25)


def test_who_has_no_seats_is_not_offered_a_downgrade(stage: Stage) -> None:
    """Every plan is more than none. The grace of a paid plan takes a week: here its end is written down."""
    billing = BillingPage(stage, stage.account("growth"))
    suspended = {**billing.state(), "status": "suspended", "seats": 0, "period": None, "next_charge": None}
    billing.page.route(f"**/v1/accounts/{billing.account}", lambda route: route.fulfill(json=suspended))
    billing.open()
    expect(billing.notice("suspended")).to_be_visible()
    expect(billing.button("Downgrade")).to_have_count(0)
    expect(billing.fact("period")).to_have_count(0)
    billing.button("Upgrade").click()
    expect(billing.plans).to_have_count(7)


def sold_at(url: str) -> Callable[[Route], None]:
    """Answer with the page as it is with CAPACITY_UPGRADE_URL."""

    def answer(route: Route) -> None:
        page = route.fetch(headers={**route.request.headers, "if-none-match": ""})
        text = page.text()
        assert 'upgrade-url=""' in text
        route.fulfill(response=page, body=text.replace('upgrade-url=""', f'upgrade-url="{url}"'))

    return answer


def test_an_account_that_is_managed_by_events_is_changed_elsewhere(stage: Stage) -> None:
    billing = BillingPage(stage, stage.room(seats=7).account).open()
    expect(billing.fact("account")).to_have_text(billing.account)
    expect(billing.fact("plan_size")).to_have_text("7 seats in each room")
    expect(billing.page.get_by_text("The plan of this account is changed by your webinar platform.")).to_be_visible()
    expect(billing.page.locator("capacity-account button")).to_have_count(0)
    expect(billing.page.get_by_role("heading", name="Invoices")).to_have_count(0)
    link = billing.page.get_by_role("link", name="Upgrade")
    expect(link).to_have_count(0)
    for url, links in (("https://billing.example/plans?a=1&amp;b=2", 1), ("javascript:alert(1)", 0)):
        billing.page.route("**/account?*", sold_at(url))
        billing.page.reload()
        expect(billing.fact("plan_size")).to_be_visible()
        expect(link).to_have_count(links)
        if links:
            expect(link).to_have_attribute("href", "https://billing.example/plans?a=1&b=2")
            expect(link).to_have_attribute("rel", re.compile("noopener"))


def test_where_there_is_no_desk_every_plan_is_changed_elsewhere(stage: Stage, pages: Pages) -> None:
    pages.allowed = REFUSED
    billing = BillingPage(stage, stage.account("growth"))
    nowhere = f"{stage.service.url}/v1/nowhere"  # answered as with CAPACITY_DESK=off
    billing.page.route("**/v1/accounts/**", lambda route: route.continue_(url=nowhere))
    billing.page.route("**/account?*", sold_at("https://billing.example/"))
    billing.page.goto(stage.address("/account", stage.host(billing.account)))
    expect(billing.alert).to_have_text("The plan of this account is changed by your webinar platform, not here.")
    expect(billing.page.get_by_role("link", name="Upgrade")).to_have_attribute("href", "https://billing.example/")


# ---- who may not see it, and when nobody can


def test_who_may_not_see_it_is_told_why(stage: Stage, pages: Pages) -> None:
    pages.allowed = REFUSED
    account = stage.account("growth")
    page = stage.page()
    for who, key, text in (
        ("host who may not buy", stage.host(account, billing=False), FORBIDDEN),
        ("attendee", stage.attendee(account, billing=True), FORBIDDEN),
        ("nobody", "", f"This link is not complete. {AGAIN}"),
        ("half a link", stage.host(account)[:40], f"This link is not complete. {AGAIN}"),
        ("forger", stage.host(account)[:-4] + "AAAA", f"This link does not work any more. {AGAIN}"),
        ("late", stage.host(account, ttl_seconds=-3600), f"This link has expired. {AGAIN}"),
        ("new", stage.host("unheard-of"), "This account is not known here: no plan has been set up for it yet."),
    ):
        page.goto("about:blank")
        page.goto(stage.address("/account", key))
        expect(page.get_by_role("alert").filter(has_text="."), who).to_have_text(text)
        expect(page.get_by_role("heading", name="Billing details")).to_be_visible()
        expect(page.locator("capacity-account button")).to_have_count(0)
        expect(page.get_by_text("Loading…")).to_have_count(0)


def test_a_service_that_cannot_be_reached_is_tried_again(stage: Stage, pages: Pages) -> None:
    pages.allowed = CUT_OFF
    account = stage.account("growth")
    stage.buy(account, {"plan": "starter"})
    billing = BillingPage(stage, account)
    page = billing.page
    page.route("**/v1/**", lambda route: route.abort())
    page.goto(stage.address("/account", stage.host(account)))
    expect(billing.alert).to_have_text("The service cannot be reached at the moment. Please try again.")
    with page.expect_event("requestfailed"):
        billing.button("Try again").click()
    expect(billing.alert).to_be_visible()
    page.unroute("**/v1/**")
    billing.button("Try again").click()
    expect(billing.fact("plan_size")).to_contain_text("Growth")
    expect(billing.alert).to_have_count(0)
    # Who has the details already keeps them.
    page.route("**/scheduled-change", lambda route: route.abort())
    billing.button("Take the change back").click()
    expect(billing.alert).to_be_visible()
    expect(billing.notice("scheduled")).to_be_visible()
    page.unroute("**/scheduled-change")
    billing.button("Take the change back").click()
    expect(billing.notice("scheduled")).to_have_count(0)
    expect(billing.alert).to_have_count(0)


def test_an_answer_that_was_overtaken_is_not_shown(stage: Stage) -> None:
    account = stage.account("growth")
    billing = BillingPage(stage, account).open()
    late: list[Route] = []
    billing.page.route(f"**/v1/accounts/{account}", once(late.append))
    before = billing.state()
    with billing.page.expect_request(f"**/v1/accounts/{account}"):
        billing.look_again()
    stage.buy(account, {"plan": "business"})
    billing.look_again()
    expect(billing.fact("plan_size")).to_contain_text("Business")
    with billing.page.expect_event("requestfinished", lambda request: request.url.endswith(account)):
        late[0].fulfill(json=before)
    billing.page.evaluate("new Promise((resolve) => setTimeout(resolve))")
    expect(billing.fact("plan_size")).to_contain_text("Business")


# ---- invoices


def many_invoices(stage: Stage, count: int = INVOICES_SHOWN + 2) -> str:
    """An account that has bought so many times."""
    account = stage.account("starter", period_started_at=days_ago(5))
    stage.buy(account, {"plan": "growth"})
    for sessions in range(2, count + 1):
        stage.buy(account, {"concurrent_sessions": sessions})
    return account


def test_of_many_invoices_the_last_are_shown_and_all_on_demand(stage: Stage) -> None:
    account = many_invoices(stage)
    stage.buy(account, {"plan": "business", "concurrent_sessions": INVOICES_SHOWN + 3})
    billing = BillingPage(stage, account).open()
    expect(billing.rows).to_have_count(INVOICES_SHOWN)
    billing.button(f"Show all {INVOICES_SHOWN + 3}").click()
    expect(billing.rows).to_have_count(INVOICES_SHOWN + 3)
    expect(billing.page.get_by_role("button", name="Show all")).to_have_count(0)
    amounts: dict[str, list[int]] = {}
    for line in billing.ledger("line"):
        amounts.setdefault(line["invoice"], []).append(int(line["amount"]))
    newest_first = [*amounts.values()][::-1]
    expect(billing.amounts).to_have_text([dollars(sum(lines)) for lines in newest_first])
    plan, add_on = newest_first[0]
    expect(billing.rows.first.locator("td").nth(1).locator("div")).to_have_text(
        [f"Plan · {dollars(plan)}", f"Concurrent sessions · {dollars(add_on)}"]
    )
    columns = billing.page.get_by_role("columnheader")
    expect(columns).to_have_text(["Date", "For", "Amount"])


@pytest.mark.parametrize("limit", ["5000", "1"])
def test_the_csv_is_the_whole_ledger(stage: Stage, limit: str) -> None:
    """Also where it comes in several pieces, the last of which may be empty."""
    billing = BillingPage(stage, many_invoices(stage, 2))
    pages: list[str] = []

    def shorten(route: Route) -> None:
        pages.append(route.request.url)
        route.continue_(url=route.request.url.replace("limit=5000", f"limit={limit}"))

    billing.page.route("**/ledger?format=csv*", shorten)
    billing.open()
    with billing.page.expect_download() as started:
        billing.button("Download as CSV").click()
    assert started.value.suggested_filename == f"{billing.account}-invoices.csv"
    saved = Path(started.value.path()).read_bytes().decode()
    assert saved == billing.csv()
    assert len([*csv.DictReader(io.StringIO(saved))]) > 7
    assert len(pages) > 1


# ---- money


@pytest.mark.parametrize(("language", "point", "group"), [("en", ".", ","), ("de", ",", ".")])
def test_prices_have_the_digits_of_iso_4217(
    service: Service, pages: Pages, language: str, point: str, group: str
) -> None:
    codes = [currency.code for currency in Currency if currency.exponent is not None]
    page: Page = pages.open(f"{service.url}/")
    said = page.evaluate(
        """async ([language, codes]) => {
          const { Texts } = await import("/static/texts.js");
          const t = new Texts(language, {});
          return codes.map((currency) => t.price({ amount: 123456789, currency }));
        }""",
        [language, codes],
    )
    assert len(codes) > 150
    for code, text in zip(codes, said, strict=True):
        number = re.search(rf"\d[\d{group}]*(\{point}\d+)?", text)
        assert number, (code, text)
        assert number[0].replace(group, "").replace(point, ".") == decimal(123456789, code), (code, text)
