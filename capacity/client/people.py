"""The two sides of a room: what attendees and hosts are told, and what each may say."""

from __future__ import annotations

from typing import Unpack

import msgspec

from capacity.client.connection import Connection, Options, Refreshing, Token
from capacity.protocol import messages

AttendeeMessage = (
    messages.Seated
    | messages.Waiting
    | messages.Refresh
    | messages.Pass
    | messages.SeatLimit
    | messages.Ended
    | messages.Error
)
HostMessage = (
    messages.Occupancy
    | messages.NearFull
    | messages.NearFullCleared
    | messages.UpgradeRequested
    | messages.SeatLimit
    | messages.Ended
    | messages.Error
)
_attendee_message = msgspec.json.Decoder(AttendeeMessage).decode
_host_message = msgspec.json.Decoder(HostMessage).decode


class Attendee(Connection[AttendeeMessage]):
    """An attendee of the room that the token names."""

    def __init__(self, url: str, token: Token, *, refresh: Refreshing = "claim", **options: Unpack[Options]) -> None:
        """`url` is the address of the server (http or https). Raises ValueError for one that is none."""
        super().__init__(url, token, _attendee_message, refresh, options)

    async def leave(self) -> None:
        """Give the seat or place up. The iteration ends."""
        await self._send(messages.Leave())

    async def claim(self) -> None:
        """Take the held seat; answered by Seated, or by Error `nothing_held`."""
        await self._send(messages.Claim())

    async def ask_pass(self) -> None:
        """Ask for a seat pass for the media server; answered by Pass, or by Error `not_seated`."""
        await self._send(messages.AskPass())


class Host(Connection[HostMessage]):
    """A host of the room that the token names. The room opens when its first host connects."""

    def __init__(self, url: str, token: Token, **options: Unpack[Options]) -> None:
        """`url` is the address of the server (http or https). Raises ValueError for one that is none."""
        super().__init__(url, token, _host_message, "ignore", options)

    async def open(self) -> None:
        """Open the room; answered by Occupancy, or by Error `concurrent_sessions_reached`."""
        await self._send(messages.Open())

    async def end(self) -> None:
        """End the room, for everybody. Ended comes, and the iteration ends."""
        await self._send(messages.End())

    async def request_upgrade(self) -> None:
        """Ask the account's hosts who may buy to do so. There is no answer."""
        await self._send(messages.RequestUpgrade())

    async def leave(self) -> None:
        """End this connection alone. The iteration ends."""
        await self._send(messages.Leave())
