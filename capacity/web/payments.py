"""HTTP of payments: what a gateway's webhook says, and what the owner of the test card decides."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from capacity.billing.card import CardGateway
from capacity.billing.desk import Desk
from capacity.errors import ErrorCode, Refused
from capacity.web.account_answers import Taken
from capacity.web.answers import answer
from capacity.web.bodies import decode, read_body
from capacity.web.operations import Answer, Operation

PAYMENT_EVENTS = "/v1/payments/events"
CARD = "/v1/payments/card"
EVENT_BYTES_MAX = 256 * 1024
DECISION_BYTES_MAX = 1024


class Decision(msgspec.Struct, frozen=True):
    """The body of `POST /v1/payments/card`. `reference` is behind the `#` of the purchase's `action_url`."""

    reference: str
    confirmed: bool


class PaymentApi:
    """The handlers. A gateway's webhook is only a hint: what became of a payment, the gateway is asked."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def operations(self) -> list[Operation]:
        """Return the table."""
        refusals = (
            ErrorCode.NOT_FOUND,
            ErrorCode.MALFORMED,
            ErrorCode.TOO_LARGE,
            ErrorCode.REQUEST_TIMEOUT,
            ErrorCode.UNAVAILABLE,
        )
        taken = (Answer(200, "It was taken.", Taken),)
        return [
            Operation(
                "POST",
                PAYMENT_EVENTS,
                "postPaymentEvent",
                "Tell of a payment, as its gateway",
                "gateway",
                self._event,
                taken,
                (*refusals, ErrorCode.INVALID_SIGNATURE),
            ),
            Operation(
                "POST",
                CARD,
                "decideCardPayment",
                "Confirm or refuse a payment by the test card",
                "open",
                self._decide,
                taken,
                refusals,
                Decision,
            ),
        ]

    async def _event(self, request: Request) -> Response:
        body = await read_body(request, bytes_max=EVENT_BYTES_MAX)
        await self._desk.notified(dict(request.headers), body)
        return answer(Taken())

    async def _decide(self, request: Request) -> Response:
        gateway = self._desk.gateway
        if not isinstance(gateway, CardGateway):
            raise Refused(ErrorCode.NOT_FOUND, "Payments are not made by the test card here.")
        decision = decode(await read_body(request, bytes_max=DECISION_BYTES_MAX), Decision)
        account = await gateway.confirm(decision.reference, confirmed=decision.confirmed)
        await self._desk.cashier.settle(account)
        return answer(Taken())
