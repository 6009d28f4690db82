"""Takes a payment from its beginning to its end, one written step after the other, whoever does it and whoever died before.

    new ──prepare──▶ prepared ──proceed──▶ paid: the change is in force, or the period is
                          │  ▲                declined: nothing changed, or the period is owed
                          ▼  │
                        awaiting its owner; given up when its time is over

Between any two steps the process may die. What was written says what comes next, the gateway does nothing twice for one
reference, and the account is due again after a while: so another process, or this one after its restart, goes on.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import structlog

from capacity.billing.account import DeskAccount, PendingPayment
from capacity.billing.books import Books, Opened, Overtaken
from capacity.billing.gateway import (
    ActionRequired,
    Declined,
    Gateway,
    GatewayUnavailable,
    InvoiceGateway,
    Outcome,
    Paid,
    Processing,
)
from capacity.billing.ledger import Entry, EntryKind
from capacity.domain.instants import at
from capacity.domain.proposals import accept
from capacity.protocol import notices

STEPS_MAX = 20
"""More steps than any payment has, were it overtaken at every one."""
TOO_LATE = "The payment was not confirmed in time."
GIVEN_UP = "The payment was given up."
UNATTENDED = "The bank wants the payer to confirm the payment."

log = structlog.get_logger(__name__)


class Cashier:
    """The payments of one process. `outcomes` counts what became of them: paid, declined, awaiting, unavailable."""

    def __init__(self, books: Books, gateway: Gateway) -> None:
        self._books = books
        self._gateway = gateway
        self.outcomes: Counter[str] = Counter()

    async def settle(self, account: str) -> None:
        """Go on with the account's payment until it is decided, or waits for somebody else. Raises Unavailable."""
        for _ in range(STEPS_MAX):
            opened = await self._books.open(account)
            if opened is None or opened.account.payment is None:
                return
            try:
                if not await self._step(opened, opened.account.payment):
                    return
            except Overtaken:
                continue
            except GatewayUnavailable as error:
                self.outcomes["unavailable"] += 1
                kind, reason = self._gateway.kind, str(error)
                if self._books.now_ms() < opened.account.payment.expires_at:
                    log.warning("gateway_unavailable", account=account, gateway=kind, reason=reason)
                else:  # it holds its account up until somebody sees to it
                    log.error("payment_undecided", account=account, gateway=kind, reason=reason)
                return

    async def _step(self, opened: Opened, payment: PendingPayment) -> bool:
        """Do the next step; False if there is nothing more to do now."""
        if payment.amount.amount == 0:
            await self.paid(opened, payment)
            return False
        if payment.gateway not in (None, self._gateway.kind):
            raise GatewayUnavailable(f"the payment was begun at {payment.gateway}, which alone knows what became of it")
        late = self._books.now_ms() >= payment.expires_at
        if payment.reference is None:
            if late:
                await self._declined(opened, payment, Declined(TOO_LATE))
                return False
            reference = await self._gateway.prepare(opened.account.to_pay())
            await self._write(opened, msgspec.structs.replace(payment, reference=reference, gateway=self._gateway.kind))
            return True
        if late:
            outcome = await self._gateway.cancel(payment.reference)
            if isinstance(outcome, Declined):
                outcome = Declined(TOO_LATE)
        else:
            outcome = await self._gateway.proceed(payment.reference, opened.account.to_pay())
        await self._decide(opened, payment, outcome)
        return False

    async def give_up(self, opened: Opened) -> bool:
        """Cancel a purchase's payment that is under way; False if that cannot be done, or not be known.

        What was charged already counts. Raises Overtaken.
        """
        payment = opened.account.payment
        if payment is None or payment.proposal is None:
            return False
        if payment.reference is None:  # one that is not written down is never charged
            await self._declined(opened, payment, Declined(GIVEN_UP))
            return True
        if payment.gateway not in (None, self._gateway.kind):
            return False
        try:
            outcome = await self._gateway.cancel(payment.reference)
        except GatewayUnavailable:
            return False
        await self._decide(opened, payment, Declined(GIVEN_UP) if isinstance(outcome, Declined) else outcome)
        return isinstance(outcome, Declined | Paid)

    async def _decide(self, opened: Opened, payment: PendingPayment, outcome: Outcome) -> None:
        match outcome:
            case Paid():
                await self.paid(opened, payment)
            case Declined():
                await self._declined(opened, payment, outcome)
            case ActionRequired() if payment.proposal is None:  # nobody is there who could confirm a renewal
                cancelled = await self._gateway.cancel(payment.reference or "")
                if isinstance(cancelled, ActionRequired):
                    raise GatewayUnavailable("the gateway did not cancel a payment that waits for nobody")
                await self._decide(
                    opened, payment, Declined(UNATTENDED) if isinstance(cancelled, Declined) else cancelled
                )
            case ActionRequired(url):
                if payment.waits_for != "owner":
                    self.outcomes["awaiting"] += 1
                await self._write(opened, msgspec.structs.replace(payment, waits_for="owner", action_url=url))
            case Processing():
                await self._write(opened, msgspec.structs.replace(payment, waits_for="gateway", action_url=None))

    async def _write(self, opened: Opened, payment: PendingPayment) -> None:
        await self._books.commit(
            opened,
            msgspec.structs.replace(opened.account, payment=payment),
            purchase=payment.purchase("payment_action_required" if payment.waits_for == "owner" else "processing"),
            idempotency_key=payment.idempotency_key,
        )

    async def paid(self, opened: Opened, payment: PendingPayment) -> None:
        """Write that a payment is made, and what it paid for. Also for one of nothing, which no gateway hears of."""
        books, account = self._books, opened.account
        entries = [*self._invoice(payment)]
        if payment.proposal is not None:
            subscription = accept(account.subscription, payment.proposal)
            change, effective_at = payment.proposal, at(payment.proposal.effective_at)
            kind: EntryKind = "scheduled" if change.kind == "downgrade" else "change"
            if change.voids_promo_codes and account.subscription.promo_codes:
                entries.append(books.entry("promo_codes_voided", promo_codes=account.subscription.promo_codes))
            entries.append(
                books.change(kind, change.plan, change.concurrent_sessions, by=payment.by, effective_at=effective_at)
            )
        else:
            assert payment.renewal is not None
            subscription = msgspec.structs.replace(account.subscription, status="active", paid=payment.renewal.charge)
            entries.append(
                books.change(
                    "renewed",
                    subscription.plan,
                    subscription.concurrent_sessions,
                    effective_at=at(subscription.period_started_at),
                    ends_at=at(subscription.period_ends_at),
                )
            )
        after = msgspec.structs.replace(account, subscription=subscription, payment=None)
        # A payment method that was charged is good for the next time.
        if payment.payment_method is not None and payment.amount.amount:
            after = msgspec.structs.replace(after, payment_method=payment.payment_method)
        if subscription.status == "active":
            after = msgspec.structs.replace(after, declined_at=None, declined=0, next_try_at=None)
        await books.commit(
            opened,
            after,
            entries,
            purchase=payment.purchase("completed"),
            idempotency_key=payment.idempotency_key,
        )
        self.outcomes["paid"] += 1
        log.info("payment_made", account=account.account, invoice=payment.id, amount=str(payment.amount))

    async def _declined(self, opened: Opened, payment: PendingPayment, outcome: Declined) -> None:
        books, account = self._books, opened.account
        entries = [
            books.entry(
                "declined",
                by=payment.by,
                invoice=payment.id,
                description=outcome.detail,
                amount=payment.amount.amount,
                currency=payment.amount.currency,
            )
        ]
        after = msgspec.structs.replace(account, payment=None)
        if payment.proposal is not None:
            await books.commit(
                opened,
                after,
                entries,
                purchase=payment.purchase("payment_declined", outcome.detail),
                idempotency_key=payment.idempotency_key,
            )
            self._count_declined(payment, account)
            return
        now = books.now_ms()
        declined_at = now if account.declined_at is None else account.declined_at
        after = msgspec.structs.replace(
            after,
            subscription=msgspec.structs.replace(account.subscription, status="overdue"),
            declined_at=declined_at,
            declined=account.declined + 1,
            next_try_at=books.dunning.next_try_at(declined_at, now),
        )
        seats_until = at(declined_at + books.dunning.grace_ms)
        entries.append(books.entry("overdue", plan=account.subscription.plan.id, ends_at=seats_until))
        await books.commit(opened, after, entries, notice=notices.PAYMENT_DECLINED)
        self._count_declined(payment, after)

    def _count_declined(self, payment: PendingPayment, account: DeskAccount) -> None:
        self.outcomes["declined"] += 1
        log.warning("payment_declined", account=account.account, invoice=payment.id, tries=account.declined)

    def _invoice(self, payment: PendingPayment) -> list[Entry]:
        """The ledger's entries of an invoice: its lines, and their sum as paid by the gateway."""
        if not payment.lines:
            return []
        books, by = self._books, payment.by
        return [
            *(
                books.entry(
                    "line",
                    by=by,
                    invoice=payment.id,
                    line=line.kind,
                    description=line.description,
                    amount=line.amount,
                    currency=line.currency,
                )
                for line in payment.lines
            ),
            books.entry(
                "invoiced" if self._gateway.kind == InvoiceGateway.kind else "payment",
                by=by,
                invoice=payment.id,
                description=self._gateway.kind if payment.amount.amount else "nothing due",
                amount=payment.amount.amount,
                currency=payment.amount.currency,
            ),
        ]
