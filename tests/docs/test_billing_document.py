"""docs/billing.md: every example is run as it stands, and the room's limit follows."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.docs.documents import ROOT, blocks, examples
from tests.support.installed import installed
from tests.support.servers import free_port
from tests.support.service import SECRET, WEBHOOK_SECRET, Billing, Hub, serving, settings
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio
DOCUMENT = ROOT / "docs" / "billing.md"
STRIPE_SECRET = "whsec_of_the_test"


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    async with serving(settings(redis_url)) as hub:
        yield hub


async def test_over_the_stream_and_over_the_webhook(hub: Hub, redis_url: str, tmp_path: Path) -> None:
    installed("redis-cli", "redis-tools")
    (stream,) = blocks(DOCUMENT, "sh", "Over the stream")
    secret, webhook = blocks(DOCUMENT, "sh", "Over the webhook")
    (console,) = blocks(DOCUMENT, "sh", "What became of it")
    billing = Billing(redis_url)
    instead = {"http://localhost:8000": hub.address}
    with Terminal(tmp_path, instead=instead, CAPACITY_REDIS_URL=redis_url, CAPACITY_TOKEN_KEY=SECRET) as terminal:
        await asyncio.to_thread(terminal.types, stream)
        await billing.seats("acme", 100)
        await asyncio.to_thread(terminal.types, secret)
        made = await asyncio.to_thread(terminal.types, 'printf %s "$CAPACITY_WEBHOOK_SECRET"')
        settings(redis_url, webhook_secrets=(made,))
        with pytest.raises(AssertionError, match="401"):
            await asyncio.to_thread(terminal.types, webhook)
        await asyncio.to_thread(terminal.types, f"export CAPACITY_WEBHOOK_SECRET={WEBHOOK_SECRET}")
        await asyncio.to_thread(terminal.types, webhook)
        await billing.seats("acme", 120)
        shown = await asyncio.to_thread(terminal.types, console)
        assert shown.count("applied") == 2
    await billing.close()


def test_the_event_is_the_one_that_is_sent() -> None:
    (event,) = examples(DOCUMENT.read_text("utf-8"))
    assert json.loads(event)["data"]["concurrent_sessions"] == 2


async def test_from_stripe_billing(hub: Hub, redis_url: str, tmp_path: Path) -> None:
    (code,) = blocks(DOCUMENT, "python", "From Stripe Billing")
    (tmp_path / "stripe_events.py").write_text(code)
    port = free_port()
    billing = Billing(redis_url)
    with Terminal(
        tmp_path,
        CAPACITY_URL=hub.address,
        CAPACITY_WEBHOOK_SECRET=WEBHOOK_SECRET,
        STRIPE_WEBHOOK_SECRET=STRIPE_SECRET,
    ) as terminal:
        address = f"http://127.0.0.1:{port}/stripe"
        await asyncio.to_thread(
            terminal.leaves_running, f"uvicorn stripe_events:app --port {port}", hub.address + "/healthz"
        )
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=10)) as client:
            answer = await client.post(address, content=b"{}", headers={"stripe-signature": "t=1,v1=no"})
            assert answer.status_code == 400
            for number, (status, seats) in enumerate([("active", 50), ("past_due", 80), ("canceled", 80)]):
                body = subscription(number, status, seats)
                for _ in range(2):
                    assert (await client.post(address, content=body, headers=signed(body))).status_code == 200
                await billing.seats("acme", seats if status != "canceled" else 0)
            other = b'{"type": "invoice.paid"}'
            assert (await client.post(address, content=other, headers=signed(other))).status_code == 200
    handled: list[dict[str, Any]] = (await hub.call("GET", "/v1/events")).json()["events"]
    assert [event["verdict"] for event in handled] == ["duplicate", "applied"] * 3
    await billing.close()


def subscription(number: int, status: str, seats: int) -> bytes:
    """Return what Stripe sends of a changed subscription, as far as anybody reads it."""
    price = {"metadata": {"id": "business", "seats": str(seats)}}
    found = {"status": status, "metadata": {"capacity_account": "acme"}, "items": {"data": [{"price": price}]}}
    event = {
        "id": f"evt_{number}",
        "type": "customer.subscription.updated",
        "created": int(time.time()) + number,
        "data": {"object": found},
    }
    return json.dumps(event).encode()


def signed(body: bytes) -> dict[str, str]:
    """Return Stripe's signature of a body: https://docs.stripe.com/webhooks/signature."""
    now = int(time.time())
    mac = hmac.new(STRIPE_SECRET.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={now},v1={mac}"}
