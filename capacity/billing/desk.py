"""The desk's counter: what an account, or support for it, can ask for. Start reading at `Desk.purchase`.

    create (PUT) ─▶ quote ─▶ purchase ─▶ cashier: payment ─▶ the change, its ledger entries and its event, in one step

What the rules refuse is Refused, changes nothing, and stands in the ledger.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

import msgspec
import structlog

from capacity.billing.account import PAYMENT_MS, DeskAccount, Dunning, PendingPayment, Purchase, Quote
from capacity.billing.books import TRIES_MAX, Books, Opened, Overtaken
from capacity.billing.cashier import Cashier
from capacity.billing.clerk import Clerk
from capacity.billing.gateway import Gateway
from capacity.billing.ledger import KeptEntry
from capacity.billing.register import Register, plan_of
from capacity.billing.taxes import Tax, TaxFailed, taxed
from capacity.domain.money import Money
from capacity.domain.plans import Catalogue
from capacity.domain.proposals import Proposal, propose
from capacity.domain.subscription import Pricing, next_charge
from capacity.errors import ErrorCode, Refused, Unavailable
from capacity.store.desk import DeskStore

QUOTE_MS = 15 * 60 * 1000
LEASE_MS = 15_000
"""How long whoever began a payment has to finish it before another process does."""
ASKED_MAX = 600
"""How many requests that change or refuse something an account may make in a minute."""
CLOCK_ERROR_MAX_MS = 60_000
IN_FORCE_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.01

log = structlog.get_logger(__name__)

_OTHER_PAYMENT = "Another payment of this account is under way; wait for it, then ask for a new quote."


class Desk:
    """The billing desk of one process. Everything raises Unavailable when the store cannot be used."""

    def __init__(
        self,
        client: object,
        pricing: Pricing,
        gateway: Gateway,
        dunning: Dunning,
        *,
        tax: Tax | None = None,
        clock: Callable[[], int] | None = None,
        lease_ms: int = LEASE_MS,
    ) -> None:
        """`clock` gives ms since the epoch; None: the process's, which must agree with the store's for renewals to be made."""
        self.pricing = pricing
        self.gateway = gateway
        self.store = DeskStore(client)
        self.books = Books(self.store, dunning, clock or _clock, lease_ms)
        self.register = Register(self.books, pricing)
        self.cashier = Cashier(self.books, gateway)
        clock_error_max_ms = CLOCK_ERROR_MAX_MS if clock is None else None
        self.clerk = Clerk(self.books, self.cashier, pricing, tax, clock_error_max_ms=clock_error_max_ms)
        self._tax = tax

    @property
    def catalogue(self) -> Catalogue:
        """What there is to buy."""
        return self.pricing.catalogue

    async def account(self, account: str) -> DeskAccount | None:
        """Return the account, or None if it is not the desk's."""
        opened = await self.books.open(account)
        return None if opened is None else opened.account

    # ---- quotes and purchases

    async def quote(self, account: str, plan_id: str | None, sessions: int | None, by: str) -> Quote:
        """Return what a change would mean and cost, pinned for 15 minutes. None: as it is.

        Refused: `too_many_requests`, `unknown_account`, `account_not_managed`, `unknown_plan`, and as `proposals.propose`.
        """
        await self._count(account)
        opened = await self.books.require(account)
        subscription, now = opened.account.subscription, self.books.now_ms()
        try:
            # Its own plan is known to the account, whatever became of it in the catalogue.
            plan = None if plan_id in (None, subscription.plan.id) else plan_of(self.catalogue, plan_id or "")
            proposal = propose(self.pricing, subscription, plan, sessions, now)
        except Refused as refused:
            await self.books.refuse(account, refused, by)
        quote = Quote(
            id=secrets.token_urlsafe(15),
            version=opened.account.version,
            made_at=now,
            expires_at=now + QUOTE_MS,
            proposal=self._taxed(account, proposal),
        )
        await self.books.keep(account, quote)
        return quote

    async def purchase(
        self, account: str, quote_id: str, idempotency_key: str, payment_method: str | None, by: str
    ) -> Purchase:
        """Buy what a quote says, once for a key: the same key gives the same purchase, as it stands by now.

        Refused: `too_many_requests`, `unknown_account`, `account_not_managed`, `unknown_quote`, `quote_stale`,
        `idempotency_key_reused`.
        """
        await self._count(account)
        for _ in range(TRIES_MAX):
            # The account first. What it says of a payment under this key, the purchase says too by the time it is read; and a
            # purchase that is not there yet is new at this revision.
            opened = await self.books.require(account)
            known = await self.books.purchase(account, idempotency_key)
            if known is not None:
                return await self._again(account, known, quote_id, idempotency_key, payment_method)
            quote = await self.books.quote(account, quote_id)
            if quote is None:
                await self.books.refuse(account, Refused(ErrorCode.UNKNOWN_QUOTE), by)
            if opened.account.payment is not None:
                await self.books.refuse(account, Refused(ErrorCode.QUOTE_STALE, _OTHER_PAYMENT), by)
            if (reason := quote.stale(opened.account, self.books.now_ms())) is not None:
                await self.books.refuse(account, Refused(ErrorCode.QUOTE_STALE, reason), by)
            try:
                await self._begin_purchase(opened, quote, idempotency_key, payment_method, by)
            except Overtaken:
                continue
            await self.cashier.settle(account)
            bought = await self.books.purchase(account, idempotency_key)
            if bought is None:
                raise Unavailable("the store lost the purchase")
            return bought
        raise Unavailable("the account changes too fast")

    async def _begin_purchase(
        self, opened: Opened, quote: Quote, idempotency_key: str, payment_method: str | None, by: str
    ) -> None:
        """Write down that the quote is being bought, or that it is, if it costs nothing now."""
        payment = PendingPayment(
            id=f"{opened.account.account}/{secrets.token_hex(12)}",
            lines=quote.proposal.lines,
            amount=quote.proposal.due_now,
            expires_at=self.books.now_ms() + PAYMENT_MS,
            proposal=quote.proposal,
            idempotency_key=idempotency_key,
            payment_method=payment_method,
            by=by,
            quote=quote.id,
        )
        if payment.amount.amount == 0:
            await self.cashier.paid(opened, payment)
            return
        await self.books.commit(
            opened,
            msgspec.structs.replace(opened.account, payment=payment),
            purchase=payment.purchase("processing"),
            idempotency_key=idempotency_key,
        )

    async def _again(
        self, account: str, known: Purchase, quote_id: str, idempotency_key: str, payment_method: str | None
    ) -> Purchase:
        """Answer a key that came before; a purchase that its process left behind is gone on with."""
        if (known.quote, known.payment_method) != (quote_id, payment_method):
            raise Refused(ErrorCode.IDEMPOTENCY_KEY_REUSED)
        if known.status in ("processing", "payment_action_required"):
            await self.cashier.settle(account)
            known = await self.books.purchase(account, idempotency_key) or known
        return known

    async def take_back(self, account: str, by: str) -> DeskAccount:
        """Take the scheduled change back; without one nothing happens. Refused: as `quote`, and `payment_pending`."""
        await self._count(account)
        for _ in range(TRIES_MAX):
            opened = await self.books.require(account)
            subscription = opened.account.subscription
            scheduled = subscription.scheduled
            if scheduled is None:
                return opened.account
            await self.books.require_no_payment(opened.account, by)
            after = msgspec.structs.replace(
                opened.account, subscription=msgspec.structs.replace(subscription, scheduled=None)
            )
            entry = self.books.change("taken_back", scheduled.plan, scheduled.concurrent_sessions, by=by)
            try:
                return await self.books.commit(opened, after, [entry])
            except Overtaken:
                continue
        raise Unavailable("the account changes too fast")

    async def give_up_payment(self, account: str, by: str) -> DeskAccount:
        """Give up a purchase's payment that is under way; without one nothing happens. Returns the account.

        What the gateway has charged already counts. Refused: as `quote`; `payment_pending` while only the gateway knows
        what becomes of it, or gives no answer.
        """
        await self._count(account)
        given_up: str | None = None
        for _ in range(TRIES_MAX):
            opened = await self.books.require(account)
            payment = opened.account.payment
            if payment is None or (given_up is not None and payment.id != given_up):
                return opened.account  # another one that was begun meanwhile is not meant
            given_up = payment.id
            try:
                if not await self.cashier.give_up(opened):
                    await self.books.refuse(account, Refused(ErrorCode.PAYMENT_PENDING), by)
            except Overtaken:
                continue
        raise Unavailable("the account changes too fast")

    async def ledger(self, account: str, *, after: str | None, count: int) -> list[KeptEntry]:
        """Return so many entries of the account's ledger, in order. Refused: `unknown_account`, `account_not_managed`."""
        await self.books.require(account)
        return await self.books.ledger(account, after=after, count=count)

    async def in_force(self, account: str, version: int | None) -> bool:
        """Wait until every connection that is opened from now on finds the account at this version; False after 2 s.

        None: until it is not the desk's any more.
        """
        deadline = time.monotonic() + IN_FORCE_SECONDS
        while time.monotonic() < deadline:
            known = await self.store.known(account)
            if version is None and known is not None and not known.managed:
                return True
            if version is not None and known is not None and known.managed and known.version >= version:
                return True
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        return False

    async def notified(self, headers: dict[str, str], body: bytes) -> None:
        """Take a webhook of the gateway: verified, once, and only as a hint to ask the gateway. Refused: as it says."""
        notification = self.gateway.notification(headers, body)
        if notification.account is None or await self.store.dealt_with(self.gateway.kind, notification.id):
            return
        await self.cashier.settle(notification.account)
        await self.store.deal_with(self.gateway.kind, notification.id)

    def next_charge(self, account: DeskAccount) -> Money | None:
        """Return what the next period costs as things stand."""
        return next_charge(self.pricing, account.subscription)

    async def _count(self, account: str) -> None:
        """Refuse what comes too often: a quote is kept for a day, and a refusal for ever."""
        if await self.store.count(account) > ASKED_MAX:
            raise Refused(ErrorCode.TOO_MANY_REQUESTS)

    def _taxed(self, account: str, proposal: Proposal) -> Proposal:
        try:
            lines = taxed(self._tax, account, proposal.lines, proposal.plan.price.currency)
        except TaxFailed as failed:
            log.error("tax_failed", account=account, error=str(failed))
            raise Unavailable(str(failed)) from None
        return msgspec.structs.replace(proposal, lines=lines)


def _clock() -> int:
    return time.time_ns() // 1_000_000
