"""A purchase whose process is killed (-9) in every gap between two steps: never charged twice, never charged without seats.

CAPACITY_TEST_KILLS says how often in each gap; `make soak` does it 200 times.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from capacity.billing.stripe_gateway import StripeGateway
from capacity.store import keys
from capacity.store.redis import Clients
from tests.billing.conftest import MakeDesk
from tests.support import desk as support
from tests.support.desk import BY
from tests.support.desk_process import STRIPE_URL_VARIABLE
from tests.support.service import Hub, serving, settings, token
from tests.support.stripe_server import API_KEY, stripe_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
STEPS = 5  # the reservation, prepare, its reference, proceed, the change
RENEWAL_STEPS = STEPS + 1  # and the account is put back until it is due again
KILLS = int(os.environ.get("CAPACITY_TEST_KILLS", "2"))
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    """A hub with a desk of its own, whose clerk finds what the killed process left behind."""
    async with serving(settings(redis_url, payments="test")) as running:
        yield running


async def run(url: str, *arguments: str, stripe_url: str | None = None) -> tuple[int, str]:
    """Run the process to its end; returns its exit code and the last line that it printed."""
    environ = os.environ | ({STRIPE_URL_VARIABLE: stripe_url} if stripe_url else {})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.desk_process", url, *arguments,
        cwd=ROOT, env=environ, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().rpartition("\n")[0].rpartition("\n")[2]


async def test_there_are_as_many_steps_as_the_gaps_are_made_for(make_desk: MakeDesk, redis_url: str) -> None:
    at = make_desk()
    at.clock.now_ms = time.time_ns() // 1_000_000
    await at.create("starter")
    quote = await at.quote("growth")
    none = str(RENEWAL_STEPS + 1)
    assert await run(redis_url, none, "buy", support.ACCOUNT, quote.id, "key") == (0, f"{STEPS}")
    at.clock.pass_days(-31)
    await at.create("starter", "other")
    assert await run(redis_url, none, "renew", "other") == (0, f"{RENEWAL_STEPS}")


@pytest.mark.parametrize("gap", range(RENEWAL_STEPS + 1))
async def test_6_a_renewal_killed_in_a_gap_is_finished_by_another_process(
    make_desk: MakeDesk, redis_url: str, gap: int
) -> None:
    at = make_desk()
    now_ms = time.time_ns() // 1_000_000
    for number in range(KILLS):
        account = f"acme-{number}"
        at.clock.now_ms = now_ms
        at.clock.pass_days(-31)
        await at.create("business", account)
        await at.change("growth", key="key", account=account)
        assert (await run(redis_url, str(gap), "renew", account))[0] == -signal.SIGKILL
        at.clock.now_ms = time.time_ns() // 1_000_000 + 60_000
        await at.work()
        assert await at.billed(account) == [4000]
        assert [event.seats for event in await at.published(account)][-1] == 50
        assert (await at.account(account)).subscription.status == "active"
    assert await at.charged() == [4000] * KILLS


@pytest.mark.parametrize("retried", [False, True], ids=["left alone", "asked again"])
@pytest.mark.parametrize("gap", range(STEPS + 1))
async def test_9_a_purchase_killed_in_a_gap_is_settled(
    hub: Hub, make_desk: MakeDesk, redis_url: str, gap: int, retried: bool
) -> None:
    """The killed purchase is settled by the desk alone, or by the client that asks again; the seats are in force at the hub."""
    clients = Clients(redis_url)
    desk = support.desk_on(clients)
    at = make_desk()

    async def once(account: str) -> None:
        answer = await hub.call("PUT", f"/v1/accounts/{account}", json={"plan": "starter"})
        assert answer.status_code == 200
        quote = await desk.quote(account, "growth", None, BY)
        code, _ = await run(redis_url, str(gap), "buy", account, quote.id, "key")
        assert code == -signal.SIGKILL

        async def ask_again() -> dict[str, object]:
            again = await hub.call(
                "POST", f"/v1/accounts/{account}/purchases", token("hanna", role="host", billing=True, account=account),
                json={"quote": quote.id}, headers={"Idempotency-Key": "key"},
            )  # fmt: skip
            assert again.status_code in (200, 202), again.text
            return again.json()  # type: ignore[no-any-return]

        async def settled() -> bool:
            found = await desk.account(account)
            return found is not None and found.payment is None

        async def in_force(seats: int) -> bool:
            return bool(await at.raw.hget(keys.account_key(account), "seats") == str(seats).encode())

        if retried:
            await ask_again()
        await wait_until(settled, what="the purchase to be settled")
        before_anything = gap == 0 and not retried
        charged, seats = (0, 25) if before_anything else (quote.proposal.due_now.amount, 50)
        assert await at.billed(account) == ([charged] if charged else [])
        await wait_until(lambda: in_force(seats), what=f"{seats} seats at the hub")
        assert (await ask_again())["status"] == "completed", "the same key gives the same answer, or buys now"
        assert await at.billed(account) == [quote.proposal.due_now.amount]
        await wait_until(lambda: in_force(50), what="50 seats at the hub")
        assert [event.seats for event in await at.published(account)] == [25, 50]

    for number in range(KILLS):
        await once(f"acme-{number}")
    assert len(await support.charged(at.raw)) == KILLS, "the bank was paid once for each"
    await clients.aclose()


@pytest.mark.parametrize("gap", range(STEPS + 1))
async def test_9_a_purchase_at_stripe_killed_in_a_gap_is_charged_once(
    make_desk: MakeDesk, redis_url: str, tmp_path: Path, gap: int
) -> None:
    """localstripe does not know Idempotency-Keys: that a payment is made once is the desk's own doing."""
    with stripe_server(tmp_path) as server:
        at = make_desk(gateway=StripeGateway(API_KEY, base_url=server.url))
        at.clock.now_ms = time.time_ns() // 1_000_000
        for number in range(KILLS):
            account = f"acme-{number}"
            await at.create("starter", account, customer=server.customer(server.card("4242424242424242")))
            quote = await at.quote("growth", account=account)
            code, _ = await run(redis_url, str(gap), "buy", account, quote.id, "key", stripe_url=server.url)
            assert code == -signal.SIGKILL
            at.clock.now_ms = time.time_ns() // 1_000_000 + 60_000
            await at.work()
            assert (await at.buy(quote, "key", account=account)).status == "completed"
            assert await at.billed(account) == [quote.proposal.due_now.amount]
        assert len(server.charges()) == KILLS
