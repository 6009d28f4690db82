"""What fails beside the desk: the store loses what it had, a gateway is changed or goes silent, a clock is off, a hook is wrong."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from capacity.billing.books import Opened, Overtaken
from capacity.billing.gateway import (
    ActionRequired,
    GatewayUnavailable,
    InvoiceGateway,
    Outcome,
    Paid,
    Payment,
    Processing,
)
from capacity.billing.register import Order
from capacity.domain.instants import at as instant
from capacity.domain.money import Money
from capacity.domain.subscription import Line
from capacity.errors import ErrorCode, Refused, Unavailable
from capacity.protocol import events
from capacity.store import keys
from capacity.store.plan_changes import PlanChanges
from tests.billing.conftest import MakeDesk
from tests.support.desk import ACCOUNT, BY, START_MS, DeskUnderTest, desk_on
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio


async def consume(at: DeskUnderTest) -> list[str]:
    """Apply what is new in the stream as a hub's consumer does; returns the verdicts."""
    stream = PlanChanges(at.clients, "test")
    await stream.join_group()
    verdicts: list[str] = []
    for entry in await stream._entries(">", block_ms=None):
        event = events.parse(entry.event or b"")
        verdicts.append(await stream.apply(entry, event))
        await stream.settle(entry, verdicts[-1], event)
    return verdicts


# ---- the store


async def test_a_commit_that_was_lost_with_its_node_takes_no_version_with_it(at: DeskUnderTest) -> None:
    """The hubs have applied it: were its version given again, the next purchase would be stale, and never in force."""
    await at.create("starter")
    await consume(at)
    before = {key: await at.raw.dump(key) for key in (keys.desk_account(ACCOUNT), keys.ledger(ACCOUNT), keys.DUE)}
    await at.change(None, 2, key="lost")
    assert await consume(at) == ["applied"]
    for key, value in before.items():
        await at.raw.restore(key, 0, value, replace=True)
    at.clock.now_ms += 5
    bought = await at.change("growth", key="made")
    assert bought.status == "completed" and bought.version is not None
    assert await consume(at) == ["applied"]
    assert await at.desk.in_force(ACCOUNT, bought.version)


async def test_an_account_that_comes_again_after_a_loss_is_in_force_though_hubs_remember_the_old_one(
    at: DeskUnderTest,
) -> None:
    await at.create("starter")
    for _ in range(3):
        at.clock.pass_days(31)
        await at.work()
    await consume(at)
    remembered = await at.raw.hgetall(keys.account_key(ACCOUNT))
    await at.raw.flushall()
    at.clock.now_ms += 5
    await at.create("growth")
    await at.raw.hset(keys.account_key(ACCOUNT), mapping=remembered)  # as restore.lua, before the event is read
    bought = await at.change("business", key="k")
    assert await consume(at) == ["applied", "applied"]
    known = await at.desk.store.known(ACCOUNT)
    assert known is not None and (known.seats, known.version) == (100, bought.version)


async def test_what_only_the_hubs_lost_is_published_again_by_put(at: DeskUnderTest) -> None:
    await at.create("starter")
    await consume(at)
    assert await at.create("starter") == await at.account() and await consume(at) == [], "nothing was lost"
    await at.raw.delete(keys.account_key(ACCOUNT))
    again = await at.create("starter")
    assert await consume(at) == ["applied"]
    assert await at.desk.in_force(ACCOUNT, again.version)


async def test_the_highest_version_that_others_can_count_to_is_no_obstacle(at: DeskUnderTest) -> None:
    event = events.build(ACCOUNT, "x", 5, source="s", id="1", time_ms=START_MS, version=events.VERSION_MAX)
    await at.raw.xadd(keys.PLAN_CHANGES, {"event": event})
    await consume(at)
    await at.create("starter")
    assert await consume(at) == ["applied"]


async def test_a_step_that_was_read_before_a_loss_does_not_overwrite_what_came_after(at: DeskUnderTest) -> None:
    await at.create("business")
    opened = await at.desk.books.open(ACCOUNT)
    assert opened is not None
    await at.raw.flushall()
    await at.create("starter")
    with pytest.raises(Overtaken):
        await at.desk.books.commit(opened, opened.account)
    assert (await at.account()).subscription.plan.id == "starter"


async def test_a_purchase_that_the_store_lost_meanwhile_is_unavailable(
    at: DeskUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.create("starter")
    quote = await at.quote("growth")
    settle = at.desk.cashier.settle

    async def lost(account: str) -> None:
        await settle(account)
        await at.raw.flushall()

    monkeypatch.setattr(at.desk.cashier, "settle", lost)
    with pytest.raises(Unavailable):
        await at.buy(quote)


async def test_hubs_that_are_only_behind_lose_no_quote_by_a_put(at: DeskUnderTest) -> None:
    await at.create("starter")
    await consume(at)
    await at.change(None, 2, key="k")
    before, quote = await at.account(), await at.quote("growth")
    at.clock.now_ms += 50
    assert await at.create("starter") == before, "twice gives the same answer"
    assert await consume(at) == ["applied", "stale"]
    assert (await at.buy(quote)).status == "completed"


async def test_what_a_later_release_wrote_is_left_to_it(at: DeskUnderTest) -> None:
    await at.create("starter")
    key = keys.desk_account(ACCOUNT)
    document: dict[str, Any] = msgspec.json.decode(await at.raw.hget(key, "state"))
    written = msgspec.json.encode(document | {"schema": 2, "balance": 500, "subscription": {"status": "paused"}})
    await at.raw.hset(key, "state", written)
    for ask in (lambda: at.quote("growth"), lambda: at.create("starter"), lambda: at.desk.clerk.serve(ACCOUNT)):
        with pytest.raises(Unavailable):
            await ask()
    assert await at.raw.hget(key, "state") == written
    await at.raw.xadd(
        keys.ledger(ACCOUNT), {"entry": b'{"at":"2026-11-23T10:15:00Z","kind":"credited","by":"desk","amount":5}'}
    )
    assert (await at.ledger())[-1].kind == "credited"


# ---- the gateway


class Silent(InvoiceGateway):
    """A gateway that always gives the same answer, or none."""

    kind = "silent"

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.outcome = outcome
        self.asked = 0

    async def proceed(self, reference: str, payment: Payment) -> Outcome:
        return self._answer()

    async def cancel(self, reference: str) -> Outcome:
        return self._answer()

    def _answer(self) -> Outcome:
        self.asked += 1
        if self.outcome is None:
            raise GatewayUnavailable("no answer")
        return self.outcome


async def test_a_payment_is_left_to_the_gateway_that_it_was_begun_at(at: DeskUnderTest) -> None:
    """CAPACITY_PAYMENTS was changed meanwhile: the new gateway knows nothing of the old one's references."""
    await at.create("starter")
    quote = await at.quote("growth")
    assert (await at.buy(quote, card="confirm")).status == "payment_action_required"
    other = at.another(gateway=InvoiceGateway())
    at.clock.now_ms += 61_000
    await other.clerk.work()
    again = await other.purchase(ACCOUNT, quote.id, "key-1", "confirm", BY)
    assert (again.status, (await at.account()).subscription.plan.id) == ("payment_action_required", "starter")
    with pytest.raises(Refused) as caught:
        await other.give_up_payment(ACCOUNT, BY)
    assert caught.value.code == ErrorCode.PAYMENT_PENDING
    assert (await at.desk.give_up_payment(ACCOUNT, BY)).payment is None


@pytest.mark.parametrize("outcome", [Processing(), ActionRequired("https://bank.example")])
async def test_a_payment_that_is_not_decided_is_asked_for_once_a_minute(make_desk: MakeDesk, outcome: Outcome) -> None:
    gateway = Silent(outcome)
    at = make_desk(gateway=gateway, lease_ms=15_000)
    await at.create("starter")
    await at.change("growth", key="k")
    before = gateway.asked
    for _ in range(29 * 12):
        at.clock.now_ms += 5_000
        await at.work()
    assert 26 <= gateway.asked - before <= 29
    at.clock.pass_days(1)
    for _ in range(60):
        at.clock.now_ms += 1_000
        await at.work()
    assert gateway.asked - before <= 32, "nor oftener when its time is over"


async def test_a_payment_that_waits_for_its_owner_can_be_given_up(at: DeskUnderTest) -> None:
    await at.create("starter")
    quote = await at.quote("growth")
    await at.buy(quote, card="confirm")
    assert (await at.desk.give_up_payment(ACCOUNT, BY)).payment is None
    assert (await at.desk.give_up_payment(ACCOUNT, BY)).payment is None, "twice is once"
    assert (await at.buy(quote, card="confirm")).detail == "The payment was given up."
    assert (await at.buy(quote, "another", card="good")).status == "completed"
    assert await at.charged() == await at.billed() == [quote.proposal.due_now.amount]


class Unprepared(InvoiceGateway):
    """A gateway that cannot be reached."""

    kind = "unprepared"

    async def prepare(self, payment: Payment) -> str:
        raise GatewayUnavailable("no answer")


async def test_a_payment_that_no_gateway_knows_of_yet_can_be_given_up(make_desk: MakeDesk) -> None:
    at = make_desk(gateway=Unprepared())
    await at.create("starter")
    assert (await at.change("growth", key="k")).status == "processing"
    assert (await at.desk.give_up_payment(ACCOUNT, BY)).payment is None
    assert (
        await at.buy(await at.quote("growth"), "other", desk=at.another(gateway=InvoiceGateway()))
    ).status == "completed"


async def test_only_the_payment_that_was_meant_is_given_up(at: DeskUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    await at.create("starter")
    quote = await at.quote("growth")
    await at.buy(quote, "first", card="confirm")
    give_up = at.desk.cashier.give_up

    async def and_somebody_buys(opened: Opened) -> bool:
        done = await give_up(opened)
        await at.buy(quote, "second", card="confirm", desk=at.another())
        return done

    monkeypatch.setattr(at.desk.cashier, "give_up", and_somebody_buys)
    after = await at.desk.give_up_payment(ACCOUNT, BY)
    assert after.payment is not None and after.payment.idempotency_key == "second"
    assert (await at.buy(quote, "second", card="confirm")).status == "payment_action_required"


async def test_a_renewal_that_is_not_cancelled_and_waits_for_nobody_is_asked_for_again(make_desk: MakeDesk) -> None:
    gateway = Silent(ActionRequired("https://bank.example"))
    at = make_desk(gateway=gateway)
    await at.create("starter")
    at.clock.pass_days(30)
    await at.work()
    assert gateway.asked == 2 and (await at.account()).subscription.status == "renewing"


async def test_a_gateway_that_says_nothing_is_an_error_when_the_payments_time_is_over(make_desk: MakeDesk) -> None:
    """It keeps the account from buying and renewing: somebody must see to it."""
    at = make_desk(gateway=Silent())
    await at.create("starter")
    said = []
    for days in (30, 6, 2):
        at.clock.pass_days(days)
        with capture_logs() as lines:
            await at.work()
        said += [(line["event"], line["log_level"]) for line in lines if line.get("reason") == "no answer"]
    assert said == [("gateway_unavailable", "warning")] * 2 + [("payment_undecided", "error")]


async def test_what_waits_for_the_gateway_sends_nobody_to_a_page(make_desk: MakeDesk) -> None:
    gateway = Silent(ActionRequired("https://bank.example"))
    at = make_desk(gateway=gateway)
    await at.create("starter")
    await at.change("growth", key="k")
    gateway.outcome = Processing()
    await at.desk.cashier.settle(ACCOUNT)
    payment = (await at.account()).payment
    assert payment is not None and (payment.waits_for, payment.action_url) == ("gateway", None)


async def test_what_was_charged_cannot_be_given_up(make_desk: MakeDesk) -> None:
    gateway = Silent()
    at = make_desk(gateway=gateway)
    await at.create("starter")
    assert (await at.change("growth", key="k")).status == "processing"
    with pytest.raises(Refused) as caught:
        await at.desk.give_up_payment(ACCOUNT, BY)
    assert caught.value.code == ErrorCode.PAYMENT_PENDING
    gateway.outcome = Paid()
    after = await at.desk.give_up_payment(ACCOUNT, BY)
    assert (after.payment, after.subscription.plan.id) == (None, "growth")


async def test_one_that_hangs_holds_up_nobody_else(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those who are due with it, nor those who are due later."""
    at = make_desk()
    for number in range(8):
        await at.create("starter", f"acme-{number}")
    at.clock.pass_days(30)
    hangs, proceed = asyncio.Event(), at.desk.gateway.proceed

    async def slowly(reference: str, payment: Payment) -> Outcome:
        if payment.account == "acme-0":
            await hangs.wait()
        return await proceed(reference, payment)

    async def charged(count: int) -> bool:
        return len(await at.charged()) == count

    monkeypatch.setattr(at.desk.gateway, "proceed", slowly)
    working = asyncio.create_task(at.desk.clerk.run())
    try:
        await wait_until(lambda: charged(7), what="the others to be renewed")
        at.clock.pass_days(-30)
        await at.create("starter", "later")
        at.clock.pass_days(30)
        await wait_until(lambda: charged(8), what="who is due later to be renewed")
        hangs.set()
        await wait_until(lambda: charged(9), what="the one that hung to be renewed")
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_payment_method_that_was_never_charged_is_not_kept(at: DeskUnderTest) -> None:
    await at.create("business", payment_method="good")
    await at.buy(await at.quote("growth"), card="declined")
    assert (await at.account()).payment_method == "good"
    at.clock.pass_days(30)
    await at.work()
    assert (await at.account()).subscription.status == "active"


# ---- clocks


async def test_a_process_whose_clock_is_off_renews_nothing_and_says_so_once(
    at: DeskUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the real clocks: nothing can be taken back that was charged too early."""
    at.clock.now_ms = time.time_ns() // 1_000_000
    await at.create("starter")
    desk = desk_on(at.clients)
    right = desk.books.now_ms
    desk.books.now_ms = lambda: right() + 100 * 86_400_000
    assert await desk.clerk.work() == 0
    assert await at.charged() == []
    at.clock.pass_days(-31)
    await at.create("starter", "other")
    assert await desk.clerk.work() == 0
    assert capsys.readouterr().out.count("clock_off") == 1
    desk.books.now_ms = right
    assert await desk.clerk.work() == 1 and await at.charged() == [2500]


async def test_tries_that_were_missed_are_not_made_up(at: DeskUnderTest) -> None:
    await at.create("starter", payment_method="declined")
    at.clock.pass_days(30)
    await at.work()
    at.clock.pass_days(4)  # nobody was there on the first and third day
    await at.work()
    account = await at.account()
    assert (account.declined, account.next_try_at) == (2, at.clock.now_ms + 86_400_000)


async def test_new_payment_data_does_not_use_up_the_tries(at: DeskUnderTest) -> None:
    await at.create("starter", payment_method="declined")
    at.clock.pass_days(30)
    await at.work()
    for number in range(6):
        await at.desk.register.create(ACCOUNT, Order(plan="starter", payment_method=f"declined-{number}"), "service:x")
        await at.work()
    account = await at.account()
    assert (account.declined, account.next_try_at) == (7, at.clock.now_ms + 86_400_000)


async def test_a_period_may_begin_a_little_ahead_of_our_clock(at: DeskUnderTest) -> None:
    account = await at.create("starter", period_started_at=instant(at.clock.now_ms + 30_000))
    assert account.subscription.period_started_at == at.clock.now_ms
    assert await at.create("starter", period_started_at=instant(at.clock.now_ms + 30_000)) == account, "twice is once"
    with pytest.raises(Refused) as caught:
        await at.create("starter", "other", period_started_at=instant(at.clock.now_ms + 30_001))
    assert caught.value.code == ErrorCode.INVALID_PERIOD


# ---- the hook for taxes


def wrong(account: str, net: Money) -> Line:
    raise RuntimeError("the tax service is down")


@pytest.mark.parametrize(
    "tax",
    [
        wrong,
        lambda account, net: Line("tax", "VAT", 190, "EUR"),
        lambda account, net: Line("tax", "VAT", -1, "USD"),
        lambda account, net: Line("plan", "VAT", 190, "USD"),
        lambda account, net: Line("tax", "VAT", 10**15, "USD"),
        lambda account, net: Line("tax", "VAT", net.amount * 0.19, "USD"),  # a float, which msgspec lets pass here
        lambda account, net: Line("tax", None, 190, "USD"),  # type: ignore[arg-type]
        lambda account, net: 190,
        lambda account, net: {"amount": 190},
    ],
)
async def test_a_tax_hook_that_is_wrong_charges_nobody(make_desk: MakeDesk, tax: Any) -> None:
    at = make_desk(tax=tax)
    await at.create("starter")
    with pytest.raises(Unavailable):
        await at.quote("growth")
    at.clock.pass_days(30)
    await at.work()
    assert await at.charged() == [] and (await at.account()).subscription.status == "active"
    await at.another(tax=None).clerk.serve(ACCOUNT)
    assert await at.charged() == [2500], "when it is right again"


async def test_nothing_is_not_taxed(make_desk: MakeDesk) -> None:
    asked: list[int] = []

    def tax(account: str, net: Money) -> Line:
        asked.append(net.amount)
        return Line("tax", "VAT", 100, net.currency)

    at = make_desk(tax=tax)
    await at.create("business")
    assert (await at.quote("growth")).proposal.lines == ()
    assert asked == []


# ---- leaving the desk


async def test_an_account_that_is_let_go_keeps_what_it_has_and_follows_events(at: DeskUnderTest) -> None:
    await at.create("growth", concurrent_sessions=3)
    await consume(at)
    await at.desk.register.release(ACCOUNT, "service:platform")
    assert await consume(at) == ["applied"]
    known = await at.desk.store.known(ACCOUNT)
    assert known is not None and (known.seats, known.concurrent_sessions, known.managed) == (50, 3, False)
    assert await at.desk.account(ACCOUNT) is None and await at.raw.zcard(keys.DUE) == 0
    assert [entry.kind for entry in await at.ledger()][-2:] == ["released", "event"]
    with pytest.raises(Refused) as caught:
        await at.desk.register.release(ACCOUNT, "service:platform")
    assert caught.value.code == ErrorCode.ACCOUNT_NOT_MANAGED
    await at.raw.xadd(
        keys.PLAN_CHANGES, {"event": events.build(ACCOUNT, "x", 70, source="s", id="1", time_ms=START_MS, version=1)}
    )
    assert await consume(at) == ["applied"]
    at.clock.pass_days(100)
    await at.work()
    assert await at.charged() == []
    await at.create("starter")
    assert await consume(at) == ["applied"]
    assert (await at.account()).subscription.plan.id == "starter"


async def test_who_comes_back_is_counted_on_whatever_the_clock_of_the_process_says(at: DeskUnderTest) -> None:
    """The desk's count outlives its hold on the account; a version that is not higher would never be in force."""
    await at.create("growth")
    quote = await at.quote("business")
    at.clock.now_ms += 10_000
    await at.desk.register.release(ACCOUNT, "service:platform")
    at.clock.now_ms -= 9_000
    again = await at.create("starter")
    with pytest.raises(Refused) as caught:
        await at.buy(quote)
    assert caught.value.code == ErrorCode.QUOTE_STALE
    bought = await at.change("growth", key="k")
    assert again.version < (bought.version or 0)
    assert await consume(at) == ["applied"] * 4
    known = await at.desk.store.known(ACCOUNT)
    assert known is not None and known.managed and known.seats == 50


async def test_what_others_published_before_the_desk_came_takes_nothing_back_when_it_goes(at: DeskUnderTest) -> None:
    stream = PlanChanges(at.clients, "test")
    await stream.join_group()
    old = events.build(ACCOUNT, "old", 5, source="s", id="1", time_ms=START_MS - 5, version=5)
    await at.raw.xadd(keys.PLAN_CHANGES, {"event": old})
    (late,) = await stream._entries(">", block_ms=None)  # and its hub dies
    await at.create("growth")
    await at.desk.register.release(ACCOUNT, "service:platform")
    assert await consume(at) == ["applied", "applied"]
    assert await stream.apply(late, events.parse(old)) == "stale"
    known = await at.desk.store.known(ACCOUNT)
    assert known is not None and known.seats == 50
