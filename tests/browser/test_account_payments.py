"""What becomes of a payment on the account page: declined, to be confirmed, given up, its answer lost, its price overtaken."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.billing_page import BillingPage, dollars, once
from tests.browser.conftest import Pages
from tests.browser.scenes import Stage
from tests.browser.service import Service

REFUSED = re.compile("Failed to load resource: the server responded with a status of 4")
CUT_OFF = re.compile("net::ERR_FAILED")
WAITS = "A payment of {} waits to be confirmed."


@pytest.fixture
def stage(pages: Pages, service: Service) -> Stage:
    return Stage(pages, service)


@pytest.fixture
def billing(stage: Stage) -> BillingPage:
    """The page of an account with a plan for 50 seats, on which a tenth of the time passes between two questions."""
    found = BillingPage(stage, stage.account("growth"))
    found.page.add_init_script("const later = setTimeout; window.setTimeout = (action, ms) => later(action, ms / 10)")
    return found.open()


def test_a_declined_card_buys_nothing_and_a_good_one_does(billing: BillingPage, pages: Pages) -> None:
    pages.allowed = REFUSED
    billing.change("upgrade")
    billing.press_buy("declined")
    expect(billing.alert).to_have_text("The card was declined. Nothing was charged and nothing changed.")
    assert billing.state()["plan"] == "growth"
    expect(billing.dialog.get_by_label("Test card")).to_have_value("declined")
    billing.buy("good")
    expect(billing.fact("plan_size")).to_contain_text("Business")
    expect(billing.states).to_have_text(["Paid", "Declined"])
    assert len(billing.ledger("payment")) == len(billing.ledger("declined")) == 1


def confirm(billing: BillingPage, answer: str = "Yes, pay") -> None:
    """Decide on the bank's page, which opens in a tab of its own, and come back."""
    with billing.page.context.expect_page() as opened:
        billing.page.get_by_role("link", name="Confirm the payment").click()
    bank: Page = opened.value
    bank.get_by_role("button", name=answer).click()
    expect(bank.locator("#text")).to_contain_text("You can close this page.")
    assert bank.evaluate("window.opener") is None
    bank.close()


def test_a_payment_is_confirmed_while_the_dialog_waits(billing: BillingPage) -> None:
    billing.change("upgrade")
    billing.press_buy("confirm")
    expect(billing.dialog).to_contain_text("Your bank wants you to confirm the payment.")
    confirm(billing)
    expect(billing.dialog.get_by_role("heading", name="Done")).to_be_visible()
    billing.button("Back").click()
    expect(billing.fact("plan_size")).to_contain_text("Business")
    expect(billing.notice("payment")).to_have_count(0)


def test_a_payment_that_waits_is_seen_after_the_dialog_and_can_be_given_up(billing: BillingPage) -> None:
    billing.change("upgrade")
    due = str(billing.part("due").text_content())
    billing.press_buy("confirm")
    expect(billing.dialog.get_by_role("link", name="Confirm the payment")).to_be_visible()
    billing.page.keyboard.press("Escape")
    expect(billing.dialog).to_have_count(0)
    for _ in range(2):
        expect(billing.notice("payment")).to_contain_text(WAITS.format(due))
        for change in ("Upgrade", "Downgrade", "Change…"):
            expect(billing.button(change)).to_be_disabled()
        billing.page.reload()
    billing.button("Do not pay").click()
    expect(billing.notice("payment")).to_have_count(0)
    expect(billing.button("Upgrade")).to_be_enabled()
    state = billing.state()
    assert (state["plan"], state["payment"]) == ("growth", None)


def test_a_payment_is_given_up_in_the_dialog(billing: BillingPage, pages: Pages) -> None:
    pages.allowed = REFUSED  # what became of it, it asks: declined
    billing.change("upgrade")
    billing.press_buy("confirm")
    billing.dialog.get_by_role("button", name="Do not pay").click()
    expect(billing.alert).to_have_text("Nothing was paid and nothing changed.")
    expect(billing.part("due")).to_be_visible()
    assert billing.state()["payment"] is None
    billing.buy("good")
    expect(billing.fact("plan_size")).to_contain_text("Business")


def test_who_gives_up_what_is_paid_by_then_is_told_that_it_is_bought(billing: BillingPage) -> None:
    billing.change("upgrade")
    billing.press_buy("confirm")
    link = billing.dialog.get_by_role("link", name="Confirm the payment")
    expect(link).to_be_visible()
    with billing.page.expect_request("**/purchases"):
        billing.page.route("**/purchases", once(lambda _: None))  # the next time it asks, it gets no answer
    reference = str(link.get_attribute("href")).partition("#")[2]
    decided = {"reference": reference, "confirmed": True}
    assert billing.stage.service.http.post("/v1/payments/card", json=decided).status_code == 200
    billing.button("Do not pay").click()
    expect(billing.dialog.get_by_role("heading", name="Done")).to_be_visible()
    expect(billing.alert).to_have_count(0)
    billing.button("Back").click()
    expect(billing.fact("plan_size")).to_contain_text("Business")
    assert billing.state()["plan"] == "business"


@pytest.mark.parametrize(("answer", "plan"), [("Yes, pay", "Business"), ("No, do not pay", "Growth")])
def test_who_comes_back_from_the_bank_sees_what_became_of_it(stage: Stage, answer: str, plan: str) -> None:
    account = stage.account("growth")
    stage.buy(account, {"plan": "business"}, "confirm")
    billing = BillingPage(stage, account).open()
    expect(billing.notice("payment")).to_be_visible()
    confirm(billing, answer)
    billing.look_again()
    expect(billing.notice("payment")).to_have_count(0)
    expect(billing.fact("plan_size")).to_contain_text(plan)
    assert billing.state()["plan"] == plan.lower()


@pytest.mark.parametrize("card", ["good", "confirm"])
def test_what_becomes_of_a_purchase_is_seen_also_if_the_dialog_is_closed_meanwhile(
    billing: BillingPage, card: str
) -> None:
    held: list[Route] = []
    billing.page.route("**/purchases", lambda route: held.append(route))
    billing.change("upgrade")
    billing.press_buy(card)
    expect(billing.dialog).to_contain_text("your purchase is being made")
    with billing.page.expect_response("**/ledger?*"):
        billing.page.keyboard.press("Escape")
    expect(billing.dialog).to_have_count(0)
    with billing.page.expect_response("**/purchases"):
        held[0].continue_()
    if card == "confirm":
        expect(billing.notice("payment")).to_be_visible()
    else:
        expect(billing.fact("plan_size")).to_contain_text("Business")


def answered(billing: BillingPage, **answer: Any) -> None:
    """Let the next purchase be answered so, as another gateway than the test card would."""
    body = {"status": "processing", "action_url": None, "seats": 100, "concurrent_sessions": 1, "effective_at": None}
    purchase = {**body, "amount": {"amount": 1, "currency": "USD"}, **answer}
    billing.page.route("**/purchases", once(lambda route: route.fulfill(status=202, json=purchase)))


def test_a_gateway_that_takes_its_time_is_waited_for(billing: BillingPage) -> None:
    answered(billing, status="processing")
    billing.change("upgrade")
    billing.press_buy()
    expect(billing.dialog).to_contain_text("your purchase is being made")
    expect(billing.dialog.get_by_role("heading", name="Done")).to_be_visible()
    assert len(billing.ledger("payment")) == 1


@pytest.mark.parametrize("url", [None, "javascript:alert(1)"])
def test_a_payment_without_a_page_to_confirm_it_on_is_the_platforms(billing: BillingPage, url: str | None) -> None:
    answered(billing, status="payment_action_required", action_url=url)
    billing.change("upgrade")
    billing.press_buy()
    expect(billing.dialog).to_contain_text("Your platform tells you how.")
    expect(billing.dialog.get_by_role("link")).to_have_count(0)
    expect(billing.dialog.get_by_role("heading", name="Done")).to_be_visible()


def test_an_answer_that_got_lost_is_asked_for_again_and_paid_once(billing: BillingPage, pages: Pages) -> None:
    pages.allowed = CUT_OFF

    def lose(route: Route) -> None:
        assert route.fetch().ok
        route.abort()

    billing.page.route("**/purchases", once(lose))
    billing.change("upgrade")
    billing.buy()
    expect(billing.fact("plan_size")).to_contain_text("Business")
    expect(billing.rows).to_have_count(1)
    assert len(billing.ledger("payment")) == 1


def test_a_purchase_that_nobody_answers_is_unsure_and_paid_once(billing: BillingPage, pages: Pages) -> None:
    pages.allowed = CUT_OFF
    billing.page.route("**/purchases", lambda route: route.abort())
    billing.change("upgrade")
    billing.press_buy()
    expect(billing.dialog.get_by_text("It is not known yet whether it was bought.")).to_be_visible()
    assert billing.state()["plan"] == "growth"
    billing.page.unroute("**/purchases")
    billing.dialog.get_by_role("button", name="Try again").click()
    expect(billing.dialog.get_by_role("heading", name="Done")).to_be_visible()
    assert len(billing.ledger("payment")) == 1


def test_a_price_that_was_overtaken_is_shown_anew_and_nothing_is_bought(stage: Stage, pages: Pages) -> None:
    pages.allowed = REFUSED
    account = stage.account("starter")
    billing = BillingPage(stage, account).open()
    billing.change("upgrade")
    billing.choose("scale")
    before = str(billing.part("due").text_content())
    stage.buy(account, {"plan": "business"})
    billing.press_buy()
    expect(billing.alert).to_have_text("The price has changed meanwhile. Please look at it again.")
    now = dollars(billing.quoted(plan="scale")["due_now"]["amount"])
    expect(billing.part("due")).to_have_text(now)
    assert now != before
    assert billing.state()["plan"] == "business"
    billing.choose("premium")
    expect(billing.alert).to_have_count(0)
    billing.choose("scale")
    billing.buy()
    expect(billing.fact("plan_size")).to_contain_text("Scale")
    assert len(billing.ledger("payment")) == 2
