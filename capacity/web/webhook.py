"""`POST /v1/events`: the billing system says that an account's plan changed.

What is answered 202 stands in the stream, what is answered 4xx stands nowhere. The consumer of the stream applies it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from capacity.errors import ErrorCode, Refused
from capacity.protocol import events, signatures
from capacity.web.answers import Accepted, answer
from capacity.web.operations import Answer, Operation
from capacity.web.ports import RoomHub
from capacity.web.problems import ProblemException

EVENTS = "/v1/events"
BODY_BYTES_MAX = 64 * 1024
BODY_SECONDS = 10.0
"""How long a sender may take for the body; nobody has shown a signature yet."""
DRAINED_BYTES_MAX = 1024 * 1024
"""How much of a body that is too large is still read: a sender that is cut off in mid-sentence never sees the 413."""


class Webhook:
    """The handler. Without a secret there is no such address."""

    def __init__(
        self,
        hub: RoomHub,
        secrets: Sequence[str],
        *,
        clock: Callable[[], float] = time.time,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        for secret in secrets:
            signatures.secret_key(secret)
        self._hub = hub
        self._secrets = tuple(secrets)
        self._clock = clock
        self._body_seconds = body_seconds

    def operations(self) -> list[Operation]:
        """Return the table."""
        return [
            Operation(
                "POST",
                EVENTS,
                "postEvent",
                "Tell of a changed plan",
                "signature",
                self._post,
                (Answer(202, "The event is in the stream.", Accepted),),
                (
                    ErrorCode.MALFORMED,
                    ErrorCode.UNKNOWN_TYPE,
                    ErrorCode.SUBJECT_MISMATCH,
                    ErrorCode.INVALID_ID,
                    ErrorCode.INVALID_SIGNATURE,
                    ErrorCode.NOT_FOUND,
                    ErrorCode.REQUEST_TIMEOUT,
                    ErrorCode.TOO_LARGE,
                    ErrorCode.UNAVAILABLE,
                ),
                events.PlanChangedEvent,
            )
        ]

    async def _post(self, request: Request) -> Response:
        if not self._secrets:
            raise Refused(ErrorCode.NOT_FOUND, "No CAPACITY_WEBHOOK_SECRET is set, so no events are taken here.")
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await _body(request)
        except TimeoutError:
            raise ProblemException(
                ErrorCode.REQUEST_TIMEOUT, f"The body must come within {self._body_seconds:g} s."
            ) from None
        signatures.verify(self._secrets, request.headers, body, self._clock())
        try:
            event = events.parse(body)
        except events.Rejected as error:
            raise ProblemException(error.reason, str(error)) from None
        await self._hub.accept_event(body)
        return answer(Accepted(event.id, event.source), 202)


async def _body(request: Request) -> bytes:
    """The body, as it came. Raises Refused with `too_large`, after a while of reading on."""
    body = bytearray()
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received <= BODY_BYTES_MAX:
            body += chunk
        elif received > DRAINED_BYTES_MAX:
            break
    if received > BODY_BYTES_MAX:
        raise Refused(ErrorCode.TOO_LARGE, f"The body of an event may have {BODY_BYTES_MAX} bytes at most.")
    return bytes(body)
