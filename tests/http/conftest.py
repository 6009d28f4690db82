"""The HTTP surface on a real uvicorn in a thread of its own, with the real edge and key ring and a recording hub."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest
import uvicorn
from starlette.applications import Starlette

from capacity.domain import plans
from capacity.protocol.passes import PassKey
from capacity.web.auth import KeyRing
from capacity.web.edge import protocol_class
from capacity.web.metrics import Metrics
from capacity.web.problems import exception_handlers
from capacity.web.routes import middleware, routes
from tests.http.recording_event_log import RecordingEventLog
from tests.http.recording_hub import RecordingHub

SECRET = "a secret of the tests, 32 bytes or more"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"a webhook secret of the tests...").decode()
ORIGIN = "https://webinars.example"
START_SECONDS = 10
BODY_SECONDS = 0.5
TOKEN_SECONDS = 12 * 3600


class Service:
    """One running service. `key` is the key of the seat passes; None: not read yet."""

    def __init__(
        self, *, webhook_secrets: tuple[str, ...] = (WEBHOOK_SECRET,), origins: tuple[str, ...] = (ORIGIN,)
    ) -> None:
        self.hub = RecordingHub()
        self.event_log = RecordingEventLog()
        self.metrics = Metrics()
        self.key: PassKey | None = PassKey.generate()
        keyring = KeyRing(SECRET)
        app = Starlette(
            routes=routes(
                self.hub,
                keyring,
                event_log=self.event_log,
                webhook_secrets=webhook_secrets,
                catalogue=plans.load(None),
                pass_key=lambda: self.key,
                metrics=self.metrics,
                body_seconds=BODY_SECONDS,
            ).public,
            middleware=middleware(self.metrics, origins),
            exception_handlers=exception_handlers(),
        )
        edge = protocol_class(hub=self.hub, verify=keyring.verify, allowed_origins=origins, stats=self.metrics.edge)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", http=edge, ws="none")
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._wait_until(lambda: self._server.started, "started")

    def wait_until_busy(self) -> None:
        """Return when a request is being answered."""
        self._wait_until(lambda: self._server.server_state.tasks, "busy")

    def wait_until_idle(self) -> None:
        """Return when no request is being answered."""
        self._wait_until(lambda: not self._server.server_state.tasks, "idle")

    def _wait_until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"uvicorn is not {what}"
            assert self._thread.is_alive(), "uvicorn ended"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive(), "uvicorn did not stop"

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Plain HTTP on loopback: without `verify` no certificates are loaded, which takes longer than the request.
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, trust_env=False, verify=False)

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are; return all that comes until the server closes (the request should ask for it)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


def token(role: str = "service", *, secret: str = SECRET, **claims: Any) -> str:
    """A signed token; a claim given as None is left out."""
    payload = {
        "sub": "tester",
        "account": "acme",
        "role": role,
        "aud": "capacity",
        "exp": int(time.time()) + TOKEN_SECONDS,
    }
    if role != "service":
        payload["room"] = "launch"
    found = {name: value for name, value in (payload | claims).items() if value is not None}
    return jwt.encode(found, secret, algorithm="HS256")


def running(service: Service) -> Iterator[Service]:
    service.start()
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def one_service() -> Iterator[Service]:
    """The service that all tests share; they see it through `service`."""
    yield from running(Service())


@pytest.fixture
def service(one_service: Service) -> Service:
    """The service, with nothing in its hub and its event log."""
    one_service.hub.reset()
    one_service.event_log.reset()
    return one_service


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """A client without a token."""
    with service.client() as found:
        yield found


@pytest.fixture
def api(service: Service) -> Iterator[httpx.Client]:
    """A client with the token of acme's service."""
    with service.client(token()) as found:
        yield found
