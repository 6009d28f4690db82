"""The bank of the test card: it remembers payments in the store, outside the process that asks for them, as a real one does."""

from __future__ import annotations

from typing import Any, Literal

from capacity.store import keys, scripts
from capacity.store.scripts import guarded

PAYMENT_MS = 7 * 24 * 3600 * 1000

Move = Literal["proceed", "confirm", "refuse", "cancel"]
Status = Literal["prepared", "paid", "declined", "awaiting", "canceled", "unknown"]


class CardBank:
    """Payments by reference. Everything raises Unavailable when the store cannot be used."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def prepare(self, reference: str, account: str, amount: int, currency: str, card: str) -> None:
        """Remember a payment; nothing is charged. `card`: good, declined or confirm."""
        await self._run(reference, "prepare", account, amount, currency, card)

    async def move(self, reference: str, move: Move) -> Status:
        """Do one thing with a payment, if it can be done, and return how it stands: however often, it is done once."""
        return await self._run(reference, move)  # type: ignore[return-value]

    async def account(self, reference: str) -> str | None:
        """Return whose payment it is."""
        found = await guarded(self._client.hget(keys.card_payment(reference), "account"))
        return None if found is None else found.decode()

    async def _run(self, reference: str, *arguments: str | int) -> str:
        done, *rest = arguments
        answer: bytes = await scripts.CARD.run(self._client, (keys.card_payment(reference),), [done, PAYMENT_MS, *rest])
        return answer.decode()
