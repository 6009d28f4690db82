"""Capacity under the benchmark: its processes, its people, and plan changes for them."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jwt
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from benchmarks.load import Client, Opened, arrive, handshake, until
from benchmarks.machine import SERVER_CORES, Store, cpu_seconds, free_port, running
from capacity.protocol import events
from capacity.store import keys

ACCOUNT = "bench"
READY_SECONDS = 30.0
TOKEN_SECONDS = 3600


class Attendee(Client):
    """A participant of ours; `at` has when each kind of message came last, and `last` that message."""

    __slots__ = ("at", "last")

    def __init__(self, opening: bytes, told: Callable[[], None] = lambda: None) -> None:
        super().__init__(opening, told)
        self.at: dict[bytes, float] = {}
        self.last: dict[bytes, bytes] = {}

    def message(self, payload: bytes) -> None:
        super().message(payload)
        kind = payload[9 : payload.index(b'"', 9)]
        self.at[kind] = self.last_at or self.first_at
        self.last[kind] = payload

    @property
    def is_seated(self) -> bool:
        """Whether the first message was `seated`."""
        return self.first.startswith(b'{"type":"seated"')


class Tokens:
    """Signs for the participants; `algorithm` is HS256 or EdDSA. `setting` is what the hubs must know."""

    def __init__(self, directory: Path, algorithm: str = "HS256") -> None:
        self._algorithm = algorithm
        if algorithm == "HS256":
            self._key: str | bytes = secrets.token_hex(32)
            self.setting = str(self._key)
        else:
            key = Ed25519PrivateKey.generate()
            self._key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            path = directory / "key.pem"
            path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
            self.setting = f"file:{path}"

    def token(
        self,
        participant: str,
        role: str = "attendee",
        room: str | None = None,
        account: str = ACCOUNT,
        **claims: object,
    ) -> str:
        """Return a token for the benchmark's account, good for an hour."""
        found = {"sub": participant, "account": account, "role": role, "aud": "capacity"}
        limits = {"exp": int(time.time()) + TOKEN_SECONDS} | ({"room": room} if room else {})
        return jwt.encode(found | limits | claims, self._key, algorithm=self._algorithm)


@dataclass
class Service:
    """Some hubs on one store."""

    store: Store
    tokens: Tokens
    hubs: list[tuple[int, int]]
    """(port, pid) of each."""
    client: redis.Redis
    _rooms: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_room(self) -> str:
        """Return a name that no room had."""
        return f"room-{next(self._rooms)}"

    def hub_cpu_seconds(self) -> float:
        """Return what all hubs have used."""
        return sum(cpu_seconds(pid) for _, pid in self.hubs)

    async def plan(self, seats: int, account: str = ACCOUNT) -> float:
        """Let billing publish a plan with so many seats; returns the instant at which the store had the event."""
        event = events.build(
            account, "bench", seats, source="/bench", id=secrets.token_hex(8), time_ms=time.time_ns() // 1_000_000,
            concurrent_sessions=1000,
        )  # fmt: skip
        self.client.xadd(keys.PLAN_CHANGES, {"event": event})
        return time.perf_counter()

    async def in_force(self, seats: int, account: str = ACCOUNT) -> None:
        """Publish a plan and wait until the account has it."""
        await self.plan(seats, account)
        await until(lambda: self.client.hget(keys.account_key(account), "seats") == str(seats).encode())

    def clients(
        self, room: str, names: Sequence[str], role: str = "attendee", account: str = ACCOUNT
    ) -> list[Opened[Attendee]]:
        """Return what `arrive` takes: these participants of a room, spread over the hubs. Their tokens are signed here and now."""
        found: list[Opened[Attendee]] = []
        for number, name in enumerate(names):
            port = self.hubs[number % len(self.hubs)][0]
            text = self.tokens.token(name, role, room, account)
            opening = handshake(port, "/v1/ws", f"Sec-WebSocket-Protocol: capacity.v1, bearer.{text}\r\n")
            found.append((port, _maker(opening)))
        return found

    async def host(self, room: str, account: str = ACCOUNT) -> Attendee:
        """Open a room: its host connects."""
        return (await arrive(self.clients(room, ["host"], "host", account)))[0]


def _maker(opening: bytes) -> Callable[[Callable[[], None]], Attendee]:
    return lambda told: Attendee(opening, told)


@contextlib.contextmanager
def service(
    store: Store, tokens: Tokens, hubs: int = 1, cores: set[int] = SERVER_CORES, **settings: str
) -> Iterator[Service]:
    """Run hubs; yields when all are ready. `settings`: variables of theirs."""
    environ = {"CAPACITY_REDIS_URL": store.url, "CAPACITY_TOKEN_KEY": tokens.setting, **settings}
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(hubs):
            port = free_port()
            command = [sys.executable, "-m", "capacity", "serve", "--port", str(port), "--log-level", "warning"]
            pid = stack.enter_context(running(command, cores, port, environ))
            _await_ready(port)
            found.append((port, pid))
        client = stack.enter_context(contextlib.closing(redis.Redis.from_url(store.url)))
        yield Service(store, tokens, found, client)


def _await_ready(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while httpx.get(f"http://127.0.0.1:{port}/readyz").status_code != 200:
        if time.monotonic() > deadline:
            raise RuntimeError("a hub did not become ready")
        time.sleep(0.05)
