"""What Stripe is sent, and what is made of what it answers: the parts of its API that localstripe does not have.

The answers have the shape of Stripe's own (API reference, and its page on error codes), cut to what matters.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from structlog.testing import capture_logs

from capacity.billing.gateway import ActionRequired, Declined, GatewayUnavailable, Outcome, Paid, Payment, Processing
from capacity.billing.stripe_gateway import StripeGateway
from capacity.domain.money import Money
from tests.support.recording_server import Answer, RecordingServer, Request, recording_server

pytestmark = pytest.mark.anyio

API_KEY = "sk_test_of_the_tests"
CLIENT_SECRET = "pi_1_secret_2"
RETURN_URL = "https://webinars.example/paid"
READ, CONFIRM = "GET /v1/payment_intents/pi_1", "POST /v1/payment_intents/pi_1/confirm"
BROKEN = Answer(500, {"error": {"type": "api_error", "message": "An error in the tests: nothing was to be asked."}})


@pytest.fixture
def stripe() -> Iterator[RecordingServer]:
    with recording_server(BROKEN) as server:
        yield server


@pytest.fixture
def gateway(stripe: RecordingServer) -> StripeGateway:
    return StripeGateway(API_KEY, base_url=stripe.url + "/")


def payment(**fields: Any) -> Payment:
    values: dict[str, Any] = {
        "id": "payment-1",
        "account": "acme",
        "amount": Money(4900, "USD"),
        "attended": True,
        "customer": "cus_1",
        "payment_method": "pm_1",
    }
    return Payment(**(values | fields))


def intent(status: str, **fields: Any) -> Answer:
    values = {"id": "pi_1", "object": "payment_intent", "status": status, "client_secret": CLIENT_SECRET}
    return Answer(200, {**values, "last_payment_error": None, "next_action": None, **fields})


def method(customer: str | None = None, type: str = "card") -> Answer:
    return Answer(200, {"id": "pm_1", "object": "payment_method", "type": type, "customer": customer})


def error(
    status: int, type: str, code: str | None = None, message: str = "Words for developers.", **more: Any
) -> Answer:
    fields = {"type": type, "message": message, "payment_intent": intent("requires_payment_method").content, **more}
    return Answer(status, {"error": fields if code is None else {**fields, "code": code}})


async def sent(gateway: StripeGateway, stripe: RecordingServer, asked: Payment, *answers: Answer) -> Request:
    """Prepare a payment, and return the request that made the PaymentIntent."""
    stripe.play(*answers, intent("requires_confirmation"))
    assert await gateway.prepare(asked) == "pi_1"
    assert len(stripe.requests) == len(answers) + 1
    return stripe.requests[-1]


async def proceeded(
    gateway: StripeGateway, stripe: RecordingServer, *answers: Answer, asked: Payment | None = None
) -> Outcome:
    """Proceed while Stripe answers so, and hold it to having been asked all of it."""
    stripe.play(*answers)
    outcome = await gateway.proceed("pi_1", asked or payment())
    assert len(stripe.requests) == len(answers)
    return outcome


UNCONFIRMED = intent("requires_confirmation")
CANCELED = intent("canceled")


async def test_how_a_payment_is_prepared(gateway: StripeGateway, stripe: RecordingServer) -> None:
    request = await sent(gateway, stripe, payment(), method())
    assert [each.line for each in stripe.requests] == ["GET /v1/payment_methods/pm_1", "POST /v1/payment_intents"]
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert request.form == {
        "amount": "4900",
        "currency": "usd",
        "customer": "cus_1",
        "payment_method": "pm_1",
        "payment_method_types[0]": "card",
        "setup_future_usage": "off_session",
        "metadata[capacity_account]": "acme",
        "metadata[capacity_payment]": "payment-1",
    }


@pytest.mark.parametrize(
    ("asked", "saved_for"),
    [(payment(), "cus_1"), (payment(attended=False), None), (payment(customer=None), None)],
    ids=["it is saved already", "nobody is there to agree", "there is nobody to save it for"],
)
async def test_a_method_is_saved_only_for_a_customer_who_is_there(
    gateway: StripeGateway, stripe: RecordingServer, asked: Payment, saved_for: str | None
) -> None:
    request = await sent(gateway, stripe, asked, method(saved_for))
    assert "setup_future_usage" not in request.form
    assert request.form.get("customer") == asked.customer


async def test_the_default_method_of_the_customer(gateway: StripeGateway, stripe: RecordingServer) -> None:
    customer = Answer(200, {"object": "customer", "invoice_settings": {"default_payment_method": "pm_7"}})
    request = await sent(gateway, stripe, payment(payment_method=None), customer, method("cus_1", "sepa_debit"))
    assert [each.line for each in stripe.requests[:2]] == ["GET /v1/customers/cus_1", "GET /v1/payment_methods/pm_7"]
    assert (request.form["payment_method"], request.form["payment_method_types[0]"]) == ("pm_7", "sepa_debit")


async def test_a_deleted_customer_has_no_method(gateway: StripeGateway, stripe: RecordingServer) -> None:
    stripe.play(Answer(200, {"id": "cus_1", "object": "customer", "deleted": True}))
    asked = payment(payment_method=None)
    outcome = await gateway.proceed(await gateway.prepare(asked), asked)
    assert outcome == Declined("There is no payment method to charge; add one, then try again.")


async def test_the_same_payment_has_the_same_key_in_every_process(stripe: RecordingServer) -> None:
    keys = []
    for asked in (payment(), payment(), payment(amount=Money(5000, "USD")), payment(id="payment-2")):
        gateway = StripeGateway(API_KEY, base_url=stripe.url)
        keys.append((await sent(gateway, stripe, asked, method())).headers["idempotency-key"])
        assert await proceeded(gateway, stripe, UNCONFIRMED, intent("succeeded"), asked=asked) == Paid()
        keys.append(stripe.requests[-1].headers["idempotency-key"])
    prepared, confirmed = keys[::2], keys[1::2]
    assert prepared[0] == prepared[1] and len({*prepared}) == 3
    assert confirmed[0] == confirmed[1] and not {*prepared} & {*confirmed}
    assert all(len(key) <= 255 for key in keys)


@pytest.mark.parametrize(
    ("attended", "return_url", "form"),
    [
        (True, None, {}),
        (True, RETURN_URL, {"return_url": RETURN_URL}),
        (False, None, {"off_session": "true"}),
        (False, RETURN_URL, {"off_session": "true"}),
    ],
)
async def test_how_a_payment_is_confirmed(
    stripe: RecordingServer, attended: bool, return_url: str | None, form: dict[str, str]
) -> None:
    gateway = StripeGateway(API_KEY, base_url=stripe.url, return_url=return_url)
    asked = payment(attended=attended)
    assert await proceeded(gateway, stripe, UNCONFIRMED, intent("succeeded"), asked=asked) == Paid()
    assert [each.line for each in stripe.requests] == [READ, CONFIRM]
    assert stripe.requests[-1].form == form


async def test_a_server_that_does_not_know_what_is_said_of_the_payer(
    gateway: StripeGateway, stripe: RecordingServer
) -> None:
    unknown = error(400, "invalid_request_error", "parameter_unknown", param="off_session")
    answers = (UNCONFIRMED, unknown, intent("succeeded"))
    assert await proceeded(gateway, stripe, *answers, asked=payment(attended=False)) == Paid()
    said, unsaid = stripe.requests[1:]
    assert (said.form, unsaid.form) == ({"off_session": "true"}, {})
    assert said.headers["idempotency-key"] != unsaid.headers["idempotency-key"]


@pytest.mark.parametrize("confirming", [True, False])
async def test_the_page_of_the_bank(gateway: StripeGateway, stripe: RecordingServer, confirming: bool) -> None:
    url = "https://hooks.stripe.com/redirect/authenticate/src_1"
    action = {"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": RETURN_URL}}
    waiting = intent("requires_action", next_action=action)
    answers = [UNCONFIRMED, waiting] if confirming else [waiting]
    assert await proceeded(gateway, stripe, *answers) == ActionRequired(url)


async def test_what_only_the_page_of_the_platform_can_show(gateway: StripeGateway, stripe: RecordingServer) -> None:
    action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
    assert await proceeded(gateway, stripe, intent("requires_action", next_action=action)) == ActionRequired(None)


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (
            error(402, "card_error", "card_declined", "Your card has insufficient funds.", decline_code="insufficient_funds"),
            "Your card has insufficient funds.",
        ),
        (error(402, "card_error", "authentication_required"), "The bank wants the payer to confirm the payment."),
        (
            error(400, "invalid_request_error", "payment_method_unactivated"),
            "Stripe does not take this payment (payment_method_unactivated).",
        ),
        (error(400, "invalid_request_error"), "Stripe does not take this payment."),
    ],
)  # fmt: skip
async def test_a_refused_confirmation(
    gateway: StripeGateway, stripe: RecordingServer, refusal: Answer, sentence: str
) -> None:
    """What was refused is read again if somebody else could have been faster, and then withdrawn."""
    again = [] if refusal.status == 402 else [UNCONFIRMED]
    assert await proceeded(gateway, stripe, UNCONFIRMED, refusal, *again, CANCELED) == Declined(sentence)
    assert stripe.requests[-1].line == "POST /v1/payment_intents/pi_1/cancel"


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        ({"type": "card_error", "code": "expired_card", "message": "Your card has expired."}, "Your card has expired."),
        (
            {"type": "invalid_request_error", "code": "payment_intent_authentication_failure", "message": "For developers"},
            "The bank did not confirm that the payer agreed to the payment.",
        ),
        ({"type": "api_error", "message": "For developers"}, "The payment failed; try another payment method."),
        (None, "There is no payment method to charge; add one, then try again."),
    ],
)  # fmt: skip
async def test_a_payment_that_failed_behind_our_back(
    gateway: StripeGateway, stripe: RecordingServer, failure: dict[str, str] | None, sentence: str
) -> None:
    failed = intent("requires_payment_method", last_payment_error=failure)
    assert await proceeded(gateway, stripe, failed, CANCELED) == Declined(sentence)


async def test_paid_by_another_card_before_it_could_be_withdrawn(
    gateway: StripeGateway, stripe: RecordingServer
) -> None:
    declined = error(402, "card_error", "card_declined")
    too_late = error(400, "invalid_request_error", "payment_intent_unexpected_state")
    assert await proceeded(gateway, stripe, UNCONFIRMED, declined, too_late, intent("succeeded")) == Paid()


CONFLICTS = (
    error(409, "idempotency_error", "idempotency_key_in_use"),
    error(429, "invalid_request_error", "lock_timeout"),
    error(400, "idempotency_error"),
)
NO_OBJECTS: tuple[Any, ...] = ([], [{}], None, "pi_1", 5, {"object": ["list"]}, {"object": "list", "data": 5})
OUTAGES = (
    error(500, "api_error"),
    error(503, "api_error"),
    error(429, "invalid_request_error", "rate_limit"),
    error(401, "invalid_request_error", message=f"Invalid API Key provided: {API_KEY}"),
    error(403, "invalid_request_error"),
    error(400, "invalid_request_error", "testmode_charges_only"),
    Answer(200, b'{"client_secret": "pi_1_secret_2", '),
    Answer(502, b"<html>Bad gateway pi_1_secret_2</html>"),
    Answer(200, b"\xff\xfe"),
    *(Answer(200, content) for content in NO_OBJECTS),
    Answer(200, {"object": "payment_intent", "id": "pi_1"}),
    Answer(200, {"object": "payment_intent", "id": "pi_1", "status": 5, "client_secret": CLIENT_SECRET}),
)


@pytest.mark.parametrize(
    "conflict", [*CONFLICTS, error(400, "invalid_request_error", "payment_intent_unexpected_state")]
)
@pytest.mark.parametrize(
    ("status", "outcome"),
    [("succeeded", Paid()), ("processing", Processing()), ("requires_action", ActionRequired(None))],
)
async def test_somebody_else_confirmed_it(
    gateway: StripeGateway, stripe: RecordingServer, conflict: Answer, status: str, outcome: Outcome
) -> None:
    assert await proceeded(gateway, stripe, UNCONFIRMED, conflict, intent(status)) == outcome


@pytest.mark.parametrize("conflict", CONFLICTS)
async def test_somebody_else_is_confirming_it(
    gateway: StripeGateway, stripe: RecordingServer, conflict: Answer
) -> None:
    assert await proceeded(gateway, stripe, UNCONFIRMED, conflict, UNCONFIRMED) == Processing()
    with pytest.raises(GatewayUnavailable):
        await sent(gateway, stripe, payment(), method(), conflict)


async def test_a_confirmation_that_stripe_has_not_got_to(gateway: StripeGateway, stripe: RecordingServer) -> None:
    assert await proceeded(gateway, stripe, UNCONFIRMED, UNCONFIRMED) == Processing()


@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_answer_that_decides_nothing(gateway: StripeGateway, stripe: RecordingServer, outage: Answer) -> None:
    """At every step; and nothing of what was answered or sent gets out, in which there may be secrets."""
    told = []
    with capture_logs() as lines:
        for answers in ([outage], [UNCONFIRMED, outage]):
            stripe.play(*answers)
            with pytest.raises(GatewayUnavailable) as unavailable:
                await gateway.proceed("pi_1", payment())
            told += [*traceback.format_exception(unavailable.value), repr(unavailable.value)]
        stripe.play(method(), outage)
        with pytest.raises(GatewayUnavailable):
            await gateway.prepare(payment())
        stripe.play(outage, outage)
        with pytest.raises(GatewayUnavailable):
            await gateway.cancel("pi_1")
    text = "".join([*told, *map(str, lines)])
    assert API_KEY not in text and CLIENT_SECRET not in text


@pytest.mark.parametrize("status", ["requires_capture", "a status of next year"])
async def test_a_status_unheard_of_is_no_decision(gateway: StripeGateway, stripe: RecordingServer, status: str) -> None:
    with pytest.raises(GatewayUnavailable, match=f"pi_1 in a status that is not known: '{status}'"):
        await proceeded(gateway, stripe, intent(status))


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("amount_too_small", "The amount is below the least that Stripe charges in this currency."),
        ("amount_too_large", "The amount is above the most that Stripe charges in this currency."),
        ("resource_missing", "Stripe knows no such customer or payment method."),
        ("parameter_invalid_empty", "Stripe does not take this payment (parameter_invalid_empty)."),
    ],
)
async def test_what_stripe_does_not_take_is_declined_without_asking_again(
    gateway: StripeGateway, stripe: RecordingServer, code: str, sentence: str
) -> None:
    stripe.play(method(), error(400, "invalid_request_error", code))
    reference = await gateway.prepare(payment())
    stripe.play()
    assert await gateway.proceed(reference, payment()) == Declined(sentence)
    assert await gateway.cancel(reference) == Declined(sentence)
    assert stripe.requests == []


async def test_what_cannot_be_charged_exactly_is_declined_without_asking(
    gateway: StripeGateway, stripe: RecordingServer
) -> None:
    asked = payment(amount=Money(5124, "KWD"))
    sentence = "5.124 KWD cannot be charged exactly: Stripe takes no fraction of KWD that small."
    assert await gateway.proceed(await gateway.prepare(asked), asked) == Declined(sentence)
    assert stripe.requests == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("succeeded", Paid()), ("processing", Processing()), ("canceled", Declined("The payment was canceled."))],
)
async def test_a_payment_that_cannot_be_canceled_any_more(
    gateway: StripeGateway, stripe: RecordingServer, status: str, outcome: Outcome
) -> None:
    stripe.play(error(400, "invalid_request_error", "payment_intent_unexpected_state"), intent(status))
    assert await gateway.cancel("pi_1") == outcome


async def test_a_payment_that_is_still_open_is_not_called_canceled(
    gateway: StripeGateway, stripe: RecordingServer
) -> None:
    for busy in CONFLICTS:
        for status in ("requires_action", "requires_confirmation", "requires_payment_method"):
            stripe.play(busy, intent(status))
            with pytest.raises(GatewayUnavailable, match=f"which is {status}"):
                await gateway.cancel("pi_1")


# ---- a renewal whose period may have been paid before

STARTED_AT = 1_795_500_000_000
TRY = f"acme/{STARTED_AT}/1"


def renewal(**fields: Any) -> Payment:
    """Return the third try at a renewal."""
    values = {"id": f"acme/{STARTED_AT}/3", "attended": False, "period_started_at": STARTED_AT}
    return payment(**(values | fields))


def listed(
    status: str = "succeeded", payment: str | None = TRY, account: str = "acme", **fields: Any
) -> dict[str, Any]:
    """Return a PaymentIntent as it stands in a list, by default what paid the renewal at its first try."""
    metadata = {} if payment is None else {"capacity_account": account, "capacity_payment": payment}
    values = {"id": "pi_before", "amount": 4900, "currency": "usd", "metadata": metadata}
    content: dict[str, Any] = intent(status, **(values | fields)).content
    return content


def page(*intents: dict[str, Any], has_more: bool = False) -> Answer:
    return Answer(200, {"object": "list", "url": "/v1/payment_intents", "has_more": has_more, "data": [*intents]})


async def found(gateway: StripeGateway, stripe: RecordingServer, *pages: Answer, asked: Payment | None = None) -> str:
    """Prepare a renewal while these are the pages of the list, and hold it to having done no more than read them."""
    stripe.play(*pages)
    try:
        return await gateway.prepare(asked or renewal())
    finally:
        assert len(stripe.requests) == len(pages)
        assert {each.line.split("?")[0] for each in stripe.requests} == {"GET /v1/payment_intents"}


def query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.line.split()[1]).query, strict_parsing=True))


FIRST_PAGE = {"customer": "cus_1", "created[gte]": str(STARTED_AT // 1000 - 86_400), "limit": "100"}


@pytest.mark.parametrize(("status", "outcome"), [("succeeded", Paid()), ("processing", Processing())])
async def test_what_paid_a_period_pays_it(
    gateway: StripeGateway, stripe: RecordingServer, status: str, outcome: Outcome
) -> None:
    reference = await found(gateway, stripe, page(listed(status)))
    assert reference == "pi_before"
    assert query(stripe.requests[0]) == FIRST_PAGE
    stripe.play(intent(status))
    assert await gateway.proceed(reference, renewal()) == outcome
    assert [each.line for each in stripe.requests] == ["GET /v1/payment_intents/pi_before"]


@pytest.mark.parametrize(
    "other",
    [
        *(listed(status) for status in ("canceled", "requires_payment_method", "requires_confirmation", "requires_action")),
        listed(payment=None),
        listed(metadata=None),
        listed(payment="pay_of_a_purchase"),
        listed(payment=f"acme/{STARTED_AT}0/1"),
        listed(payment=f"acme/{STARTED_AT - 1}/1"),
        listed(account="globex"),
        listed("a status of next year", payment=None),
    ],
)  # fmt: skip
async def test_what_did_not_pay_the_period_is_passed_over(
    gateway: StripeGateway, stripe: RecordingServer, other: dict[str, Any]
) -> None:
    request = await sent(gateway, stripe, renewal(), page(other), method("cus_1"))
    assert request.form["metadata[capacity_payment]"] == f"acme/{STARTED_AT}/3"


@pytest.mark.parametrize("asked", [renewal(customer=None), payment(attended=False), payment()])
async def test_only_the_renewals_of_a_customer_are_looked_for(
    gateway: StripeGateway, stripe: RecordingServer, asked: Payment
) -> None:
    await sent(gateway, stripe, asked, method())


async def test_every_page_is_read(gateway: StripeGateway, stripe: RecordingServer) -> None:
    others = [listed(payment=None, id=f"pi_other_{number}") for number in range(4)]
    pages = [page(*others[:2], has_more=True), page(*others[2:], has_more=True), page(listed())]
    assert await found(gateway, stripe, *pages) == "pi_before"
    first, second, third = map(query, stripe.requests)
    assert first == FIRST_PAGE
    assert second == FIRST_PAGE | {"starting_after": "pi_other_1"}
    assert third == FIRST_PAGE | {"starting_after": "pi_other_3"}


@pytest.mark.parametrize("status", ["succeeded", "processing"])
@pytest.mark.parametrize("money", [{"amount": 4901}, {"amount": 4899}, {"currency": "eur"}])
async def test_a_payment_over_other_money_is_for_somebody_to_look_at(
    gateway: StripeGateway, stripe: RecordingServer, status: str, money: dict[str, Any]
) -> None:
    with pytest.raises(GatewayUnavailable, match="pi_other, and 4900 usd are due: nothing is charged"):
        await found(gateway, stripe, page(listed(status, id="pi_other", **money)))
    assert await found(gateway, stripe, page(listed(id="pi_other", **money), listed())) == "pi_before"


async def test_money_is_compared_as_stripe_counts_it(gateway: StripeGateway, stripe: RecordingServer) -> None:
    asked = renewal(amount=Money(4900, "UGX"))
    assert await found(gateway, stripe, page(listed(amount=490_000, currency="ugx")), asked=asked) == "pi_before"


@pytest.mark.parametrize(
    "doubt",
    [
        *OUTAGES,
        *CONFLICTS,
        page(has_more=True),
        page({"id": "pi_before", "status": "succeeded"}),
        page(listed("requires_capture")),
        page(listed("a status of next year")),
    ],
)
async def test_in_doubt_nothing_is_charged(gateway: StripeGateway, stripe: RecordingServer, doubt: Answer) -> None:
    for pages in ([doubt], [page(listed(payment=None), has_more=True), doubt]):
        with pytest.raises(GatewayUnavailable):
            await found(gateway, stripe, *pages)


async def test_a_renewal_of_a_customer_whom_stripe_does_not_know(
    gateway: StripeGateway, stripe: RecordingServer
) -> None:
    nobody = error(400, "invalid_request_error", "resource_missing", param="customer")
    reference = await found(gateway, stripe, nobody)
    assert await gateway.proceed(reference, renewal()) == Declined("Stripe knows no such customer or payment method.")
