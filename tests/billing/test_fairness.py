"""Whatever an account does in whatever order: it never pays less than nothing, nor more than the dearest it had, day by day.

Hypothesis draws a catalogue, an account, and what happens to it. What it may have paid at the most is kept beside it in
`Days`, which knows days and rates and nothing of differences, of what was paid, or of the code that is tested.
"""

from __future__ import annotations

from fractions import Fraction

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from capacity.domain.money import Money
from capacity.domain.plans import Catalogue, Plan, PromoCode
from capacity.domain.proposals import Proposal, accept, propose
from capacity.domain.subscription import Charge, Line, Pricing, Renewal, Subscription, next_charge, owed, renewal
from capacity.errors import ErrorCode, Refused
from tests.billing.examples import START, TRIAL, changed, plan_of

HALF = Fraction(1, 2)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
CODES = (
    PromoCode(code="THIRD", percent_off=33),
    PromoCode(code="ALL", percent_off=100),
    PromoCode(code="EARLY", percent_off=50, ends_at_ms=START + 40 * DAY_MS),
)


class Days:
    """What each day of an account costs: a period is so many days, and every day is at the rate of a price for them all.

    A day that has begun when something changes stays what it was when it began, or becomes what it is now, by the
    setting. The period in which an account starts anew begins with a day of its own.
    """

    def __init__(self, running_day_used: bool) -> None:
        self.running_day_used = running_day_used
        self.past = Fraction(0)
        """What the periods before this one came to."""
        self.start = 0
        self.days = 1
        self.prices: list[int] = []

    def begin(self, start: int, days: int, price: int) -> None:
        """Begin a period at an instant, at a price for all of it."""
        self.past = self.sum()
        self.start, self.days, self.prices = start, days, [price] * days

    def first_changed(self, now: int) -> int:
        """Return the first day that a change can still touch."""
        day, ms = divmod(now - self.start, DAY_MS)
        return day + 1 if ms and self.running_day_used else day

    def rise(self, now: int, price: int) -> Fraction:
        """From now on a period costs at least this; return by how much what is left of this one becomes dearer."""
        before = self.sum()
        first = self.first_changed(now)
        self.prices[first:] = [max(old, price) for old in self.prices[first:]]
        return self.sum() - before

    def cut(self, now: int) -> Fraction:
        """End the period now; return what the days are worth that it does not have any more."""
        before = self.sum()
        del self.prices[self.first_changed(now) :]
        return before - self.sum()

    def sum(self) -> Fraction:
        return self.past + Fraction(sum(self.prices), self.days)


def decoded(number: int, drawn: int) -> Plan:
    """Return a plan made from one number, which is drawn faster than a number for each of its fields."""

    def next_of(count: int) -> int:
        nonlocal drawn
        drawn, found = divmod(drawn, count)
        return found

    yearly = next_of(4) == 3
    return plan_of(
        f"plan-{number}",
        (10, 20, 20)[next_of(3)],  # some of one size, and none the dearer for being larger
        (1 + next_of(9999)) * (10 if yearly else 1),
        fee=next_of(3000),
        days=365 if yearly else 30,
        currency="JPY" if next_of(15) == 14 else "USD",
        on_sale=next_of(15) != 14,
    )


numbers = st.integers(0, 4 * 3 * 9999 * 3000 * 15 * 15 - 1)
catalogues = st.lists(numbers, min_size=4, max_size=6).map(lambda drawn: [decoded(*row) for row in enumerate(drawn)])
codes = st.lists(st.sampled_from(["THIRD", "ALL", "EARLY", "UNKNOWN"]), max_size=2, unique=True).map(tuple)
sessions = st.none() | st.integers(1, 4)
lapses = st.one_of(
    st.integers(0, 70).map(lambda hours: hours * HOUR_MS),
    st.integers(0, 40).map(lambda days: days * DAY_MS),
    st.integers(0, 400 * DAY_MS),
)


def price(plan: Plan, sessions: int) -> int:
    """Return the list price for a period."""
    return plan.price.amount + (sessions - 1) * plan.concurrent_session_price.amount


class Fairness(RuleBasedStateMachine):
    """One account, its catalogue, its clock, and what it was charged."""

    pricing: Pricing
    subscription: Subscription

    @initialize(
        found=catalogues,
        first=st.integers(0, 9),
        count=st.integers(1, 3),
        age=st.integers(0, 29 * DAY_MS),
        paid=st.sampled_from([Fraction(1), Fraction(1), Fraction(1, 3), Fraction(0)]),
        running_day_used=st.booleans(),
    )
    def open(self, found: list[Plan], first: int, count: int, age: int, paid: Fraction, running_day_used: bool) -> None:
        """An account comes with a period that has begun, for which it paid its price, or less."""
        self.pricing = Pricing(Catalogue([*found, TRIAL], CODES), running_day_used=running_day_used)
        plan = TRIAL if first == 9 else found[first % len(found)]
        of_plan, of_sessions = int(plan.price.amount * paid), int((price(plan, count) - plan.price.amount) * paid)
        self.subscription = Subscription(
            plan=plan, concurrent_sessions=count, period_started_at=START - age, paid=Charge(of_plan, of_sessions)
        )
        self.now = START
        self.most = Days(running_day_used)
        self.most.begin(START - age, plan.cycle_days, price(plan, count))
        self.dearest = price(plan, count)  # of this period
        self.as_listed = paid == 1
        """Whether everything was charged at its price so far, no more and no less."""
        self.charged = self.subscription.paid.total
        self.rounded = Fraction(0)
        """What rounding can have made of it."""

    # ---- what happens

    @rule(number=st.integers(0, 7), count=sessions)
    def ask(self, number: int, count: int | None) -> None:
        """Ask for another plan, or another number of sessions, or both, whether it can be had or not; and buy it."""
        offered = (*self.pricing.catalogue.plans, None)
        self.change(offered[number % len(offered)], count)

    @rule(number=st.integers(0, 7), more=st.sampled_from([None, None, 1, 3]))
    def want_more(self, number: int, more: int | None) -> None:
        """Ask for what is an upgrade, to the account or by the contract's words."""
        had = self.subscription
        offered = [
            plan
            for plan in self.pricing.catalogue.plans
            if plan.seats >= had.plan.seats and plan.cycle_days >= had.plan.cycle_days and not plan.trial
        ]
        count = None if more is None else had.concurrent_sessions + more
        self.change([*offered, None][number % (len(offered) + 1)], count)

    def change(self, plan: Plan | None, count: int | None) -> None:
        before = self.subscription
        try:
            proposal = propose(self.pricing, before, plan, count, self.now)
        except Refused as refused:
            self.refused(plan, refused.code)
            return
        assert propose(self.pricing, before, plan, count, self.now) == proposal, "what is shown is what will be charged"
        self.invoice(proposal.lines, proposal.due_now.amount, proposal.plan.price.currency)
        assert before.plan.trial or not proposal.plan.trial
        assert proposal.effective_at == (self.now if proposal.kind == "upgrade" else before.period_ends_at)
        self.subscription = accept(before, proposal)
        self.bought(before, proposal)
        next_one = Money(proposal.next_amount, proposal.plan.price.currency)
        assert next_charge(self.pricing, self.subscription) == next_one, "what was shown is what will come"

    def refused(self, plan: Plan | None, code: ErrorCode) -> None:
        if plan is not None and plan.trial and not self.subscription.plan.trial:
            assert code == ErrorCode.TRIAL_NOT_AVAILABLE

    def bought(self, before: Subscription, proposal: Proposal) -> None:
        """What a purchase does to the days, seen from outside."""
        plan, count, due = proposal.plan, proposal.concurrent_sessions, proposal.due_now.amount
        listed = price(plan, count)
        if before.plan.trial or before.status == "suspended":
            assert proposal.period_started_at == self.now
            if before.plan.trial:
                self.most.cut(self.now)
            self.start_anew(self.now, plan, listed, due)
            return
        if before.status == "overdue":
            self.start_anew(before.period_started_at, plan, listed, due)
            return
        less = (
            plan.seats < before.plan.seats
            or count < before.concurrent_sessions
            or plan.cycle_days < before.plan.cycle_days
        )
        assert proposal.kind == ("downgrade" if less else "upgrade")
        if less:
            assert due == 0 and not proposal.lines
            assert self.subscription == changed(before, scheduled=self.subscription.scheduled)
        elif plan.cycle_days > before.plan.cycle_days:
            unused = self.most.cut(self.now)
            # what was paid is never paid back: the year may have cost that, though the plan costs less
            self.start_anew(self.now, plan, max(listed, int(unused + HALF)), due)
            self.rounded += HALF
            if self.as_listed:
                assert abs(due - max(Fraction(0), listed - unused)) <= self.rounded
                assert ("unused_value_lost" in proposal.warnings) >= (unused > listed + self.rounded)
        else:
            assert self.subscription.period_ends_at == before.period_ends_at, "an upgrade moved the period's end"
            dearer = self.most.rise(self.now, listed)
            self.dearest = max(self.dearest, listed)
            self.charged += due
            self.rounded += HALF
            self.as_listed = self.as_listed and not before.promo_codes
            if self.as_listed:
                assert abs(due - dearer) <= HALF, "not the difference for the days that are left"

    def start_anew(self, start: int, plan: Plan, listed: int, due: int) -> None:
        self.most.begin(start, plan.cycle_days, listed)
        self.dearest = listed
        self.charged += due
        self.as_listed = self.as_listed and not self.subscription.promo_codes

    @precondition(lambda self: self.subscription.scheduled is not None)
    @rule()
    def take_back(self) -> None:
        self.subscription = changed(self.subscription, scheduled=None)

    @rule(found=codes)
    def promo_codes(self, found: tuple[str, ...]) -> None:
        self.subscription = changed(self.subscription, promo_codes=found)

    @rule(number=st.integers(0, 5), drawn=numbers, gone=st.sampled_from([False, False, True]))
    def edit_the_catalogue(self, number: int, drawn: int, gone: bool) -> None:
        """A plan goes, or has another price, currency or cycle from now on; the account keeps what it bought."""
        found = {plan.id: plan for plan in self.pricing.catalogue.plans}
        edited = decoded(number, drawn)
        found[edited.id] = edited
        if gone:
            del found[edited.id]
        self.pricing = Pricing(Catalogue(found.values(), CODES), self.pricing.running_day_used)

    @rule(ms=lapses, declined=st.sampled_from([False, False, False, True]))
    def lapse(self, ms: int, declined: bool) -> None:
        self.now += ms
        self.catch_up(declined)

    @rule(ms=st.sampled_from([-DAY_MS, -1, 0, 1]), day=st.integers(0, 30), declined=st.booleans())
    def come_to_the_edge_of_a_day(self, ms: int, day: int, declined: bool) -> None:
        """To the instant at which a day of the period begins, or its end; and to the last one before."""
        target = self.subscription.period_started_at + min(day, self.subscription.plan.cycle_days) * DAY_MS + ms
        if target > self.now:
            self.now = target
            self.catch_up(declined)

    def catch_up(self, declined: bool) -> None:
        """Renew as long as a period is over, as the desk does after whatever downtime."""
        while self.subscription.status == "active" and self.now >= self.subscription.period_ends_at:
            before = self.subscription
            if before.plan.trial:
                self.subscription = changed(before, status="suspended")
                return
            due = renewal(self.pricing, before)
            assert due.begun.period_started_at == before.period_ends_at
            assert due.begun.status == "renewing" and due.begun.scheduled is None and due.begun.paid == Charge()
            assert not due.begun.plan.trial and due.begun.currency == before.currency
            if before.scheduled is not None:
                assert (due.begun.plan, due.begun.concurrent_sessions) == (
                    before.scheduled.plan,
                    before.scheduled.concurrent_sessions,
                )
                assert due.begun.promo_codes == () and due.voided == before.promo_codes
            else:
                assert due.begun.plan.id == before.plan.id
                assert due.begun.concurrent_sessions == before.concurrent_sessions
                assert due.begun.promo_codes == before.promo_codes and due.voided == ()
            self.period_is_due(due, declined)

    def period_is_due(self, due: Renewal, declined: bool) -> None:
        begun = due.begun
        self.invoice(due.lines, due.charge.total, begun.currency)
        if declined and due.charge.total:
            self.subscription = changed(begun, status="overdue")
            return
        self.subscription = changed(begun, status="active", paid=due.charge)
        listed = price(begun.plan, begun.concurrent_sessions)
        assert due.charge.total == listed or begun.promo_codes
        self.start_anew(begun.period_started_at, begun.plan, listed, due.charge.total)

    @precondition(lambda self: self.subscription.status == "overdue")
    @rule(declined=st.booleans())
    def try_again(self, declined: bool) -> None:
        self.period_is_due(owed(self.pricing, self.subscription), declined)
        self.catch_up(declined)

    @precondition(lambda self: self.subscription.status == "overdue")
    @rule()
    def suspend(self) -> None:
        self.subscription = changed(self.subscription, status="suspended")
        assert self.subscription.seats == 0

    # ---- what holds

    def invoice(self, lines: tuple[Line, ...], due: int, currency: str) -> None:
        assert sum(line.amount for line in lines) == due, "the lines are not what is charged"
        assert due >= 0, "the account is paid for what it does"
        assert {line.currency for line in lines} <= {currency}
        assert len({line.kind for line in lines}) == len(lines)

    @invariant()
    def pays_no_more_than_the_dearest_it_had(self) -> None:
        assert 0 <= self.charged <= self.most.sum() + self.rounded, (self.charged, float(self.most.sum()))

    @invariant()
    def pays_no_less_where_nothing_was_given(self) -> None:
        """Without promo codes every day costs what it costs: there is nothing to win by the order of changes."""
        if self.as_listed:
            assert self.charged >= self.most.sum() - self.rounded, (self.charged, float(self.most.sum()))

    @invariant()
    def what_counts_as_paid_is_no_more_than_the_dearest_of_the_period(self) -> None:
        """Nor is it less than nothing: so it can never become credit."""
        subscription = self.subscription
        if subscription.status != "active":
            return
        paid = subscription.paid
        assert 0 <= paid.plan <= self.dearest and 0 <= paid.concurrent_sessions <= self.dearest
        assert paid.total <= self.dearest
        if self.as_listed and not subscription.plan.trial:
            assert paid.total == self.dearest


def test_no_account_pays_less_than_nothing_or_more_than_the_dearest_plan_it_had() -> None:
    run_state_machine_as_test(
        Fairness,
        settings=settings(
            max_examples=500,
            stateful_step_count=30,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
