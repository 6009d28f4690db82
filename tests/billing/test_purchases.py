"""Quotes and purchases on real books: what is charged is what was shown, once, and two at the same time are one."""

from __future__ import annotations

import asyncio

import pytest

from capacity.billing.account import PAYMENT_MS, Purchase
from capacity.billing.desk import QUOTE_MS
from capacity.billing.gateway import GatewayUnavailable, Outcome, Payment
from capacity.domain.money import Money
from capacity.domain.proration import DAY_MS
from capacity.domain.subscription import Line
from capacity.errors import ErrorCode, Refused
from tests.support.desk import ACCOUNT, BY, START_MS, DeskUnderTest

pytestmark = pytest.mark.anyio


async def on_growth_with_17_days_left(at: DeskUnderTest) -> None:
    await at.create("starter")
    at.clock.pass_days(12.5)


async def refusal(at: DeskUnderTest, code: ErrorCode, *arguments: str | None) -> Refused:
    """Ask for a quote that is refused, and return how."""
    plan, sessions = (*arguments, None)[:2]
    with pytest.raises(Refused) as caught:
        await at.quote(plan, None if sessions is None else int(sessions))
    assert caught.value.code == code
    return caught.value


async def test_8_what_is_charged_is_what_was_shown_however_late_in_its_quarter_of_an_hour(at: DeskUnderTest) -> None:
    await at.create("starter")
    at.clock.pass_days(13 - 60 / 86400)  # a minute before the seventeenth last day is over
    quote = await at.quote("growth")
    assert quote.proposal.due_now == Money(850, "USD")
    assert quote.expires_at - quote.made_at == 15 * 60 * 1000
    at.clock.now_ms += QUOTE_MS - 1
    assert (await at.quote("growth")).proposal.due_now == Money(800, "USD")
    assert (await at.buy(quote)).status == "completed"
    assert await at.charged() == await at.billed() == [850]


async def test_8_a_quote_ends_with_its_quarter_of_an_hour(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    quote = await at.quote("growth")
    at.clock.now_ms += QUOTE_MS
    with pytest.raises(Refused) as caught:
        await at.buy(quote)
    assert caught.value.code == ErrorCode.QUOTE_STALE
    assert await at.charged() == []
    assert (await at.account()).subscription.plan.id == "starter"


async def test_8_a_quote_ends_with_its_period(at: DeskUnderTest) -> None:
    await at.create("starter")
    at.clock.now_ms = START_MS + 30 * DAY_MS - 1000
    quote = await at.quote("growth")
    at.clock.now_ms += 1000
    with pytest.raises(Refused, match="period"):
        await at.buy(quote)
    assert await at.charged() == []


async def test_8_an_account_that_changed_since_makes_a_quote_stale(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    older, newer = await at.quote("business"), await at.quote("growth")
    await at.buy(newer)
    for quote in (older, newer):
        with pytest.raises(Refused) as caught:
            await at.buy(quote, "another key")
        assert caught.value.code == ErrorCode.QUOTE_STALE
    assert await at.charged() == [850]
    assert [entry.code for entry in await at.ledger("refused")] == ["quote_stale", "quote_stale"]


async def test_9_the_same_key_gives_the_same_answer(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    quote = await at.quote("growth")
    first = await at.buy(quote)
    at.clock.pass_days(1)
    assert await at.buy(quote) == await at.buy(quote, desk=at.another()) == first
    assert first.version == (await at.account()).version
    assert await at.charged() == [850]


async def test_9_the_same_key_with_another_body_is_refused(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    quote, other = await at.quote("growth"), await at.quote("business")
    await at.buy(quote)
    for wrong, card in ((other, None), (quote, "confirm")):
        with pytest.raises(Refused) as caught:
            await at.buy(wrong, card=card)
        assert caught.value.code == ErrorCode.IDEMPOTENCY_KEY_REUSED
    assert await at.charged() == [850]


async def test_9_of_two_purchases_at_the_same_time_one_wins_and_the_other_is_not_charged(at: DeskUnderTest) -> None:
    for attempt in range(20):
        account = f"acme-{attempt}"
        await at.create("starter", account)
        quotes = [await at.quote(plan, account=account) for plan in ("growth", "business", "growth", "premium")]
        desks = [at.another() for _ in quotes]
        bought = await asyncio.gather(
            *(
                at.buy(quote, f"key-{number}", desk=desk, account=account)
                for number, (quote, desk) in enumerate(zip(quotes, desks, strict=True))
            ),
            return_exceptions=True,
        )
        won = [purchase for purchase in bought if isinstance(purchase, Purchase)]
        lost = [error for error in bought if not isinstance(error, Purchase)]
        assert len(won) == 1 and won[0].status == "completed"
        assert all(isinstance(error, Refused) and error.code == ErrorCode.QUOTE_STALE for error in lost), lost
        assert await at.billed(account) == [won[0].amount.amount]
    assert len(await at.charged()) == 20


async def test_9_one_purchase_that_comes_many_times_at_once_is_made_once(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    quote = await at.quote("growth")
    bought = await asyncio.gather(*(at.buy(quote, desk=at.another()) for _ in range(8)))
    assert {purchase.id for purchase in bought} == {bought[0].id}
    assert (await at.buy(quote)).status == "completed"
    assert await at.charged() == await at.billed() == [850]
    assert [event.seats for event in await at.published()] == [25, 50]


async def test_9_a_purchase_and_its_event_are_one_step(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    bought = await at.change("growth", 3, key="k")
    first, second = await at.published()
    assert (first.seats, first.concurrent_sessions, first.version) == (25, 1, START_MS)
    assert (second.seats, second.concurrent_sessions, second.version) == (50, 3, bought.version)
    assert second.plan == "growth"


async def test_a_declined_card_changes_nothing_and_the_quote_is_good_for_another(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    before = await at.account()
    quote = await at.quote("growth")
    declined = await at.buy(quote, "first", card="declined")
    assert (declined.status, declined.version) == ("payment_declined", None)
    assert declined.detail == "The card was declined."
    assert await at.account() == before
    assert await at.charged() == [] and len(await at.published()) == 1
    assert await at.buy(quote, "first", card="declined") == declined, "the same key gives the same answer"
    assert (await at.buy(quote, "second", card="good")).status == "completed"
    assert await at.charged() == await at.billed() == [850]
    assert [entry.description for entry in await at.ledger("declined")] == ["The card was declined."]


async def test_10_a_pending_payment_reserves_the_quote_and_seats_rise_when_it_is_confirmed(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    quote, other = await at.quote("growth"), await at.quote("business")
    pending = await at.buy(quote, card="confirm")
    assert pending.status == "payment_action_required" and pending.action_url is not None
    with pytest.raises(Refused) as caught:
        await at.buy(other, "another key")
    assert caught.value.code == ErrorCode.QUOTE_STALE
    at.clock.now_ms += QUOTE_MS  # the quote itself would have expired
    assert await at.buy(quote, card="confirm") == pending
    assert await at.charged() == [] and len(await at.published()) == 1
    gateway = at.desk.gateway
    reference = pending.action_url.partition("#")[2]
    await at.desk.cashier.settle(await gateway.confirm(reference, confirmed=True))  # type: ignore[attr-defined]
    done = await at.buy(quote, card="confirm")
    assert done.status == "completed" and await at.charged() == await at.billed() == [850]
    assert [event.seats for event in await at.published()] == [25, 50]


async def test_10_a_payment_that_its_owner_refuses_changes_nothing(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    quote = await at.quote("growth")
    pending = await at.buy(quote, card="confirm")
    assert pending.action_url is not None
    gateway = at.desk.gateway
    await at.desk.cashier.settle(
        await gateway.confirm(pending.action_url.partition("#")[2], confirmed=False)  # type: ignore[attr-defined]
    )
    assert (await at.buy(quote, card="confirm")).status == "payment_declined"
    assert (await at.buy(quote, "again", card="good")).status == "completed"
    assert await at.charged() == [850]


async def test_10_a_payment_that_nobody_confirms_is_given_up_by_the_clerk(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    quote = await at.quote("growth")
    pending = await at.buy(quote, card="confirm")
    at.clock.now_ms += PAYMENT_MS - 1
    await at.work()
    assert (await at.account()).payment is not None
    at.clock.now_ms += 2000
    await at.work()
    assert (await at.account()).payment is None
    late = await at.buy(quote, card="confirm")
    assert late.status == "payment_declined" and late.detail == "The payment was not confirmed in time."
    with pytest.raises(Refused):
        await at.desk.gateway.confirm((pending.action_url or "").partition("#")[2], confirmed=True)  # type: ignore[attr-defined]
    assert await at.charged() == []


class Broken:
    """The test card's gateway with a line that can be cut."""

    kind = "test"

    def __init__(self, at: DeskUnderTest) -> None:
        self._gateway = at.desk.gateway
        self.cut: set[str] = set()

    def _line(self, what: str) -> None:
        if what in self.cut:
            raise GatewayUnavailable(what)

    async def prepare(self, payment: Payment) -> str:
        self._line("prepare")
        return await self._gateway.prepare(payment)

    async def proceed(self, reference: str, payment: Payment) -> Outcome:
        self._line("proceed")
        outcome = await self._gateway.proceed(reference, payment)
        self._line("answer")
        return outcome

    async def cancel(self, reference: str) -> Outcome:
        self._line("cancel")
        return await self._gateway.cancel(reference)

    def notification(self, headers: object, body: bytes) -> object:
        raise AssertionError(f"nobody calls this: {headers} {body!r}")


@pytest.mark.parametrize("cut", ["prepare", "proceed", "answer"])
async def test_while_the_gateway_is_away_a_purchase_is_under_way_and_the_clerk_finishes_it(
    at: DeskUnderTest, cut: str
) -> None:
    await on_growth_with_17_days_left(at)
    gateway = Broken(at)
    gateway.cut = {cut}
    desk = at.another(gateway=gateway)
    quote = await at.quote("growth")
    assert (await at.buy(quote, desk=desk)).status == "processing"
    assert (await at.buy(quote, desk=desk)).status == "processing"
    gateway.cut.clear()
    at.clock.now_ms += 1000
    assert await desk.clerk.work() == 1
    assert (await at.buy(quote)).status == "completed"
    assert await at.charged() == await at.billed() == [850]


async def test_a_payment_that_was_charged_when_its_time_was_over_counts(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    gateway = Broken(at)
    gateway.cut = {"answer"}
    desk = at.another(gateway=gateway)
    quote = await at.quote("growth")
    await at.buy(quote, desk=desk)
    at.clock.now_ms += PAYMENT_MS
    gateway.cut = {"cancel"}
    await desk.clerk.work()
    assert (await at.account()).payment is not None, "what may have been charged is not given up unasked"
    gateway.cut.clear()
    at.clock.now_ms += 1000
    await desk.clerk.work()
    assert (await at.buy(quote)).status == "completed"
    assert await at.charged() == await at.billed() == [850]


async def test_what_the_rules_refuse_changes_nothing_and_stands_in_the_ledger(at: DeskUnderTest) -> None:
    await on_growth_with_17_days_left(at)
    before = await at.account()
    await refusal(at, ErrorCode.TRIAL_NOT_AVAILABLE, "trial")
    await refusal(at, ErrorCode.NO_CHANGE, "starter")
    await refusal(at, ErrorCode.UNKNOWN_PLAN, "no-such-plan")
    with pytest.raises(Refused) as caught:
        await at.desk.purchase(ACCOUNT, "no-such-quote", "key", None, BY)
    assert caught.value.code == ErrorCode.UNKNOWN_QUOTE
    assert await at.account() == before
    refused = await at.ledger("refused")
    assert [(entry.code, entry.by) for entry in refused] == [
        (code, BY) for code in ("trial_not_available", "no_change", "unknown_plan", "unknown_quote")
    ]


async def test_a_quote_of_another_account_is_unknown(at: DeskUnderTest) -> None:
    await at.create("starter")
    await at.create("starter", "other")
    quote = await at.quote("growth", account="other")
    with pytest.raises(Refused) as caught:
        await at.buy(quote)
    assert caught.value.code == ErrorCode.UNKNOWN_QUOTE
    assert await at.charged() == []


async def test_a_tax_line_is_charged_as_it_was_shown(at: DeskUnderTest) -> None:
    def vat(account: str, net: Money) -> Line:
        assert account == ACCOUNT
        return Line("tax", "VAT 23 %", (net.amount * 23 + 50) // 100, net.currency)

    await on_growth_with_17_days_left(at)
    desk = at.another(tax=vat)
    quote = await desk.quote(ACCOUNT, "growth", None, BY)
    assert quote.proposal.due_now == Money(850 + 196, "USD")
    assert (await at.buy(quote, desk=desk)).status == "completed"
    assert await at.charged() == await at.billed() == [1046]
    assert (await at.account()).subscription.paid.total == 4000, "amounts to reckon with are net"
    at.clock.pass_days(20)
    assert await desk.clerk.work() == 1
    assert await at.charged() == await at.billed() == [1046, 4920]
