"""Which PaymentIntent paid a period that the desk takes for unpaid: its store lost that, or is a restored backup. Pure.

Each try at a renewal has its id in the metadata of its PaymentIntent. One of the same account and period that succeeded, or
is processing, is the payment of that period, whichever try it was. A refund changes nothing about that: the payment has
succeeded all the same, and whoever gave the money back did not ask for a new charge. Over other money than is due now it is
neither taken for the payment, nor is anything charged, until somebody has looked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from capacity.billing.gateway import GatewayUnavailable, Paid, Processing, tries_of
from capacity.billing.stripe_outcomes import Intent, outcome

METADATA_ACCOUNT, METADATA_PAYMENT = "capacity_account", "capacity_payment"
PAGE_MAX = 100
"""The most that Stripe lists at once."""
EARLY_SECONDS = 24 * 3600
"""A renewal is made when its period begins, by a clock that may be wrong; it is looked for from so long before."""


class _Listed(Intent, frozen=True, kw_only=True):
    """What is read of a PaymentIntent in a list. `amount` in Stripe's units, `currency` in lower case."""

    amount: int
    currency: str
    metadata: dict[str, Any] | None = None


class IntentPage(msgspec.Struct, frozen=True):
    """A page of a list of PaymentIntents. Source: https://docs.stripe.com/api/payment_intents/list"""

    data: tuple[_Listed, ...]
    has_more: bool

    def __post_init__(self) -> None:
        if self.has_more and not self.data:
            raise ValueError("expected something on a page that others follow")

    def paid(self, account: str, period_started_at: int, amount: int, currency: str) -> str | None:
        """Return the id of the PaymentIntent that paid the period, or is about to; None if none of this page does.

        Raises GatewayUnavailable for one over other money, and for one whose status is not known.
        """
        tries, other = tries_of(account, period_started_at), None
        for intent in self.data:
            metadata = intent.metadata or {}
            if metadata.get(METADATA_ACCOUNT) != account or not str(metadata.get(METADATA_PAYMENT)).startswith(tries):
                continue
            if isinstance(outcome(intent), Paid | Processing):
                if (intent.amount, intent.currency) == (amount, currency):
                    return intent.id
                other = intent
        if other is not None:
            raise GatewayUnavailable(
                f"Stripe has a payment of this period over {other.amount} {other.currency}, {other.id}, and {amount} "
                f"{currency} are due: nothing is charged while its metadata has this {METADATA_PAYMENT}."
            )
        return None
