"""The desk's books: accounts, quotes, purchases and ledgers, as types. Every step of an account goes through `Books.commit`.

A change of the subscription raises the account's version and publishes its plan-changed event, in the step that makes it:
nobody can forget it. Whoever read an account that has changed since is told Overtaken, and reads again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import NamedTuple, NoReturn

import msgspec

from capacity.billing.account import SCHEMA, DeskAccount, Dunning, Purchase, Quote, due_at
from capacity.billing.ledger import Entry, EntryKind, KeptEntry, encode, kept
from capacity.domain.instants import at
from capacity.domain.plans import Plan
from capacity.errors import ErrorCode, Refused, Unavailable
from capacity.protocol import events, notices
from capacity.store.desk import DeskStore

SOURCE = "capacity-desk"
TRIES_MAX = 8
"""How often a step that was overtaken is tried anew."""
RELEASED = b"released"
"""What stands beside the event of an account that leaves the desk (`apply.lua`)."""
BY_DESK = "desk"
"""Who is named in the ledger for what nobody asked for."""


class _Head(msgspec.Struct, frozen=True):
    schema: int = SCHEMA


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_account = msgspec.json.Decoder(DeskAccount).decode
_decode_quote = msgspec.json.Decoder(Quote).decode
_decode_purchase = msgspec.json.Decoder(Purchase).decode


def _new_id() -> str:
    return f"{SOURCE}-{secrets.token_hex(12)}"


def _raised(account: DeskAccount, now: int) -> DeskAccount:
    # By the clock, so that no version comes again after the store lost some: the hubs would find it stale.
    return msgspec.structs.replace(account, version=max(account.version + 1, now))


class Overtaken(Exception):
    """Somebody else changed the account since it was read; nothing was written."""


class Opened(NamedTuple):
    """An account as it was read. No revision: the desk does not have it yet, and `account` is what it shall begin as."""

    revision: str
    account: DeskAccount


class Books:
    """The books of one process. Everything raises Unavailable when the store cannot be used."""

    def __init__(self, store: DeskStore, dunning: Dunning, clock: Callable[[], int], lease_ms: int) -> None:
        self.store = store
        self.dunning = dunning
        self.now_ms = clock
        self.lease_ms = lease_ms

    async def open(self, account: str) -> Opened | None:
        """Return the account, or None if the desk does not have it."""
        found = await self.store.account(account)
        if found is None:
            return None
        if _decode_head(found.state).schema > SCHEMA:  # before the rest, which may be what this release cannot read
            raise Unavailable("a later release wrote this account; it is left to processes of that release")
        return Opened(found.revision, _decode_account(found.state))

    async def last_version(self, account: str) -> int:
        """Return the last version that was given to an account that the desk does not have (any more); 0: none was."""
        known, entry = await self.store.known(account), await self.store.last_entry(account)
        of_hubs = 0 if known is None else max(known.desk_version, known.version if known.managed else 0)
        return max(of_hubs, 0 if entry is None else kept("", entry).version or 0)

    async def require(self, account: str) -> Opened:
        """Return the account. Refused: `account_not_managed`, `unknown_account`."""
        opened = await self.open(account)
        if opened is not None:
            return opened
        known = await self.store.known(account)
        if known is not None and not known.managed:
            raise Refused(ErrorCode.ACCOUNT_NOT_MANAGED)
        raise Refused(ErrorCode.UNKNOWN_ACCOUNT)  # also what the store lost of the desk's; a service puts it again

    async def require_no_payment(self, account: DeskAccount, by: str) -> None:
        """Return if nothing is being paid. Refused: `payment_pending`."""
        if account.payment is not None:
            await self.refuse(account.account, Refused(ErrorCode.PAYMENT_PENDING), by)

    async def refuse(self, account: str, refused: Refused, by: str) -> NoReturn:
        """Refuse, and say so in the ledger."""
        entry = self.entry("refused", by=by, code=str(refused.code), description=refused.detail)
        await self.store.note(account, encode(entry))
        raise refused

    async def commit(
        self,
        opened: Opened,
        after: DeskAccount,
        entries: Iterable[Entry] = (),
        *,
        purchase: Purchase | None = None,
        idempotency_key: str | None = None,
        notice: str | None = None,
        publish: bool = False,
    ) -> DeskAccount:
        """Write one step, and return the account as it is written. Raises Overtaken; then nothing was.

        `purchase` gets the version that the step makes, if it is completed by it. `notice` is the type of a notice.
        `publish`: also if the subscription stays as it is; its version stays as well, and is stale to who has it.
        """
        now = self.now_ms()
        written = list(entries)
        event = desk = b""
        changed = not opened.revision or after.subscription != opened.account.subscription
        if changed:
            after = _raised(after, now)
        if changed or publish:
            event, entry = self._event(after, now)
            desk = encode(after.subscription)
            written.append(entry)
        if purchase is not None and purchase.status == "completed":
            purchase = msgspec.structs.replace(purchase, version=after.version)
        committed = await self.store.commit(
            after.account,
            opened.revision,
            encode(after),
            due_at=due_at(after, self.dunning, now, self.lease_ms),
            ledger=[encode(entry) for entry in written],
            notices=[] if notice is None else [self._notice(notice, after, now)],
            event=event,
            desk=desk,
            purchase_key=idempotency_key,
            purchase=b"" if purchase is None else encode(purchase),
        )
        if not committed:
            raise Overtaken
        return after

    async def release(self, opened: Opened, entry: Entry) -> None:
        """Write that an account leaves the desk, and publish it as it is. Raises Overtaken; then nothing was written."""
        now = self.now_ms()
        account = _raised(opened.account, now)
        event, published = self._event(account, now)
        committed = await self.store.commit(
            account.account,
            opened.revision,
            b"",
            due_at=None,
            ledger=[encode(entry), encode(published)],
            event=event,
            desk=RELEASED,
        )
        if not committed:
            raise Overtaken

    def entry(self, kind: EntryKind, *, by: str = BY_DESK, **fields: object) -> Entry:
        """Return a ledger entry of now."""
        return Entry(at=at(self.now_ms()), kind=kind, by=by, **fields)  # type: ignore[arg-type]

    def change(self, kind: EntryKind, plan: Plan, sessions: int, *, by: str = BY_DESK, **fields: object) -> Entry:
        """Return a ledger entry of now that says which plan, with how many seats and sessions."""
        return self.entry(kind, by=by, plan=plan.id, seats=plan.seats, concurrent_sessions=sessions, **fields)

    async def ledger(self, account: str, *, after: str | None, count: int) -> list[KeptEntry]:
        """Return so many entries in order, from the first or behind `after`."""
        return [kept(*found) for found in await self.store.ledger(account, after=after, count=count)]

    async def purchase(self, account: str, idempotency_key: str) -> Purchase | None:
        """Return the purchase that came under a key."""
        found = await self.store.purchase(account, idempotency_key)
        return None if found is None else _decode_purchase(found)

    async def keep(self, account: str, quote: Quote) -> None:
        """Keep a quote."""
        await self.store.keep_quote(account, quote.id, encode(quote))

    async def quote(self, account: str, id: str) -> Quote | None:
        """Return a quote of the account; a stale one too, for a day."""
        found = await self.store.quote(account, id)
        return None if found is None else _decode_quote(found)

    def _event(self, account: DeskAccount, now: int) -> tuple[bytes, Entry]:
        subscription, id = account.subscription, _new_id()
        event = events.build(
            account.account,
            subscription.plan.id,
            subscription.seats,
            source=SOURCE,
            id=id,
            time_ms=now,
            concurrent_sessions=subscription.concurrent_sessions,
            version=account.version,
        )
        return event, self.entry("event", event=id, version=account.version)

    def _notice(self, kind: str, account: DeskAccount, now: int) -> bytes:
        subscription, until = account.subscription, self.dunning.seats_until(account)
        return notices.build(
            kind,
            account.account,
            source=SOURCE,
            id=_new_id(),
            time=at(now),
            plan=subscription.plan.id,
            status=subscription.status,
            seats_until=None if until is None or subscription.status == "suspended" else at(until),
        )
