"""CORS: the allowed origins, on `/v1` and the static modules, and nobody else anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.http.conftest import ORIGIN, Service, running, token
from tests.http.test_rooms import ROOM, refusal

FOREIGN = ["https://evil.example", "http://webinars.example", "https://webinars.example:444", "null", ORIGIN + "/", "*"]


def preflight(
    client: httpx.Client, path: str, origin: str = ORIGIN, method: str = "PUT", headers: str = ""
) -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return client.options(path, headers=asked | ({"Access-Control-Request-Headers": headers} if headers else {}))


def allowed(response: httpx.Response) -> str | None:
    assert "access-control-allow-credentials" not in response.headers
    origin: str | None = response.headers.get("access-control-allow-origin")
    return origin


def words(response: httpx.Response, header: str) -> set[str]:
    return {word.strip().lower() for word in response.headers.get(header, "").split(",")}


@pytest.mark.parametrize("path", [ROOM, "/v1/plans", "/v1/accounts/acme/quotes", "/static/seat.js"])
def test_the_preflight_of_an_allowed_origin(client: httpx.Client, path: str) -> None:
    response = preflight(client, path, headers="authorization, content-type,idempotency-key")
    assert response.status_code == 204
    assert allowed(response) == ORIGIN
    assert words(response, "access-control-allow-methods") >= {"get", "put", "post", "delete"}
    assert words(response, "access-control-allow-headers") >= {"authorization", "content-type", "idempotency-key"}
    assert "origin" in words(response, "vary")


@pytest.mark.parametrize("origin", FOREIGN)
def test_the_preflight_of_a_foreign_origin(client: httpx.Client, origin: str) -> None:
    response = preflight(client, ROOM, origin)
    assert (response.status_code, refusal(response), allowed(response)) == (403, "foreign_origin", None)
    assert "origin" in words(response, "vary")


def test_what_the_preflight_does_not_allow(client: httpx.Client) -> None:
    response = preflight(client, ROOM, method="PATCH", headers="x-secret")
    assert response.status_code == 204
    assert "patch" not in words(response, "access-control-allow-methods")
    assert "x-secret" not in words(response, "access-control-allow-headers")


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/readyz", "/openapi.json", "/v1x", "/host"])
def test_other_paths_have_none(client: httpx.Client, path: str) -> None:
    assert allowed(preflight(client, path)) is None
    assert allowed(client.get(path, headers={"Origin": ORIGIN})) is None


def test_answers_and_refusals_carry_the_origin(client: httpx.Client, service: Service) -> None:
    good = {"Origin": ORIGIN, "Authorization": f"Bearer {token()}"}
    for headers, status in ((good, 200), ({"Origin": ORIGIN}, 401)):
        response = client.get(ROOM, headers=headers)
        assert (response.status_code, allowed(response)) == (status, ORIGIN)
        assert "origin" in words(response, "vary")
        assert "retry-after" in words(response, "access-control-expose-headers")
    service.hub.failure = RuntimeError("surprise")
    assert allowed(client.get(ROOM, headers=good)) == ORIGIN


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_origin_gets_no_header(client: httpx.Client, origin: str) -> None:
    response = client.get(ROOM, headers={"Origin": origin, "Authorization": f"Bearer {token()}"})
    assert (response.status_code, allowed(response)) == (200, None)
    assert "origin" in words(response, "vary")


@pytest.fixture
def alone() -> Iterator[Service]:
    """A service with no allowed origins."""
    yield from running(Service(origins=()))


def test_without_allowed_origins_there_is_no_cors(alone: Service) -> None:
    with alone.client(token()) as client:
        assert allowed(preflight(client, ROOM)) is None
        assert allowed(client.get(ROOM, headers={"Origin": ORIGIN})) is None
