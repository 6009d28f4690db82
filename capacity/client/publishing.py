"""Telling the service of plan changes, as a billing system does: by signed webhook, or into the stream of the store.

    async with WebhookPublisher("https://seats.example.com", secret, source="/billing") as plans:
        await plans.publish(PlanChange("acme", plan="growth", seats=120, version=7))

Both ways are at least once, and an event is known again by its id: one that may not have arrived is sent again as it
is, by `send`. A state is absolute, so what was lost is made good by the next.
"""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from typing import Self

import aiohttp
import msgspec

from capacity.client.errors import Unreachable
from capacity.client.service import ANSWER_SECONDS, Http
from capacity.errors import Unavailable
from capacity.protocol import events, signatures

PATH = "/v1/events"


class PlanChange(msgspec.Struct, frozen=True, kw_only=True):
    """What an account may use from now on. None: `concurrent_sessions` stay as they are, no `version` is told.

    `version` grows with every change of the account; without it, changes are ordered by their time.
    """

    account: str
    plan: str
    seats: int
    concurrent_sessions: int | None = None
    version: int | None = None


class PlanEvent(msgspec.Struct, frozen=True):
    """A change as the event that is sent, the same however often it is sent."""

    id: str
    body: bytes

    @classmethod
    def of(cls, change: PlanChange, *, source: str, id: str | None = None, at_ms: int | None = None) -> PlanEvent:
        """Return the event of a change made now, or at `at_ms`; `source` and `id` are its identity.

        Raises `events.Rejected`, a ValueError, for what the contract does not allow in one.
        """
        id = id or str(uuid.uuid4())
        body = events.build(
            change.account,
            change.plan,
            change.seats,
            source=source,
            id=id,
            time_ms=time.time_ns() // 1_000_000 if at_ms is None else at_ms,
            concurrent_sessions=change.concurrent_sessions,
            version=change.version,
        )
        return cls(id, body)


class PlanPublisher(ABC):
    """What both ways have in common. `source` is who publishes; with the event's id, its identity."""

    def __init__(self, source: str) -> None:
        self._source = source

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def publish(self, change: PlanChange) -> PlanEvent:
        """Send a change made now, and return its event. Raises as `send` does, and `events.Rejected` for a change that
        the contract does not allow."""
        event = PlanEvent.of(change, source=self._source)
        await self.send(event)
        return event

    @abstractmethod
    async def send(self, event: PlanEvent) -> str:
        """Send an event; once this returns, it is in the stream. Returns what was answered, for people.

        Raises Problem, or Unreachable when it is not known whether it arrived: then send the same again.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""


class WebhookPublisher(PlanPublisher):
    """Posts events to a server, signed by Standard Webhooks."""

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        source: str,
        session: aiohttp.ClientSession | None = None,
        timeout_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`url` is the address of the server, with or without /v1/events; `secret` is a `whsec_…`.

        Raises ValueError for an address or a secret that is none.
        """
        super().__init__(source)
        signatures.secret_key(secret)
        self._secret = secret
        self._http = Http(url.rstrip("/").removesuffix(PATH), session, timeout_seconds)
        self.target = self._http.address + PATH

    async def send(self, event: PlanEvent) -> str:
        """Post it. The time of the signature is now, so a repetition is signed anew."""
        signed = signatures.sign(self._secret, event.id, int(time.time()), event.body)
        headers = {**signed, "Content-Type": events.MEDIA_TYPE}
        status, _ = await self._http.request("POST", PATH, headers=headers, body=event.body, query={})
        return f"{self.target} answered {status}"

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


class StreamPublisher(PlanPublisher):
    """Writes events into the stream of the store, for a billing system that stands beside it."""

    def __init__(self, redis_url: str, *, source: str) -> None:
        """`redis_url` is an address as CAPACITY_REDIS_URL takes it. Raises SettingError for one that is none."""
        from capacity.store.plan_changes import PlanChanges  # the store's client is needed by this way alone
        from capacity.store.redis import Clients

        super().__init__(source)
        self._clients = Clients(redis_url)
        self._stream = PlanChanges(self._clients, source)

    async def send(self, event: PlanEvent) -> str:
        """Append it."""
        from redis.exceptions import RedisError

        try:
            entry = await self._stream.append(event.body)
        except (Unavailable, RedisError, OSError) as error:
            raise Unreachable(f"the store did not take it ({str(error) or type(error).__name__})") from None
        return f"published to the stream as entry {entry}"

    async def close(self) -> None:
        """Close the connections."""
        await self._clients.aclose()
