"""The ingest console over HTTP: who may see what, and what a query may say."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.http.conftest import Service, running, token
from tests.http.recording_event_log import ENTRY, NEXT, REPLAYED

EVENTS = "/v1/events"
REPLAY = f"{EVENTS}/{ENTRY}/replay"


def refusal(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.json()["code"])


def test_a_page(api: httpx.Client) -> None:
    page = api.get(EVENTS).json()
    assert page["next"] == NEXT
    unreadable, applied = page["events"]
    assert (unreadable["verdict"], unreadable["reason"], unreadable["account"]) == ("rejected", "malformed", None)
    assert unreadable["handled_at"] == "2026-11-23T10:12:40.123000Z"
    assert (applied["id"], applied["seats"], applied["replay_of"]) == ("evt-1042", 100, "1795428740000-0")
    assert applied["time"] == "9999-12-31T23:59:59.999000Z", "a day beyond the calendar is its last instant"
    assert unreadable.keys() == applied.keys()


@pytest.mark.parametrize(
    ("account", "query", "asked"),
    [
        ("acme", "", ("acme", None, 50, None)),
        ("acme", "?account=acme", ("acme", None, 50, None)),
        ("*", "", (None, None, 50, None)),
        ("*", f"?account=other&verdict=stale&limit=500&before={NEXT}", ("other", "stale", 500, NEXT)),
    ],
)
def test_what_is_asked_for(service: Service, account: str, query: str, asked: tuple[object, ...]) -> None:
    with service.client(token(account=account)) as client:
        assert client.get(EVENTS + query).status_code == 200
    assert service.event_log.calls == [("page", *asked)]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=",
        "verdict=fine",
        "before=0-0",
        "before=5",
        "before=5-5%0A",
        f"before={10**19}-1",
        "account=a%2Fb",
        "account=acme%0A",
        "account=",
        "account=acme&account=acme",
        "acount=acme",
        "limit=%ff",
    ],
)
def test_a_query_that_says_nothing_that_there_is(api: httpx.Client, service: Service, query: str) -> None:
    response = api.get(f"{EVENTS}?{query}")
    assert (response.status_code, refusal(response)) == (400, "malformed")
    assert not service.event_log.calls


@pytest.mark.parametrize("path", [EVENTS, REPLAY])
@pytest.mark.parametrize("role", ["host", "attendee"])
def test_only_services_may(service: Service, role: str, path: str) -> None:
    with service.client(token(role, billing=True if role == "host" else None)) as client:
        response = client.request("POST" if path == REPLAY else "GET", path)
    assert (response.status_code, refusal(response)) == (403, "forbidden")
    assert not service.event_log.calls


def test_a_service_asks_for_its_own_account_alone(api: httpx.Client, service: Service) -> None:
    assert refusal(api.get(f"{EVENTS}?account=other")) == "forbidden"
    assert not service.event_log.calls


@pytest.mark.parametrize(("account", "scope"), [("acme", "acme"), ("*", None)])
def test_a_replay(service: Service, account: str, scope: str | None) -> None:
    with service.client(token(account=account)) as client:
        response = client.post(REPLAY)
    assert (response.status_code, response.json()) == (202, {"entry": REPLAYED, "replay_of": ENTRY})
    assert service.event_log.calls == [("replay", ENTRY, scope)]


def test_the_reason_why_an_event_cannot_be_replayed(api: httpx.Client, service: Service) -> None:
    service.event_log.refuse_replays()
    response = api.post(REPLAY)
    assert (response.status_code, refusal(response)) == (409, "not_replayable")
    assert "malformed" in response.json()["detail"]


@pytest.fixture
def without_webhook() -> Iterator[Service]:
    """A service without a webhook secret."""
    yield from running(Service(webhook_secrets=()))


def test_it_needs_no_webhook(without_webhook: Service) -> None:
    with without_webhook.client(token()) as client:
        assert client.get(EVENTS).status_code == 200
        assert client.post(REPLAY).status_code == 202
