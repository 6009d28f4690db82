"""A billing desk whose payments go to Stripe: purchases and renewals from quote to charge, on localstripe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from capacity.billing.register import Order
from capacity.billing.stripe_gateway import StripeGateway
from tests.support.desk import ACCOUNT, DeskUnderTest
from tests.support.recording_server import Answer, recording_server
from tests.support.stripe_server import API_KEY, StripeServer, stripe_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

SECRET = "whsec_of_the_tests"
GOOD, DECLINED_WHEN_CHARGED, AUTHENTICATE = "4242424242424242", "4000000000000341", "4000002500003155"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeServer]:
    with stripe_server(tmp_path_factory.mktemp("localstripe")) as running:
        yield running


@pytest.fixture
async def at(redis_url: str, server: StripeServer) -> AsyncIterator[DeskUnderTest]:
    under_test = DeskUnderTest(redis_url, gateway=StripeGateway(API_KEY, (SECRET,), base_url=server.url))
    yield under_test
    await under_test.close()


async def reference(at: DeskUnderTest) -> str:
    """Return the PaymentIntent of the payment under way."""
    pending = (await at.account()).payment
    assert pending is not None and pending.reference is not None
    return pending.reference


async def test_a_purchase_with_the_saved_card(at: DeskUnderTest, server: StripeServer) -> None:
    await at.create("starter", customer=server.customer(server.card(GOOD)))
    quote = await at.quote("growth")
    bought = await at.buy(quote)
    assert (bought.status, bought.seats) == ("completed", quote.proposal.plan.seats)
    assert await at.billed() == [quote.proposal.due_now.amount]


async def test_a_declined_purchase_changes_nothing(at: DeskUnderTest, server: StripeServer) -> None:
    await at.create("starter")
    bought = await at.buy(await at.quote("growth"), card=server.card(DECLINED_WHEN_CHARGED))
    assert (bought.status, bought.detail) == ("payment_declined", "Your card was declined.")
    account = await at.account()
    assert (account.subscription.plan.id, account.payment) == ("starter", None)


async def test_a_purchase_that_the_bank_wants_confirmed_completes_when_stripe_says_so(
    at: DeskUnderTest, server: StripeServer
) -> None:
    await at.create("starter")
    quote, card = await at.quote("growth"), server.card(AUTHENTICATE)
    assert (await at.buy(quote, card=card)).status == "payment_action_required"
    intent = await reference(at)
    with recording_server(Answer(200, {})) as receiver:
        server.tell(receiver.url, SECRET)
        server.authenticate(intent, success=True)
        await wait_until(lambda: any(intent.encode() in each.body for each in receiver.requests), what="the event")
    for request in receiver.requests:
        await at.desk.notified(dict(request.headers), request.body)
    assert (await at.buy(quote, card=card)).status == "completed"
    assert [charge["amount"] for charge in server.charges(intent)] == await at.billed()


async def test_a_renewal_is_charged_and_a_declined_one_is_owed(at: DeskUnderTest, server: StripeServer) -> None:
    await at.create("starter", customer=server.customer(server.card(GOOD)))
    at.clock.pass_days(30)
    await at.work()
    account = await at.account()
    assert (account.subscription.status, account.payment) == ("active", None)
    assert await at.billed() == [account.subscription.paid.total]
    await at.desk.register.create(
        ACCOUNT, Order(plan="starter", payment_method=server.card(DECLINED_WHEN_CHARGED)), "desk"
    )
    at.clock.pass_days(30)
    await at.work()
    assert (await at.account()).subscription.status == "overdue"
    assert [entry.description for entry in await at.ledger("declined")] == ["Your card was declined."]


async def test_nobody_is_asked_to_confirm_a_renewal(at: DeskUnderTest, server: StripeServer) -> None:
    await at.create("starter", payment_method=server.card(AUTHENTICATE))
    at.clock.pass_days(30)
    await at.work()
    account = await at.account()
    assert (account.subscription.status, account.payment) == ("overdue", None)
    assert [entry.description for entry in await at.ledger("declined")] == [
        "The bank wants the payer to confirm the payment."
    ]
