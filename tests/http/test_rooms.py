"""Rooms over HTTP: who may do what, which ids are none, and what is answered."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from capacity.web.problems import STATUS
from tests.http.conftest import Service, token
from tests.http.recording_hub import REPORT

ROOM = "/v1/accounts/acme/rooms/launch"
ADDRESSES = [
    ("GET", ROOM),
    ("PUT", ROOM),
    ("DELETE", ROOM),
    ("GET", f"{ROOM}/report"),
    ("GET", f"{ROOM}/participants/ada"),
    ("DELETE", f"{ROOM}/participants/ada"),
]


def refusal(response: httpx.Response) -> str:
    """The code of a problem, after checking that it is a whole one."""
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert problem["status"] == response.status_code == STATUS[problem["code"]]
    assert problem["type"] == f"urn:problem-type:capacity:{problem['code']}"
    assert problem["title"] and problem["detail"]
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    return str(problem["code"])


def test_a_room_in_numbers(api: httpx.Client) -> None:
    response = api.get(ROOM)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "type": "occupancy",
        "room": "launch",
        "state": "not_started",
        "seat_limit": 100,
        "occupied": 0,
        "seated": 0,
        "away": 0,
        "held": 0,
        "waiting": 0,
        "free": 100,
        "peak": 0,
    }


def test_opening_and_ending_twice_gives_the_same_answer(api: httpx.Client) -> None:
    for method, state in ((api.put, "open"), (api.delete, "ended")):
        first, second = method(ROOM), method(ROOM)
        assert first.status_code == second.status_code == 200
        assert first.json() == second.json() == api.get(ROOM).json()
        assert first.json()["state"] == state


def test_too_many_open_rooms(api: httpx.Client, service: Service) -> None:
    for room in ("one", "two"):
        assert api.put(f"/v1/accounts/acme/rooms/{room}").status_code == 200
    assert refusal(api.put(ROOM)) == "concurrent_sessions_reached"
    assert api.get(ROOM).json()["state"] == "not_started"


def test_the_report(api: httpx.Client, service: Service) -> None:
    assert refusal(api.get(f"{ROOM}/report")) == "no_report"
    service.hub.reports["acme", "launch"] = REPORT
    assert api.get(f"{ROOM}/report").json() == {
        "opened_at": "2026-11-24T12:00:00Z",
        "ended_at": None,
        "peak": 97,
        "joined": 112,
        "waited": {"count": 12, "p50_seconds": 3.5, "p90_seconds": None},
        "turned_away": 4,
        "limit_changes": 1,
    }


def test_one_participant(api: httpx.Client, service: Service) -> None:
    held = api.get(f"{ROOM}/participants/ada")
    assert held.json() == {"participant": "ada", "state": "held", "position": None, "held_until": 1_795_521_660_000}
    assert api.delete(f"{ROOM}/participants/ada").json()["state"] == "put_out"
    assert refusal(api.get(f"{ROOM}/participants/bob")) == "unknown_participant"
    assert refusal(api.delete(f"{ROOM}/participants/bob")) == "unknown_participant"


def test_unknown_accounts(service: Service) -> None:
    with service.client(token(account="*")) as anybody:
        for method, address in ADDRESSES:
            response = anybody.request(method, address.replace("acme", "nobody"))
            assert (response.status_code, refusal(response)) == (404, "unknown_account")


# ---- who may what


@pytest.mark.parametrize(("method", "address"), ADDRESSES)
@pytest.mark.parametrize(
    ("role", "claims", "allowed"),
    [
        ("service", {}, True),
        ("service", {"account": "*"}, True),
        ("service", {"room": "elsewhere"}, True),
        ("service", {"account": "other"}, False),
        ("host", {}, True),
        ("host", {"billing": True}, True),
        ("host", {"room": "elsewhere"}, False),
        ("host", {"account": "other"}, False),
        ("host", {"room": "LAUNCH"}, False),
        ("attendee", {}, False),
        ("attendee", {"sub": "ada"}, False),
    ],
)
def test_who_may_act_on_a_room(
    service: Service, method: str, address: str, role: str, claims: dict[str, Any], allowed: bool
) -> None:
    service.hub.reports["acme", "launch"] = REPORT
    with service.client(token(role, **claims)) as client:
        response = client.request(method, address)
    if allowed:
        assert response.status_code == 200
        assert len(service.hub.calls) == 1
    else:
        assert (response.status_code, refusal(response)) == (403, "forbidden")
        assert not service.hub.calls


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "unauthorized"),
        ("", "unauthorized"),
        ("Bearer", "unauthorized"),
        ("Bearer nonsense", "unauthorized"),
        ("Basic YTpi", "unauthorized"),
        (token(), "unauthorized"),
        ("Token " + token(), "unauthorized"),
        ("Bearer " + token() + "x", "unauthorized"),
        ("Bearer " + token() + " " + token(), "unauthorized"),
        ("Bearer " + token(secret="another secret, also of 32 bytes"), "unauthorized"),
        ("Bearer " + token(aud="other"), "unauthorized"),
        ("Bearer " + token(exp=None), "unauthorized"),
        ("Bearer " + token("host", room=None), "unauthorized"),
        ("Bearer " + token(exp=int(time.time()) - 31), "token_expired"),
    ],
)
def test_no_or_bad_tokens(client: httpx.Client, service: Service, header: str | None, code: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, address in ADDRESSES:
        response = client.request(method, address, headers=headers)
        assert (response.status_code, refusal(response)) == (401, code)
        assert response.headers["www-authenticate"] == 'Bearer realm="capacity"'
        assert header is None or len(header) < 20 or header not in response.text
    assert not service.hub.calls


def test_two_tokens_are_none(client: httpx.Client) -> None:
    headers = [("Authorization", f"Bearer {token()}")] * 2
    assert refusal(client.get(ROOM, headers=headers)) == "unauthorized"


def test_the_scheme_is_in_any_case(client: httpx.Client) -> None:
    assert client.get(ROOM, headers={"Authorization": f"bEARER  {token()}"}).status_code == 200


@pytest.mark.parametrize("claims", [{"sub": "a b"}, {"account": ".."}, {"room": "a/b"}])
def test_bad_ids_in_a_token(service: Service, claims: dict[str, Any]) -> None:
    with service.client(token("host", **claims)) as client:
        response = client.get(ROOM)
    assert (response.status_code, refusal(response)) == (400, "invalid_id")


# ---- ids in the path


@pytest.mark.parametrize(
    ("segment", "participant"),
    [
        ("auth0%7Cada", "auth0|ada"),
        ("auth0|ada", "auth0|ada"),
        ("a%2Bb%3Dc~d", "a+b=c~d"),
        ("a+b=c~d", "a+b=c~d"),
        ("ada@example.com", "ada@example.com"),
        ("ada%40example.com:1", "ada@example.com:1"),
        ("%61da", "ada"),
        ("...", "..."),
        ("x" * 128, "x" * 128),
    ],
)
def test_ids_are_decoded_once(api: httpx.Client, service: Service, segment: str, participant: str) -> None:
    api.get(f"{ROOM}/participants/{segment}")
    assert service.hub.calls == [("participant", "acme", "launch", participant)]


@pytest.mark.parametrize(
    "bad",
    [
        "%2E%2E",
        "%2e",
        "a%2Fb",
        "a%2frooms%2Fb",
        "a%5Cb",
        "a%20b",
        "a%00",
        "%0A",
        "a%0d%0ab",
        "%C3%A4",
        "%FF",
        "%",
        "%zz",
        "%252F",
        "a%7Bb%7D",
        "*",
        "a,b",
        "a;b",
        "a%3Fb",
        "a%23b",
        "x" * 129,
    ],
)
@pytest.mark.parametrize(
    "template",
    [
        "/v1/accounts/{}/rooms/launch",
        "/v1/accounts/acme/rooms/{}",
        "/v1/accounts/acme/rooms/{}/report",
        "/v1/accounts/acme/rooms/launch/participants/{}",
    ],
)
def test_what_is_no_id(service: Service, template: str, bad: str) -> None:
    with service.client(token(account="*")) as anybody:
        response = anybody.get(template.format(bad))
    assert (response.status_code, refusal(response)) == (400, "invalid_id")
    assert not service.hub.calls


@pytest.mark.parametrize("character", ["%7C", "|", "%2B", "=", "~"])
def test_only_participants_have_the_further_characters(api: httpx.Client, character: str) -> None:
    assert refusal(api.get(f"/v1/accounts/acme/rooms/a{character}b")) == "invalid_id"
    assert refusal(api.get(f"/v1/accounts/a{character}b/rooms/launch")) == "invalid_id"


def raw_get(service: Service, target: str) -> tuple[int, str]:
    """Ask for a target that no client library would send. Returns the status and the body."""
    head = (
        f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token(account='*')}\r\n\r\n"
    )
    answer = service.raw(head.encode("latin-1")).decode()
    return int(answer.split(" ")[1]), answer.partition("\r\n\r\n")[2]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/accounts/../rooms/launch",
        "/v1/accounts/acme/rooms/..",
        "/v1/accounts/acme/rooms/.",
        "/v1/accounts/acme/rooms/",
        "/v1/accounts//rooms/launch",
        "/v1/accounts/acme/rooms/launch/participants/",
        "/v1/accounts/acme/rooms/launch/participants/..",
    ],
)
def test_dots_and_nothing_are_no_ids_either(service: Service, target: str) -> None:
    status, body = raw_get(service, target)
    assert (status, '"code":"invalid_id"' in body) == (400, True)
    assert not service.hub.calls


@pytest.mark.parametrize(
    "target",
    [
        "/v1/accounts/acme%2Frooms%2Flaunch",
        "/v1/accounts/acme/rooms%2Flaunch",
        "/v1%2Faccounts/acme/rooms/launch",
        "/v1/accounts/acme/rooms/launch/",
        "/v1/accounts/acme/rooms/launch/report/",
        "/v1/accounts/acme/rooms/launch/../launch",
        "//v1/accounts/acme/rooms/launch",
        "/V1/accounts/acme/rooms/launch",
        "/v1/accounts/acme/rooms/launch/reports",
        "/v1/accounts/acme/rooms",
        "/v1",
        "/",
    ],
)
def test_no_detour_leads_to_a_room(service: Service, target: str) -> None:
    status, body = raw_get(service, target)
    assert (status, '"code":"not_found"' in body) == (404, True)
    assert not service.hub.calls


# ---- the store is gone


@pytest.mark.parametrize(("method", "address"), ADDRESSES)
def test_without_a_store(api: httpx.Client, service: Service, method: str, address: str) -> None:
    service.hub.break_down()
    response = api.request(method, address)
    assert (response.status_code, refusal(response)) == (503, "unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert "connection refused" not in response.text
