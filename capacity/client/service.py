"""The HTTP interface as a platform's backend uses it: rooms, participants, plans, accounts and what they buy, events.

    async with Service("https://seats.example.com", token) as service:
        room = await service.get_room("acme", "launch")

The methods are named as the operations of `/openapi.json`, their answers are its types (`capacity.protocol.answers`,
`capacity.protocol.desk_bodies`). Every method raises a `Problem` when the service says no, and Unreachable when nothing,
or nothing that can be read, comes back. Nothing is repeated by itself: what may be is a matter of the caller's patience.
"""

from __future__ import annotations

from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from capacity.client.errors import BODY_BYTES_MAX, Unreachable, address_of, problem_of
from capacity.protocol.answers import HandledEvents, ParticipantState, Plans, Replayed, RoomReport, Word
from capacity.protocol.desk_bodies import Account, AccountWish, PurchaseAnswer, PurchaseWish, QuoteAnswer, QuoteWish
from capacity.protocol.messages import Occupancy

ANSWER_SECONDS = 10.0
IDLE_SECONDS = 2.0
"""How long an idle connection is used again: less than a server keeps it, or a request may meet its end."""
T = TypeVar("T")


class Http:
    """Requests to one server and their answers; what `Service` and the webhook's publisher are made with."""

    def __init__(self, url: str, session: aiohttp.ClientSession | None, timeout_seconds: float) -> None:
        """Raises ValueError for an address that is none. A session that is given is the caller's to close."""
        self.address = address_of(url)
        self._own = session is None
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def request(
        self, method: str, path: str, *, headers: dict[str, str], body: bytes | None = None, query: dict[str, str]
    ) -> tuple[int, bytes]:
        """Return status and body of a success. Raises Problem, or Unreachable. Redirects are not followed: a token and a
        signed event go where they were told to, and nowhere else."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=IDLE_SECONDS))
        target = f"{self.address}{path}"
        try:
            async with self._session.request(
                method, target, headers=headers, data=body, params=query, timeout=self._timeout, allow_redirects=False
            ) as answer:
                if 200 <= answer.status < 300:
                    return answer.status, await answer.read()
                said = await answer.content.read(BODY_BYTES_MAX)
                raise problem_of(answer.status, said, answer.headers.get("Retry-After"))
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"{target} cannot be reached ({error.strerror or error})") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"{target} gave no answer ({str(error) or type(error).__name__})") from None

    async def close(self) -> None:
        """Close the session, if it is our own."""
        if self._own and self._session is not None:
            await self._session.close()


class Service:
    """The service at one address, asked with one token: a service's, or that of a host for what a host may."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        session: aiohttp.ClientSession | None = None,
        timeout_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`url` is the address of the server; raises ValueError for one that is none."""
        self._http = Http(url, session, timeout_seconds)
        self._headers = {"Authorization": f"Bearer {token}"}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    # ---- rooms

    async def get_room(self, account: str, room: str) -> Occupancy:
        """Return the room in numbers; `not_started` for one that was never opened."""
        return await self._ask("GET", _room(account, room), Occupancy)

    async def open_room(self, account: str, room: str) -> Occupancy:
        """Open the room. Raises Conflict `concurrent_sessions_reached` beyond what the account's plan allows."""
        return await self._ask("PUT", _room(account, room), Occupancy)

    async def end_room(self, account: str, room: str) -> Occupancy:
        """End the room, for everybody."""
        return await self._ask("DELETE", _room(account, room), Occupancy)

    async def get_report(self, account: str, room: str) -> RoomReport:
        """Return what came of the room's last run. Raises NotFound `no_report` if there is none any more."""
        return await self._ask("GET", f"{_room(account, room)}/report", RoomReport)

    async def get_participant(self, account: str, room: str, participant: str) -> ParticipantState:
        """Return where a participant stands. Raises NotFound `unknown_participant`."""
        return await self._ask("GET", f"{_room(account, room)}/participants/{_id(participant)}", ParticipantState)

    async def put_out_participant(self, account: str, room: str, participant: str) -> ParticipantState:
        """Put a participant out and keep them out."""
        return await self._ask("DELETE", f"{_room(account, room)}/participants/{_id(participant)}", ParticipantState)

    # ---- plans and accounts

    async def get_plans(self) -> Plans:
        """Return the plans on sale, and how purchases are paid."""
        return await self._ask("GET", "/v1/plans", Plans)

    async def get_account(self, account: str) -> Account:
        """Return an account. Raises NotFound `unknown_account`."""
        return await self._ask("GET", _account(account), Account)

    async def put_account(self, account: str, wish: AccountWish) -> Account:
        """Bring an account to the billing desk, or import it. Raises Conflict `account_exists` if it is there otherwise."""
        return await self._ask("PUT", _account(account), Account, wish)

    async def create_quote(self, account: str, wish: QuoteWish) -> QuoteAnswer:
        """Ask what a change means and costs."""
        return await self._ask("POST", f"{_account(account)}/quotes", QuoteAnswer, wish)

    async def create_purchase(self, account: str, wish: PurchaseWish, *, idempotency_key: str) -> PurchaseAnswer:
        """Buy what a quote says. The same key again is the same purchase and is charged once: after Unreachable and
        Unavailable repeat with it. Raises PaymentDeclined, and Conflict `quote_stale`."""
        headers = {"Idempotency-Key": idempotency_key}
        return await self._ask("POST", f"{_account(account)}/purchases", PurchaseAnswer, wish, headers=headers)

    async def delete_scheduled_change(self, account: str) -> Account:
        """Take back what would come with the next period."""
        return await self._ask("DELETE", f"{_account(account)}/scheduled-change", Account)

    # ---- plan-changed events

    async def list_events(
        self, *, account: str | None = None, verdict: Word | None = None, limit: int = 50, before: str | None = None
    ) -> HandledEvents:
        """Return what became of plan-changed events, newest first; `next` goes into `before` for the page after."""
        query = {"account": account, "verdict": verdict, "limit": str(limit), "before": before}
        asked = {name: value for name, value in query.items() if value is not None}
        return await self._ask("GET", "/v1/events", HandledEvents, query=asked)

    async def replay_event(self, entry: str) -> Replayed:
        """Put a rejected event back into the stream, once its cause is gone."""
        return await self._ask("POST", f"/v1/events/{_id(entry)}/replay", Replayed)

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: msgspec.Struct | None = None,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> T:
        sent = self._headers | (headers or {})
        raw = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            raw = msgspec.json.encode(_given(body))
        status, answer = await self._http.request(method, path, headers=sent, body=raw, query=query or {})
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(f"{self._http.address}{path} answered {status} with something else ({error})") from None


def _given(wish: msgspec.Struct) -> dict[str, Any]:
    """What a wish says; what it leaves open is not sent."""
    return {name: value for name, value in msgspec.structs.asdict(wish).items() if value is not None}


def _id(text: str) -> str:
    return quote(text, safe="")


def _account(account: str) -> str:
    return f"/v1/accounts/{_id(account)}"


def _room(account: str, room: str) -> str:
    return f"{_account(account)}/rooms/{_id(room)}"
