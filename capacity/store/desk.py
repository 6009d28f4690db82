"""The billing desk's part of the store. It keeps bytes; what they mean is the desk's (`capacity.billing`).

An account changes by compare-and-set: who commits says which revision was read, and nothing is written if it is another
by now. What belongs to a step, its ledger entries, its purchase, its plan-changed event, is written in the same script.
Everything raises Unavailable when the store cannot be used.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from capacity.store import keys, scripts
from capacity.store.scripts import guarded

PURCHASE_MS = 30 * 24 * 3600 * 1000
QUOTE_MS = 24 * 3600 * 1000
ASKED_MS = 60_000
PAYMENT_EVENT_MS = 7 * 24 * 3600 * 1000


class Kept(NamedTuple):
    """An account as it stands in the store."""

    revision: str
    state: bytes


class Entry(NamedTuple):
    """One entry of a ledger: its id, which grows, and its JSON."""

    id: str
    entry: bytes


class Known(NamedTuple):
    """An account as the hubs have it. `managed`: by the desk, and not by events; `version` 0: none was ever given."""

    plan: str
    seats: int
    concurrent_sessions: int
    version: int
    managed: bool
    desk_version: int
    """Of the desk's last event that they applied; 0: there was none."""


class DeskStore:
    """The desk's keys, by one client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def account(self, account: str) -> Kept | None:
        """Return the account, or None if the desk does not have it."""
        revision, state = await guarded(self._client.hmget(keys.desk_account(account), "revision", "state"))
        return None if state is None else Kept(revision.decode(), state)

    async def known(self, account: str) -> Known | None:
        """Return the account as the hubs have it, or None if they never heard of it."""
        plan, seats, sessions, version, source, desk_version = await guarded(
            self._client.hmget(
                keys.account_key(account), "plan", "seats", "sessions", "version", "source", "desk_version"
            )
        )
        if plan is None:
            return None
        return Known(
            plan.decode(), int(seats), int(sessions), int(version or 0), source == b"desk", int(desk_version or 0)
        )

    async def commit(
        self,
        account: str,
        revision: str,
        state: bytes,
        *,
        due_at: int | None,
        ledger: Sequence[bytes] = (),
        notices: Sequence[bytes] = (),
        event: bytes = b"",
        desk: bytes = b"",
        purchase_key: str | None = None,
        purchase: bytes = b"",
    ) -> bool:
        """Write one step of an account, read at `revision` ('' for one that is new); False if somebody else was faster.

        Without a `state` the account leaves the desk. `due_at`: ms, None for never. `event` is the plan-changed event to
        publish, `desk` what goes with it for estimates of a price.
        """
        committed = await scripts.COMMIT.run(
            self._client,
            (
                keys.desk_account(account),
                keys.ledger(account),
                keys.DUE,
                keys.PLAN_CHANGES,
                keys.NOTICES,
                keys.purchase(account, purchase_key or ""),
            ),
            [
                account,
                revision,
                secrets.token_hex(8),
                state,
                "" if due_at is None else due_at,
                purchase,
                PURCHASE_MS,
                event,
                desk,
                len(ledger),
                *ledger,
                *notices,
            ],
        )
        return bool(committed)

    async def note(self, account: str, entry: bytes) -> None:
        """Write a ledger entry alone, if the desk has the account."""
        await scripts.NOTE.run(self._client, (keys.desk_account(account), keys.ledger(account)), [entry])

    async def ledger(self, account: str, *, after: str | None, count: int) -> list[Entry]:
        """Return so many entries in order, from the first, or behind the one with the id `after`."""
        start = "-" if after is None else f"({after}"
        found = await guarded(self._client.xrange(keys.ledger(account), min=start, count=count))
        return [Entry(id.decode(), fields[b"entry"]) for id, fields in found]

    async def last_entry(self, account: str) -> bytes | None:
        """Return the ledger's last entry: for an account that left the desk, the event by which it did."""
        found = await guarded(self._client.xrevrange(keys.ledger(account), count=1))
        return found[0][1][b"entry"] if found else None

    async def purchase(self, account: str, idempotency_key: str) -> bytes | None:
        """Return the purchase that came under a key."""
        return await guarded(self._client.get(keys.purchase(account, idempotency_key)))  # type: ignore[no-any-return]

    async def count(self, account: str) -> int:
        """Count a request for the account; returns how many there were within a minute of the first."""
        return int(await scripts.COUNT.run(self._client, (keys.asked(account),), [ASKED_MS]))

    async def keep_quote(self, account: str, id: str, quote: bytes) -> None:
        """Keep a quote for longer than it is good, so that one that is too old is known as such."""
        await guarded(self._client.set(keys.quote(account, id), quote, px=QUOTE_MS))

    async def quote(self, account: str, id: str) -> bytes | None:
        """Return a quote of the account."""
        return await guarded(self._client.get(keys.quote(account, id)))  # type: ignore[no-any-return]

    async def take_due(self, now_ms: int, until_ms: int, count: int) -> list[str]:
        """Take accounts that are due; nobody else is given them before `until_ms`."""
        found = await scripts.TAKE_DUE.run(self._client, (keys.DUE,), [now_ms, until_ms, count])
        return [account.decode() for account in found]

    async def now_ms(self) -> int:
        """Return the clock of the store's node that has the desk."""
        return int(await scripts.TIME.run(self._client, (keys.DUE,), []))

    async def dealt_with(self, gateway: str, event_id: str) -> bool:
        """Whether a gateway's notification was dealt with before."""
        return bool(await guarded(self._client.exists(keys.payment_event(gateway, event_id))))

    async def deal_with(self, gateway: str, event_id: str) -> None:
        """Remember that a gateway's notification was dealt with."""
        await guarded(self._client.set(keys.payment_event(gateway, event_id), b"", px=PAYMENT_EVENT_MS))
