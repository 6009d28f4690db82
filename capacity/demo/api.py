"""The public HTTP interface, as the demo uses it: small and blocking, for a thread of its own."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import Any

import msgspec

REQUEST_SECONDS = 10.0
POLL_SECONDS = 0.05


class Answer(msgspec.Struct, frozen=True):
    """A status, and the JSON that came with it (None if there was none)."""

    status: int
    body: Any


class NoAnswer(Exception):
    """The service did not answer as it should within the time. `str()` is one sentence."""


class Api:
    """The service at one address. Every call opens a connection of its own; any thread may call."""

    def __init__(self, host: str, port: int) -> None:
        self.host = _reachable(host)
        self.port = port

    @property
    def url(self) -> str:
        """The address that a browser on this machine opens."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def request(self, method: str, path: str, *, token: str | None = None, body: bytes = b"") -> Answer:
        """Return the answer. Raises OSError or http.client.HTTPException when there is none."""
        sent = {}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body:
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=REQUEST_SECONDS)
        try:
            connection.request(method, path, body or None, sent)
            response = connection.getresponse()
            raw = response.read()
            return Answer(response.status, _json(raw))
        finally:
            connection.close()

    def until(
        self, status: int, ask: Callable[[], Answer], *, what: str, seconds: float, stop: Callable[[], bool]
    ) -> Answer:
        """Ask again and again until the answer has this status, and return it.

        Raises NoAnswer, which says what was wanted and what came, after so many seconds or as soon as `stop()` is true.
        """
        deadline = time.monotonic() + seconds
        came = "nothing"
        while not stop() and time.monotonic() < deadline:
            try:
                answer = ask()
            except (OSError, http.client.HTTPException) as error:
                came = str(error)
            else:
                if answer.status == status:
                    return answer
                came = f"{answer.status} {answer.body}"
            time.sleep(POLL_SECONDS)
        raise NoAnswer(f"{what}: expected {status}, got {came}.")


def _reachable(host: str) -> str:
    """The address by which this machine reaches a server that listens on `host`."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _json(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
