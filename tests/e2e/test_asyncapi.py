"""`/asyncapi.json` against what really passes: every message of every operation is provoked, and nothing else is seen."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio as aioredis

from capacity.store import keys
from tests.docs.descriptions import FILES, described
from tests.support.asyncapi import AsyncApi
from tests.support.service import Billing, Client, Hub, serving, settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

ASKED = {
    "leave": "leave",
    "claim": "claim",
    "pass": "askPass",
    "open": "open",
    "end": "end",
    "request_upgrade": "requestUpgrade",
}
"""The operation of each message of a client."""


class Watched:
    """A service whose traffic is held to its description."""

    def __init__(self, hub: Hub, api: AsyncApi) -> None:
        self.hub = hub
        self.api = api

    async def ask(self, client: Client, kind: str, answer: str | None = None, of: Client | None = None) -> None:
        """Say something, and wait for what the description names as its reply; it comes to `of`, if that is another."""
        told = of or client
        count = len(told.of(answer)) if answer else 0
        self.api.passed(ASKED[kind], {"type": kind})
        await client.say(kind)
        if answer is not None:
            self.api.passed(ASKED[kind], await told.told(answer, count=count + 1), reply=True)


async def test_everything_that_passes_is_described_and_everything_described_passes(redis_url: str) -> None:
    async with serving(settings(redis_url, payments="test", hold_seconds=20.0)) as hub:
        watched = Watched(hub, AsyncApi((await hub.http.get("/asyncapi.json")).json()))
        billing = Billing(redis_url)
        await billing.account(2, concurrent_sessions=1)
        await _speak(watched, billing)
        for client in hub.clients:
            for message in client.messages:
                watched.api.passed("tell", message)
        await _look_into_the_streams(watched, billing, redis_url)
        await billing.close()
    assert watched.api.seen == watched.api.described()


async def _speak(watched: Watched, billing: Billing) -> None:
    hub, ask = watched.hub, watched.ask
    host, buyer = await hub.host("hanna"), await hub.host("bill", billing=True)
    ada, ben, cem = [await hub.join(name) for name in ("ada", "ben", "cem")]
    await cem.told("waiting")
    await buyer.told("near_full", level="full")
    await ask(ada, "pass", "pass")
    await ask(cem, "pass", "error")
    await ask(cem, "claim", "error")
    await ask(host, "request_upgrade", "upgrade_requested", of=buyer)
    await ask(buyer, "request_upgrade", "error")
    await ask(host, "open", "occupancy")
    await billing.publish(4)
    await cem.told("refresh")
    await ask(cem, "claim", "seated")
    await ask(ben, "leave")
    await ask(ada, "leave")
    await host.told("near_full_cleared")
    await ask(cem, "end", "error")
    second = await hub.host("second", room="second")
    await ask(second, "open", "error")
    await ask(host, "end", "ended")
    for client in (host, buyer, cem):
        assert await client.gone() == (4410, "ended")
    closes = watched.api.document["channels"]["room"]["x-close-codes"]
    for client in (client for client in hub.clients if client.closed):
        assert dict(zip(("code", "reason"), client.closed, strict=True)) in closes  # type: ignore[arg-type]


async def _look_into_the_streams(watched: Watched, billing: Billing, redis_url: str) -> None:
    """What billing and the desk wrote, what was set aside, and what the desk has to say of a charge that was declined."""
    hub, api = watched.hub, watched.api
    wish = {"plan": "starter", "payment_method": "declined", "period_started_at": _ends_in(seconds=1.5).isoformat()}
    answer = await hub.call("PUT", "/v1/accounts/globex", json=wish)
    assert answer.status_code == 200, answer.text
    await billing.publish(9, account="globex")
    client: Any = aioredis.Redis.from_url(redis_url)
    await wait_until(lambda: client.xlen(keys.REJECTED), what="the event for an account of the desk to be set aside")
    await wait_until(lambda: client.xlen(keys.NOTICES), what="a notice of the declined charge")
    for stream, operation in ((keys.PLAN_CHANGES, "applyPlanChange"), (keys.NOTICES, "giveNotice")):
        for _, fields in await client.xrange(stream):
            api.passed(operation, json.loads(fields[b"event"]))
    for _, fields in await client.xrange(keys.REJECTED):
        api.passed("setAside", {name.decode(): value.decode() for name, value in fields.items()})
    await client.aclose()


def _ends_in(seconds: float) -> datetime:
    """Return the start of a monthly period that ends so soon."""
    return datetime.now(UTC) - timedelta(days=30) + timedelta(seconds=seconds)


@pytest.mark.parametrize("path", FILES)
def test_the_file_in_the_documents_is_what_is_served(path: str) -> None:
    found = FILES[path].read_text("utf-8") if FILES[path].exists() else ""
    assert found == asyncio.run(described(path)), "run `make descriptions`"
