"""What a payment gateway must do, and the simplest one.

A payment goes in two steps, so that it is never made twice whatever dies in between: `prepare` gives it a reference, and
nothing is charged; the desk writes the reference down; `proceed` charges what the reference stands for, once, however
often it is called. A reference that was never written down is never charged.

The desk may forget: a failover loses a second, a restored backup days. Then it prepares a renewal that was charged. A gateway
that remembers for longer returns the reference of that payment, so that nobody pays for a period twice; one that cannot say
whether there is such a payment raises GatewayUnavailable, and nothing is charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from capacity.domain.money import Money
from capacity.errors import ErrorCode, Refused


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be paid. `id` is the desk's, and the same however often it asks; `customer` and `payment_method` are the gateway's.

    `attended`: the payer is there and can be asked to confirm. `period_started_at`: when the period begins that a renewal
    pays, in ms, and None for a purchase; other tries at it have other ids (`tries_of`).
    """

    id: str
    account: str
    amount: Money
    attended: bool
    customer: str | None = None
    payment_method: str | None = None
    period_started_at: int | None = None


def tries_of(account: str, period_started_at: int) -> str:
    """Return what the ids of all tries at a renewal begin with; the number of the try follows."""
    return f"{account}/{period_started_at}/"


class Paid(msgspec.Struct, frozen=True):
    """The money is there, or recorded as due. Final."""


class Declined(msgspec.Struct, frozen=True):
    """Nothing was charged, and nothing will be. Final. `detail` is a sentence that the payer may read."""

    detail: str


class ActionRequired(msgspec.Struct, frozen=True):
    """The payer must confirm, at `url` if the gateway gave one."""

    url: str | None


class Processing(msgspec.Struct, frozen=True):
    """The gateway does not know yet."""


Outcome = Paid | Declined | ActionRequired | Processing


class GatewayUnavailable(Exception):
    """The gateway gave no answer, or none that can be used; whether something was done is not known. Ask again later."""


class Notification(msgspec.Struct, frozen=True):
    """What a gateway's webhook says: something happened to a payment of an account. None: nothing that concerns us."""

    id: str
    account: str | None


class Gateway(Protocol):
    """A payment gateway. Everything but `notification` may raise GatewayUnavailable."""

    kind: str

    async def prepare(self, payment: Payment) -> str:
        """Return a reference for the payment: of a renewal whose period was paid before, that of then. Nothing is charged."""

    async def proceed(self, reference: str, payment: Payment) -> Outcome:
        """Charge if that was not done yet, and return how it stands. However often: one charge at the most."""

    async def cancel(self, reference: str) -> Outcome:
        """Make sure that nothing will be charged: Declined. If it was charged already: Paid."""

    def notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Return what a webhook of the gateway says. Refused: `invalid_signature`, `malformed`, `not_found`."""


class InvoiceGateway:
    """Records what is due; the platform sends the invoices and minds who pays them."""

    kind = "invoice"

    async def prepare(self, payment: Payment) -> str:
        return payment.id

    async def proceed(self, reference: str, payment: Payment) -> Outcome:
        return Paid()

    async def cancel(self, reference: str) -> Outcome:
        return Declined("The invoice was withdrawn.")

    def notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        raise Refused(ErrorCode.NOT_FOUND, "Payments are recorded as invoices; no gateway has anything to say.")
