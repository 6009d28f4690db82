"""Hub processes under test: the real application on a real socket, in this process or in one of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import jwt
import redis.asyncio as aioredis
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from capacity import app
from capacity.protocol import events
from capacity.settings import Settings
from capacity.store import keys
from tests.support.servers import free_port
from tests.support.waiting import wait_until

SECRET = "a-secret-for-tests-that-is-long-enough"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the public reference vector of Standard Webhooks
ACCOUNT, ROOM = "acme", "launch"
TOKEN_SECONDS = 12 * 3600
"""Modules make tokens when they are collected, and use them at the end of a long run on a slow machine."""


def token(
    participant: str, *, role: str = "attendee", account: str = ACCOUNT, room: str | None = ROOM, **claims: Any
) -> str:
    """Return a token signed with the test secret; `exp` may be among the claims."""
    payload = {
        "sub": participant,
        "account": account,
        "role": role,
        "aud": "capacity",
        "exp": int(time.time()) + TOKEN_SECONDS,
    }
    if room is not None:
        payload["room"] = room
    return jwt.encode(payload | claims, SECRET, algorithm="HS256")


def service_token(account: str = "*") -> str:
    """Return a token of a service."""
    return token("backend", role="service", account=account, room=None)


class Client:
    """One WebSocket, and everything it was told."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.messages: list[dict[str, Any]] = []
        self.arrived_at: list[float] = []
        self.closed: tuple[int, str] | None = None
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                message = json.loads(await self._socket.recv())
                self.arrived_at.append(time.monotonic())
                self.messages.append(message)
        except ConnectionClosed:
            self.closed = (self._socket.close_code or 0, self._socket.close_reason or "")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return every message of a type."""
        return [message for message in self.messages if message["type"] == kind]

    @property
    def kinds(self) -> list[str]:
        """Return the types in order of arrival."""
        return [message["type"] for message in self.messages]

    async def told(self, kind: str, *, count: int = 1, within_seconds: float = 5.0, **fields: Any) -> dict[str, Any]:
        """Return the count-th message of a type with these fields, waiting for it."""

        def found() -> list[dict[str, Any]]:
            return [m for m in self.of(kind) if all(m.get(name) == value for name, value in fields.items())][
                count - 1 :
            ]

        try:
            first: dict[str, Any] = (await wait_until(found, within_seconds=within_seconds))[0]
            return first
        except AssertionError:
            raise AssertionError(
                f"no {kind} {fields} (number {count}); was told {self.messages}, closed {self.closed}"
            ) from None

    async def first(self) -> dict[str, Any]:
        """Return the first message, waiting for it."""
        await wait_until(lambda: self.messages or self.closed, what="a first message")
        return self.messages[0]

    async def gone(self, within_seconds: float = 5.0) -> tuple[int, str]:
        """Return the close code and reason, waiting for it."""
        await wait_until(
            lambda: self.closed is not None, within_seconds=within_seconds, what=f"a close; told {self.messages}"
        )
        assert self.closed is not None
        return self.closed

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def say_raw(self, text: str | bytes) -> None:
        """Send whatever it is."""
        await self._socket.send(text)

    async def drop(self) -> None:
        """Lose the connection without a word, as a phone in a tunnel does."""
        self._socket.transport.abort()
        await self._reader

    async def disconnect(self) -> None:
        """Close the connection with a Close frame, as a browser tab does."""
        await self._socket.close()
        await self._reader


class Hub:
    """One hub process as its clients see it."""

    def __init__(self, address: str, application: app.Application | None = None) -> None:
        self.address = address
        self.application = application
        self.http = httpx.AsyncClient(base_url=address, timeout=10)
        self.clients: list[Client] = []

    async def join(self, participant: str, **claims: Any) -> Client:
        """Connect as an attendee (or as `role`); the first message may still be on its way."""
        return await self.connect(token(participant, **claims))

    async def host(self, participant: str = "host", **claims: Any) -> Client:
        """Connect as a host, and wait for the first message: the room is open then, if it can be."""
        client = await self.connect(token(participant, role="host", **claims))
        await wait_until(lambda: client.messages or client.closed, what="a host's first message")
        return client

    async def connect(self, text: str, **options: Any) -> Client:
        """Connect with a token as browsers do; `options` are those of the client library."""
        url = self.address.replace("http", "ws", 1) + "/v1/ws"
        offered: Any = ["capacity.v1", f"bearer.{text}"]
        socket = await connect(url, subprotocols=offered, proxy=None, compression=None, **options)
        client = Client(socket)
        self.clients.append(client)
        return client

    def pass_days(self, days: float) -> None:
        """Let days pass at the billing desk of a hub in this process; nobody else's clock moves."""
        assert self.application is not None and self.application.desk is not None
        books = self.application.desk.books
        now_ms = books.now_ms
        books.now_ms = lambda: now_ms() + round(days * 86_400_000)

    async def close(self) -> None:
        """Close every connection that the test left open; a loop that is closed under an open one may hang."""
        await asyncio.gather(*(client.disconnect() for client in self.clients))
        await self.http.aclose()

    async def call(self, method: str, path: str, text: str | None = None, **options: Any) -> httpx.Response:
        """Make an HTTP request with a service's token, or another."""
        headers = {"Authorization": f"Bearer {text or service_token()}"} | options.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **options)

    def room_path(self, room: str = ROOM, account: str = ACCOUNT) -> str:
        """Return the path of a room."""
        return f"/v1/accounts/{account}/rooms/{room}"

    async def occupancy(self, room: str = ROOM) -> dict[str, Any]:
        """Return the room in numbers."""
        answer = await self.call("GET", self.room_path(room))
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]


def settings(redis_url: str, **changes: Any) -> Settings:
    """Return settings for a test: times short enough to wait for."""
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "data_dir": Path("unused"),
        "token_key": SECRET,
        "webhook_secrets": (WEBHOOK_SECRET,),
        "grace_seconds": 2.0,
        "place_seconds": 3.0,
        "hold_seconds": 5.0,
        "lease_seconds": 1.0,
    }
    return Settings(**values | changes)


@asynccontextmanager
async def serving(chosen: Settings) -> AsyncIterator[Hub]:
    """Serve the application in this process, on a port of its own, until it is ready."""
    application = app.build(chosen)
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            application.asgi, http=application.http_class, ws="none", host="127.0.0.1", port=port, lifespan="on",
            log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=5,
        )
    )  # fmt: skip
    running = asyncio.create_task(server._serve())
    try:
        await wait_until(lambda: server.started or running.done(), what="the server to start")
        hub = Hub(f"http://127.0.0.1:{port}", application)
        await wait_until(lambda: application.hub.problems() == [], what="the hub to be ready")
        try:
            yield hub
        finally:
            await hub.close()
    finally:
        application.hub.drain()
        server.should_exit = True
        await running


class Billing:
    """An external billing system: publishes plan-changed events to the stream."""

    def __init__(self, store: Any) -> None:
        """Takes the address of a store, or a client."""
        self._client: Any = aioredis.Redis.from_url(store) if isinstance(store, str) else store
        self._serial = 0

    async def publish(self, seats: int, account: str = ACCOUNT, *, version: int | None = None, **changes: Any) -> bytes:
        """Write an event to the stream; returns it."""
        event = self.event(seats, account, version=version, **changes)
        await self._client.xadd(keys.PLAN_CHANGES, {"event": event})
        return event

    def event(self, seats: int, account: str = ACCOUNT, *, version: int | None = None, **changes: Any) -> bytes:
        """Return a new event."""
        self._serial += 1
        values: dict[str, Any] = {
            "source": "/tests", "id": f"event-{self._serial}-{time.time_ns()}", "time_ms": int(time.time() * 1000),
        }  # fmt: skip
        return events.build(account, f"plan-{seats}", seats, version=version, **values | changes)

    async def account(self, seats: int, account: str = ACCOUNT, **changes: Any) -> None:
        """Make an account exist with so many seats."""
        await self.publish(seats, account, **changes)
        await self.seats(account, seats)

    async def seats(self, account: str, seats: int) -> None:
        """Wait until the account has so many seats."""

        async def applied() -> bool:
            return bool(await self._client.hget(keys.account_key(account), "seats") == str(seats).encode())

        await wait_until(applied, what=f"{account} to have {seats} seats")

    async def rejected(self) -> list[tuple[bytes, str]]:
        """Return what was set aside: (event, reason)."""
        entries = await self._client.xrange(keys.REJECTED)
        return [(fields[b"event"], fields[b"reason"].decode()) for _, fields in entries]

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
