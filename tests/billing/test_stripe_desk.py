"""A billing desk whose payments go to Stripe: purchases and renewals from quote to charge, on localstripe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from structlog.testing import capture_logs

from capacity.billing.register import Order
from capacity.billing.stripe_gateway import StripeGateway
from capacity.billing.stripe_periods import METADATA_PAYMENT
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


# ---- a desk that forgot: its store is put back to what it was before. localstripe keeps no Idempotency-Keys, as if they were
# older than a day, and lists the payments of all customers: so each of these tests has an account of its own.

Backup = dict[bytes, tuple[int, bytes]]
"""Every key of the store: how long it lives on in ms (0: for ever), and what it has."""


async def backup(at: DeskUnderTest) -> Backup:
    return {key: (max(await at.raw.pttl(key), 0), await at.raw.dump(key)) async for key in at.raw.scan_iter()}


async def restore(at: DeskUnderTest, kept: Backup) -> None:
    await at.raw.flushdb()
    for key, (ttl_ms, value) in kept.items():
        await at.raw.restore(key, ttl_ms, value)


def paid(server: StripeServer, customer: str) -> list[int]:
    """Return what the customer has really paid, in order."""
    charges = [charge for charge in server.charges() if charge["customer"] == customer]
    return [charge["amount"] for charge in charges if charge["status"] == "succeeded"]


async def test_a_renewal_that_a_restored_desk_forgot_is_charged_once(at: DeskUnderTest, server: StripeServer) -> None:
    customer = server.customer(server.card(GOOD))
    await at.create("starter", "forgetful", customer=customer)
    kept = await backup(at)
    at.clock.pass_days(30)
    await at.work()
    known = await at.account("forgetful")
    await restore(at, kept)
    assert await at.billed("forgetful") == []
    at.clock.pass_days(2)
    await at.work()
    assert (await at.account("forgetful")).subscription == known.subscription, (
        "its period is paid, and began when it did"
    )
    assert paid(server, customer) == await at.billed("forgetful") == [2500]
    at.clock.pass_days(28)
    await at.work()
    assert paid(server, customer) == await at.billed("forgetful") == [2500, 2500], "the next one is due as ever"


@pytest.mark.parametrize("forgot", ["both tries", "the second try"])
async def test_a_renewal_that_was_paid_at_a_second_try(at: DeskUnderTest, server: StripeServer, forgot: str) -> None:
    account, customer = f"tried-{forgot[:3]}", server.customer(server.card(DECLINED_WHEN_CHARGED))
    await at.create("starter", account, customer=customer)
    before = await backup(at)
    at.clock.pass_days(30)
    await at.work()
    assert (await at.account(account)).subscription.status == "overdue"
    between = await backup(at)
    await at.desk.register.create(account, Order(plan="starter", payment_method=server.card(GOOD)), "desk")
    await at.work()
    assert paid(server, customer) == [2500]
    await restore(at, before if forgot == "both tries" else between)
    at.clock.pass_days(1)
    await at.work()
    assert (await at.account(account)).subscription.status == "active"
    assert paid(server, customer) == await at.billed(account) == [2500]


async def test_over_other_money_nothing_is_charged_until_somebody_has_looked(
    at: DeskUnderTest, server: StripeServer
) -> None:
    """A purchase was forgotten, too, so that the renewal is over less than was paid."""
    customer = server.customer(server.card(GOOD))
    await at.create("starter", "grown", customer=customer)
    kept = await backup(at)
    at.clock.pass_days(15)
    difference = (await at.buy(await at.quote("growth", account="grown"), account="grown")).amount.amount
    at.clock.pass_days(15)
    await at.work()
    assert paid(server, customer) == [difference, 4000]
    await restore(at, kept)
    for _ in range(2):
        at.clock.pass_days(1)
        with capture_logs() as lines:
            await at.work()
        (line,) = [line for line in lines if line["event"] == "gateway_unavailable"]
        assert "over 4000 usd" in line["reason"] and "2500 usd are due" in line["reason"]
    account = await at.account("grown")
    assert account.payment is not None and account.payment.reference is None
    assert (await at.published("grown"))[-1].seats == 25, "it keeps the seats that the desk knows of"
    assert paid(server, customer) == [difference, 4000] and await at.billed("grown") == []

    (renewed,) = [charge["payment_intent"] for charge in server.charges() if charge["amount"] == 4000]
    assert renewed in line["reason"]
    looked, headers = {"metadata": {METADATA_PAYMENT: "given back"}}, {"Authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False) as dashboard:
        (await dashboard.post(f"/v1/payment_intents/{renewed}", json=looked)).raise_for_status()
    at.clock.pass_days(1)
    await at.work()
    assert paid(server, customer) == [difference, 4000, 2500]
    assert await at.billed("grown") == [2500]
