"""Whatever the billing desk is asked, the answer is a defined one; what is answered 4xx changes nothing, and is kept out of the log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
import redis.asyncio as aioredis
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.billing.ledger import EntryKind
from capacity.store import keys
from tests.support import wire
from tests.support.customer import MARK, SECRETS, Customer, days_ago
from tests.support.described import check, codes
from tests.support.logs import Log, recorded
from tests.support.servers import Server, binaries, free_port
from tests.support.service import Billing, Hub, service_token, serving, token
from tests.support.service import settings as service_settings

pytestmark = pytest.mark.anyio
bounded = settings(max_examples=150, deadline=None)

ACCOUNT, OF_EVENTS, NOBODY = "acme", "events-co", "nobody"
STRIPE_KEY, STRIPE_SECRET = f"sk_test_{MARK}", f"whsec_{MARK}"
OF_THE_EDGE = {"malformed", "request_timeout", "header_too_large"}
"""What is said before a route is asked."""


class Services(NamedTuple):
    """A desk with the test card and one with Stripe, the first one's store, and `/openapi.json`."""

    card: Hub
    stripe: Hub
    store: Any
    document: dict[str, Any]
    log: Log


@pytest.fixture(scope="module")
def log() -> Iterator[Log]:
    """What the services log, from their start to their end."""
    with recorded() as found:
        yield found
    for secret in (*SECRETS, STRIPE_KEY, STRIPE_SECRET):
        assert secret not in found.text
    assert "Traceback" not in found.text and not found.events("error")
    assert "event_handled" in found.text, "the log is the service's"


@pytest.fixture(scope="module")
async def services(log: Log, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    """The services, with an account of the desk and one of events."""
    stores = [Server(binaries()["valkey"], tmp_path_factory.mktemp("store")) for _ in range(2)]
    try:
        async with AsyncExitStack() as stack:
            for server in stores:
                server.start()
            hub = await stack.enter_async_context(serving(service_settings(stores[0].url, payments="test")))
            stripe = service_settings(
                stores[1].url,
                payments="stripe",
                stripe_key=STRIPE_KEY,
                stripe_webhook_secrets=(STRIPE_SECRET,),
                stripe_url=f"http://127.0.0.1:{free_port()}",
            )
            by_stripe = await stack.enter_async_context(serving(stripe))
            await Customer(hub, ACCOUNT).created(
                "business", concurrent_sessions=2, period_started_at=days_ago(12.5), promo_codes=["WELCOME"]
            )
            await Customer(hub, ACCOUNT).bought(plan="growth", concurrent_sessions=1)
            store: Any = aioredis.Redis.from_url(stores[0].url)
            await Billing(store).account(25, OF_EVENTS)
            document = (await hub.http.get("/openapi.json")).json()
            yield Services(hub, by_stripe, store, document, log)
            await store.aclose()
    finally:
        for server in stores:
            server.kill()


# ---- what must not change


class State(NamedTuple):
    """Everything about the accounts, but for their ledgers; and where those end."""

    accounts: list[Any]
    stored: list[Any]
    stream: bytes
    rejected: int
    keys: int
    ledger_ends: str


async def state(services: Services) -> State:
    store, names = services.store, (ACCOUNT, OF_EVENTS, NOBODY)
    last = await store.xrevrange(keys.ledger(ACCOUNT), count=1)
    return State(
        accounts=[(await services.card.call("GET", f"/v1/accounts/{name}")).json() for name in names],
        stored=[await store.hgetall(key(name)) for name in names for key in (keys.desk_account, keys.account_key)],
        stream=(await store.xinfo_stream(keys.PLAN_CHANGES))["last-generated-id"],
        rejected=await store.xlen(keys.REJECTED),
        keys=await store.dbsize(),
        ledger_ends=last[0][0].decode(),
    )


async def hold_unchanged(services: Services, before: State, *, declined: bool = False) -> None:
    """The ledger may say what was refused. A declined payment is remembered as well, under its key and at the bank."""
    after = await state(services)
    entries = await services.store.xrange(keys.ledger(ACCOUNT), min=f"({before.ledger_ends}")
    allowed: set[EntryKind] = {"declined"} if declined else {"refused"}
    assert {json.loads(fields[b"entry"])["kind"] for _, fields in entries} <= allowed
    if declined:
        revised = [{name: value for name, value in each.items() if name != b"revision"} for each in after.stored]
        was = [{name: value for name, value in each.items() if name != b"revision"} for each in before.stored]
        assert revised == was and after.keys <= before.keys + 2
        after = after._replace(stored=before.stored, keys=before.keys)
    assert after._replace(ledger_ends=before.ledger_ends) == before


# ---- what is asked

numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 2**63, 2**64, -(2**63), 10**30, 1e308, 1.0])
instants = st.sampled_from(
    [
        "2026-11-10T09:00:00Z", "2026-11-10T09:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
        "2026-02-30T00:00:00Z", "2026-11-10T09:00:60Z", "2026-11-10", "now", "",
    ]
)  # fmt: skip
texts = (
    st.sampled_from(
        ["starter", "growth", "trial", "none", "USD", "EUR", "WELCOME", "A\n", "\x00", "a" * 300, "declined"]
    )
    | st.text(max_size=12)
    | st.text(st.characters(categories=["Cs", "Cc"]), min_size=1, max_size=3)
    | instants
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
money = st.fixed_dictionaries({"amount": numbers | texts, "currency": texts})
wishes = st.fixed_dictionaries(
    {},
    optional={
        "plan": texts | anything,
        "concurrent_sessions": numbers | anything,
        "period_started_at": instants | anything,
        "paid": numbers | money | anything,
        "promo_codes": st.lists(texts, max_size=25) | anything,
        "quote": texts | anything,
        "reference": texts | anything,
        "confirmed": st.booleans() | anything,
    },
)
extras: list[dict[str, Any]] = [{}, {"customer": f"cus_{MARK}"}, {"payment_method": f"pm_{MARK}"}, {"customer": 1}]
decorated = wishes.flatmap(  # what is made up of secrets, where the service takes it
    lambda wish: st.sampled_from(extras).map(lambda more: wish | more)
)
LARGE = {b"HUGE": b"a" * 10**6, b"LONG": b"9" * 9000, b"DEEP": b"[" * 9000}
"""Stands for it in the strategies, which are shown with every failure."""
raw_bodies = st.sampled_from(
    [
        b"",
        b"{",
        b"null",
        b'{"plan": "growth", "plan": "none"}',
        b'{"plan": NaN}',
        b'{"plan": "none", "paid": Infinity}',
        b'{"plan": "none", "paid": LONG}',
        b'{"plan": "none", "paid": 1e999999}',
        b'{"plan": "\\ud800"}',
        b'{"plan": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"plan": "none"}',
        b'{"plan": "none"}\x00',
        b'{"plan": "none", "more": DEEP',
        b'{"plan": "none", "more": {"a": DEEP',
        b'{"plan": "HUGE"}',
        b'{"quote": "none", "HUGE": 1}',
        b'{"quote": "' + b"\\u0000" * 64 + b'"}',
    ]
)
bodies = (
    st.binary(max_size=60)
    | (anything | decorated | decorated).map(lambda found: json.dumps(found).encode())
    | raw_bodies
)

segments = st.sampled_from([ACCOUNT, ACCOUNT, ACCOUNT, OF_EVENTS, NOBODY]) | st.sampled_from(
    [
        "", ".", "..", "%2e%2e", "%2F", "a%2Fb", "acme%2Fledger", "..%2Facme", "acme%00", "acme%0A", "%61cme", "%", "%zz",
        "%ff", "%C3%A4", "ä", "acme ", "acme;v=1", "*", "{account}", "{billing}", "a" * 128, "a" * 129, "%D9%A0", "acme\\",
    ]
)  # fmt: skip
tails = st.sampled_from(
    ["", "/quotes", "/quotes", "/purchases", "/purchases", "/scheduled-change", "/ledger", "/ledger"]
) | st.sampled_from(["/", "/ledger/", "/quotes/x", "/%6cedger", "/purchases%2F", "/scheduled_change", "//ledger"])
paths = st.tuples(segments, tails).map(lambda found: f"/v1/accounts/{found[0]}{found[1]}") | st.just(
    "/v1/payments/card"
)
values = st.sampled_from(
    [
        "0", "1", "5000", "5001", "-1", "1.0", "1e3", "٣", "null", "", "json", "csv", "xml", "0-0", "1-1", "1-0%00", "1-0%0A",
        "9999999999999999999-9999999999999999999", "18446744073709551615-0", "(1-1", "-", "+", "$", "%ff", "a" * 3000,
    ]
)  # fmt: skip
queries = st.lists(
    st.tuples(st.sampled_from(["after", "limit", "format", "before", "", "after[]", "LIMIT"]), values), max_size=3
).map(lambda found: "&".join(f"{name}={value}" for name, value in found))
methods = st.sampled_from(["GET", "PUT", "POST", "POST", "DELETE"]) | st.sampled_from(
    ["HEAD", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "QUERY", "put", "CONNECT", "*"]
)
idempotency_keys = st.sampled_from(
    [
        [b"key-" + MARK.encode()], [], [b""], [b" "], [b"k" * 255], [b"k" * 256], [b"a", b"b"], [b"a", b"a"], [b"a, b"],
        ["schlüssel".encode()], [b"\xff"], [b"a\x01b"], [b"a\tb"], [b"a\x7f"], [b"a\x00b"], [b'"quoted"'],
    ]
) | st.binary(max_size=20).map(lambda found: [found.replace(b"\r", b"").replace(b"\n", b"")])  # fmt: skip
accepts = st.sampled_from([b"*/*", b"text/csv", b"text/csv;q=0", b"application/json, text/csv", b"\xff", b";", b""])
tokens = st.sampled_from(
    [
        service_token(), service_token(), service_token(), service_token(ACCOUNT),
        token("hanna", role="host", account=ACCOUNT, billing=True), token("hanna", role="host", account=ACCOUNT),
        token("ann", account=ACCOUNT), "eyJ", "", "ä",
    ]
)  # fmt: skip


def request_of(method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    for name, value in LARGE.items():
        body = body.replace(name, value)
    lines = [(b"Host", b"x"), (b"Content-Length", b"%d" % len(body)), *headers]
    head = f"{method} {target} HTTP/1.1\r\n".encode() + b"".join(b"%b: %b\r\n" % line for line in lines)
    return head + b"\r\n" + body


def documented(document: dict[str, Any], method: str, target: str) -> dict[str, Any] | None:
    """Return what is described for the operation that a target and a method name; None if they name none."""
    given = target.partition("?")[0].split("/")
    for path, item in document["paths"].items():
        wanted = path.split("/")
        if len(wanted) == len(given) and all(
            name.startswith("{") or unquote(segment) == name for name, segment in zip(wanted, given, strict=True)
        ):
            found: dict[str, Any] | None = item.get({"HEAD": "get"}.get(method, method.lower()))
            return found if method.isupper() else None
    return None


async def hold_to_the_rules(services: Services, hub: Hub, method: str, target: str, request: bytes) -> int:
    """Make the request; the answer is one that is described for it. Returns its status."""
    raw = await wire.exchange(hub.address, request)
    wire.check(raw)
    answer = wire.response(raw)
    described = documented(services.document, method, target)
    if answer.status_code >= 400:
        if method != "HEAD":
            problem = answer.json()
            assert problem.keys() == {"type", "title", "status", "detail", "code"}
            assert not any(secret in answer.text for secret in SECRETS)
            known = {code for each in (described or {"responses": {}})["responses"].values() for code in codes(each)}
            nowhere = {"not_found", "method_not_allowed"} if described is None else set()
            assert problem["code"] in known | nowhere | OF_THE_EDGE, target
    elif described is not None and method not in ("HEAD", "OPTIONS"):
        check(services.document, described["responses"][str(answer.status_code)], answer)
    return answer.status_code


@bounded
@given(
    method=methods,
    path=paths,
    query=st.just("") | queries,
    auth=tokens,
    key=st.just([b"key-" + MARK.encode()]) | idempotency_keys,
    accept=accepts,
    body=bodies,
)
async def test_any_request(
    services: Services, method: str, path: str, query: str, auth: str, key: list[bytes], accept: bytes, body: bytes
) -> None:
    target = f"{path}?{query}" if query else path
    headers = [(b"Idempotency-Key", value) for value in key] + [(b"Accept", accept)]
    headers += [(b"Authorization", f"Bearer {auth}".encode())] if auth else []
    before = await state(services)
    request = request_of(method, target, headers, body)
    status = await hold_to_the_rules(services, services.card, method, target, request)
    if status >= 400 or method in ("GET", "HEAD", "OPTIONS"):
        await hold_unchanged(services, before)


@bounded
@given(
    operation=st.sampled_from([("PUT", ""), ("POST", "/quotes"), ("POST", "/purchases")]),
    body=decorated,
    extra=anything,
)
async def test_any_wish(services: Services, operation: tuple[str, str], body: dict[str, Any], extra: Any) -> None:
    """A body of the right form: with a plan that there is, and fields that there are not."""
    method, tail = operation
    wish = {"plan": "business", "quote": "none", **body, "extra": extra}
    target = f"/v1/accounts/{ACCOUNT}{tail}"
    headers = [(b"Authorization", f"Bearer {service_token()}".encode()), (b"Idempotency-Key", b"key-" + MARK.encode())]
    before = await state(services)
    request = request_of(method, target, headers, json.dumps(wish).encode())
    if await hold_to_the_rules(services, services.card, method, target, request) >= 400:
        await hold_unchanged(services, before)


@settings(max_examples=100, deadline=None)
@given(method=st.sampled_from(["GET", "GET", "HEAD"]), query=queries, accept=accepts)
async def test_any_query(services: Services, method: str, query: str, accept: bytes) -> None:
    target = f"/v1/accounts/{ACCOUNT}/ledger?{query}"
    headers = [(b"Authorization", f"Bearer {service_token()}".encode()), (b"Accept", accept)]
    before = await state(services)
    status = await hold_to_the_rules(services, services.card, method, target, request_of(method, target, headers, b""))
    assert status in (200, 400)
    assert await state(services) == before


@settings(max_examples=40, deadline=None)
@given(
    key=idempotency_keys,
    card=st.sampled_from(["declined", f"pm_{MARK}", "Good", "\x00", "x" * 255]) | st.text(min_size=1),
)
async def test_any_card_that_declines(services: Services, key: list[bytes], card: str) -> None:
    """A quote that could be bought, of an account that another test leaves alone."""
    if card in ("good", "confirm"):
        return
    customer = Customer(services.card, ACCOUNT)
    quote = await customer.quoted(plan="premium", concurrent_sessions=2)
    target = f"{customer.path}/purchases"
    headers = [(b"Authorization", f"Bearer {service_token()}".encode())] + [
        (b"Idempotency-Key", value) for value in key
    ]
    before = await state(services)
    request = request_of("POST", target, headers, json.dumps({"quote": quote, "payment_method": card}).encode())
    status = await hold_to_the_rules(services, services.card, "POST", target, request)
    assert status in (400, 402, 422)
    await hold_unchanged(services, before, declined=status == 402)


signatures = st.sampled_from(
    [b"t=1,v1=00", b"t=,v1=", b"v1=\xff", b"t=" + b"9" * 5000 + b",v1=00", b"t=nan", b"=,,t,v1"]
)


@settings(max_examples=100, deadline=None)
@given(signature=signatures | st.binary(max_size=30).map(lambda found: found.translate(None, b"\r\n")), body=bodies)
async def test_any_event_of_a_gateway(services: Services, signature: bytes, body: bytes) -> None:
    target = "/v1/payments/events"
    for hub, statuses in ((services.stripe, {400, 401, 413}), (services.card, {400, 404, 413})):
        request = request_of("POST", target, [(b"Stripe-Signature", signature)], body)
        assert await hold_to_the_rules(services, hub, "POST", target, request) in statuses
