"""The WebSocket as a client has it: one participant's connection that keeps itself alive, and what it is told.

    async with Attendee("https://seats.example.com", token) as attendee:
        async for message in attendee:
            match message:
                case Seated(): ...
                case Waiting(position=position): ...

The iteration is the connection: it reads, comes back after a loss, and takes a held seat, all while it is asked for the
next message. There is no task behind it, so nothing goes on behind the caller's back, and cancelling is enough to stop.
What a close code asks for is one table (`errors.CLOSE_CODES`); whatever is not in it (a lost network, a
server that went away) comes back after a delay that grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Generic, Literal, Self, TypedDict, TypeVar

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from capacity.client.errors import (
    CLOSE_CODES,
    LOST,
    NotConnected,
    Problem,
    Stopped,
    Unreachable,
    address_of,
    problem_of,
)
from capacity.protocol import messages

Token = str | Callable[[], Awaitable[str]]
"""A token, or who is asked for one before every connection. What it raises comes out of the iteration."""
Refreshing = Literal["claim", "reconnect", "ignore"]
"""What a `refresh` makes of itself, at a random moment within its spread: `claim` takes the seat over this connection,
`reconnect` makes a new one, as a page that reloads; `ignore` leaves it to the caller."""

SOON_SECONDS_MAX = 2.0
GROWING_SECONDS_FIRST, GROWING_SECONDS_MAX = 1.0, 30.0
STABLE_SECONDS = 10.0
"""A connection that lived this long starts the delays afresh."""
OPEN_SECONDS = 10.0
CLOSE_SECONDS = 2.0
SILENT_SECONDS = 60.0
"""How often the server is pinged; one that leaves a ping unanswered for as long again is lost. It pings by itself as well."""
ANSWER_BYTES_MAX = 64 * 1024
_EXPECTED = frozenset({"left", "ended"})
_encode = msgspec.json.Encoder().encode


class Connected(msgspec.Struct, frozen=True):
    """A connection stands, and the server has said its first word; `seconds` is how long that took from dialling."""

    seconds: float


class Lost(msgspec.Struct, frozen=True):
    """A connection ended, or could not be made, and is tried again after the delay. `code` is that of the close (LOST
    without one), or the HTTP status of a handshake that was refused."""

    code: int
    reason: str
    delay_seconds: float


class Reloading(msgspec.Struct, frozen=True):
    """The connection is given up for a new one, which takes the held seat (`refresh="reconnect"`)."""


Change = Connected | Lost | Reloading
M = TypeVar("M")


class Options(TypedDict, total=False):
    """What every connection may be told besides address and token."""

    give_up_seconds: float | None
    """After so long without a connection Unreachable is raised, or the Problem that the server answered with. Default:
    None, never."""
    on_change: Callable[[Change], None] | None
    """Who hears of connections that come and go."""
    ssl_context: ssl.SSLContext | None
    """To be shared where there are many connections: making one takes longer than a handshake."""
    chance: Callable[[], float]
    """Gives the random numbers from 0 to 1 of all delays. Default: random.random."""


class Dial(connect):
    """The library's way to a server, but to no other: it would follow a redirect, and take the token along to whoever is named there."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Return what was answered."""
        return exc


class Connection(Generic[M]):
    """What attendees and hosts have in common. Not made directly; see `Attendee` and `Host`."""

    def __init__(
        self, url: str, token: Token, decode: Callable[[bytes], M], refresh: Refreshing, options: Options
    ) -> None:
        """`decode` raises msgspec.DecodeError for a message that this side does not know."""
        self._address = address_of(url)
        self._url = f"ws{self._address.removeprefix('http')}/v1/ws"
        self._token = token
        self._decode = decode
        self._refresh: Refreshing = refresh
        self._give_up_seconds = options.get("give_up_seconds")
        self._on_change = options.get("on_change")
        self._chance = options.get("chance", random.random)
        self._ssl = options.get("ssl_context")
        if self._ssl is None and self._url.startswith("wss"):
            self._ssl = ssl.create_default_context()
        self._socket: ClientConnection | None = None
        self._first: M | None = None
        self._attempts = 0
        self._refused = False
        self._lost_at = time.monotonic()
        self._connected_at = 0.0
        self._acts_at: float | None = None
        self._ended: Stopped | None = None

    async def __aenter__(self) -> Self:
        """Connect. Raises Stopped where the service says that it is of no use, and what `give_up_seconds` says."""
        self._lost_at = time.monotonic()
        try:
            with contextlib.suppress(StopAsyncIteration):
                await self._connect()
        except BaseException:
            await self.disconnect()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        """Return the next message. The iteration ends when the participant left or the room ended; Stopped is raised for
        every other end that is for good."""
        while True:
            if self._socket is None:
                await self._connect()
            if self._first is not None:
                message, self._first = self._first, None
                return message
            heard = await self._hear()
            if heard is not None:
                return heard

    @property
    def connected(self) -> bool:
        """Whether a connection stands, as far as is known."""
        return self._socket is not None

    async def disconnect(self) -> None:
        """End the connection and give nothing up: to the server this is a lost connection, the seat is kept a while. The
        iteration makes another, if it is asked again."""
        socket, self._socket, self._acts_at = self._socket, None, None
        if socket is not None:
            self._stood()
            await socket.close()

    async def _send(self, message: messages.Message) -> None:
        if self._socket is None:
            raise NotConnected("no connection stands; go on with the iteration, which makes one")
        try:
            await self._socket.send(_encode(message), text=True)
        except ConnectionClosed:
            raise NotConnected("the connection has just ended; go on with the iteration, which makes another") from None

    async def _connect(self) -> None:
        """Make a connection, however often that takes, and keep the first message for the iteration."""
        while self._socket is None:
            if self._ended is not None:
                self._finish(self._ended)
            token = self._token if isinstance(self._token, str) else await self._token()
            began_at = time.monotonic()
            try:
                socket = await Dial(
                    self._url,
                    additional_headers={"Authorization": f"Bearer {token}"},
                    subprotocols=[Subprotocol("capacity.v1")],
                    compression=None,
                    proxy=None,
                    open_timeout=OPEN_SECONDS,
                    close_timeout=CLOSE_SECONDS,
                    ping_interval=SILENT_SECONDS,
                    ping_timeout=SILENT_SECONDS,
                    max_size=ANSWER_BYTES_MAX,
                    ssl=self._ssl,
                )
            except InvalidStatus as refused:
                said = refused.response
                problem = problem_of(said.status_code, bytes(said.body or b""), said.headers.get("Retry-After"))
                if not problem.retryable:
                    raise problem from None
                await self._lost(problem.status, problem.code or "", because=problem)
                continue
            except (OSError, TimeoutError, WebSocketException) as error:
                why = str(error) or type(error).__name__
                await self._lost(LOST, "", because=Unreachable(f"{self._address} cannot be reached ({why})"))
                continue
            self._socket = socket
            self._connected_at = time.monotonic()
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    self._first = await self._read(socket)
            except TimeoutError:
                self._socket = None
                await socket.close()
                await self._lost(LOST, "", because=Unreachable(f"{self._address} took the connection and said nothing"))
                continue
            except ConnectionClosed as closed:
                await self._closed(closed)
                continue
            if not isinstance(self._first, messages.Error):  # which says what is wrong with the token, before a 4401
                self._refused = False
            self._changed(Connected(time.monotonic() - began_at))

    async def _hear(self) -> M | None:
        """Return the next message of the present connection; None if there is none: it ended, or a held seat was taken."""
        socket, acts_at = self._socket, self._acts_at
        assert socket is not None
        try:
            if acts_at is None:
                return await self._read(socket)
            try:
                async with asyncio.timeout_at(acts_at):
                    return await self._read(socket)
            except TimeoutError:
                self._acts_at = None
                if self._refresh == "claim":
                    await socket.send(_encode(messages.Claim()), text=True)
                else:
                    self._changed(Reloading())
                    await self.disconnect()
        except ConnectionClosed as closed:
            self._stood()
            await self._closed(closed)
        return None

    async def _read(self, socket: ClientConnection) -> M:
        """Return the next message that this client knows; a later server may say more."""
        while True:
            try:
                message = self._decode(await socket.recv(decode=False))
            except msgspec.DecodeError:
                continue
            if isinstance(message, messages.Refresh) and self._refresh != "ignore":
                loop = asyncio.get_running_loop()
                self._acts_at = loop.time() + self._chance() * message.spread_ms / 1000
            elif isinstance(message, messages.Seated | messages.Waiting):
                self._acts_at = None
            return message

    def _stood(self) -> None:
        """Note that a connection which stood has ended, whoever ended it: it is missed from now on."""
        self._lost_at = time.monotonic()
        if self._lost_at - self._connected_at >= STABLE_SECONDS:
            self._attempts = 0

    async def _closed(self, closed: ConnectionClosed) -> None:
        """Do what the close code says: wait until it is time to come back, or end the iteration."""
        self._socket = self._acts_at = None
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (LOST, "")
        action = CLOSE_CODES.get(code, "growing")
        if action == "token" and not isinstance(self._token, str) and not self._refused:
            self._refused = True
            action = "soon"
        if action != "soon" and action != "growing":
            self._finish(Stopped(code, reason, action))
        because = Unreachable(f"{self._address} closed the connection ({code} {reason})")
        await self._lost(code, reason, soon=action == "soon", because=because)

    async def _lost(self, code: int, reason: str, *, because: Problem | Unreachable, soon: bool = False) -> None:
        """Wait before the next attempt. Raises what it is because of when there was no connection for too long."""
        now = time.monotonic()
        if self._give_up_seconds is not None and now - self._lost_at >= self._give_up_seconds:
            raise because
        longest = SOON_SECONDS_MAX if soon else min(GROWING_SECONDS_MAX, GROWING_SECONDS_FIRST * 2**self._attempts)
        self._attempts = min(self._attempts + 1, 10)
        delay = self._chance() * longest
        if isinstance(because, Problem) and because.retry_after_seconds is not None:
            delay += because.retry_after_seconds
        if self._give_up_seconds is not None:
            delay = min(delay, max(0.0, self._lost_at + self._give_up_seconds - now))
        self._changed(Lost(code, reason, delay))
        await asyncio.sleep(delay)

    def _finish(self, stopped: Stopped) -> None:
        """End the iteration, now and whenever it is asked again."""
        self._ended = stopped
        if stopped.stop in _EXPECTED:
            raise StopAsyncIteration
        raise stopped

    def _changed(self, change: Change) -> None:
        if self._on_change is not None:
            self._on_change(change)
