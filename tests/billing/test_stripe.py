"""Payments by Stripe, as localstripe plays it: a real server, real cards of Stripe's test numbers, real webhooks."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import stripe
from structlog.testing import capture_logs

from capacity.billing.gateway import (
    ActionRequired,
    Declined,
    GatewayUnavailable,
    Notification,
    Paid,
    Payment,
    Processing,
)
from capacity.billing.stripe_gateway import StripeGateway
from capacity.billing.stripe_periods import METADATA_ACCOUNT, METADATA_PAYMENT
from capacity.domain.money import Money
from capacity.errors import ErrorCode, Refused, SettingError
from tests.support.recording_server import Answer, RecordingServer, recording_server
from tests.support.stripe_server import API_KEY, ROOT, StripeServer, stripe_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

SECRET = "whsec_of_the_tests"
OLD_SECRET = "whsec_before_it_was_rotated"
GOOD = "4242424242424242"
DECLINED_WHEN_CHARGED = "4000000000000341"
AUTHENTICATE = "4000002500003155"
AUTHENTICATE_THEN_DECLINED = "4000008260003178"
IBAN, FAILING_IBAN = "DE89370400440532013000", "DE62370400440532013001"
UNHEARD_OF = "pi_unheardof"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeServer]:
    with stripe_server(tmp_path_factory.mktemp("localstripe")) as running:
        yield running


@pytest.fixture
def gateway(server: StripeServer) -> StripeGateway:
    return StripeGateway(API_KEY, (OLD_SECRET, SECRET), base_url=server.url)


def payment(method: str | None = None, **fields: Any) -> Payment:
    """Return a payment of $49, attended, of nobody whom Stripe knows."""
    values: dict[str, Any] = {
        "id": "payment-1",
        "account": "acme",
        "amount": Money(4900, "USD"),
        "attended": True,
        "payment_method": method,
    }
    return Payment(**(values | fields))


async def test_a_prepared_payment_charges_nothing_and_a_second_step_charges_it(
    server: StripeServer, gateway: StripeGateway
) -> None:
    asked = payment(server.card(GOOD))
    reference = await gateway.prepare(asked)
    intent = server.intent(reference)
    assert (intent["status"], intent["amount"], intent["currency"]) == ("requires_confirmation", 4900, "usd")
    assert intent["metadata"] == {METADATA_ACCOUNT: "acme", METADATA_PAYMENT: "payment-1"}
    assert server.charges(reference) == []
    assert await gateway.proceed(reference, asked) == Paid()
    assert [charge["amount"] for charge in server.charges(reference)] == [4900]


@pytest.mark.parametrize("attended", [True, False])
async def test_a_customer_pays_with_the_default_method(
    server: StripeServer, gateway: StripeGateway, attended: bool
) -> None:
    method = server.card(GOOD)
    asked = payment(customer=server.customer(method), attended=attended)
    reference = await gateway.prepare(asked)
    assert server.intent(reference)["payment_method"] == method
    assert await gateway.proceed(reference, asked) == Paid()


async def test_a_customer_pays_with_a_new_method(server: StripeServer, gateway: StripeGateway) -> None:
    asked = payment(server.card(GOOD), customer=server.customer(server.card(GOOD)))
    reference = await gateway.prepare(asked)
    assert server.intent(reference)["payment_method"] == asked.payment_method
    assert await gateway.proceed(reference, asked) == Paid()


async def test_without_a_method_there_is_nothing_to_charge(server: StripeServer, gateway: StripeGateway) -> None:
    for asked in (payment(), payment(customer=server.customer())):
        reference = await gateway.prepare(asked)
        for outcome in (await gateway.proceed(reference, asked), await gateway.cancel(reference)):
            assert outcome == Declined("There is no payment method to charge; add one, then try again.")


@pytest.mark.parametrize("fields", [{"payment_method": "pm_nobody"}, {"customer": "cus_nobody"}])
async def test_a_method_or_customer_that_stripe_does_not_know(gateway: StripeGateway, fields: dict[str, str]) -> None:
    asked = payment(**fields)
    reference = await gateway.prepare(asked)
    assert await gateway.proceed(reference, asked) == Declined("Stripe knows no such customer or payment method.")


@pytest.mark.parametrize("saved", [False, True])
async def test_a_declined_card(server: StripeServer, gateway: StripeGateway, saved: bool) -> None:
    """Stripe would let the payer try another card on the same PaymentIntent; nobody would get anything for it."""
    method = server.card(DECLINED_WHEN_CHARGED)
    asked = payment(customer=server.customer(method), attended=False) if saved else payment(method)
    reference = await gateway.prepare(asked)
    assert await gateway.proceed(reference, asked) == Declined("Your card was declined.")
    assert server.intent(reference)["status"] == "canceled"
    assert await gateway.proceed(reference, asked) == Declined("The payment was canceled.")
    assert [charge["status"] for charge in server.charges(reference)] == ["failed"]


@pytest.mark.parametrize("attended", [True, False])
async def test_a_card_that_is_to_be_authenticated(server: StripeServer, gateway: StripeGateway, attended: bool) -> None:
    asked = payment(server.card(AUTHENTICATE), attended=attended)
    reference = await gateway.prepare(asked)
    for _ in range(2):
        assert await gateway.proceed(reference, asked) == ActionRequired(None)
    assert server.charges(reference) == []
    server.authenticate(reference, success=True)
    assert await gateway.proceed(reference, asked) == Paid()
    assert len(server.charges(reference)) == 1


async def test_a_failed_authentication(server: StripeServer, gateway: StripeGateway) -> None:
    asked = payment(server.card(AUTHENTICATE))
    reference = await gateway.prepare(asked)
    assert await gateway.proceed(reference, asked) == ActionRequired(None)
    server.authenticate(reference, success=False)
    declined = Declined("The bank did not confirm that the payer agreed to the payment.")
    assert await gateway.proceed(reference, asked) == declined
    assert server.intent(reference)["status"] == "canceled"
    assert server.charges(reference) == []


async def test_a_card_that_is_declined_after_authentication(server: StripeServer, gateway: StripeGateway) -> None:
    asked = payment(server.card(AUTHENTICATE_THEN_DECLINED))
    reference = await gateway.prepare(asked)
    assert await gateway.proceed(reference, asked) == ActionRequired(None)
    server.authenticate(reference, success=True)
    assert await gateway.proceed(reference, asked) == Declined("Your card was declined.")


@pytest.mark.parametrize(("iban", "end"), [(IBAN, Paid()), (FAILING_IBAN, Declined("Your card was declined."))])
async def test_a_direct_debit_takes_its_time(
    server: StripeServer, gateway: StripeGateway, iban: str, end: Paid | Declined
) -> None:
    asked = payment(server.sepa_debit(iban), amount=Money(4900, "EUR"))
    reference = await gateway.prepare(asked)
    outcome = await gateway.proceed(reference, asked)
    if iban == FAILING_IBAN:  # localstripe calls a charge that will fail pending, and one that will succeed succeeded
        assert outcome == Processing()
        assert await gateway.cancel(reference) == Processing(), "it is too late"

    async def decided() -> bool:
        return await gateway.proceed(reference, asked) == end

    await wait_until(decided, what="the debit to be decided")
    assert len(server.charges(reference)) == 1


@pytest.mark.parametrize("number", [GOOD, DECLINED_WHEN_CHARGED])
async def test_however_often_one_charge(server: StripeServer, gateway: StripeGateway, number: str) -> None:
    """Five at once, then once more by a process that knows nothing but the reference."""
    asked = payment(server.card(number))
    reference = await gateway.prepare(asked)
    outcomes = await asyncio.gather(*(gateway.proceed(reference, asked) for _ in range(5)))
    other = StripeGateway(API_KEY, base_url=server.url)
    outcomes.append(await other.proceed(reference, asked))
    expected = Paid if number == GOOD else Declined
    assert {type(outcome) for outcome in outcomes} == {expected}
    assert len(server.charges(reference)) == 1


async def test_a_reference_that_was_lost_is_never_charged(server: StripeServer, gateway: StripeGateway) -> None:
    asked = payment(server.card(GOOD))
    lost, kept = await gateway.prepare(asked), await gateway.prepare(asked)
    assert await gateway.proceed(kept, asked) == Paid()
    if lost != kept:  # Stripe gives the same for the same Idempotency-Key; localstripe does not know such keys
        assert server.charges(lost) == []


async def test_canceled_in_time(server: StripeServer, gateway: StripeGateway) -> None:
    for number in (GOOD, AUTHENTICATE):
        asked = payment(server.card(number))
        reference = await gateway.prepare(asked)
        if number == AUTHENTICATE:
            assert await gateway.proceed(reference, asked) == ActionRequired(None)
        for _ in range(2):
            assert await gateway.cancel(reference) == Declined("The payment was canceled.")
        assert await gateway.proceed(reference, asked) == Declined("The payment was canceled.")
        assert server.charges(reference) == []


async def test_canceled_too_late(server: StripeServer, gateway: StripeGateway) -> None:
    asked = payment(server.card(GOOD))
    reference = await gateway.prepare(asked)
    await gateway.proceed(reference, asked)
    assert await gateway.cancel(reference) == Paid()


async def test_canceled_and_charged_at_once(server: StripeServer, gateway: StripeGateway) -> None:
    asked = payment(server.card(GOOD))
    reference = await gateway.prepare(asked)
    outcomes = await asyncio.gather(
        *(gateway.proceed(reference, asked) for _ in range(3)), *(gateway.cancel(reference) for _ in range(3))
    )
    charged = len(server.charges(reference))
    assert {type(outcome) for outcome in outcomes} == {Paid if charged else Declined}


async def test_a_payment_of_another_account_of_stripe_is_not_called_declined(gateway: StripeGateway) -> None:
    for asked in (gateway.proceed(UNHEARD_OF, payment()), gateway.cancel(UNHEARD_OF)):
        with pytest.raises(GatewayUnavailable, match="expected an API key of the account and mode"):
            await asked


async def test_a_restart_of_stripe_is_an_outage_that_heals(server: StripeServer, gateway: StripeGateway) -> None:
    asked = payment(server.card(GOOD))
    reference = await gateway.prepare(asked)
    server.kill()
    try:
        for call in (gateway.prepare(asked), gateway.proceed(reference, asked), gateway.cancel(reference)):
            with pytest.raises(GatewayUnavailable, match=r"cannot be reached \(ConnectionError\)"):
                await call
    finally:
        server.start()
    again = payment(server.card(GOOD))
    assert await gateway.proceed(await gateway.prepare(again), again) == Paid()


async def test_a_frozen_stripe_is_given_up_in_time_and_the_loop_goes_on(server: StripeServer) -> None:
    gateway = StripeGateway(API_KEY, base_url=server.url, timeout_seconds=0.5)
    asked = payment(server.card(GOOD))
    reference = await gateway.prepare(asked)
    server.freeze()
    try:
        began = time.monotonic()
        call = asyncio.ensure_future(gateway.proceed(reference, asked))
        turns = 0
        while not call.done():
            turns += 1
            await asyncio.sleep(0.01)
        with pytest.raises(GatewayUnavailable, match=r"did not answer within 0\.5 s|cannot be reached"):
            await call
        assert time.monotonic() - began < 2 and turns > 10
    finally:
        server.thaw()
    gateway = StripeGateway(API_KEY, base_url=server.url)
    assert await gateway.proceed(reference, asked) == Paid()
    assert len(server.charges(reference)) == 1


# ---- the webhook


def signed(body: bytes, secret: str = SECRET, *, age_seconds: int = 0) -> dict[str, str]:
    timestamp = int(time.time()) - age_seconds
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, timestamp)
    return {"stripe-signature": header}


EVENT = (
    b'{"id": "evt_1", "object": "event", "type": "payment_intent.succeeded", '
    b'"data": {"object": {"object": "payment_intent", "id": "pi_1", "metadata": {"capacity_account": "acme"}}}}'
)


@asynccontextmanager
async def heard(server: StripeServer) -> AsyncIterator[RecordingServer]:
    with recording_server(Answer(200, {})) as receiver:
        server.tell(receiver.url, SECRET)
        yield receiver


async def test_what_stripe_tells_is_understood(server: StripeServer, gateway: StripeGateway) -> None:
    async with heard(server) as receiver:
        asked = payment(server.card(GOOD), account="globex")
        await gateway.proceed(await gateway.prepare(asked), asked)
        declined = payment(server.card(DECLINED_WHEN_CHARGED), account="initech")
        await gateway.proceed(await gateway.prepare(declined), declined)
        server.customer()

        def told() -> set[str | None]:
            return {gateway.notification(request.headers, request.body).account for request in receiver.requests}

        await wait_until(lambda: told() >= {"globex", "initech", None}, what="two payments and a customer")
    other = StripeGateway(API_KEY, ("whsec_of_another_endpoint",))
    for request in receiver.requests:
        with pytest.raises(Refused) as refused:
            other.notification(request.headers, request.body)
        assert refused.value.code == ErrorCode.INVALID_SIGNATURE


@pytest.fixture
def listener() -> StripeGateway:
    """A gateway that is only told things."""
    return StripeGateway(API_KEY, (OLD_SECRET, SECRET))


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_each_secret_is_good(listener: StripeGateway, secret: str) -> None:
    assert listener.notification(signed(EVENT, secret), EVENT) == Notification("evt_1", "acme")


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "evt_1"}',
        b'{"id": "evt_1", "object": "v2.core.event", "data": null}',
        b'{"id": "evt_1", "data": {"object": {"metadata": null}}}',
        b'{"id": "evt_1", "data": {"object": {"metadata": {"capacity_account": 5}}}}',
        b'{"id": "evt_1", "data": {"object": {"metadata": {"capacity_account": "}{"}}}}',
    ],
)
def test_an_event_about_something_else(listener: StripeGateway, body: bytes) -> None:
    assert listener.notification(signed(body), body) == Notification("evt_1", None)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(EVENT, "whsec_wrong"), EVENT),
        (signed(EVENT, age_seconds=301), EVENT),
        (signed(EVENT), EVENT + b" "),
        (signed(EVENT), b"\xff\xfe" + EVENT),
        (signed(EVENT), b""),
        ({}, EVENT),
        ({"stripe-signature": ""}, EVENT),
        ({"stripe-signature": "t=,v1="}, EVENT),
        ({"stripe-signature": f"t={int(time.time())}"}, EVENT),
        ({"stripe-signature": f"t={int(time.time())},v1=é"}, EVENT),
        ({"stripe-signature": "t=" + "9" * 5000 + ",v1=00"}, EVENT),
        ({"stripe-signature": "\x00=,,t,v1"}, EVENT),
    ],
)
def test_what_stripe_did_not_sign_is_refused(listener: StripeGateway, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        listener.notification(headers, body)
    assert refused.value.code == ErrorCode.INVALID_SIGNATURE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"id": 1}',
        b'{"id": "evt_1", "data": []}',
        b"[" * 5000,
        b'{"id": "evt_1", "more": ' + b"[" * 5000,
    ],
)
def test_what_is_no_event_is_malformed(listener: StripeGateway, body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        listener.notification(signed(body), body)
    assert refused.value.code == ErrorCode.MALFORMED


def test_without_a_secret_nothing_is_taken() -> None:
    with pytest.raises(Refused) as refused:
        StripeGateway(API_KEY).notification(signed(EVENT), EVENT)
    assert refused.value.code == ErrorCode.NOT_FOUND


# ---- what it takes, and what it keeps to itself


async def test_no_secret_gets_out(
    server: StripeServer, gateway: StripeGateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    refused = StripeGateway("rk_test_that_stripe_refuses", (SECRET,), base_url=server.url)
    told: list[str] = [repr(gateway), str(gateway), repr(refused)]
    secrets = [API_KEY, "rk_test_that_stripe_refuses", SECRET, OLD_SECRET]
    with capture_logs() as lines:
        for number in (GOOD, DECLINED_WHEN_CHARGED, AUTHENTICATE):
            asked = payment(server.card(number))
            reference = await gateway.prepare(asked)
            told += [reference, repr(await gateway.proceed(reference, asked)), repr(await gateway.cancel(reference))]
            secrets.append(server.intent(reference)["client_secret"])
        for call in (refused.prepare(asked), gateway.proceed(UNHEARD_OF, asked)):
            with pytest.raises(GatewayUnavailable) as unavailable:
                await call
            told += [repr(unavailable.value), *traceback.format_exception(unavailable.value)]
        headers = signed(EVENT, "whsec_wrong")
        with pytest.raises(Refused) as error:
            gateway.notification(headers, EVENT)
        told += traceback.format_exception(error.value)
    secrets.append(headers["stripe-signature"])
    text = "\n".join([*told, *map(str, lines), caplog.text, *capfd.readouterr()])
    assert not [secret for secret in secrets if secret in text]
    assert [line["status"] for line in lines if line["event"] == "stripe_refuses_account"] == [401]


def test_without_the_library_the_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stripe", None)
    with pytest.raises(SettingError, match=r"CAPACITY_PAYMENTS.*pip install 'capacity\[stripe\]'"):
        StripeGateway(API_KEY)


def test_the_library_is_imported_when_the_gateway_is_chosen() -> None:
    code = "import sys, capacity.billing.stripe_gateway; sys.exit('stripe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_library_that_would_print_secrets_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_LOG", "debug")
    with pytest.raises(SettingError, match="STRIPE_LOG"):
        StripeGateway(API_KEY)


@pytest.mark.parametrize("key", ["", "pk_test_public", "sk_", "sk_test_1\n", "sk_test_é", " sk_test_1"])
def test_a_key_that_cannot_work_is_not_quoted(key: str) -> None:
    with pytest.raises(SettingError) as error:
        StripeGateway(key)
    assert str(error.value) == "The API key of Stripe: expected a secret key (sk_…) or a restricted one (rk_…)."


@pytest.mark.parametrize("secret", ["", " ", "whsec_é", "whsec_1\n"])
def test_a_webhook_secret_that_cannot_work_is_not_quoted(secret: str) -> None:
    with pytest.raises(SettingError, match="A webhook secret of Stripe"):
        StripeGateway(API_KEY, (SECRET, secret))


@pytest.mark.parametrize("url", ["", "api.stripe.com", "ftp://host", "https://", "https://me:word@host", "http://[::1"])
def test_an_address_that_cannot_work(url: str) -> None:
    with pytest.raises(SettingError, match="The base URL"):
        StripeGateway(API_KEY, base_url=url)
    with pytest.raises(SettingError, match="The return URL"):
        StripeGateway(API_KEY, return_url=url)
