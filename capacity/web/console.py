"""HTTP of the ingest console: what became of every plan-changed event, and the replay of a rejected one."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from capacity.domain import ids
from capacity.errors import ErrorCode, Refused
from capacity.protocol.answers import HandledEvents, Replayed, Word
from capacity.web.answers import answer, handled_events
from capacity.web.auth import KeyRing, bearer, service_account
from capacity.web.operations import Answer, Operation, query_of
from capacity.web.ports import EventLog

EVENTS = "/v1/events"
REPLAY = f"{EVENTS}/{{entry}}/replay"
LIMIT = 50
LIMIT_MAX = 500


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events are asked for. Another parameter is refused: a filter that is misspelt must not show everything."""

    account: Annotated[str, msgspec.Meta(pattern=f"^{ids.ACCOUNT_OR_ROOM}$")] | None = None
    verdict: Word | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT
    before: (
        Annotated[str, msgspec.Meta(pattern=f"^{ids.ENTRY}$", description="The next of the page before.")] | None
    ) = None


class ConsoleApi:
    """The handlers. A service of one account sees and replays that account's events, and learns of no others."""

    def __init__(self, log: EventLog, keyring: KeyRing) -> None:
        self._log = log
        self._keyring = keyring

    def operations(self) -> list[Operation]:
        """Return the table."""
        refusals = (ErrorCode.UNAUTHORIZED, ErrorCode.TOKEN_EXPIRED, ErrorCode.INVALID_ID, ErrorCode.FORBIDDEN)
        return [
            Operation(
                "GET",
                EVENTS,
                "listEvents",
                "What became of the plan-changed events",
                "token",
                self._list,
                (Answer(200, "Events, newest first.", HandledEvents),),
                (*refusals, ErrorCode.MALFORMED, ErrorCode.UNAVAILABLE),
                query=EventsQuery,
            ),
            Operation(
                "POST",
                REPLAY,
                "replayEvent",
                "Put a rejected event back into the stream",
                "token",
                self._replay,
                (Answer(202, "The event is in the stream again.", Replayed),),
                (*refusals, ErrorCode.UNKNOWN_EVENT, ErrorCode.NOT_REPLAYABLE, ErrorCode.UNAVAILABLE),
            ),
        ]

    async def _list(self, request: Request) -> Response:
        claims = bearer(request, self._keyring)
        query = query_of(request, EventsQuery)
        own = service_account(claims)
        if own is not None and query.account not in (None, own):
            raise Refused(ErrorCode.FORBIDDEN, "A service of one account sees the events of that account alone.")
        page = await self._log.page(
            account=own or query.account, verdict=query.verdict, limit=query.limit, before=query.before
        )
        return answer(handled_events(page))

    async def _replay(self, request: Request) -> Response:
        claims = bearer(request, self._keyring)
        entry = request.path_params["entry"]
        if not ids.is_entry(entry):
            raise Refused(ErrorCode.INVALID_ID, "An entry's id must be two numbers such as 1795428760000-0.")
        return answer(Replayed(await self._log.replay(entry, service_account(claims)), entry), 202)
