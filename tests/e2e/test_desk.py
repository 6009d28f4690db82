"""The billing desk over HTTP, with hubs, rooms and people: what a purchase does to those who wait."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import ACCOUNT, ROOM, Billing, Client, Hub, service_token, serving, settings, token
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
PATH = f"/v1/accounts/{ACCOUNT}"
BUYER = token("hanna", role="host", billing=True)


@pytest.fixture
async def desk(redis_url: str) -> AsyncIterator[Hub]:
    """A hub with a billing desk whose payments are made by the test card."""
    async with serving(settings(redis_url, payments="test")) as running:
        yield running


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


async def create(hub: Hub, plan: str, **fields: Any) -> dict[str, Any]:
    answer = await hub.call("PUT", PATH, json={"plan": plan, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def quoted(hub: Hub, text: str = BUYER, **wish: Any) -> dict[str, Any]:
    answer = await hub.call("POST", f"{PATH}/quotes", text, json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def bought(hub: Hub, quote: dict[str, Any], key: str, status: int = 200, **fields: Any) -> dict[str, Any]:
    answer = await hub.call(
        "POST",
        f"{PATH}/purchases",
        BUYER,
        json={"quote": quote["id"], **fields},
        headers={"Idempotency-Key": key},
    )
    assert answer.status_code == status, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def account(hub: Hub) -> dict[str, Any]:
    answer = await hub.call("GET", PATH, BUYER)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def ledger(hub: Hub, *kinds: str) -> list[dict[str, Any]]:
    answer = await hub.call("GET", f"{PATH}/ledger", BUYER)
    assert answer.status_code == 200, answer.text
    return [entry for entry in answer.json()["entries"] if not kinds or entry["kind"] in kinds]


def usd(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "USD"}


async def test_from_the_trial_to_50_and_100_seats_in_a_full_room_the_waiting_are_seated_by_the_purchase(
    desk: Hub,
) -> None:
    """The way of the issue: trial → 50 seats → 100 seats with 17 of 30 days left, 60 waiting in a full room."""
    created = await create(desk, "trial")
    assert (created["seats"], created["managed_by"], created["status"]) == (10, "desk", "active")
    first = await quoted(desk, plan="growth")
    assert (first["kind"], first["due_now"], first["next_period"]["amount"]) == ("upgrade", usd(4000), 4000)
    assert (await bought(desk, first, "to-growth"))["status"] == "completed"
    assert (await account(desk))["seats"] == 50
    desk.pass_days(12.5)

    host = await desk.host("hanna", billing=True)
    people = [await desk.join(f"p{number:03}") for number in range(50)]
    for person in people:
        await person.told("seated")
    waiting = [await desk.join(f"w{number:02}") for number in range(60)]
    for person in waiting:
        await person.told("waiting")
    full = await host.told("near_full", level="full")
    assert full["upgrade"]["plan"] == "business"
    await wait_until(lambda: host.of("occupancy")[-1]["waiting"] == 60)

    quote = await quoted(desk, plan="business")
    assert quote["due_now"] == usd(2210) and quote["kind"] == "upgrade" and quote["warnings"] == []
    assert sum(line["amount"] for line in quote["lines"]) == 2210
    assert quote["next_period"]["amount"] == 7900
    began = time.monotonic()
    purchase = await bought(desk, quote, "to-business")
    assert (purchase["status"], purchase["amount"], purchase["seats"]) == ("completed", usd(2210), 100)
    told = [await person.told("refresh", within_seconds=2) for person in waiting[:50]]
    assert max(waiting[number].arrived_at[-1] for number in range(50)) - began < 2
    assert {refresh["reason"] for refresh in told} == {"seat_limit_raised"}
    assert not any(person.of("refresh") for person in waiting[50:])
    fresh = []
    for number in range(50):
        fresh.append(await desk.join(f"w{number:02}"))
        await fresh[-1].told("seated")
    numbers = await desk.occupancy()
    assert (numbers["seated"], numbers["waiting"], numbers["seat_limit"]) == (100, 10, 100)
    period = (await account(desk))["period"]
    assert datetime.fromisoformat(quote["next_period"]["starts_at"]) == datetime.fromisoformat(period["ends_at"])


async def test_a_connection_opened_after_the_answer_finds_the_change_in_force(desk: Hub) -> None:
    for attempt in range(5):
        name = f"acme-{attempt}"
        answer = await desk.call("PUT", f"/v1/accounts/{name}", json={"plan": "starter"})
        assert answer.status_code == 200
        host = await desk.connect(token("host", role="host", account=name))
        assert (await host.told("occupancy"))["seat_limit"] == 25


async def test_11_the_ledger_has_everything_in_order_as_json_and_as_csv(desk: Hub) -> None:
    await create(desk, "starter", period_started_at=ago(12.5))
    await bought(desk, await quoted(desk, plan="growth", concurrent_sessions=2), "k")
    refused = await desk.call("POST", f"{PATH}/quotes", BUYER, json={"plan": "trial"})
    assert (refused.status_code, refused.json()["code"]) == (409, "trial_not_available")
    entries = await ledger(desk)
    kinds = [entry["kind"] for entry in entries]
    assert kinds == ["created", "event", "line", "line", "payment", "change", "event", "refused"]
    assert [entry["amount"] for entry in entries if entry["kind"] == "line"] == [850, 850]
    assert next(entry for entry in entries if entry["kind"] == "payment")["amount"] == 1700
    assert entries[-1]["code"] == "trial_not_available" and entries[-1]["by"] == "host:hanna"
    assert [entry["id"] for entry in entries] == sorted((entry["id"] for entry in entries), key=order)
    first = (await desk.call("GET", f"{PATH}/ledger?limit=3", BUYER)).json()
    rest = (await desk.call("GET", f"{PATH}/ledger?after={first['next']}", BUYER)).json()
    assert first["entries"] + rest["entries"] == entries and rest["next"] is None
    for how in ({"headers": {"Accept": "text/csv"}}, {"params": {"format": "csv"}}):
        answer = await desk.call("GET", f"{PATH}/ledger", BUYER, **how)
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["kind"] for row in rows] == kinds
        assert sum(int(row["amount"]) for row in rows if row["kind"] == "line") == 1700
        described = (await desk.call("GET", "/openapi.json")).json()["paths"]["/v1/accounts/{account}/ledger"]["get"]
        assert answer.headers["content-type"] in described["responses"]["200"]["content"]


def order(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number)


async def test_10_a_payment_that_must_be_confirmed_answers_202_and_the_seats_rise_when_it_is(desk: Hub) -> None:
    await create(desk, "starter", period_started_at=ago(12.5))
    host = await desk.host("hanna", billing=True)
    quote = await quoted(desk, plan="growth")
    pending = await bought(desk, quote, "k", 202, payment_method="confirm")
    assert pending["status"] == "payment_action_required" and pending["action_url"].startswith("/card#")
    assert (await account(desk))["payment"]["action_url"] == pending["action_url"]
    assert (await desk.occupancy())["seat_limit"] == 25
    reference = pending["action_url"].partition("#")[2]
    confirmed = await desk.http.post("/v1/payments/card", json={"reference": reference, "confirmed": True})
    assert confirmed.status_code == 200
    await host.told("seat_limit", seat_limit=50)
    done = await bought(desk, quote, "k", payment_method="confirm")
    assert done["status"] == "completed" and done["id"] == pending["id"]
    twice = await desk.http.post("/v1/payments/card", json={"reference": reference, "confirmed": False})
    assert twice.status_code == 404


async def test_a_declined_card_answers_402_and_changes_nothing(desk: Hub) -> None:
    await create(desk, "starter")
    before = await account(desk)
    quote = await quoted(desk, plan="growth")
    problem = await bought(desk, quote, "k", 402, payment_method="declined")
    assert (problem["code"], problem["detail"]) == ("payment_declined", "The card was declined.")
    assert await account(desk) == before
    assert (await bought(desk, quote, "another", payment_method="good"))["status"] == "completed"


async def test_3_a_downgrade_is_scheduled_shown_and_taken_back(desk: Hub) -> None:
    await create(desk, "business", period_started_at=ago(28.5), promo_codes=["WELCOME"])
    quote = await quoted(desk, plan="starter", text=service_token())
    assert (quote["kind"], quote["due_now"], quote["lines"]) == ("downgrade", usd(0), [])
    assert {warning["code"] for warning in quote["warnings"]} == {"promo_codes_voided", "period_ends_soon"}
    period = (await account(desk))["period"]
    assert quote["effective_at"] == quote["next_period"]["starts_at"] == period["ends_at"]
    await bought(desk, quote, "k")
    shown = await account(desk)
    assert shown["scheduled_change"] == {
        "plan": "starter", "concurrent_sessions": 1, "effective_at": period["ends_at"],
    }  # fmt: skip
    assert (shown["plan"], shown["seats"], shown["promo_codes"]) == ("business", 100, ["WELCOME"])
    assert shown["next_charge"] == usd(2500)
    for _ in range(2):
        answer = await desk.call("DELETE", f"{PATH}/scheduled-change", BUYER)
        assert answer.status_code == 200 and answer.json()["scheduled_change"] is None
    assert (await account(desk))["next_charge"] == usd(7900)


async def test_6_a_renewal_comes_by_itself_and_the_open_room_follows_the_scheduled_change(desk: Hub) -> None:
    await create(desk, "business", period_started_at=ago(30 - 3 / 86400))
    await bought(desk, await quoted(desk, plan="growth"), "k")
    host = await desk.host()
    assert host.messages[0]["seat_limit"] == 100
    await host.told("seat_limit", seat_limit=50, within_seconds=8)

    async def paid() -> bool:
        return bool((await account(desk))["status"] == "active")

    await wait_until(paid, what="the renewal, which is charged once its change is in force")
    shown = await account(desk)
    assert (shown["plan"], shown["status"], shown["scheduled_change"]) == ("growth", "active", None)
    assert [entry["amount"] for entry in await ledger(desk, "payment")] == [4000]


async def test_2_concurrent_sessions_are_how_many_rooms_may_be_open(desk: Hub) -> None:
    await create(desk, "growth")
    assert (await desk.call("PUT", f"{PATH}/rooms/one")).status_code == 200
    refused = await desk.call("PUT", f"{PATH}/rooms/two")
    assert refused.json()["code"] == "concurrent_sessions_reached"
    await bought(desk, await quoted(desk, concurrent_sessions=2), "k")
    assert (await desk.call("PUT", f"{PATH}/rooms/two")).status_code == 200


async def test_an_account_of_events_is_shown_and_cannot_be_bought_for(desk: Hub, billing: Billing) -> None:
    await billing.account(25, version=3, concurrent_sessions=2)
    shown = await account(desk)
    assert (shown["managed_by"], shown["seats"], shown["concurrent_sessions"]) == ("events", 25, 2)
    assert (shown["version"], shown["period"], shown["scheduled_change"], shown["promo_codes"]) == (3, None, None, [])
    for method, path, body in (
        ("POST", "quotes", {"plan": "growth"}),
        ("POST", "purchases", {"quote": "x"}),
        ("DELETE", "scheduled-change", None),
        ("GET", "ledger", None),
    ):
        answer = await desk.call(method, f"{PATH}/{path}", json=body, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["code"]) == (409, "account_not_managed"), path


async def test_an_account_of_events_becomes_the_desks_by_put_and_events_are_rejected_from_then_on(
    desk: Hub, billing: Billing
) -> None:
    await billing.account(500, version=1_795_000_000_000)
    created = await create(desk, "growth")
    assert created["version"] > 0 and created["seats"] == 50
    host = await desk.host()
    assert host.messages[0]["seat_limit"] == 50
    event = await billing.publish(1000, version=2_000_000_000_000)
    await wait_until(billing.rejected, what="the event to be rejected")
    assert await billing.rejected() == [(event, "managed_by_desk")]
    assert (await desk.occupancy())["seat_limit"] == 50


async def test_a_second_put_says_what_the_account_has_in_its_currency(desk: Hub) -> None:
    for paid in (2500, {"amount": 2500, "currency": "USD"}):
        await create(desk, "starter", paid=paid)
    answer = await desk.call("PUT", PATH, json={"plan": "starter", "paid": {"amount": 2500, "currency": "EUR"}})
    assert (answer.status_code, answer.json()["code"]) == (409, "account_exists")


async def test_a_promo_code_ends_where_it_ends(desk: Hub) -> None:
    answer = await desk.call("PUT", PATH, json={"plan": "starter", "promo_codes": ["WELCOME\n"]})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_who_may_what(desk: Hub) -> None:
    await create(desk, "starter")
    allowed = [service_token(), service_token(ACCOUNT), BUYER]
    foreign = [
        token("h", role="host"),
        token("a"),
        service_token("other"),
        token("h", role="host", billing=True, account="other"),
    ]
    for method, path, body in (
        ("GET", PATH, None),
        ("POST", f"{PATH}/quotes", {"plan": "growth"}),
        ("GET", f"{PATH}/ledger", None),
        ("DELETE", f"{PATH}/scheduled-change", None),
    ):
        for text in allowed:
            assert (await desk.call(method, path, text, json=body)).status_code == 200, (method, path)
        for text in foreign:
            answer = await desk.call(method, path, text, json=body)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)
    assert (await desk.call("PUT", PATH, BUYER, json={"plan": "starter"})).json()["code"] == "forbidden"


async def test_without_billing_the_desk_is_not_there_and_events_are_all(redis_url: str, billing: Billing) -> None:
    async with serving(settings(redis_url, desk="off")) as hub:
        await billing.account(25)
        assert (await hub.call("PUT", PATH, json={"plan": "growth"})).json()["code"] == "not_found"
        assert (await hub.call("GET", "/openapi.json")).json()["paths"].keys().isdisjoint({f"{PATH}/quotes"})
        host = await hub.host(billing=True)
        assert host.messages[0]["seat_limit"] == 25


async def near_full_hosts(desk: Hub) -> tuple[Client, Client, Client]:
    """A room near full with a host who may buy and one who may not, and a billing host in another room."""
    await create(desk, "starter", concurrent_sessions=2, period_started_at=ago(12.5))
    await desk.call("PUT", f"{PATH}/rooms/other")
    elsewhere = await desk.host("boss", room="other", billing=True)
    buyer, guest = await desk.host("hanna", billing=True), await desk.host("gustav")
    people = [desk.join(f"p{number}") for number in range(23)]
    await asyncio.gather(*people)
    return buyer, guest, elsewhere


async def test_near_full_carries_the_plan_that_fits_and_what_it_costs_who_may_buy(desk: Hub) -> None:
    buyer, guest, elsewhere = await near_full_hosts(desk)
    # growth instead of starter, and its dearer add-on: (1500 + 500) × 17 / 30
    assert (await buyer.told("near_full"))["upgrade"] == {
        "plan": "growth", "name": "Growth", "seats": 50, "due_now": usd(1133), "url": "/account",
    }  # fmt: skip
    assert (await guest.told("near_full"))["upgrade"]["due_now"] is None
    told = await elsewhere.told("near_full", room=ROOM)
    assert told["upgrade"]["due_now"] == usd(1133)
    await guest.say("request_upgrade")
    for client in (buyer, elsewhere):
        asked = await client.told("upgrade_requested")
        assert (asked["room"], asked["participant"], asked["plan"]) == (ROOM, "gustav", "growth")
    assert not guest.of("upgrade_requested")


async def test_a_level_is_told_once_however_often_a_host_says_open(desk: Hub) -> None:
    buyer, guest, elsewhere = await near_full_hosts(desk)
    for client in (buyer, guest, elsewhere):
        await client.told("near_full", room=ROOM)
    for _ in range(3):
        for client in (buyer, guest, elsewhere):
            shown = len(client.of("occupancy"))
            await client.say("open")
            await client.told("occupancy", count=shown + 1)
    late = await desk.host("late", billing=True)
    await late.told("near_full")
    assert [len(client.of("near_full")) for client in (buyer, guest, elsewhere)] == [1, 1, 1]


async def test_a_scheduled_downgrade_that_fills_a_room_is_told_with_a_price(desk: Hub) -> None:
    await create(desk, "growth", period_started_at=ago(30 - 4 / 86400))
    await bought(desk, await quoted(desk, plan="starter"), "k")
    host = await desk.host("hanna", billing=True)
    await asyncio.gather(*(desk.join(f"p{number}") for number in range(30)))
    told = await host.told("near_full", level="full", within_seconds=8)
    assert (told["seat_limit"], told["upgrade"]["plan"]) == (25, "growth")
    assert told["upgrade"]["due_now"] == usd(1450)


async def test_what_is_offered_is_of_the_accounts_currency_though_the_catalogue_forgot_its_plan(
    redis_url: str, tmp_path: Path
) -> None:
    euro = """
[[plans]]
id = "{id}"
name = "Europe"
seats = {seats}
cycle_days = 30
price = {price}
currency = "EUR"
"""
    shipped = (Path(__file__).parents[2] / "capacity" / "plans.toml").read_text()
    both, later = tmp_path / "both.toml", tmp_path / "later.toml"
    larger = euro.format(id="e60", seats=60, price=6000)
    both.write_text(shipped + euro.format(id="e10", seats=10, price=1000) + larger)
    later.write_text(shipped + larger)
    async with serving(settings(redis_url, payments="test", plans=both)) as hub:
        await create(hub, "e10", period_started_at=ago(12.5))
    async with serving(settings(redis_url, payments="test", plans=later)) as hub:
        host = await hub.host("hanna", billing=True)
        await asyncio.gather(*(hub.join(f"p{number}") for number in range(10)))
        upgrade = (await host.told("near_full"))["upgrade"]
        assert (upgrade["plan"], upgrade["due_now"]) == ("e60", {"amount": 2833, "currency": "EUR"})


async def test_the_button_leads_to_who_bills_the_account(redis_url: str, billing: Billing) -> None:
    external = "https://billing.example/upgrade"
    async with serving(settings(redis_url, upgrade_url=external)) as hub:
        await billing.account(10, "of-events")
        assert (await hub.call("PUT", PATH, json={"plan": "starter"})).status_code == 200
        for name, seats, url in (("of-events", 10, external), (ACCOUNT, 25, "/account")):
            host = await hub.connect(token("host", role="host", account=name, billing=True))
            await asyncio.gather(*(hub.join(f"p{number}", account=name) for number in range(seats)))
            assert (await host.told("near_full"))["upgrade"]["url"] == url


async def test_the_plans_say_how_purchases_are_paid(redis_url: str) -> None:
    for chosen, payments in (({"payments": "test"}, "test"), ({}, "invoice"), ({"desk": "off"}, None)):
        async with serving(settings(redis_url, **chosen)) as hub:
            answer = await hub.call("GET", "/v1/plans", token("ada"))
            assert (answer.status_code, answer.json()["payments"]) == (200, payments)


async def test_a_payment_is_given_up_and_another_card_taken(desk: Hub) -> None:
    await create(desk, "starter")
    quote = await quoted(desk, plan="growth")
    await bought(desk, quote, "first", 202, payment_method="confirm")
    other = await quoted(desk, plan="business")
    assert (await bought(desk, other, "second", 409))["code"] == "quote_stale"
    for _ in range(2):
        answer = await desk.call("DELETE", f"{PATH}/payment", BUYER)
        assert (answer.status_code, answer.json()["payment"]) == (200, None)
    assert (await bought(desk, other, "third"))["status"] == "completed"


async def test_12_an_event_is_replayed_once_the_account_is_not_the_desks_any_more(desk: Hub, billing: Billing) -> None:
    await create(desk, "starter")
    await billing.publish(500, version=7)
    await wait_until(billing.rejected, what="the event to be rejected")
    (event,) = (await desk.call("GET", "/v1/events?verdict=rejected")).json()["events"]
    replay = f"/v1/events/{event['entry']}/replay"
    assert (await desk.call("POST", replay)).json()["code"] == "not_replayable"
    let_go = await desk.call("DELETE", PATH)
    assert (let_go.status_code, let_go.json()["managed_by"], let_go.json()["seats"]) == (200, "events", 25)
    assert (await desk.call("POST", replay)).status_code == 202
    await billing.seats(ACCOUNT, 500)
    assert (await account(desk))["managed_by"] == "events"


async def test_a_raise_that_leaves_the_room_full_names_the_next_plan_at_the_new_price(desk: Hub) -> None:
    await create(desk, "starter", period_started_at=ago(12.5))
    host = await desk.host("hanna", billing=True)
    await asyncio.gather(*(desk.join(f"p{number}") for number in range(60)))
    await wait_until(lambda: host.of("occupancy")[-1]["waiting"] == 35)
    await bought(desk, await quoted(desk, plan="growth"), "k")
    told = await host.told("near_full", seat_limit=50)
    assert told["upgrade"]["plan"] == "business"
    assert told["upgrade"]["due_now"] == usd(2210), "the difference to what was just paid"
