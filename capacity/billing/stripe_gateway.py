"""Payments by Stripe: one PaymentIntent for each payment, made unconfirmed, confirmed once, and withdrawn when declined.

    prepare   GET  /v1/payment_intents               a renewal that the desk forgot? else
              POST /v1/payment_intents               nothing is charged
    proceed   GET  /v1/payment_intents/ID            requires_confirmation? then
              POST /v1/payment_intents/ID/confirm    the only request that charges
    cancel    POST /v1/payment_intents/ID/cancel

A PaymentIntent succeeds at the most once, whoever confirms it how often: that is why a payment is charged once. The
Idempotency-Keys beside it make a repeated request get the first one's answer, for a day.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import msgspec
import structlog

from capacity.billing.gateway import Declined, GatewayUnavailable, Notification, Outcome, Paid, Payment, Processing
from capacity.billing.stripe_amounts import stripe_amount
from capacity.billing.stripe_outcomes import CANCELED, NO_METHOD, Customer, Intent, Method, Refusal, outcome
from capacity.billing.stripe_periods import EARLY_SECONDS, METADATA_ACCOUNT, METADATA_PAYMENT, PAGE_MAX, IntentPage
from capacity.domain.ids import is_account
from capacity.errors import ErrorCode, Refused, SettingError

if TYPE_CHECKING:
    from stripe import StripeError

TIMEOUT_SECONDS = 5.0
"""For one call of the gateway, whatever it asks of Stripe: the cashier makes two in a row within the desk's lease of 15 s."""
REQUESTS_MAX = 10
"""Requests at once; the rest wait within their time. These threads are none of those that others wait for."""
SIGNATURE_HEADER = "stripe-signature"
TOLERANCE_SECONDS = 300
DECLINED = "declined: "
"""Begins the reference of a payment that Stripe would not take; its sentence follows, and nothing is there to be charged."""
ACCOUNT_CODES = {
    "account_invalid",
    "api_key_expired",
    "livemode_mismatch",
    "secret_key_required",
    "testmode_charges_only",
}
"""Codes of refusals that are about the Stripe account or its key, not about what was asked for."""

_T = TypeVar("_T")
_secret_key = re.compile(r"(sk|rk)_[A-Za-z0-9_]+").fullmatch

log = structlog.get_logger(__name__)


class StripeGateway:
    """The payments of one process. Its `repr` shows no secret, and neither does anything that it logs or raises.

    - `api_key`: a secret key (`sk_…`), or a restricted one (`rk_…`) that may read customers and payment methods, and
      write payment intents.
    - `webhook_secrets`: `whsec_…`, each of which is good (rotation). None: `notification` answers `not_found`.
    - `base_url`: where Stripe's API is, if not at https://api.stripe.com: a proxy, or localstripe.
    - `return_url`: where a payer comes back to from the page of the bank. None: the platform's own page shows what the
      bank wants, with Stripe.js.
    - `timeout_seconds`: how long one call may take in all; then GatewayUnavailable.

    Raises SettingError when the library is missing or one of these cannot work.
    """

    kind = "stripe"

    def __init__(
        self,
        api_key: str,
        webhook_secrets: Sequence[str] = (),
        *,
        base_url: str | None = None,
        return_url: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        if not _secret_key(api_key):
            raise SettingError("The API key of Stripe: expected a secret key (sk_…) or a restricted one (rk_…).")
        if any(not (secret.isascii() and secret.isprintable() and secret.strip()) for secret in webhook_secrets):
            raise SettingError("A webhook secret of Stripe: expected printable ASCII, as the Dashboard shows it.")
        for name, url in (("The base URL", base_url), ("The return URL", return_url)):
            if url is not None and not _is_http(url):
                raise SettingError(f"{name} for Stripe: expected http(s)://HOST… without user or password.")
        self._stripe = stripe = _library()
        self._webhook_secrets = tuple(webhook_secrets)
        self._return_url = return_url
        self._timeout_seconds = timeout_seconds
        # The library's own async requests need httpx or aiohttp, which it does not bring along; its blocking ones need
        # what it always installs. So each request runs in a thread, and the loop stays free. A request that is given up
        # goes on in its thread until the same timeout ends it there; what it did is seen when the payment is next read.
        self._threads = anyio.CapacityLimiter(REQUESTS_MAX)
        client = stripe.StripeClient(
            api_key,
            base_addresses=None if base_url is None else {"api": base_url.rstrip("/")},
            max_network_retries=0,  # the desk asks again, and knows how long it may take
            http_client=stripe.RequestsClient(timeout=timeout_seconds),
        )
        self._customers = client.v1.customers
        self._intents = client.v1.payment_intents
        self._methods = client.v1.payment_methods

    # ---- the gateway

    async def prepare(self, payment: Payment) -> str:
        """Return the id of a new PaymentIntent; for what Stripe would not take, a reference that `proceed` declines."""
        async with self._in_time():
            prepared = await self._create(payment)
        return DECLINED + prepared.detail if isinstance(prepared, Declined) else prepared

    async def proceed(self, reference: str, payment: Payment) -> Outcome:
        """Confirm the PaymentIntent if that was not done yet. A declined one is canceled, so that nobody can pay it."""
        if reference.startswith(DECLINED):
            return Declined(reference.removeprefix(DECLINED))
        async with self._in_time():
            intent = await self._intent(reference)
            reached = outcome(intent)
            if reached is None:
                reached = await self._confirm(reference, payment)
            if not isinstance(reached, Declined) or intent.status == "canceled":
                return reached
            # A page that has the client secret could pay a declined PaymentIntent with another card, for nothing.
            withdrawn = await self._cancel(reference)
            return reached if isinstance(withdrawn, Declined) else withdrawn

    async def cancel(self, reference: str) -> Outcome:
        """Cancel the PaymentIntent. Processing: it is too late for that, and too early to know."""
        if reference.startswith(DECLINED):
            return Declined(reference.removeprefix(DECLINED))
        async with self._in_time():
            return await self._cancel(reference)

    def notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Return the id of the event, and the account that our metadata names. The names of headers are in lower case.

        Source: https://docs.stripe.com/webhooks#verify-official-libraries
        """
        if not self._webhook_secrets:
            raise Refused(ErrorCode.NOT_FOUND, "No webhook secret of Stripe is set, so no events are taken here.")
        self._verify(headers.get(SIGNATURE_HEADER, ""), body)
        try:
            event = _decode_event(body)
        except (msgspec.DecodeError, RecursionError):
            raise Refused(ErrorCode.MALFORMED, "The body is not an event of Stripe.") from None
        return Notification(event.id, event.account())

    # ---- what is asked of Stripe

    async def _create(self, payment: Payment) -> str | Declined:
        amount = stripe_amount(payment.amount)
        if isinstance(amount, Declined):
            return amount
        paid = await self._paid(payment, amount)
        if paid is not None:
            return paid
        params: dict[str, Any] = {
            "amount": amount,
            "currency": payment.amount.currency.lower(),
            "metadata": {METADATA_ACCOUNT: payment.account, METADATA_PAYMENT: payment.id},
        }
        hints: dict[str, Any] = {}
        if payment.customer is not None:
            params["customer"] = payment.customer
        method_id = payment.payment_method
        if method_id is None and payment.customer is not None:
            customer = await self._read(Customer, self._customers.retrieve, payment.customer)
            if isinstance(customer, Refusal):
                return customer.declined()
            settings = customer.invoice_settings
            method_id = None if settings is None else settings.default_payment_method
        if method_id is None:
            return Declined(NO_METHOD)
        method = await self._read(Method, self._methods.retrieve, method_id)
        if isinstance(method, Refusal):
            return method.declined()
        params["payment_method"] = method_id
        if method.type is not None:
            # Without its types a PaymentIntent takes whatever the Dashboard allows, some of which leads to other pages:
            # Stripe then refuses to confirm it without a return_url, even for a card.
            params["payment_method_types"] = [method.type]
        if payment.attended and payment.customer is not None and method.customer is None:
            # A new method: the payer agrees now that renewals are charged to it, and Stripe saves it for the customer.
            # One that is saved already was agreed upon when it was, and would only be asked for once more.
            hints["setup_future_usage"] = "off_session"
        created = await self._hinted(Intent, self._intents.create, (), params, hints, f"{payment.id}-prepare")
        return created.declined() if isinstance(created, Refusal) else created.id

    async def _paid(self, payment: Payment, amount: int) -> str | Declined | None:
        """Return the PaymentIntent that paid a renewal's period before; None: none did. Listed, as a search may lag behind.

        Source: https://docs.stripe.com/search#data-freshness
        """
        if payment.period_started_at is None or payment.customer is None:
            return None
        hints = {"customer": payment.customer, "created": {"gte": payment.period_started_at // 1000 - EARLY_SECONDS}}
        params: dict[str, Any] = {"limit": PAGE_MAX}
        while True:
            page = await self._hinted(IntentPage, self._intents.list, (), params, hints)
            if isinstance(page, Refusal):
                return page.declined()
            paid = page.paid(payment.account, payment.period_started_at, amount, payment.amount.currency.lower())
            if paid is not None or not page.has_more:
                return paid
            params["starting_after"] = page.data[-1].id

    async def _confirm(self, reference: str, payment: Payment) -> Outcome:
        hints: dict[str, Any] = {}
        if not payment.attended:
            hints["off_session"] = True  # nobody can be asked: the bank decides on what was agreed upon before
        elif self._return_url is not None:
            hints["return_url"] = self._return_url
        confirmed = await self._hinted(Intent, self._intents.confirm, (reference,), {}, hints, f"{reference}-confirm")
        if isinstance(confirmed, Intent):
            # It waits for a confirmation still: Stripe has not got to it, and the desk asks again.
            reached = outcome(confirmed)
            return Processing() if reached is None else reached
        if confirmed.status == 402:
            return confirmed.declined()
        # Somebody else may have been faster, and then this refusal says less than the payment itself.
        reached = outcome(await self._intent(reference))
        if reached is None:
            return Processing() if confirmed.conflict else confirmed.declined()
        return reached

    async def _cancel(self, reference: str) -> Outcome:
        canceled = await self._read(Intent, self._intents.cancel, reference)
        intent = await self._intent(reference) if isinstance(canceled, Refusal) else canceled
        match outcome(intent):
            case Paid() | Processing() as reached:
                return reached
            case Declined() if intent.status == "canceled":
                return Declined(CANCELED)
        raise GatewayUnavailable(f"Stripe did not cancel the payment {reference}, which is {intent.status}.")

    async def _intent(self, reference: str) -> Intent:
        intent = await self._read(Intent, self._intents.retrieve, reference)
        if isinstance(intent, Refusal):
            # Stripe forgets no payment. That this key cannot see it does not mean that it was not charged.
            raise GatewayUnavailable(
                f"Stripe does not know the payment {reference} ({intent.code or intent.status}); "
                "expected an API key of the account and mode that it was made with."
            )
        return intent

    async def _hinted(
        self,
        shape: type[_T],
        call: Callable[..., Any],
        arguments: tuple[str, ...],
        params: Mapping[str, Any],
        hints: Mapping[str, Any],
        step: str | None = None,
    ) -> _T | Refusal:
        """Ask with the hints. Where they are unknown nothing was done, and it is asked without them.

        Stripe knows them; localstripe (1.15) does not, and refuses what it does not know. `step` names what is done once.
        """
        wanted = {**params, **hints}
        answer = await self._read(shape, call, *arguments, params=wanted, key=_idempotency_key(step, wanted))
        if isinstance(answer, Refusal) and answer.unknown(hints):
            answer = await self._read(shape, call, *arguments, params=params, key=_idempotency_key(step, params))
        return answer

    # ---- the library

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            with anyio.fail_after(self._timeout_seconds):
                yield
        except TimeoutError:
            raise GatewayUnavailable(f"Stripe did not answer within {self._timeout_seconds:g} s.") from None

    async def _read(
        self,
        shape: type[_T],
        call: Callable[..., Any],
        *arguments: str,
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> _T | Refusal:
        """Make one request and read its answer. Raises GatewayUnavailable.

        No text of the library gets any further than here, and no error of its own as a cause: they quote whole answers,
        which have client secrets, and headers, which have the key.
        """
        options = {} if key is None else {"idempotency_key": key}
        request = partial(call, *arguments, params=params or {}, options=options)
        try:
            answer = await anyio.to_thread.run_sync(request, abandon_on_cancel=True, limiter=self._threads)
            return msgspec.convert(answer.to_dict(), shape)
        except self._stripe.StripeError as error:
            return self._refusal(error)
        except (AttributeError, TypeError, ValueError):  # the library trips over what is no JSON object, or no UTF-8
            raise GatewayUnavailable(f"Stripe answered what is no {shape.__name__}.") from None

    def _refusal(self, error: StripeError) -> Refusal:
        """Return what an error says about the request. Raises GatewayUnavailable for one that says nothing about it."""
        stripe, status = self._stripe, error.http_status
        if status is None:
            cause = type(error.__cause__ or error).__name__
            raise GatewayUnavailable(f"Stripe cannot be reached ({cause}).") from None
        busy = Refusal.of(status, error.json_body, conflict=True)
        if isinstance(error, stripe.IdempotencyError) or status == 409 or busy.code == "lock_timeout":
            return busy
        refusal = Refusal.of(status, error.json_body, conflict=False)
        about_us = isinstance(error, stripe.AuthenticationError | stripe.PermissionError)
        if about_us or refusal.code in ACCOUNT_CODES:
            log.error("stripe_refuses_account", status=status, code=refusal.code, request=error.request_id)
            raise GatewayUnavailable(f"Stripe refused the API key or its account ({refusal.code or status}).") from None
        if isinstance(error, stripe.CardError | stripe.InvalidRequestError):
            log.info("stripe_refused", status=status, code=refusal.code, param=refusal.param, request=error.request_id)
            return refusal
        raise GatewayUnavailable(f"Stripe answered {status} ({refusal.code or 'no code'}).") from None

    def _verify(self, header: str, body: bytes) -> None:
        """Raises Refused unless one of the secrets signed the body within 5 minutes.

        The library compares text, and raises TypeError for a header and UnicodeDecodeError for a body that are not what
        Stripe sends.
        """
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise Refused(ErrorCode.INVALID_SIGNATURE, "Stripe signs UTF-8, and the body is none.") from None
        if not header.isascii():
            raise Refused(ErrorCode.INVALID_SIGNATURE, "The Stripe-Signature header must be ASCII.")
        verify = self._stripe.WebhookSignature.verify_header
        for secret in self._webhook_secrets:
            try:
                verify(text, header, secret, TOLERANCE_SECONDS)
            except self._stripe.SignatureVerificationError:
                continue
            return
        raise Refused(ErrorCode.INVALID_SIGNATURE)


class _Object(msgspec.Struct, frozen=True):
    metadata: dict[str, Any] | None = None


class _Data(msgspec.Struct, frozen=True):
    object: _Object | None = None


class _Event(msgspec.Struct, frozen=True):
    id: str
    data: _Data | None = None

    def account(self) -> str | None:
        """Return the account that our metadata names; events of others' objects, and thin ones, name none."""
        metadata = self.data and self.data.object and self.data.object.metadata
        account = metadata.get(METADATA_ACCOUNT) if metadata else None
        return account if is_account(account) else None


_decode_event = msgspec.json.Decoder(_Event).decode


def _library() -> ModuleType:
    """Return the library, silenced: what it logs has client secrets. Raises SettingError if that cannot be."""
    if os.environ.get("STRIPE_LOG"):
        raise SettingError("STRIPE_LOG: expected to be unset; it makes the library print answers with their secrets.")
    try:
        import stripe
    except ImportError:
        raise SettingError(
            "CAPACITY_PAYMENTS: stripe needs the library of Stripe; pip install 'capacity[stripe]'."
        ) from None
    logging.getLogger("stripe").setLevel(logging.WARNING)  # it logs requests at info and bodies at debug
    return stripe


def _idempotency_key(step: str | None, params: Mapping[str, Any]) -> str | None:
    """Return the same key for the same request. Other parameters need another: Stripe refuses to see a key used anew."""
    if step is None:
        return None
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()
    return f"capacity-{step}-{digest[:32]}"


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False
