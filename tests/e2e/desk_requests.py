"""Requests to a whole service with a billing desk, each with an account of its own and what must be there before.

`ask(there("starter"), body={"plan": "growth"})` is a request that has not been made: a table of cases is built of them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from capacity.billing.desk import ASKED_MAX
from capacity.protocol.signatures import sign
from capacity.store import keys
from capacity.store.plan_changes import GROUP
from tests.support import wire
from tests.support.customer import MARK, Customer, days_ago
from tests.support.service import WEBHOOK_SECRET, Billing, Hub, service_token, token
from tests.support.waiting import wait_until

STRIPE_KEY, STRIPE_SECRET = f"sk_test_{MARK}", f"whsec_{MARK}"
CARD = "/v1/payments/card"


class Services(NamedTuple):
    """The desk with the test card, the desk with Stripe, both once more on a store that is gone; and the first one's store."""

    card: Hub
    stripe: Hub
    lost: Hub
    stripe_lost: Hub
    store: Any


Body = dict[str, Any] | bytes | None
Prepare = Callable[[Customer], Awaitable[Body]]
Who = Callable[[str], str | None]
Asked = Callable[[Services, str, str], Awaitable[httpx.Response]]


# ---- who asks


def bearer(text: str | None) -> dict[str, str]:
    return {} if text is None else {"Authorization": f"Bearer {text}"}


def buyer(account: str) -> str | None:
    return token("hanna", role="host", account=account, billing=True)


def service(account: str) -> str | None:
    return service_token(account)


def nobody(account: str) -> str | None:
    return None


def late(account: str) -> str | None:
    return token("hanna", role="host", account=account, billing=True, exp=int(time.time()) - 60)


def nameless(account: str) -> str | None:
    return token("a b", role="service", account=account, room=None)


def guest(account: str) -> str | None:
    return token("gustav", role="host", account=account)


def stranger(account: str) -> str | None:
    return token("hanna", role="host", account="another", billing=True)


# ---- what is there before


async def nothing(customer: Customer) -> Body:
    return None


def given(body: Body) -> Prepare:
    """Nothing is there; this is the body."""

    async def prepare(customer: Customer) -> Body:
        return body

    return prepare


def there(plan: str = "starter", body: Body = None, **fields: Any) -> Prepare:
    """The account is at the desk."""

    async def prepare(customer: Customer) -> Body:
        await customer.created(plan, **fields)
        return body

    return prepare


def of_events(body: Body = None) -> Prepare:
    """The account is managed by events."""

    async def prepare(customer: Customer) -> Body:
        event = Billing(None).event(25, customer.name)
        signed = await customer.hub.http.post(
            "/v1/events", content=event, headers=sign(WEBHOOK_SECRET, "msg_1", int(time.time()), event)
        )
        assert signed.status_code == 202, signed.text

        async def known() -> bool:
            return (await customer.hub.call("GET", customer.path)).status_code == 200

        await wait_until(known, what="the event to be applied")
        return body

    return prepare


def scheduled(body: Body = None) -> Prepare:
    """A downgrade is scheduled."""

    async def prepare(customer: Customer) -> Body:
        await customer.created("business", period_started_at=days_ago(12.5), promo_codes=["HALF", "OLD"])
        await customer.bought(plan="starter")
        return body

    return prepare


def awaiting(body: Body = None, plan: str = "starter") -> Prepare:
    """A payment waits for its owner."""

    async def prepare(customer: Customer) -> Body:
        await customer.created(plan, promo_codes=["HALF"])
        await customer.must_confirm()
        return body

    return prepare


async def scheduled_and_awaiting(customer: Customer) -> Body:
    await customer.created("growth", period_started_at=days_ago(12.5))
    await customer.bought(plan="starter")
    quote = await customer.quoted(plan="business")
    assert (await customer.buy(quote, card="confirm")).status_code == 202
    return None


async def overdue(customer: Customer) -> Body:
    # the clerk renews it at once, and this card is none
    await customer.created("starter", period_started_at=days_ago(30 - 1 / 86_400), payment_method=f"pm_{MARK}")
    await customer.becomes("overdue")
    return None


async def asked_often(customer: Customer) -> Body:
    await customer.created()
    assert customer.hub.application is not None and customer.hub.application.desk is not None
    store = customer.hub.application.desk.store
    while await store.count(customer.name) < ASKED_MAX:
        pass
    return None


async def charging_nothing_yet(customer: Customer) -> Body:
    # for as long as its gateway gives no answer
    await customer.created(payment_method=f"pm_{MARK}")
    assert (await customer.bought(plan="growth"))["status"] == "processing"
    return None


async def renewing(customer: Customer) -> Body:
    # for as long as its gateway gives no answer
    await customer.created("starter", period_started_at=days_ago(30 - 1 / 86_400), payment_method=f"pm_{MARK}")
    await customer.becomes("renewing")
    return None


async def suspended(customer: Customer) -> Body:
    await customer.created("trial", period_started_at=days_ago(30 - 1 / 86_400))
    await customer.becomes("suspended")
    return None


def quote_of(plan: str = "growth", card: str | None = None) -> Prepare:
    """The body buys a fresh quote."""

    async def prepare(customer: Customer) -> Body:
        await customer.created(period_started_at=days_ago(12.5))
        return {"quote": await customer.quoted(plan=plan)} | ({"payment_method": card} if card else {})

    return prepare


async def quote_of_yesterday(customer: Customer) -> Body:
    await customer.created()
    stale = await customer.quoted(plan="growth")
    await customer.bought(plan="growth")
    return {"quote": stale}


async def quote_during_a_payment(customer: Customer) -> Body:
    await customer.created()
    stale = await customer.quoted(plan="business")
    await customer.must_confirm()
    return {"quote": stale}


async def quote_of_another(customer: Customer) -> Body:
    await customer.created()
    another = Customer(customer.hub)
    await another.created()
    return {"quote": await another.quoted(plan="growth")}


def decision(confirmed: bool) -> Prepare:
    async def prepare(customer: Customer) -> Body:
        await customer.created()
        return {"reference": await customer.must_confirm(), "confirmed": confirmed}

    return prepare


def decided(before: bool, now: bool) -> Prepare:
    """The same payment was decided before."""

    async def prepare(customer: Customer) -> Body:
        body = await decision(before)(customer)
        assert isinstance(body, dict)
        assert (await customer.hub.http.post(CARD, json=body)).status_code == 200
        return body | {"confirmed": now}

    return prepare


# ---- how it is asked


def ask(
    prepare: Prepare = nothing,
    who: Who = buyer,
    *,
    at: Callable[[Services], Hub] = lambda services: services.card,
    body: Body = None,
    query: str = "",
    name: str | None = None,
    segment: str | None = None,
    headers: dict[str, str] | None = None,
) -> Asked:
    """A request of an account, after preparing it; without a `name` nobody had it. `segment` stands in the path instead.

    What `prepare` returns is the body, if `body` is None.
    """

    async def asked(services: Services, method: str, path: str) -> httpx.Response:
        customer = Customer(at(services), name)
        prepared = await prepare(customer)
        sent = prepared if body is None else body
        text = who(customer.name)
        return await customer.hub.http.request(
            method,
            path.format(account=segment or customer.name) + query,
            content=sent if isinstance(sent, bytes) else None if sent is None else json.dumps(sent).encode(),
            headers=(headers or {}) | bearer(text),
        )

    return asked


@asynccontextmanager
async def nobody_reads(store: Any) -> AsyncIterator[None]:
    """Meanwhile no hub gets what is new in the stream of plan changes."""
    (group,) = await store.xinfo_groups(keys.PLAN_CHANGES)
    await store.xgroup_setid(keys.PLAN_CHANGES, GROUP, "9999999999999-0")
    try:
        yield
    finally:
        await store.xgroup_setid(keys.PLAN_CHANGES, GROUP, group["last-delivered-id"])


def held_up(who: Who, prepare: Prepare, headers: dict[str, str] | None = None) -> Asked:
    """A request whose change cannot come into force while it is answered; afterwards it does all the same."""

    async def asked(services: Services, method: str, path: str) -> httpx.Response:
        customer = Customer(services.card)
        body = await prepare(customer)
        began = time.monotonic()
        async with nobody_reads(services.store):
            response = await ask(given(body), who, name=customer.name, headers=headers)(services, method, path)
        assert 2 <= time.monotonic() - began < 5, response.text
        wanted = response.json()["version"]

        async def in_force() -> bool:
            return bool(int(await services.store.hget(keys.account_key(customer.name), "version") or 0) >= wanted)

        await wait_until(in_force, what="the change to be in force")
        return response

    return asked


def stalled(who: Who = nobody, headers: dict[str, str] | None = None) -> Asked:
    """A request whose body never comes to its end."""

    async def asked(services: Services, method: str, path: str) -> httpx.Response:
        customer = Customer(services.card)
        lines = {"Host": "x", "Content-Length": "9"} | (headers or {}) | bearer(who(customer.name))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        request = f"{method.upper()} {path.format(account=customer.name)} HTTP/1.1\r\n{head}\r\n{{"
        return wire.response(await wire.exchange(customer.hub.address, request.encode()))

    return asked


def from_stripe(
    body: bytes, *, at: Callable[[Services], Hub] = lambda services: services.stripe, off: int = 0
) -> Asked:
    """An event as Stripe signs it."""

    async def asked(services: Services, method: str, path: str) -> httpx.Response:
        signed_at = int(time.time()) + off  # now: the case was written down when the tests were collected
        signature = hmac.new(STRIPE_SECRET.encode(), b"%d." % signed_at + body, hashlib.sha256).hexdigest()
        headers = {"Stripe-Signature": f"t={signed_at},v1={signature}"}
        return await at(services).http.request(method, path, content=body, headers=headers)

    return asked


def store_lost(services: Services) -> Hub:
    return services.lost


def stripe(services: Services) -> Hub:
    return services.stripe
