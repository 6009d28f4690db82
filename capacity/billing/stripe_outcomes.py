"""What Stripe's answers mean for a payment. Pure.

    status of the PaymentIntent      outcome
    requires_confirmation            None: to be confirmed
    requires_payment_method          Declined, with what went wrong if there was an attempt
    requires_action                  ActionRequired, at the bank's page if Stripe gave one
    processing                       Processing
    succeeded                        Paid
    canceled                         Declined

Source: https://docs.stripe.com/payments/paymentintents/lifecycle, https://docs.stripe.com/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from capacity.billing.gateway import ActionRequired, Declined, GatewayUnavailable, Outcome, Paid, Processing

NO_METHOD = "There is no payment method to charge; add one, then try again."
CANCELED = "The payment was canceled."
FAILED = "The payment failed; try another payment method."
SENTENCES = {
    "amount_too_small": "The amount is below the least that Stripe charges in this currency.",
    "amount_too_large": "The amount is above the most that Stripe charges in this currency.",
    "authentication_required": "The bank wants the payer to confirm the payment.",
    "payment_intent_authentication_failure": "The bank did not confirm that the payer agreed to the payment.",
    "resource_missing": "Stripe knows no such customer or payment method.",
}
"""Code of an error → what the payer is told. Stripe writes its messages for payers in card errors alone."""
_CARD_ERROR = "card_error"


class _Error(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None
    type: str | None = None
    """None in what localstripe answers, where every error is one of a card."""


class _Redirect(msgspec.Struct, frozen=True):
    url: str | None = None


class _NextAction(msgspec.Struct, frozen=True):
    redirect_to_url: _Redirect | None = None


class Intent(msgspec.Struct, frozen=True):
    """What is read of a PaymentIntent."""

    id: str
    status: str
    last_payment_error: _Error | None = None
    next_action: _NextAction | None = None


class Method(msgspec.Struct, frozen=True):
    """What is read of a PaymentMethod. `customer`: who it is saved for."""

    type: str | None = None
    customer: str | None = None


class _InvoiceSettings(msgspec.Struct, frozen=True):
    default_payment_method: str | None = None


class Customer(msgspec.Struct, frozen=True):
    """What is read of a Customer; of a deleted one Stripe tells no settings."""

    invoice_settings: _InvoiceSettings | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A request that Stripe answered with an error that is about what was asked for. Nothing was done.

    `conflict`: another request for the same thing is under way, or came first.
    """

    status: int
    code: str | None = None
    param: str | None = None
    message: str | None = None
    conflict: bool = False

    @classmethod
    def of(cls, status: int, body: object, *, conflict: bool) -> Refusal:
        """Return what the JSON body of an error says, whatever it is."""
        error = body.get("error") if isinstance(body, Mapping) else None
        fields: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
        texts = {name: value for name in ("code", "param", "message") if isinstance(value := fields.get(name), str)}
        if status == 404:
            texts.setdefault("code", "resource_missing")  # localstripe leaves it out
        return cls(status=status, conflict=conflict, **texts)

    def declined(self) -> Declined:
        """Return the sentence for the payer. Only of a card error (402) is it Stripe's: others talk to developers.

        Raises GatewayUnavailable for a conflict, which says nothing about the payment.
        """
        if self.conflict:
            raise GatewayUnavailable("Stripe is at work on the same payment.")
        if self.code in SENTENCES:
            return Declined(SENTENCES[self.code])
        if self.status == 402 and self.message:
            return Declined(self.message)
        return Declined(f"Stripe does not take this payment{f' ({self.code})' if self.code else ''}.")

    def unknown(self, names: Mapping[str, object]) -> bool:
        """Whether the server does not know one of these parameters.

        Stripe says `parameter_unknown`; localstripe knows few parameters and says `Unexpected NAME, NAME`.
        """
        if self.code == "parameter_unknown":
            return self.param in names
        kind, _, named = (self.message or "").partition(" ")
        return kind == "Unexpected" and not names.keys().isdisjoint(named.split(", "))


def outcome(intent: Intent) -> Outcome | None:
    """Return how the payment stands; None if it is to be confirmed. Raises GatewayUnavailable for a status unheard of."""
    match intent.status:
        case "requires_confirmation":
            return None
        case "requires_payment_method":
            return Declined(NO_METHOD if intent.last_payment_error is None else _failure(intent.last_payment_error))
        case "requires_action":
            redirect = None if intent.next_action is None else intent.next_action.redirect_to_url
            return ActionRequired(None if redirect is None else redirect.url)
        case "processing":
            return Processing()
        case "succeeded":
            return Paid()
        case "canceled":
            return Declined(CANCELED)
        case status:
            raise GatewayUnavailable(f"Stripe has the payment {intent.id} in a status that is not known: {status!a}.")


def _failure(error: _Error) -> str:
    if error.code in SENTENCES:
        return SENTENCES[error.code]
    return error.message if error.message and error.type in (None, _CARD_ERROR) else FAILED
