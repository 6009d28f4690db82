"""The claims of a token, checked. The signature is checked by `web.auth`; what a token means is decided here."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from capacity.domain.ids import is_account, is_participant, is_room
from capacity.errors import ErrorCode, Refused

Role = Literal["host", "attendee", "service"]
ANY_ACCOUNT = "*"
NAME_CHARACTERS_MAX = 256


class Claims(msgspec.Struct, frozen=True):
    """Who somebody is: `participant` is the token's `sub`; `room` is None only for a service; instants in ms."""

    participant: str
    account: str
    room: str | None
    role: Role
    expires_at: int
    name: str | None = None
    billing: bool = False


def claims_of(payload: dict[str, Any]) -> Claims:
    """Return the claims of a decoded JWT payload whose signature, `aud` and `exp` hold.

    Raises Refused with `invalid_id` for an id that is none, with `unauthorized` for anything else that is missing or wrong.
    """
    role = payload.get("role")
    if role not in ("host", "attendee", "service"):
        raise Refused(ErrorCode.UNAUTHORIZED, "The token's role must be host, attendee or service.")
    participant, account, room = payload.get("sub"), payload.get("account"), payload.get("room")
    for claim, value in (("sub", participant), ("account", account), ("room", room)):
        if value is None and not (claim == "room" and role == "service"):
            raise Refused(ErrorCode.UNAUTHORIZED, f"The token has no {claim}.")
    if not is_participant(participant):
        raise Refused(ErrorCode.INVALID_ID, "The token's sub is not a participant id.")
    if not is_account(account) and not (role == "service" and account == ANY_ACCOUNT):
        raise Refused(ErrorCode.INVALID_ID, "The token's account is not an account id.")
    if room is not None and not is_room(room):
        raise Refused(ErrorCode.INVALID_ID, "The token's room is not a room id.")
    name, billing = payload.get("name"), payload.get("billing", False)
    if name is not None and not isinstance(name, str):
        raise Refused(ErrorCode.UNAUTHORIZED, "The token's name must be text.")
    if not isinstance(billing, bool):
        raise Refused(ErrorCode.UNAUTHORIZED, "The token's billing must be true or false.")
    return Claims(
        participant=str(participant),
        account=str(account),
        room=room,
        role=role,
        expires_at=int(payload["exp"] * 1000),
        name=name[:NAME_CHARACTERS_MAX] if name else None,
        billing=billing and role == "host",
    )
