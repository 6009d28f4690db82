"""A purchase that Stripe charges, from the quote to the webhook that lets the seats rise: localstripe and a whole hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.support.recording_server import Answer, recording_server
from tests.support.service import ACCOUNT, Hub, serving, settings, token
from tests.support.stripe_server import API_KEY, StripeServer, stripe_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
PATH = f"/v1/accounts/{ACCOUNT}"
EVENTS = "/v1/payments/events"
SECRET = "whsec_of_the_tests"
BUYER = token("hanna", role="host", billing=True)
GOOD, AUTHENTICATE = "4242424242424242", "4000002500003155"


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeServer]:
    with stripe_server(tmp_path_factory.mktemp("localstripe")) as running:
        yield running


@pytest.fixture
async def hub(redis_url: str, stripe: StripeServer) -> AsyncIterator[Hub]:
    chosen = settings(
        redis_url, payments="stripe", stripe_key=API_KEY, stripe_webhook_secrets=(SECRET,), stripe_url=stripe.url
    )
    async with serving(chosen) as running:
        yield running


async def bought(hub: Hub, card: str | None) -> tuple[httpx.Response, dict[str, Any]]:
    """Create an account, and buy for it; returns the answer, and what to send to ask again."""
    assert (await hub.call("PUT", PATH, json={"plan": "starter"})).status_code == 200
    quote = (await hub.call("POST", f"{PATH}/quotes", BUYER, json={"plan": "growth"})).json()
    body = {"quote": quote["id"], "payment_method": card}
    return await buy(hub, body), body


async def buy(hub: Hub, body: dict[str, Any]) -> httpx.Response:
    return await hub.call("POST", f"{PATH}/purchases", BUYER, json=body, headers={"Idempotency-Key": "key"})


async def test_10_a_card_is_charged_and_the_seats_are_in_force(hub: Hub, stripe: StripeServer) -> None:
    before = len(stripe.charges())
    answer, body = await bought(hub, stripe.card(GOOD))
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert (await hub.host()).messages[0]["seat_limit"] == 50
    assert (await buy(hub, body)).json() == answer.json()
    charges = stripe.charges()[: len(stripe.charges()) - before]
    assert [charge["amount"] for charge in charges] == [answer.json()["amount"]["amount"]]


async def test_10_the_seats_rise_when_stripe_says_that_the_payer_confirmed(hub: Hub, stripe: StripeServer) -> None:
    answer, body = await bought(hub, stripe.card(AUTHENTICATE))
    assert (answer.status_code, answer.json()["status"]) == (202, "payment_action_required")
    host = await hub.host(billing=True)
    assert host.messages[0]["seat_limit"] == 25
    assert hub.application is not None and hub.application.desk is not None
    pending = await hub.application.desk.account(ACCOUNT)
    assert pending is not None and pending.payment is not None and pending.payment.reference is not None
    stripe.tell(f"{hub.address}{EVENTS}", SECRET)
    stripe.authenticate(pending.payment.reference, success=True)
    await host.told("seat_limit", seat_limit=50, within_seconds=10)
    done = await buy(hub, body)
    assert (done.status_code, done.json()["status"], done.json()["id"]) == (200, "completed", answer.json()["id"])


async def test_10_webhooks_are_verified_and_one_that_comes_again_is_not_looked_at(
    hub: Hub, stripe: StripeServer
) -> None:
    answer, _ = await bought(hub, stripe.card(GOOD))
    assert answer.status_code == 200
    with recording_server(Answer(200, {})) as receiver:
        stripe.tell(receiver.url, SECRET)
        other = await hub.call(
            "PUT", "/v1/accounts/other", json={"plan": "starter", "payment_method": stripe.card(GOOD)}
        )
        assert other.status_code == 200
        quote = (await hub.call("POST", "/v1/accounts/other/quotes", json={"plan": "growth"})).json()
        paid = await hub.call(
            "POST", "/v1/accounts/other/purchases", json={"quote": quote["id"]}, headers={"Idempotency-Key": "key"}
        )
        assert paid.status_code == 200
        (event,) = await wait_until(
            lambda: [each for each in receiver.requests if b'"other"' in each.body], what="an event of the account"
        )
    headers = {"Stripe-Signature": event.headers["stripe-signature"], "Content-Type": "application/json"}
    for _ in range(2):
        taken = await hub.http.post(EVENTS, content=event.body, headers=headers)
        assert (taken.status_code, taken.json()) == (200, {"status": "taken"})
    forged = await hub.http.post(EVENTS, content=event.body.replace(b"other", b"acme!"), headers=headers)
    assert (forged.status_code, forged.json()["code"]) == (401, "invalid_signature")
    stripe.kill()  # who comes again is answered, though nobody could be asked any more
    taken = await hub.http.post(EVENTS, content=event.body, headers=headers)
    assert taken.status_code == 200
    stripe.start()
