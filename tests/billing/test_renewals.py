"""What the clerk does when its time has come: renewals, scheduled changes, declined charges, the end of a trial. Exactly once."""

from __future__ import annotations

import asyncio
import json

import pytest

from capacity.billing.register import Order
from capacity.domain.money import Money
from capacity.domain.plans import Catalogue, PromoCode, load
from capacity.domain.proration import DAY_MS
from capacity.errors import ErrorCode, Refused
from capacity.protocol import notices
from capacity.store import keys
from tests.billing.conftest import MakeDesk
from tests.support.desk import ACCOUNT, BY, START_MS, DeskUnderTest

pytestmark = pytest.mark.anyio


async def told(at: DeskUnderTest) -> list[tuple[str, str]]:
    """Return type and account of every notice."""
    entries = await at.raw.xrange(keys.NOTICES)
    found = [json.loads(fields[b"event"]) for _, fields in entries]
    return [(notice["type"], notice["subject"]) for notice in found]


async def test_6_a_renewal_charges_the_full_price_at_the_periods_end(at: DeskUnderTest) -> None:
    await at.create("starter")
    at.clock.pass_days(13)
    await at.change("growth", key="k")
    at.clock.now_ms = START_MS + 30 * DAY_MS - 1
    await at.work()
    assert await at.charged() == [850], "not a millisecond too early"
    at.clock.now_ms += 1
    await at.work()
    account = await at.account()
    assert account.subscription.period_started_at == START_MS + 30 * DAY_MS
    assert account.subscription.paid.total == 4000 and account.subscription.status == "active"
    assert await at.charged() == await at.billed() == [850, 4000]


async def test_6_the_scheduled_change_comes_first_then_the_charge(at: DeskUnderTest) -> None:
    await at.create("business", concurrent_sessions=3)
    assert (await at.change("growth", 1, key="k")).status == "completed"
    assert await at.charged() == []
    at.clock.pass_days(30)
    await at.work()
    account = await at.account()
    assert (account.subscription.plan.id, account.subscription.concurrent_sessions) == ("growth", 1)
    assert account.subscription.scheduled is None
    assert await at.charged() == await at.billed() == [4000]
    assert (await at.published())[-1].seats == 50
    kinds = [entry.kind for entry in await at.ledger("scheduled", "change", "line", "payment", "renewed")]
    assert kinds == ["scheduled", "change", "line", "payment", "renewed"]


async def test_3_a_downgrade_is_taken_back_until_then(at: DeskUnderTest) -> None:
    await at.create("business")
    await at.change("growth", key="k")
    assert (await at.desk.take_back(ACCOUNT, "service:support")).subscription.scheduled is None
    assert (await at.desk.take_back(ACCOUNT, "service:support")).subscription.scheduled is None, "twice is once"
    at.clock.pass_days(30)
    await at.work()
    assert (await at.account()).subscription.plan.id == "business"
    assert await at.charged() == await at.billed() == [7900]
    assert [entry.by for entry in await at.ledger("scheduled", "taken_back")] == [BY, "service:support"]


async def test_3_a_downgrade_costs_what_was_shown_whatever_the_catalogue_says_by_then(at: DeskUnderTest) -> None:
    await at.create("business")
    quote = await at.quote("growth")
    await at.buy(quote)
    dearer = Catalogue([plan for plan in load(None).plans if plan.id != "growth"])
    at.clock.pass_days(30)
    await at.another(catalogue=dearer).clerk.work()
    assert await at.charged() == [quote.proposal.next_amount] == [4000]
    assert (await at.account()).subscription.seats == 50


async def test_5_a_downgrade_voids_every_promo_code_when_it_takes_effect(make_desk: MakeDesk) -> None:
    shipped = load(None)
    promos = [PromoCode(code="HALF", percent_off=50), PromoCode(code="TENTH", percent_off=10)]
    at = make_desk(catalogue=Catalogue(shipped.plans, promos))
    await at.create("business", promo_codes=("HALF", "TENTH"))
    quote = await at.quote("growth")
    assert "promo_codes_voided" in quote.proposal.warnings
    assert quote.proposal.next_amount == 4000
    await at.buy(quote)
    assert (await at.account()).subscription.promo_codes == ("HALF", "TENTH"), "not before it takes effect"
    at.clock.pass_days(30)
    await at.work()
    assert (await at.account()).subscription.promo_codes == ()
    assert await at.charged() == [4000]
    assert [entry.promo_codes for entry in await at.ledger("promo_codes_voided")] == [("HALF", "TENTH")]


async def test_6_promo_codes_that_still_hold_count_at_each_renewal(make_desk: MakeDesk) -> None:
    promo = PromoCode(code="HALF", percent_off=50, ends_at_ms=START_MS + 31 * DAY_MS)
    at = make_desk(catalogue=Catalogue(load(None).plans, [promo]))
    await at.create("growth", promo_codes=("HALF",))
    at.clock.pass_days(60)
    await at.work()
    assert await at.charged() == await at.billed() == [2000, 4000]


async def test_6_with_many_processes_and_after_days_of_downtime_each_period_is_charged_once(at: DeskUnderTest) -> None:
    accounts = [f"acme-{number}" for number in range(12)]
    for account in accounts:
        await at.create("starter", account)
    at.clock.pass_days(95)
    clerks = [at.another(lease_ms=1).clerk for _ in range(6)]
    for _ in range(8):
        await asyncio.gather(*(clerk.work() for clerk in clerks), *(clerks[0].serve(account) for account in accounts))
        at.clock.now_ms += 2
    for account in accounts:
        assert await at.billed(account) == [2500, 2500, 2500]
        assert (await at.account(account)).subscription.period_started_at == START_MS + 90 * DAY_MS
        versions = [event.version for event in await at.published(account)]
        assert versions == sorted(set(versions), key=lambda version: version or 0)
    assert await at.charged() == [2500] * 36


async def test_6_a_declined_charge_is_tried_again_and_the_seats_stay_for_the_grace(at: DeskUnderTest) -> None:
    await at.create("growth", payment_method="declined")
    at.clock.pass_days(30)
    await at.work()
    account = await at.account()
    assert (account.subscription.status, account.subscription.seats, account.declined) == ("overdue", 50, 1)
    assert await told(at) == [(notices.PAYMENT_DECLINED, ACCOUNT)]
    tries = [1]
    for day in range(1, 7):
        at.clock.pass_days(1)
        await at.work()
        tries.append((await at.account()).declined)
        assert (await at.account()).subscription.seats == 50, f"day {day} of the grace"
    assert tries == [1, 2, 2, 3, 3, 4, 4], "after 1, 3 and 5 days"
    assert len({entry.invoice for entry in await at.ledger("declined")}) == 4, "a gateway may remember a payment's id"
    at.clock.pass_days(1)
    await at.work()
    account = await at.account()
    assert (account.subscription.status, account.subscription.seats) == ("suspended", 0)
    assert (await at.published())[-1].seats == 0
    assert (await told(at))[-1] == (notices.ACCOUNT_SUSPENDED, ACCOUNT)
    assert await at.charged() == await at.billed() == []
    at.clock.pass_days(100)
    await at.work()
    assert await at.raw.zcard(keys.DUE) == 0, "nothing is due for a suspended account"


async def test_6_a_new_card_pays_the_period_at_the_next_try(at: DeskUnderTest) -> None:
    await at.create("growth", payment_method="declined")
    at.clock.pass_days(30.5)
    await at.work()
    await at.desk.register.create(ACCOUNT, Order(plan="growth", payment_method="good"), "service:platform")
    await at.work()
    account = await at.account()
    assert (account.subscription.status, account.declined, account.declined_at) == ("active", 0, None)
    assert account.subscription.period_started_at == START_MS + 30 * DAY_MS, "the grace is part of the period"
    assert await at.charged() == await at.billed() == [4000]


async def test_6_an_overdue_account_buys_a_plan_and_the_period_began_when_it_should(at: DeskUnderTest) -> None:
    await at.create("growth", payment_method="declined")
    at.clock.pass_days(32)
    await at.work()
    quote = await at.quote("business")
    assert quote.proposal.due_now == Money(7900, "USD")
    assert (await at.buy(quote, card="good")).status == "completed"
    account = await at.account()
    assert account.subscription.period_started_at == START_MS + 30 * DAY_MS
    assert (account.subscription.status, account.subscription.seats) == ("active", 100)
    at.clock.pass_days(1)
    await at.work()
    assert await at.charged() == await at.billed() == [7900], "the tries at the old charge are over"


async def test_6_a_suspended_account_buys_its_own_plan_and_starts_anew(at: DeskUnderTest) -> None:
    await at.create("growth", payment_method="declined")
    at.clock.pass_days(30)
    await at.work()
    at.clock.pass_days(20)
    await at.work()
    assert (await at.account()).subscription.status == "suspended"
    assert (await at.buy(await at.quote("growth"), card="good")).status == "completed"
    account = await at.account()
    assert account.subscription.period_started_at == at.clock.now_ms
    assert (await at.published())[-1].seats == 50


async def test_6_a_card_whose_bank_wants_its_owner_is_declined_when_nobody_is_there(at: DeskUnderTest) -> None:
    await at.create("growth", payment_method="confirm")
    at.clock.pass_days(30)
    await at.work()
    account = await at.account()
    assert (account.subscription.status, account.payment) == ("overdue", None)
    assert await at.charged() == []


async def test_6_a_period_that_costs_nothing_is_renewed_without_a_gateway(make_desk: MakeDesk) -> None:
    free = PromoCode(code="FREE", percent_off=100)
    at = make_desk(catalogue=Catalogue(load(None).plans, [free]))
    await at.create("growth", promo_codes=("FREE",), payment_method="declined")
    at.clock.pass_days(30)
    await at.work()
    assert (await at.account()).subscription.status == "active"
    assert await at.charged() == await at.billed() == []


async def test_6_a_period_that_costs_nothing_and_was_left_behind_is_finished(make_desk: MakeDesk) -> None:
    at = make_desk(catalogue=Catalogue(load(None).plans, [PromoCode(code="FREE", percent_off=100)]))
    await at.create("growth", promo_codes=("FREE",))
    at.clock.pass_days(30)
    opened = await at.desk.books.open(ACCOUNT)
    assert opened is not None
    await at.desk.clerk._next(opened)  # and there its process dies
    assert (await at.account()).subscription.status == "renewing"
    at.clock.now_ms += 2000
    await at.another().clerk.work()
    assert (await at.account()).subscription.status == "active"
    assert await at.raw.keys("capacity:1:{billing}:card:*") == [], "no gateway heard of it"


async def test_a_trial_ends_with_its_period_and_a_plan_can_be_bought_then(at: DeskUnderTest) -> None:
    await at.create("trial")
    at.clock.pass_days(30)
    await at.work()
    account = await at.account()
    assert (account.subscription.status, account.subscription.seats) == ("suspended", 0)
    assert await told(at) == [(notices.ACCOUNT_SUSPENDED, ACCOUNT)]
    with pytest.raises(Refused) as caught:
        await at.quote("trial")
    assert caught.value.code == ErrorCode.TRIAL_NOT_AVAILABLE
    await at.change("starter", key="k")
    account = await at.account()
    assert (account.subscription.seats, account.subscription.period_started_at) == (25, at.clock.now_ms)
    assert await at.charged() == [2500]


async def test_a_purchase_that_is_pending_over_the_periods_end_is_settled_before_the_renewal(at: DeskUnderTest) -> None:
    await at.create("starter")
    at.clock.now_ms = START_MS + 30 * DAY_MS - 60_000
    quote = await at.quote("growth", 2)
    pending = await at.buy(quote, card="confirm")
    assert pending.status == "completed", "nothing is due for the last minute"
    at.clock.now_ms += 60_000
    await at.desk.register.create(ACCOUNT, Order(plan="growth", payment_method="good"), "service:platform")
    await at.work()
    assert await at.charged() == await at.billed() == [5500]


async def test_a_renewal_waits_while_a_purchase_is_paid(at: DeskUnderTest) -> None:
    await at.create("starter")
    at.clock.now_ms = START_MS + 29 * DAY_MS - 60_000
    quote = await at.quote("growth")
    pending = await at.buy(quote, card="confirm")
    assert pending.status == "payment_action_required"
    at.clock.now_ms += 60_000
    await at.work()
    assert (await at.account()).subscription.period_started_at == START_MS
    gateway = at.desk.gateway
    await at.desk.cashier.settle(
        await gateway.confirm((pending.action_url or "").partition("#")[2], confirmed=True)  # type: ignore[attr-defined]
    )
    at.clock.now_ms = START_MS + 30 * DAY_MS
    await at.desk.register.create(ACCOUNT, Order(plan="growth", payment_method="good"), "service:platform")
    await at.work()
    assert await at.charged() == await at.billed() == [50, 4000]


async def test_a_bug_with_one_account_does_not_stop_the_others(at: DeskUnderTest) -> None:
    await at.create("starter", "broken")
    await at.create("starter")
    await at.raw.hset(keys.desk_account("broken"), "state", b"{not json")
    at.clock.pass_days(30)
    await at.desk.clerk.work()
    assert await at.billed() == [2500]
