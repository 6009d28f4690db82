"""A real `capacity demo` as a process, its rooms over the public interface, and the people that tests let into them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import jwt
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from capacity.protocol import events, signatures
from tests.support.servers import free_port

TOKEN_KEY = "browser-tests-browser-tests-browser-tests"
WEBHOOK_SECRET = "whsec_YnJvd3Nlci10ZXN0cy1icm93c2VyLXRlc3Rz"
SUPPORT_URL = "https://support.example/billing"
READY_SECONDS = 40.0
STOP_SECONDS = 10.0
ANSWER_SECONDS = 10.0
LAST_LINE = "Ctrl-C ends the demo."

T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, what: str, seconds: float = ANSWER_SECONDS) -> T:
    """Return the first true value of the condition; fails with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}; last: {value!r}"
        time.sleep(0.02)
    return value


class Service:
    """`capacity demo` on a port and a data directory of its own. Restarting it keeps both."""

    def __init__(self, directory: Path, *options: str, environ: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=ANSWER_SECONDS)
        self.directory = directory
        self._options = options
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")},
            "CAPACITY_DATA_DIR": str(directory),
            "CAPACITY_TOKEN_KEY": TOKEN_KEY,
            "CAPACITY_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "CAPACITY_SUPPORT_URL": SUPPORT_URL,
            **(environ or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    @property
    def output(self) -> str:
        """What the last start has printed so far."""
        return (self.directory / f"out-{self._starts}").read_text()

    @property
    def errors(self) -> str:
        """What the last start has written to standard error so far."""
        return (self.directory / f"err-{self._starts}").read_text()

    def start(self) -> None:
        """Start, and wait until the addresses are printed."""
        process = self.spawn()

        def is_up() -> bool:
            assert process.poll() is None, f"the demo ended with {process.returncode}: {self.errors}"
            return LAST_LINE in self.output

        wait_for(is_up, what=f"the demo's addresses ({self.errors})", seconds=READY_SECONDS)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start without waiting."""
        self._starts += 1
        with (
            (self.directory / f"out-{self._starts}").open("wb") as out,
            (self.directory / f"err-{self._starts}").open("wb") as err,
        ):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "capacity", "demo", "--port", str(self.port), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environ,
                start_new_session=True,
            )
        return self.process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the demo and return its exit code. Fails when it takes longer than the contract allows."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Leave nothing behind."""
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def address(self, page: str) -> str:
        """The first printed address of /host or /join."""
        return next(line.strip() for line in self.output.splitlines() if f"{self.url}{page}#" in line)

    def demo_room(self) -> Room:
        """Return the room that the demo opened, of the account that this start made."""
        claims = jwt.decode(self.address("/host").partition("#")[2], options={"verify_signature": False})
        return Room(self, claims["account"], claims["room"])

    def room(self, account: str, *, seats: int, room: str = "main") -> Room:
        """Return a room of an account that has so many seats; nobody has opened it."""
        found = Room(self, account, room)
        found.give(seats)
        return found


class Room:
    """One room, from outside."""

    def __init__(self, service: Service, account: str, room: str) -> None:
        self.service = service
        self.account = account
        self.name = room
        self._path = f"/v1/accounts/{account}/rooms/{room}"
        self._platform = token("platform", account=account, role="service")

    def give(self, seats: int) -> None:
        """Change the account's plan by webhook, and wait until it is in force."""
        now = time.time()
        id = f"browser-{time.monotonic_ns()}"
        body = events.build(
            self.account,
            "tested",
            seats,
            source="browser",
            id=id,
            time_ms=int(now * 1000),
            version=int(now * 1000),
        )
        answer = self.service.http.post(
            "/v1/events", content=body, headers=signatures.sign(WEBHOOK_SECRET, id, int(now), body)
        )
        assert answer.status_code == 202, answer.text
        wait_for(lambda: self._snapshot().get("seat_limit") == seats, what=f"{seats} seats")

    def open(self) -> None:
        """Open the room as the platform does."""
        answer = self.service.http.put(self._path, headers={"Authorization": f"Bearer {self._platform}"})
        assert answer.status_code == 200, answer.text

    def end(self) -> None:
        """End the room as the platform does."""
        answer = self.service.http.delete(self._path, headers={"Authorization": f"Bearer {self._platform}"})
        assert answer.status_code == 200, answer.text

    def _snapshot(self) -> dict[str, Any]:
        answer = self.service.http.get(self._path, headers={"Authorization": f"Bearer {self._platform}"})
        return dict(answer.json())

    def until(self, seconds: float = ANSWER_SECONDS, **wanted: object) -> None:
        """Wait until the room's snapshot says all of this."""
        wait_for(
            lambda: wanted.items() <= self._snapshot().items(), what=f"{wanted} in {self._snapshot()}", seconds=seconds
        )

    def token(self, participant: str, role: str = "attendee", **claims: Any) -> str:
        """Return a token for this room."""
        return token(participant, account=self.account, room=self.name, role=role, **claims)

    def join_address(self, participant: str, **claims: Any) -> str:
        """Return the address of somebody's attendee page."""
        return f"{self.service.url}/join#{self.token(participant, **claims)}"

    def host_address(self, participant: str = "host", *, billing: bool = True, **claims: Any) -> str:
        """Return the address of somebody's host page."""
        return f"{self.service.url}/host#{self.token(participant, 'host', billing=billing, **claims)}"

    @contextlib.contextmanager
    def guests(self, count: int, prefix: str = "guest") -> Iterator[list[ClientConnection]]:
        """Let so many attendees join over the wire, one after the other, and stay until the end of the block."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.guest(f"{prefix}-{number}")) for number in range(count)]

    @contextlib.contextmanager
    def guest(self, participant: str) -> Iterator[ClientConnection]:
        """Let one attendee join; the block begins when they have a seat or a place."""
        with connect(
            f"{self.service.url.replace('http', 'ws', 1)}/v1/ws",
            subprotocols=[Subprotocol("capacity.v1"), Subprotocol(f"bearer.{self.token(participant)}")],
            compression=None,
            proxy=None,
        ) as connection:
            assert '"type":"' in str(connection.recv(ANSWER_SECONDS))
            yield connection


def token(participant: str, *, account: str, role: str, ttl_seconds: int = 3600, **claims: Any) -> str:
    """Return a signed token."""
    fixed = {"aud": "capacity", "exp": int(time.time()) + ttl_seconds, "sub": participant, "account": account}
    return jwt.encode({**fixed, "role": role, **claims}, TOKEN_KEY, algorithm="HS256")
