"""Whatever happens to an account at the desk: its ledger sums to what the bank was paid, and each change was published once.

Random sequences on a real store: purchases with good, declined and confirmed cards, by several processes and under keys
that come again, changes taken back, days that pass, and clerks that come late.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.billing.card import CardGateway
from capacity.domain.plans import Catalogue, PromoCode, load
from capacity.errors import Refused
from tests.support.desk import ACCOUNT, BY, START_MS, DeskUnderTest

PLANS = ("trial", "starter", "growth", "business", "premium", "growth-yearly", "business-yearly")
CARDS = ("good", "good", "declined", "confirm")
PROMO_CODES = (
    PromoCode(code="FIFTH", percent_off=20),
    PromoCode(code="FREE", percent_off=100, ends_at_ms=START_MS + 45 * 86_400_000),
)

steps = st.one_of(
    st.tuples(
        st.just("buy"),
        st.sampled_from([None, *PLANS]),
        st.sampled_from([None, None, 1, 2, 4]),
        st.sampled_from(CARDS),
        st.booleans(),
    ),
    st.tuples(st.just("decide"), st.booleans()),
    st.tuples(st.just("again"), st.integers(0, 5)),
    st.tuples(st.just("take back")),
    st.tuples(st.just("pass"), st.sampled_from([0.3, 1, 5, 8, 17, 31, 62, 400])),
    st.tuples(st.just("work"), st.integers(1, 3)),
)


class Account:
    """One account, with the keys that were used for it and the payments that wait for their owner."""

    def __init__(self, at: DeskUnderTest) -> None:
        self._at = at
        self._desks = [at.desk, at.another(), at.another()]
        self._bought: list[tuple[str, str, str]] = []
        self._waiting: list[str] = []

    async def do(self, what: str, *details: Any) -> None:
        """Do one step; what the rules refuse is part of the game."""
        try:
            await getattr(self, f"_{what.replace(' ', '_')}")(*details)
        except Refused:
            return

    async def _buy(self, plan: str | None, sessions: int | None, card: str, twice: bool) -> None:
        at, key = self._at, f"key-{len(self._bought)}"
        quote = await at.quote(plan, sessions)
        self._bought.append((quote.id, key, card))
        asked = [at.buy(quote, key, card=card, desk=desk) for desk in self._desks[: 1 + twice]]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, Refused):
                continue
            assert not isinstance(answer, BaseException), answer
            if answer.action_url is not None:
                self._waiting.append(answer.action_url.partition("#")[2])

    async def _decide(self, confirmed: bool) -> None:
        if self._waiting:
            gateway = self._at.desk.gateway
            assert isinstance(gateway, CardGateway)
            account = await gateway.confirm(self._waiting.pop(), confirmed=confirmed)
            await self._desks[2].cashier.settle(account)

    async def _again(self, number: int) -> None:
        if number < len(self._bought):
            quote, key, card = self._bought[number]
            await self._desks[1].purchase(ACCOUNT, quote, key, card, BY)

    async def _take_back(self) -> None:
        await self._at.desk.take_back(ACCOUNT, BY)

    async def _pass(self, days: float) -> None:
        self._at.clock.pass_days(days)

    async def _work(self, clerks: int) -> None:
        await asyncio.gather(*(desk.clerk.work() for desk in self._desks[:clerks]))

    async def check(self) -> None:
        """Hold the books to the bank and to the stream."""
        at = self._at
        assert await at.billed() == await at.charged()
        account = await at.account()
        published = await at.published()
        versions = [event.version or 0 for event in published]
        assert versions == sorted(set(versions)) and versions[-1] == account.version
        assert published[-1].seats == account.subscription.seats
        assert published[-1].plan == account.subscription.plan.id
        assert [entry.event for entry in await at.ledger("event")] == [event.id for event in published]
        assert account.subscription.paid.total >= 0


def test_the_ledger_sums_to_what_was_charged(redis_url: str) -> None:
    @settings(max_examples=100, deadline=None)
    @given(
        begins=st.sampled_from(PLANS),
        codes=st.lists(st.sampled_from(["FIFTH", "FREE", "UNKNOWN"]), max_size=2, unique=True),
        drawn=st.lists(steps, max_size=20),
    )
    def check(begins: str, codes: list[str], drawn: list[tuple[Any, ...]]) -> None:
        async def run() -> None:
            catalogue = Catalogue(load(None).plans, PROMO_CODES)
            at = DeskUnderTest(redis_url, catalogue=catalogue)
            try:
                await at.raw.flushall()
                await at.create(begins, promo_codes=tuple(codes))
                account = Account(at)
                for step in drawn:
                    await account.do(*step)
                    await account.check()
                at.clock.pass_days(1)
                await at.work()
                await account.check()
                assert (await at.account()).payment is None
            finally:
                await at.close()

        loop.run_until_complete(run())

    loop = asyncio.new_event_loop()
    try:
        check()
    finally:
        loop.close()
