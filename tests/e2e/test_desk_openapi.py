"""`/openapi.json` against the billing desk as it answers: every operation, every status and every code in it is provoked.

The service is whole: the application on sockets and a Valkey, once with the test card and once with Stripe, and once
more each on a store that is gone. Stripe itself is never asked here: nothing listens where its API should be.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis.asyncio as aioredis

from capacity.web import bodies
from capacity.web.accounts import BODY_BYTES_MAX, AccountApi
from capacity.web.payments import DECISION_BYTES_MAX, EVENT_BYTES_MAX, PaymentApi
from tests.docs.documents import PACKAGE, PROTOCOL, examples, section
from tests.e2e.desk_requests import (
    CARD,
    STRIPE_KEY,
    STRIPE_SECRET,
    Asked,
    Body,
    Prepare,
    Services,
    Who,
    ask,
    asked_often,
    awaiting,
    buyer,
    charging_nothing_yet,
    decided,
    decision,
    from_stripe,
    given,
    guest,
    held_up,
    late,
    nameless,
    nobody,
    nothing,
    of_events,
    overdue,
    quote_during_a_payment,
    quote_of,
    quote_of_another,
    quote_of_yesterday,
    renewing,
    scheduled,
    scheduled_and_awaiting,
    service,
    stalled,
    store_lost,
    stranger,
    stripe,
    suspended,
    there,
)
from tests.support.customer import MARK, SECRETS, Customer, days_ago, new_key
from tests.support.described import body_validator, check, codes, described_answers, operations
from tests.support.logs import Log, recorded
from tests.support.servers import Server, binaries, free_port
from tests.support.service import serving, settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

PLANS = """
[[plans]]
id = "legacy"
name = "Legacy"
seats = 500
cycle_days = 30
price = 20000
on_sale = false

[[plans]]
id = "europe"
name = "Europe"
seats = 500
cycle_days = 30
price = 20000
currency = "EUR"

[[promo_codes]]
code = "HALF"
percent_off = 50
"""
"""Beside the shipped catalogue: a plan that is not on sale, one in another currency, a promo code."""

ACCOUNT = "/v1/accounts/{account}"
QUOTES, PURCHASES = f"{ACCOUNT}/quotes", f"{ACCOUNT}/purchases"
SCHEDULED, LEDGER, PAYMENT = f"{ACCOUNT}/scheduled-change", f"{ACCOUNT}/ledger", f"{ACCOUNT}/payment"
PAYMENT_EVENTS = "/v1/payments/events"


class Case(NamedTuple):
    """One way to get one answer: status, code (None: no refusal), and how to ask."""

    status: int
    code: str | None
    ask: Asked


@pytest.fixture(scope="module")
def log() -> Iterator[Log]:
    """What the services of this module log, from their start to their end."""
    with recorded() as found:
        yield found
    for secret in (*SECRETS, STRIPE_KEY, STRIPE_SECRET, "v1="):
        assert secret not in found.text
    assert "Traceback" not in found.text and not found.events("error")
    assert "event_handled" in found.text, "the log is the service's"


@pytest.fixture(scope="module")
async def services(log: Log, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    directory = tmp_path_factory.mktemp("services")
    catalogue = directory / "plans.toml"
    catalogue.write_text((PACKAGE / "plans.toml").read_text("utf-8") + PLANS, "utf-8")
    with_stripe: dict[str, Any] = {
        "payments": "stripe",
        "stripe_key": STRIPE_KEY,
        "stripe_webhook_secrets": (STRIPE_SECRET,),
        "stripe_url": f"http://127.0.0.1:{free_port()}",
    }
    with_card = {"payments": "test"}
    stores = [Server(binaries()["valkey"], _made(directory / name)) for name in ("card", "stripe", "lost")]
    of_card, of_stripe, gone = stores
    try:
        for server in stores:
            server.start()
        async with AsyncExitStack() as stack:
            hubs = [
                await stack.enter_async_context(serving(settings(server.url, plans=catalogue, **payments)))
                for server, payments in (
                    (of_card, with_card),
                    (of_stripe, with_stripe),
                    (gone, with_card),
                    (gone, with_stripe),
                )
            ]
            gone.kill()
            by_card, by_stripe, lost, stripe_lost = hubs

            async def noticed() -> bool:
                return {(await hub.http.get("/readyz")).status_code for hub in (lost, stripe_lost)} == {503}

            await wait_until(noticed, within_seconds=10, what="the loss of the store")
            store: Any = aioredis.Redis.from_url(of_card.url)
            yield Services(by_card, by_stripe, lost, stripe_lost, store)
            await store.aclose()
    finally:
        for server in stores:
            server.kill()


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
async def document(services: Services) -> dict[str, Any]:
    """The document, as it is served."""
    found: dict[str, Any] = (await services.card.http.get("/openapi.json")).json()
    return found


STRIPE_EVENT = json.dumps(
    {"id": "evt_1", "object": "event", "data": {"object": {"metadata": {"capacity_account": "customer-of-stripe"}}}}
).encode()
NEITHER = json.dumps({"id": "evt_2", "object": "event", "data": {"object": {"id": "cus_1"}}}).encode()


def refusals(who: Who = buyer, body: Body = None, headers: dict[str, str] | None = None) -> list[Case]:
    """What every operation of an account may refuse."""
    return [
        Case(401, "unauthorized", ask(who=nobody, body=body, headers=headers)),
        Case(401, "token_expired", ask(who=late, body=body, headers=headers)),
        Case(400, "invalid_id", ask(who=nameless, body=body, headers=headers)),
        *(
            Case(400, "invalid_id", ask(who=who, body=body, segment=segment, headers=headers))
            for segment in ("a%2Fb", "..%2F..", "%2E%2E", "a%00", "%C3%A4", "a%0A", "a" * 129)
        ),
        Case(403, "forbidden", ask(who=guest, body=body, headers=headers)),
        Case(403, "forbidden", ask(who=stranger, body=body, headers=headers)),
        Case(503, "unavailable", ask(who=who, body=body, at=store_lost, headers=headers)),
    ]


def of_body(bytes_max: int, who: Who = nobody, headers: dict[str, str] | None = None) -> list[Case]:
    """What every operation that takes a body may refuse."""
    return [
        *(
            Case(400, "malformed", ask(who=who, body=body, headers=headers))
            for body in (b"", b"{", b"[]", b"\xff", b'{"plan": 1, "quote": 1}', b"[" * 900, b'{"a": NaN}')
        ),
        Case(413, "too_large", ask(who=who, body=b" " * (bytes_max + 1), headers=headers)),
        Case(413, "too_large", ask(who=who, body=b" " * 1_000_000, headers=headers)),
        Case(408, "request_timeout", stalled(who, headers)),
    ]


PLAN: Body = {"plan": "growth"}
QUOTE: Body = {"quote": "none"}
KEY = {"Idempotency-Key": f"key-{MARK}"}


def managed(body: Body = None, headers: dict[str, str] | None = None, who: Who = buyer) -> list[Case]:
    """What operations refuse that are for accounts of the desk alone."""
    return [
        Case(404, "unknown_account", ask(who=who, body=body, headers=headers)),
        Case(409, "account_not_managed", ask(of_events(), who, body=body, headers=headers)),
    ]


def put(code: str, status: int = 400, prepare: Prepare = nothing, **wish: Any) -> Case:
    """A PUT that is refused."""
    return Case(status, code, ask(prepare, service, body={"plan": "starter", **wish}))


def quote(code: str, prepare: Prepare, status: int = 409, **wish: Any) -> Case:
    """A quote that is refused."""
    return Case(status, code, ask(prepare, body=wish))


YEARLY = {"plan": "growth-yearly"}
FULL: Body = {
    "plan": "business",
    "concurrent_sessions": 2,
    "period_started_at": days_ago(13),
    "paid": {"amount": 9900, "currency": "USD"},
    "promo_codes": ["WELCOME"],
    "customer": f"cus_{MARK}",
    "payment_method": f"pm_{MARK}",
}

CASES: dict[tuple[str, str], list[Case]] = {
    ("get", ACCOUNT): [
        *(Case(200, None, ask(each)) for each in (there(), of_events(), scheduled(), awaiting(), overdue, suspended)),
        *refusals(),
        Case(404, "unknown_account", ask()),
    ],
    ("put", ACCOUNT): [
        Case(200, None, ask(who=service, body=PLAN)),
        Case(200, None, ask(who=service, body=FULL)),
        Case(200, None, ask(of_events(PLAN), service)),
        Case(200, None, ask(there(body={"plan": "starter", "promo_codes": ["HALF"]}), service)),
        Case(202, None, held_up(service, given(PLAN))),
        *refusals(service, PLAN),
        Case(403, "forbidden", ask(body=PLAN)),
        *of_body(BODY_BYTES_MAX, service),
        *(
            put("malformed", **wish)
            for wish in (
                {"concurrent_sessions": 0},
                {"paid": 1.5},
                {"promo_codes": ["a b"]},
                {"promo_codes": ["HALF\n"]},
                {"customer": ""},
                {"period_started_at": "yesterday"},
            )
        ),
        put("unknown_plan", plan="none"),
        put("unknown_plan", 400, there(), plan="none"),
        put("invalid_amount", paid=2501),
        put("invalid_amount", paid=-1),
        put("invalid_period", period_started_at=days_ago(-1)),
        put("invalid_period", period_started_at=days_ago(31)),
        put("currency_mismatch", 409, paid={"amount": 2500, "currency": "EUR"}),
        put("account_exists", 409, there("growth")),
        put("account_exists", 409, there(), paid=2499),
        put("account_exists", 409, there(), paid={"amount": 2500, "currency": "EUR"}),
        put("account_exists", 409, there(), concurrent_sessions=2),
        put("account_exists", 409, there(), period_started_at=days_ago(1)),
        put("payment_pending", 409, awaiting(), promo_codes=["WELCOME"]),
    ],
    ("post", QUOTES): [
        Case(200, None, ask(there(body=PLAN))),
        Case(200, None, ask(there("trial", PLAN))),
        Case(200, None, ask(there(body={"concurrent_sessions": 3}))),
        Case(200, None, ask(there("starter", YEARLY, period_started_at=days_ago(3)))),
        Case(200, None, ask(there("business", {"plan": "starter"}, period_started_at=days_ago(29), promo_codes=["A"]))),
        Case(200, None, ask(scheduled(PLAN))),
        Case(200, None, ask(overdue, body={"plan": "starter"})),
        Case(200, None, ask(there(body=PLAN), service)),
        *refusals(body=PLAN),
        *of_body(BODY_BYTES_MAX, buyer),
        *managed(PLAN),
        quote("unknown_plan", there(), 400, plan="none"),
        quote("plan_not_on_sale", there(), plan="legacy"),
        quote("no_change", there()),
        quote("no_change", there(), plan="starter", concurrent_sessions=1),
        quote("no_change", scheduled(), plan="starter"),
        quote("trial_not_available", there(), plan="trial"),
        quote("currency_mismatch", there(), plan="europe"),
        quote("add_on_not_available", there("trial"), concurrent_sessions=2),
        quote("add_on_whole_batch", there(concurrent_sessions=3), concurrent_sessions=2),
        quote("mixed_change", there(concurrent_sessions=2), plan="growth", concurrent_sessions=1),
        Case(409, "payment_pending", ask(renewing, at=stripe, body=PLAN)),
        Case(429, "too_many_requests", ask(asked_often, body=PLAN)),
    ],
    ("post", PURCHASES): [
        Case(200, None, ask(quote_of(), headers=KEY)),
        Case(200, None, ask(quote_of(), service, headers=KEY)),
        Case(202, None, ask(quote_of(card="confirm"), headers=KEY)),
        Case(202, None, held_up(buyer, quote_of(), KEY)),
        *refusals(body=QUOTE, headers=KEY),
        *of_body(BODY_BYTES_MAX, buyer, headers=KEY),
        *managed(QUOTE, headers=KEY),
        Case(400, "idempotency_key_missing", ask(quote_of())),
        Case(400, "idempotency_key_missing", ask(quote_of(), headers={"Idempotency-Key": "k" * 256})),
        Case(400, "idempotency_key_missing", ask(quote_of(), headers={"Idempotency-Key": ""})),
        Case(402, "payment_declined", ask(quote_of(card=f"pm_{MARK}"), headers=KEY)),
        Case(404, "unknown_quote", ask(there(body=QUOTE), headers=KEY)),
        Case(404, "unknown_quote", ask(quote_of_another, headers=KEY)),
        Case(409, "quote_stale", ask(quote_of_yesterday, headers=KEY)),
        Case(409, "quote_stale", ask(quote_during_a_payment, headers=KEY)),
        Case(429, "too_many_requests", ask(asked_often, body=QUOTE, headers=KEY)),
    ],
    ("delete", ACCOUNT): [
        Case(200, None, ask(there(), service)),
        Case(200, None, ask(scheduled(), service)),
        Case(200, None, ask(suspended, service)),
        Case(202, None, held_up(service, there())),
        *refusals(service),
        *managed(who=service),
        Case(403, "forbidden", ask(there())),
        Case(409, "payment_pending", ask(awaiting(), service)),
    ],
    ("delete", PAYMENT): [
        *(Case(200, None, ask(each)) for each in (there(), awaiting(), scheduled_and_awaiting)),
        Case(200, None, ask(charging_nothing_yet, at=stripe)),
        *refusals(),
        *managed(),
        Case(409, "payment_pending", ask(renewing, at=stripe)),
        Case(429, "too_many_requests", ask(asked_often)),
    ],
    ("delete", SCHEDULED): [
        Case(200, None, ask(scheduled())),
        Case(200, None, ask(there())),
        *refusals(),
        *managed(),
        Case(409, "payment_pending", ask(scheduled_and_awaiting)),
        Case(429, "too_many_requests", ask(asked_often)),
    ],
    ("get", LEDGER): [
        *(Case(200, None, ask(each)) for each in (there(), scheduled(), awaiting(), overdue, suspended)),
        Case(200, None, ask(scheduled(), query="?limit=1")),
        Case(200, None, ask(scheduled(), query="?format=csv&limit=1")),
        Case(200, None, ask(scheduled(), headers={"Accept": "text/csv"})),
        *refusals(),
        *managed(),
        *(
            Case(400, "malformed", ask(there(), query=query))
            for query in ("?limit=0", "?limit=5001", "?after=0-0", "?format=xml", "?limit=1&limit=1", "?other=1")
        ),
    ],
    ("post", PAYMENT_EVENTS): [
        Case(200, None, from_stripe(STRIPE_EVENT)),
        Case(200, None, from_stripe(STRIPE_EVENT)),
        Case(200, None, from_stripe(NEITHER)),
        Case(404, "not_found", ask(who=nobody, body=STRIPE_EVENT)),
        Case(401, "invalid_signature", ask(who=nobody, body=STRIPE_EVENT, at=stripe)),
        Case(401, "invalid_signature", from_stripe(STRIPE_EVENT, off=-600)),
        Case(400, "malformed", from_stripe(b"{}")),
        Case(400, "malformed", from_stripe(b'{"id": "evt_3", "more": ' + b"[" * 5000)),
        Case(413, "too_large", ask(who=nobody, body=b" " * (EVENT_BYTES_MAX + 1))),
        Case(408, "request_timeout", stalled()),
        Case(503, "unavailable", from_stripe(STRIPE_EVENT, at=lambda services: services.stripe_lost)),
    ],
    ("post", CARD): [
        Case(200, None, ask(decision(True), nobody)),
        Case(200, None, ask(decision(False), nobody)),
        Case(200, None, ask(decided(False, now=False), nobody)),
        Case(200, None, ask(decided(True, now=True), nobody)),
        *of_body(DECISION_BYTES_MAX),
        Case(404, "not_found", ask(who=nobody, body={"reference": "none", "confirmed": True})),
        Case(404, "not_found", ask(decided(False, now=True), nobody)),
        Case(404, "not_found", ask(decided(True, now=False), nobody)),
        Case(404, "not_found", ask(who=nobody, body={"reference": "none", "confirmed": True}, at=stripe)),
        Case(503, "unavailable", ask(who=nobody, body={"reference": "none", "confirmed": True}, at=store_lost)),
    ],
}
PROVOKED_APART = {("post", PURCHASES, 422, "idempotency_key_reused")}
"""Needs two purchases under one key: `test_a_key_that_comes_again`."""


def names_of_the_desk() -> set[str]:
    """Return the names of all operations of the desk, from its own table."""
    none: Any = None
    return {operation.name for operation in (*AccountApi(none, none).operations(), *PaymentApi(none).operations())}


@pytest.mark.parametrize(
    ("method", "path", "case"),
    [
        pytest.param(method, path, case, id=f"{method} {path} {case.status} {case.code} {number}")
        for (method, path), cases in CASES.items()
        for number, case in enumerate(cases)
    ],
)
async def test_live_answers_are_as_described(
    services: Services, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, method: str, path: str, case: Case
) -> None:
    if case.status == 408:
        monkeypatch.setattr(bodies.read_body, "__kwdefaults__", {"seconds": 0.2})
    response = await case.ask(services, method, path)
    assert response.status_code == case.status, response.text
    described = document["paths"][path][method]["responses"][str(case.status)]
    check(document, described, response)
    if case.code:
        assert response.json()["code"] == case.code
    assert case.code in codes(described)
    assert MARK not in response.text or case.code is None


async def test_a_key_that_comes_again(services: Services, document: dict[str, Any]) -> None:
    customer, key = Customer(services.card), new_key()
    await customer.created()
    quote_id = await customer.quoted(plan="growth")
    first, again = await customer.buy(quote_id, key), await customer.buy(quote_id, key)
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (200, first.json())
    other = await customer.quoted(plan="business")
    described = document["paths"][PURCHASES]["post"]["responses"]["422"]
    for reused in (await customer.buy(other, key), await customer.buy(quote_id, key, card="good")):
        assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
        check(document, described, reused)


def test_everything_described_of_the_desk_is_provoked(document: dict[str, Any]) -> None:
    of_desk = {
        (method, path)
        for method, path, operation in operations(document)
        if operation["operationId"] in names_of_the_desk()
    }
    assert of_desk == CASES.keys() and len(of_desk) == len(names_of_the_desk())
    described = {answer for answer in described_answers(document) if answer[:2] in of_desk}
    provoked = {(method, path, case.status, case.code) for (method, path), cases in CASES.items() for case in cases}
    assert described == provoked | PROVOKED_APART


async def test_the_methods_described_are_the_methods_served(services: Services, document: dict[str, Any]) -> None:
    for path in {path for _, path in CASES}:
        allowed = (await services.card.http.options(path.format(account="acme"))).headers["allow"].split(", ")
        assert {*allowed} - {"HEAD", "OPTIONS"} == {method.upper() for method in document["paths"][path]}
        refused = await services.card.http.patch(path.format(account="acme"))
        assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "required", "wrongs"),
    [
        (
            "put",
            ACCOUNT,
            ["plan"],
            [{"plan": ""}, {"plan": None}, {"concurrent_sessions": 0}, {"paid": "1"}, {"promo_codes": ["a b"]}],
        ),
        ("post", QUOTES, [], [{"plan": 1}, {"concurrent_sessions": 1_000_001}]),
        ("post", PURCHASES, ["quote"], [{"quote": ""}, {"quote": "q" * 65}, {"payment_method": ""}]),
        ("post", CARD, ["reference", "confirmed"], [{"reference": 1}, {"confirmed": "yes"}, {"confirmed": None}]),
    ],
)
async def test_the_bodies_described_are_those_that_are_taken(
    services: Services,
    document: dict[str, Any],
    method: str,
    path: str,
    required: list[str],
    wrongs: list[dict[str, Any]],
) -> None:
    """The documented examples fit their schemas; what does not fit is refused as malformed, and so is a body without a field it needs."""
    validator = body_validator(document, method, path, "application/json")
    example = json.loads(examples(section(PROTOCOL, f"`{method.upper()} {path}`"))[0])
    validator.validate(example)
    needed = [{name: example[name] for name in example if name != gone} for gone in required]
    for wrong in [*(example | change for change in wrongs), *needed]:
        assert not validator.is_valid(wrong), wrong
        response = await ask(who=service, body=wrong, headers={"Idempotency-Key": new_key()})(services, method, path)
        assert (response.status_code, response.json()["code"]) == (400, "malformed"), wrong


async def test_without_the_desk_nothing_of_it_is_described_or_served(services: Services) -> None:
    port = services.store.connection_pool.connection_kwargs["port"]
    async with serving(settings(f"redis://127.0.0.1:{port}", desk="off", payments="test")) as hub:
        document = (await hub.http.get("/openapi.json")).json()
        assert not {path for path in document["paths"] if path in {path for _, path in CASES}}
        assert not names_of_the_desk() & {operation["operationId"] for *_, operation in operations(document)}
        assert not {"AccountWish", "QuoteAnswer", "PurchaseWish", "Decision"} & document["components"]["schemas"].keys()
        for method, path in CASES:
            refused = await hub.call(method, path.format(account="acme"), json={})
            assert (refused.status_code, refused.json()["code"]) == (404, "not_found"), (method, path)
