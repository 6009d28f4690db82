"""`POST /v1/events`: the billing system says that an account's plan changed.

What is answered 202 stands in the stream, what is answered 4xx stands nowhere. The consumer of the stream applies it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from capacity.errors import ErrorCode, Refused
from capacity.protocol import events, signatures
from capacity.protocol.answers import Accepted
from capacity.web.answers import answer
from capacity.web.bodies import BODY_SECONDS, read_body
from capacity.web.operations import Answer, Operation
from capacity.web.ports import RoomHub
from capacity.web.problems import ProblemException

EVENTS = "/v1/events"
BODY_BYTES_MAX = 64 * 1024


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
        body = await read_body(request, bytes_max=BODY_BYTES_MAX, seconds=self._body_seconds)
        signatures.verify(self._secrets, request.headers, body, self._clock())
        try:
            event = events.parse(body)
        except events.Rejected as error:
            raise ProblemException(error.reason, str(error)) from None
        await self._hub.accept_event(body)
        return answer(Accepted(event.id, event.source), 202)
