"""Buying on the account page, against a real desk: upgrades, downgrades, the add-on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.billing_page import BillingPage, day, days_ago
from tests.browser.conftest import Pages
from tests.browser.scenes import Stage
from tests.browser.service import SUPPORT_URL, Service

REFUSED = re.compile("Failed to load resource: the server responded with a status of 4")
PLANS = ("starter", "growth", "business", "premium", "scale")  # of the shipped catalogue, the smallest first
YEARLY = ("growth-yearly", "business-yearly")


@pytest.fixture
def stage(pages: Pages, service: Service) -> Stage:
    return Stage(pages, service)


def listed(billing: BillingPage) -> list[str]:
    """The plans of the dialog."""
    return [str(plan.get_attribute("value")) for plan in billing.plans.all()]


# ---- up


def test_an_upgrade_costs_the_difference_for_the_days_left(stage: Stage) -> None:
    account = stage.account("growth", period_started_at=days_ago(12.5))
    billing = BillingPage(stage, account).open()
    ends = billing.state()["period"]["ends_at"]
    room = billing.room()
    room.until(seat_limit=50)

    billing.change("upgrade")
    quote = billing.quoted(plan="business")
    assert quote["due_now"] == {"amount": 2210, "currency": "USD"}, "17 of 30 days"
    summary = billing.part("summary")
    expect(billing.part("due")).to_have_text("$22.10")
    expect(summary).to_contain_text(f"That is the difference for the days until {day(ends)}.")
    expect(summary).to_contain_text("At once: 100 seats in each room, open ones included.")
    expect(billing.part("next")).to_have_text(f"From {day(ends)} on the full price: $79.00")
    expect(billing.part("warnings")).to_have_count(0)
    billing.press_buy()
    expect(billing.dialog).to_contain_text("Each room has 100 seats now, open ones included.")
    expect(billing.dialog).to_contain_text("Paid: $22.10")
    room.until(seat_limit=100)
    billing.button("Back").click()

    expect(billing.fact("plan_size")).to_have_text("Business · 100 seats in each room")
    expect(billing.fact("next_charge")).to_have_text(f"$79.00 on {day(ends)}")
    expect(billing.rows).to_have_count(1)
    expect(billing.rows.locator("td").nth(1)).to_have_text("Plan · $22.10")
    expect(billing.states).to_have_text("Paid")
    state = billing.state()
    assert (state["plan"], state["seats"], state["period"]["ends_at"]) == ("business", 100, ends)


@pytest.mark.parametrize(
    ("plan", "on_sale"),
    [("trial", True), ("growth", True), ("growth", False), ("growth-yearly", True), ("business-yearly", False)],
)
def test_the_lists_hold_what_the_desk_sells(stage: Stage, plan: str, on_sale: bool) -> None:
    """An upgrade's list has every plan that the desk would sell at once, a downgrade's every one that comes later.

    Also for who has a plan that is not on sale any more. Plans of another currency are in neither.
    """
    billing = BillingPage(stage, stage.account(plan))
    kinds = {other: billing.quoted(plan=other).get("kind") for other in {*PLANS, *YEARLY} - {plan}}

    sold = billing.catalogue()
    euros = {**sold["plans"][-1], "price": {"amount": 1, "currency": "EUR"}}
    foreign = [{**euros, "id": "few", "seats": 2, "cycle_days": 30}, {**euros, "id": "many", "seats": 5000}]
    sold["plans"] = [one for one in sold["plans"] if on_sale or one["id"] != plan]
    sold["plans"] += foreign if plan != "trial" else []
    billing.page.route("**/v1/plans", lambda route: route.fulfill(json=sold))
    billing.open()
    for kind in ("upgrade", "downgrade"):
        if expected := [other for other in (*PLANS, *YEARLY) if kinds.get(other) == kind]:
            billing.change(kind)
            expect(billing.plans.first).to_be_checked()
            assert listed(billing) == expected, "the smallest first"
            billing.button("Cancel").click()


def test_who_has_the_largest_plan_is_told_so(stage: Stage) -> None:
    billing = BillingPage(stage, stage.account("business-yearly")).open()
    billing.button("Upgrade").click()
    expect(billing.dialog).to_contain_text("There is no such plan on sale.")
    expect(billing.dialog.locator("button.primary")).to_be_disabled()


def test_from_the_trial_the_full_price_is_due(stage: Stage) -> None:
    billing = BillingPage(stage, stage.account("trial", period_started_at=days_ago(20))).open()
    expect(billing.fact("plan_size")).to_have_text("Trial · 10 seats in each room")
    for gone in ("Downgrade", "Change…"):
        expect(billing.button(gone)).to_have_count(0)
    expect(billing.page.get_by_role("link", name="Ask support")).to_have_count(0)
    billing.change("upgrade")
    billing.choose("business")
    expect(billing.part("due")).to_have_text("$79.00")
    expect(billing.dialog).not_to_contain_text("difference")
    starts = billing.quoted(plan="business")["next_period"]["starts_at"]
    expect(billing.part("next")).to_have_text(f"From {day(starts)} on the full price: $79.00")
    billing.buy()
    period = billing.state()["period"]
    expect(billing.fact("period")).to_have_text(f"{day(period['starts_at'])} – {day(period['ends_at'])}")
    expect(billing.button("Downgrade")).to_be_visible()


# ---- down


def test_a_downgrade_comes_with_the_next_period_and_can_be_taken_back(stage: Stage) -> None:
    account = stage.account("business", promo_codes=["WELCOME"], period_started_at=days_ago(10))
    billing = BillingPage(stage, account).open()
    ends = billing.state()["period"]["ends_at"]
    support = billing.page.get_by_role("link", name="Ask support")
    expect(support).to_have_attribute("href", SUPPORT_URL)
    expect(support).to_have_attribute("target", "_blank")
    expect(support).to_have_attribute("rel", re.compile("noopener"))
    actions = billing.page.locator("[data-key=plan_size] .actions")
    expect(actions.locator("button, a")).to_have_text(["Upgrade", "Downgrade", "Ask support"])

    billing.change("downgrade")
    assert listed(billing) == ["starter", "growth"]
    billing.choose("growth")
    expect(billing.part("due")).to_have_text("$0.00")
    expect(billing.part("summary")).to_contain_text(f"Takes effect on {day(ends)}.")
    expect(billing.part("next")).to_have_text(f"From {day(ends)} on the full price: $40.00")
    expect(billing.part("warnings").locator("li")).to_have_text("Your promo codes are void from then on.")
    expect(billing.dialog.get_by_label("Test card")).to_have_count(0)
    expect(billing.dialog.locator("button.primary")).to_have_text("Confirm the change")
    billing.press_buy()
    expect(billing.dialog).to_contain_text(f"The change comes on {day(ends)}.")
    billing.button("Back").click()

    scheduled = billing.page.locator("[part=scheduled]")
    expect(scheduled).to_contain_text(
        f"On {day(ends)} the plan changes to Growth with 1 concurrent session: $40.00 from then on."
    )
    expect(billing.fact("plan_size")).to_contain_text("Business · 100 seats")
    expect(billing.fact("promo_codes")).to_have_text("WELCOME")
    expect(billing.rows).to_have_count(0)
    assert billing.state()["scheduled_change"] == {"plan": "growth", "concurrent_sessions": 1, "effective_at": ends}

    billing.button("Take the change back").click()
    expect(scheduled).to_have_count(0)
    expect(billing.fact("next_charge")).to_contain_text("$79.00")
    state = billing.state()
    assert (state["scheduled_change"], state["promo_codes"]) == (None, ["WELCOME"])


def test_a_downgrade_with_few_days_left_warns(stage: Stage) -> None:
    billing = BillingPage(stage, stage.account("growth", period_started_at=days_ago(28.5))).open()
    billing.change("downgrade")
    expect(billing.part("warnings").locator("li")).to_have_text(
        "Few days are left in the period: it takes effect soon."
    )
    billing.button("Cancel").click()
    billing.change("upgrade")
    expect(billing.part("warnings")).to_have_count(0)


def test_an_upgrade_replaces_the_change_that_is_scheduled(stage: Stage) -> None:
    account = stage.account("growth")
    stage.buy(account, {"plan": "starter"})
    billing = BillingPage(stage, account).open()
    expect(billing.notice("scheduled")).to_contain_text("the plan changes to Starter")
    billing.change("upgrade")
    expect(billing.part("warnings").locator("li")).to_have_text("The change that is scheduled now will not come.")
    billing.buy()
    expect(billing.notice("scheduled")).to_have_count(0)
    expect(billing.fact("plan_size")).to_contain_text("Business")
    assert billing.state()["scheduled_change"] is None


# ---- the add-on


def sessions(billing: BillingPage, count: int) -> None:
    """Choose a number of rooms, as with the keyboard."""
    field = billing.dialog.get_by_label("Rooms open at the same time")
    field.fill(str(count))
    field.press("Tab")


def test_sessions_are_added_one_by_one_and_cancelled_as_a_whole(stage: Stage, pages: Pages) -> None:
    billing = BillingPage(stage, stage.account("business", period_started_at=days_ago(12.5))).open()
    expect(billing.fact("sessions")).to_have_text("1 room open at the same time")
    billing.change("sessions")
    expect(billing.dialog).to_contain_text("The add-on is cancelled as a whole")
    expect(billing.dialog.get_by_label("Rooms open at the same time")).to_have_value("2")
    assert billing.quoted(concurrent_sessions=2)["due_now"]["amount"] == 1133, "2000 for 17 of 30 days"
    expect(billing.part("due")).to_have_text("$11.33")
    sessions(billing, 3)
    expect(billing.part("due")).to_have_text("$22.67")
    billing.press_buy()
    expect(billing.dialog).to_contain_text("Now 3 rooms can be open at the same time.")
    billing.button("Back").click()
    expect(billing.fact("sessions")).to_have_text("3 rooms open at the same time")
    expect(billing.rows.locator("td").nth(1)).to_have_text("Concurrent sessions · $22.67")
    assert billing.state()["concurrent_sessions"] == 3

    pages.allowed = REFUSED
    billing.change("sessions")
    sessions(billing, 2)
    expect(billing.alert).to_have_text("The add-on is cancelled as a whole: choose 1, or more than now.")
    expect(billing.dialog.locator("button.primary")).to_be_disabled()
    sessions(billing, 1)
    ends = billing.state()["period"]["ends_at"]
    expect(billing.part("summary")).to_contain_text(f"Takes effect on {day(ends)}.")
    expect(billing.alert).to_have_count(0)
    billing.buy()
    expect(billing.notice("scheduled")).to_contain_text("Business with 1 concurrent session: $79.00 from then on")
    expect(billing.fact("sessions")).to_have_text("3 rooms open at the same time")
    assert billing.state()["scheduled_change"]["concurrent_sessions"] == 1
