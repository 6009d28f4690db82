"""HTTP of a room: its state, opening and ending it, its report, its participants."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from capacity.domain.ids import is_account, is_participant, is_room
from capacity.errors import ErrorCode, Refused
from capacity.protocol.answers import ParticipantState, RoomReport
from capacity.protocol.messages import Occupancy
from capacity.web.answers import answer, room_report
from capacity.web.auth import KeyRing, bearer, require_room
from capacity.web.operations import Answer, Operation
from capacity.web.ports import RoomHub

ROOM = "/v1/accounts/{account}/rooms/{room}"
REPORT = f"{ROOM}/report"
PARTICIPANT = f"{ROOM}/participants/{{participant}}"

_REFUSALS = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.INVALID_ID,
    ErrorCode.FORBIDDEN,
    ErrorCode.UNKNOWN_ACCOUNT,
    ErrorCode.UNAVAILABLE,
)


class RoomApi:
    """The handlers. Each checks the token, the ids, then whether the one may act on the other, and asks the hub."""

    def __init__(self, hub: RoomHub, keyring: KeyRing) -> None:
        self._hub = hub
        self._keyring = keyring

    def operations(self) -> list[Operation]:
        """Return the table."""
        snapshot = (Answer(200, "The room in numbers.", Occupancy),)
        state = (Answer(200, "Where the participant stands.", ParticipantState),)
        unknown = (*_REFUSALS, ErrorCode.UNKNOWN_PARTICIPANT)
        return [
            Operation("GET", ROOM, "getRoom", "The room in numbers", "token", self._get, snapshot, _REFUSALS),
            Operation(
                "PUT",
                ROOM,
                "openRoom",
                "Open the room",
                "token",
                self._open,
                snapshot,
                (*_REFUSALS, ErrorCode.CONCURRENT_SESSIONS_REACHED),
            ),
            Operation("DELETE", ROOM, "endRoom", "End the room", "token", self._end, snapshot, _REFUSALS),
            Operation(
                "GET",
                REPORT,
                "getReport",
                "What came of the room's last run",
                "token",
                self._report,
                (Answer(200, "The report.", RoomReport),),
                (*_REFUSALS, ErrorCode.NO_REPORT),
            ),
            Operation(
                "GET", PARTICIPANT, "getParticipant", "One participant", "token", self._participant, state, unknown
            ),
            Operation(
                "DELETE",
                PARTICIPANT,
                "putOutParticipant",
                "Put the participant out and keep them out",
                "token",
                self._put_out,
                state,
                unknown,
            ),
        ]

    async def _get(self, request: Request) -> Response:
        return answer(await self._hub.occupancy(*self._room(request)))

    async def _open(self, request: Request) -> Response:
        return answer(await self._hub.open(*self._room(request)))

    async def _end(self, request: Request) -> Response:
        return answer(await self._hub.end(*self._room(request)))

    async def _report(self, request: Request) -> Response:
        return answer(room_report(await self._hub.report(*self._room(request))))

    async def _participant(self, request: Request) -> Response:
        account, room = self._room(request)
        return answer(await self._hub.participant(account, room, request.path_params["participant"]))

    async def _put_out(self, request: Request) -> Response:
        account, room = self._room(request)
        return answer(await self._hub.put_out(account, room, request.path_params["participant"]))

    def _room(self, request: Request) -> tuple[str, str]:
        """The account and room of the path, after all checks that need no store."""
        claims = bearer(request, self._keyring)
        ids = request.path_params
        account, room = ids["account"], ids["room"]
        if not is_account(account) or not is_room(room):
            raise Refused(ErrorCode.INVALID_ID)
        if not is_participant(ids.get("participant", "-")):
            raise Refused(
                ErrorCode.INVALID_ID,
                "A participant's id must be 1 to 128 of A-Z a-z 0-9 _ . : @ - | + = ~ and not . or ..",
            )
        require_room(claims, account, room)
        return account, room
