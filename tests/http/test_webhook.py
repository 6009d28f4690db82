"""`POST /v1/events`: what is accepted goes to the hub byte for byte, what is not goes nowhere."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from capacity.protocol.events import build
from capacity.protocol.signatures import sign
from tests.http.conftest import WEBHOOK_SECRET, Service, running
from tests.http.test_rooms import refusal

EVENTS = "/v1/events"
LIMIT = 64 * 1024


def event(**changes: Any) -> bytes:
    found = json.loads(build("acme", "pro", 120, source="/billing", id="evt-1", time_ms=1_795_521_600_000))
    return json.dumps(found | changes).encode()


def signed(body: bytes, *, off_seconds: int = 0, secret: str = WEBHOOK_SECRET) -> dict[str, str]:
    return sign(secret, "msg_1", int(time.time()) + off_seconds, body)


def post(client: httpx.Client, body: bytes, **options: Any) -> httpx.Response:
    return client.post(EVENTS, content=body, headers=signed(body, **options))


def test_an_accepted_event_is_passed_on_as_it_came(client: httpx.Client, service: Service) -> None:
    body = b"\n " + event(more=[1, 2]) + b" "
    response = post(client, body)
    assert response.status_code == 202
    assert response.json() == {"id": "evt-1", "source": "/billing"}
    assert service.hub.events == [body]


@pytest.mark.parametrize("off", [-290, 290])
def test_a_timestamp_a_little_off(client: httpx.Client, off: int) -> None:
    assert post(client, event(), off_seconds=off).status_code == 202


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed"),
        (b"{}", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 60_000, "malformed"),
        (event(specversion="0.3"), "malformed"),
        (event(data={"account": "acme", "plan": "pro", "seats": 12.5}), "malformed"),
        (b"[" + event() + b"]", "malformed"),
        (event(type="capacity.other"), "unknown_type"),
        (event(subject="other"), "subject_mismatch"),
        (event(subject="a b", data={"account": "a b", "plan": "pro", "seats": 1}), "invalid_id"),
    ],
)
def test_what_cannot_be_read(client: httpx.Client, service: Service, body: bytes, code: str) -> None:
    response = post(client, body)
    assert (response.status_code, refusal(response)) == (400, code)
    assert not service.hub.events


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(event(id="another")),
        signed(event(), secret="whsec_" + "A" * 44),
        signed(event(), off_seconds=-301),
        signed(event(), off_seconds=3600),
        signed(event()) | {"webhook-signature": "v1,%%%"},
        signed(event()) | {"webhook-timestamp": "now"},
        signed(event()) | {"webhook-id": ""},
        {"Authorization": "Bearer x"},
    ],
)
def test_wrong_signatures(client: httpx.Client, service: Service, headers: dict[str, str]) -> None:
    response = client.post(EVENTS, content=event(), headers=headers)
    assert (response.status_code, refusal(response)) == (401, "invalid_signature")
    assert not service.hub.events


def test_the_signature_is_checked_before_the_event(client: httpx.Client) -> None:
    assert refusal(client.post(EVENTS, content=b"nonsense")) == "invalid_signature"


def test_the_largest_body(client: httpx.Client, service: Service) -> None:
    body = event().ljust(LIMIT)
    assert post(client, body).status_code == 202
    assert service.hub.events == [body]


@pytest.mark.parametrize("size", [LIMIT + 1, 5 * LIMIT, 900_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body(client: httpx.Client, service: Service, size: int, chunked: bool) -> None:
    body = event().ljust(size)
    content: bytes | Iterator[bytes] = iter([body[:1000], body[1000:]]) if chunked else body
    response = client.post(EVENTS, content=content, headers=signed(body))
    assert (response.status_code, refusal(response)) == (413, "too_large")
    assert not service.hub.events


def test_an_endless_body_is_cut_off(service: Service) -> None:
    """However much is sent, the server reads a bounded part and closes."""
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(head)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while sent < 500_000_000:
                sent += connection.send(b" " * 65536)
    assert sent < 50_000_000
    assert not service.hub.events


def test_a_body_that_does_not_come(service: Service) -> None:
    answer = service.raw(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


def test_a_sender_that_goes_away_is_no_news(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as logs:
        with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
            connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            service.wait_until_busy()
        service.wait_until_idle()
    assert not logs
    assert not caplog.records
    assert not service.hub.events


def test_without_a_store(client: httpx.Client, service: Service) -> None:
    service.hub.break_down()
    response = post(client, event())
    assert (response.status_code, refusal(response)) == (503, "unavailable")
    assert response.headers["retry-after"]


@pytest.fixture
def closed() -> Iterator[Service]:
    """A service without a webhook secret."""
    yield from running(Service(webhook_secrets=()))


def test_without_a_secret_there_is_no_webhook(closed: Service) -> None:
    with closed.client() as client:
        response = post(client, event())
    assert (response.status_code, refusal(response)) == (404, "not_found")
    assert not closed.hub.events


def test_a_wrong_secret_stops_the_start() -> None:
    with pytest.raises(ValueError, match="webhook secret"):
        Service(webhook_secrets=("whsec_",))


@pytest.fixture
def rotating() -> Iterator[Service]:
    """A service that takes an old and a new secret."""
    yield from running(Service(webhook_secrets=("whsec_" + "B" * 44, WEBHOOK_SECRET)))


def test_both_secrets_of_a_rotation(rotating: Service) -> None:
    with rotating.client() as client:
        assert post(client, event()).status_code == 202
        assert post(client, event(), secret="whsec_" + "B" * 44).status_code == 202
        assert post(client, event(), secret="whsec_" + "C" * 44).status_code == 401
