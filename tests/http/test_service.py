"""The service itself over HTTP: health, readiness, keys, plans, methods, problems, metrics, log lines."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import jwt
import pytest
from jwt import PyJWKSet
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from capacity import __version__
from capacity.app import gateway_of
from capacity.domain import plans
from capacity.errors import ErrorCode
from capacity.protocol.answers import Plans
from capacity.protocol.tokens import Claims
from capacity.settings import Payments, Settings
from capacity.web.problems import STATUS, problem, title
from tests.http.conftest import Service, running, token
from tests.http.test_rooms import ROOM, refusal
from tests.http.test_webhook import event, post, signed


def test_health(client: httpx.Client) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "version": __version__})


def test_readiness(client: httpx.Client, service: Service) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "problems": []})
    service.hub.reasons = ["store_unavailable", "draining"]
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "not_ready", "problems": ["store_unavailable", "draining"]}
    assert response.headers["retry-after"]
    assert client.get("/healthz").status_code == 200


def test_a_pass_is_checked_by_the_published_keys(client: httpx.Client, service: Service) -> None:
    assert service.key is not None
    claims = Claims("ada", "acme", "launch", "attendee", 0)
    given = service.key.issue(claims, int(time.time() * 1000)).token
    response = client.get("/v1/jwks.json")
    assert response.headers["cache-control"] == "public, max-age=300"
    keys = PyJWKSet.from_dict(response.json())
    kid = jwt.get_unverified_header(given)["kid"]
    assert jwt.decode(given, keys[kid], audience="capacity-seat", algorithms=["EdDSA"])["sub"] == "ada"


def test_keys_before_the_store_was_read(
    client: httpx.Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "key", None)
    assert refusal(client.get("/v1/jwks.json")) == "unavailable"


def test_plans_on_sale(service: Service) -> None:
    for role in ("attendee", "host", "service"):
        with service.client(token(role)) as client:
            answer = client.get("/v1/plans").json()
        found = answer["plans"]
        assert answer.keys() == {"plans", "payments"} and answer["payments"] is None, "there is no desk"
        assert [plan["id"] for plan in found] == [plan.id for plan in plans.load(None).on_sale()]
    assert all(
        set(plan) == {"id", "name", "seats", "cycle_days", "price", "concurrent_session_price", "trial"}
        for plan in found
    )
    assert all(set(plan["price"]) == {"amount", "currency"} for plan in found)


@pytest.mark.parametrize("payments", get_args(Payments))
def test_plans_say_how_they_are_paid(payments: Payments) -> None:
    """Each gateway of the settings by the word of its setting."""
    catalogue = plans.load(None)
    gateway = gateway_of(Settings(data_dir=Path("unused"), payments=payments, stripe_key="sk_test_1"), None)
    assert Plans.of(catalogue, gateway.kind) == Plans(Plans.of(catalogue, None).plans, payments)


def test_plans_need_a_token(client: httpx.Client) -> None:
    assert refusal(client.get("/v1/plans")) == "unauthorized"
    expired = {"Authorization": f"Bearer {token(exp=1)}"}
    assert refusal(client.get("/v1/plans", headers=expired)) == "token_expired"


# ---- methods


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/v1/jwks.json", "/v1/plans", ROOM]
)
def test_head_is_get_without_a_body(api: httpx.Client, path: str) -> None:
    head = api.head(path)
    assert (head.status_code, head.content) == (200, b"")
    got = api.get(path)
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":
        assert head.headers["content-length"] == str(len(got.content))


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/v1/events", "POST, GET, HEAD, OPTIONS"),
        (ROOM, "GET, PUT, DELETE, HEAD, OPTIONS"),
        (f"{ROOM}/report", "GET, HEAD, OPTIONS"),
        (f"{ROOM}/participants/ada", "GET, DELETE, HEAD, OPTIONS"),
    ],
)
def test_other_methods(client: httpx.Client, path: str, allow: str) -> None:
    options = client.options(path)
    assert (options.status_code, options.content, options.headers["allow"]) == (204, b"", allow)
    for method in ("PATCH", "TRACE", "PROPFIND", "QUERY"):
        response = client.request(method, path)
        assert (refusal(response) if path.startswith("/v1") else response.json()["code"]) == "method_not_allowed"
        assert (response.status_code, response.headers["allow"]) == (405, allow)


@pytest.mark.parametrize("path", ["/v1/", "/v1/nothing", "/v1/accounts/acme", "/v1/healthz"])
def test_addresses_that_lead_nowhere(api: httpx.Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert refusal(api.request(method, path)) == "not_found"


def test_careful_headers(client: httpx.Client) -> None:
    for path in ("/healthz", "/nowhere", "/v1/plans", ROOM):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert (headers.get("cache-control") == "no-store") == path.startswith("/v1")


# ---- problems


def test_every_code_has_a_status_and_a_title() -> None:
    assert set(ErrorCode) <= set(STATUS)
    for code in STATUS:
        assert title(code)
        assert 400 <= problem(code).status_code < 600


class Surprise(Exception):
    """Carries what a client sent, as exceptions of parsers do."""


def test_an_unexpected_error_is_a_problem_and_one_line(
    api: httpx.Client, service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    service.hub.failure = Surprise("the client sent hunter2")
    with capture_logs() as logs:
        response = api.get(ROOM, params={"secret": "hunter3"})
    assert (response.status_code, refusal(response)) == (500, "internal_error")
    assert "Surprise" not in response.text
    assert logs == [
        {
            "event": "request_failed",
            "log_level": "error",
            "error": "Surprise",
            "at": logs[0]["at"],
            "route": "/v1/accounts/{account}/rooms/{room}",
        }
    ]
    assert logs[0]["at"].startswith("tests.http.recording_hub:")
    written = "".join(capfd.readouterr())
    assert "Traceback" not in written
    assert "hunter" not in written + repr(logs)


# ---- metrics and log


def samples(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def grown(before: dict[Any, float], after: dict[Any, float], name: str, **labels: str) -> float:
    key = (name, frozenset(labels.items()))
    return after.get(key, 0) - before.get(key, 0)


def test_requests_are_counted(api: httpx.Client, service: Service) -> None:
    before = samples(api)
    api.get(ROOM)
    api.get("/v1/accounts/nobody/rooms/launch")
    api.get("/nowhere/at-all")
    api.request("PROPFIND", ROOM)
    post(api, event())
    post(api, b"{}")
    api.post("/v1/events", content=b"")
    after = samples(api)
    room, requests, refusals = (
        "/v1/accounts/{account}/rooms/{room}",
        "capacity_http_requests_total",
        "capacity_http_refusals_total",
    )
    assert grown(before, after, requests, route=room, method="GET", status="200") == 1
    assert grown(before, after, requests, route=room, method="GET", status="403") == 1
    assert grown(before, after, requests, route=room, method="other", status="405") == 1
    assert grown(before, after, requests, route="none", method="GET", status="404") == 1
    assert grown(before, after, "capacity_http_request_seconds_count", route=room) == 3
    assert grown(before, after, refusals, code="forbidden") == 1
    assert grown(before, after, refusals, code="not_found") == 1
    for outcome in ("accepted", "malformed", "invalid_signature"):
        assert grown(before, after, "capacity_webhook_events_total", outcome=outcome) == 1


def test_gauges_are_of_the_moment(client: httpx.Client, service: Service) -> None:
    service.hub.connections = 42
    found = samples(client)
    assert found["capacity_connections", frozenset()] == 42
    assert found["capacity_ready", frozenset()] == 1
    service.hub.reasons = ["draining"]
    assert samples(client)["capacity_ready", frozenset()] == 0
    assert found["capacity_build_info", frozenset({("version", __version__)})] == 1


def test_gauges_of_the_hub_are_each_their_own(client: httpx.Client, service: Service) -> None:
    shown = {
        "hubs": 3, "seats_over": 15, "unanswered": 20, "store_usable": 1, "feed_silent_seconds": 0.5,
        "plan_changes_lag": 30, "plan_changes_pending": 40,
    }  # fmt: skip
    found = samples(client)
    assert {name: found[f"capacity_{name}", frozenset()] for name in shown} == shown
    for state, count in service.hub.gauges().participants.items():
        assert found["capacity_participants", frozenset({("state", state)})] == count
    for level, count in service.hub.gauges().rooms.items():
        assert found["capacity_rooms", frozenset({("level", level)})] == count
    service.hub.reasons = ["store_unavailable"]
    assert samples(client)["capacity_store_usable", frozenset()] == 0


def test_counts_of_the_hub_and_the_edge(client: httpx.Client, service: Service) -> None:
    before = samples(client)
    service.hub.stats.joins["seated"] += 3
    service.hub.stats.events["applied"] += 2
    service.hub.stats.refreshes += 5
    service.hub.stats.store_outages += 1
    service.metrics.edge.accepted += 7
    service.metrics.edge.messages += 8
    service.metrics.edge.slow += 1
    assert client.get("/v1/ws").status_code == 426
    after = samples(client)
    assert grown(before, after, "capacity_joins_total", answer="seated") == 3
    assert grown(before, after, "capacity_plan_changes_total", verdict="applied") == 2
    assert grown(before, after, "capacity_refreshes_total") == 5
    assert grown(before, after, "capacity_store_outages_total") == 1
    assert grown(before, after, "capacity_handshakes_total") == 7
    assert grown(before, after, "capacity_messages_total") == 8
    assert grown(before, after, "capacity_drops_total", why="slow") == 1
    assert grown(before, after, "capacity_edge_refusals_total", reason="upgrade_required") == 1
    assert after["capacity_sockets", frozenset()] == 0


def test_no_metric_names_anybody(service: Service) -> None:
    with service.client(token(account="*")) as client:
        client.get("/v1/accounts/secret-account/rooms/secret-room/participants/secret-person?q=secret-query")
        client.get("/secret-path")
        assert "secret" not in client.get("/metrics").text.lower()


def test_the_table_of_metrics_is_complete(client: httpx.Client) -> None:
    from capacity.web import metrics

    assert metrics.__doc__ is not None
    for name, _ in samples(client):
        base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count").removesuffix("_created")
        if base.startswith("capacity_"):
            assert f"`{base}`" in metrics.__doc__ or f"`{base}_total`" in metrics.__doc__, name


@pytest.fixture
def quiet() -> Iterator[Service]:
    """A service of its own, which has logged nothing yet: each kind of line stands once a second at most."""
    yield from running(Service())


def test_log_lines_name_nobody_and_no_secret(quiet: Service) -> None:
    with quiet.client() as client, capture_logs() as logs:
        post(client, event(subject="other"))
        client.post("/v1/events?key=secret", content=b"", headers=signed(b"x") | {"Authorization": "Bearer secret"})
        quiet.hub.break_down()
        client.get("/v1/accounts/acme/rooms/launch?key=secret", headers={"Authorization": f"Bearer {token()}"})
        client.get(ROOM)
        client.get("/nowhere")
    fields = {"event", "log_level", "route", "method", "status", "code", "unlogged"}
    assert all(set(line) == fields for line in logs)
    assert [line["code"] for line in logs] == ["subject_mismatch", "invalid_signature", "unavailable"]
    assert not any(word in repr(logs) for word in ("secret", "acme", "v1,", "msg_1", "eyJ"))


def test_a_flood_of_refusals_is_one_line_a_second(quiet: Service) -> None:
    started_at = time.monotonic()
    with quiet.client() as client, capture_logs() as logs:
        for _ in range(50):
            client.post("/v1/events", content=b"")
    seconds = time.monotonic() - started_at
    assert 1 <= len(logs) <= 1 + seconds


def test_a_connection_that_says_nothing_harms_nobody(client: httpx.Client, service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port)):
        assert client.get("/healthz").status_code == 200
