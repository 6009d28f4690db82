"""The test card: a gateway for demos and trials of one's own, which pays nothing. A payment method is a behaviour.

| `payment_method` | what its bank does |
|---|---|
| none, `good` | pays |
| `declined` | declines |
| `confirm` | wants its owner to confirm on the page `/card` |

Its bank is in the desk's store, and forgets what the desk forgets: after a loss neither knows of a payment.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from capacity.billing.gateway import (
    ActionRequired,
    Declined,
    GatewayUnavailable,
    Notification,
    Outcome,
    Paid,
    Payment,
    Processing,
)
from capacity.errors import ErrorCode, Refused, Unavailable
from capacity.store.card_bank import CardBank, Move

CARDS = ("good", "declined", "confirm")
CONFIRM_PAGE = "/card"


class CardGateway:
    """Payments by the test card."""

    kind = "test"

    def __init__(self, bank: CardBank) -> None:
        self._bank = bank

    async def prepare(self, payment: Payment) -> str:
        card = payment.payment_method or "good"
        reference = secrets.token_urlsafe(18)
        try:
            await self._bank.prepare(
                reference,
                payment.account,
                payment.amount.amount,
                payment.amount.currency,
                card if card in CARDS else "declined",
            )
        except Unavailable as error:
            raise GatewayUnavailable(str(error)) from None
        return reference

    async def proceed(self, reference: str, payment: Payment) -> Outcome:
        return await self._move(reference, "proceed")

    async def cancel(self, reference: str) -> Outcome:
        return await self._move(reference, "cancel")

    async def confirm(self, reference: str, *, confirmed: bool) -> str:
        """Say what the card's owner decided; returns whose payment it is. Twice the same is once.

        Refused: `not_found`, also when something else has become of it.
        """
        account = await self._bank.account(reference)
        decided = "paid" if confirmed else "declined"
        if account is None or await self._bank.move(reference, "confirm" if confirmed else "refuse") != decided:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such payment that waits for you.")
        return account

    def notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        raise Refused(ErrorCode.NOT_FOUND, "The test card's bank sends no notifications.")

    async def _move(self, reference: str, move: Move) -> Outcome:
        try:
            status = await self._bank.move(reference, move)
        except Unavailable as error:
            raise GatewayUnavailable(str(error)) from None
        match status:
            case "paid":
                return Paid()
            case "awaiting":
                return ActionRequired(f"{CONFIRM_PAGE}#{reference}")
            case "prepared":
                return Processing()
            case "declined":
                return Declined("The card was declined.")
            case "canceled":
                return Declined("The payment was canceled.")
            case "unknown":
                return Declined("The bank does not know this payment.")
