"""Whatever is asked, the answer is a defined one: never a 500, never a traceback."""

from __future__ import annotations

import json
import string
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.conftest import ORIGIN, Service, token
from tests.http.test_webhook import event, signed
from tests.support.wire import check

VISIBLE = "".join(character for character in string.printable if character.isprintable() and character not in " #?")
segments = st.one_of(
    st.sampled_from(
        [
            "v1",
            "accounts",
            "rooms",
            "acme",
            "launch",
            "participants",
            "report",
            "events",
            "replay",
            "plans",
            "jwks.json",
            "healthz",
        ]
    ),
    st.sampled_from(["", ".", "..", "%2F", "%2e%2e", "%00", "%ff", "%", "static", "metrics"]),
    st.text(VISIBLE, max_size=12),
)
ids = st.sampled_from(["acme", "launch", "acme", "nobody", "a%7Cb", "%61cme"]) | segments
room_paths = st.tuples(ids, ids, st.sampled_from(["", "/report", "/participants/ada", "/participants/"])).map(
    lambda found: f"/v1/accounts/{found[0]}/rooms/{found[1]}{found[2]}"
)
targets = st.one_of(room_paths, room_paths, st.lists(segments, max_size=9).map(lambda found: "/" + "/".join(found)))
methods = st.sampled_from(["GET", "GET", "PUT", "DELETE", "HEAD", "POST", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Authorization",
            "Origin",
            "Access-Control-Request-Method",
            "Access-Control-Request-Headers",
            "Content-Type",
            "Accept",
            "Host",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "X-HTTP-Method-Override",
            "X-Forwarded-Prefix",
            "Range",
            "If-None-Match",
        ]
    ),
    values | st.sampled_from([ORIGIN, "Bearer x", "PUT"]),
    max_size=6,
)
tokens = st.sampled_from([token(account="*"), token(), token("host"), token("attendee"), token("host", room="a b"), ""])
bounded = settings(max_examples=150, deadline=None)


@bounded
@given(method=methods, target=targets, auth=tokens, given_headers=headers, query=values, body=st.binary(max_size=60))
def test_any_request(
    one_service: Service, method: str, target: str, auth: str, given_headers: dict[str, str], query: str, body: bytes
) -> None:
    lines = {"Host": "x", "Connection": "close", "Content-Length": str(len(body))}
    lines |= ({"Authorization": f"Bearer {auth}"} if auth else {}) | given_headers
    question = "?" + query.replace(" ", "+").replace("#", "") if query else ""
    head = f"{method} {target}{question} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in lines.items()
    )
    check(one_service.raw(head.encode("ascii") + b"\r\n" + body))


@bounded
@given(
    body=st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists, max_leaves=9).map(
        lambda found: json.dumps(found).encode()
    )
)
def test_any_signed_body(one_service: Service, body: bytes) -> None:
    one_service.hub.reset()
    with one_service.client() as client:
        response = client.post("/v1/events", content=body, headers=signed(body))
    assert response.status_code == 400
    assert response.json()["code"] in {"malformed", "unknown_type"}
    assert not one_service.hub.events


@bounded
@given(
    change=st.dictionaries(
        st.sampled_from(["specversion", "id", "source", "type", "subject", "time", "data", "extra"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=10)
        | st.dictionaries(
            st.sampled_from(["account", "plan", "seats", "version", "concurrent_sessions"]),
            st.integers() | st.text(max_size=5) | st.just("acme"),
        ),
    )
)
def test_any_signed_event(one_service: Service, change: dict[str, Any]) -> None:
    one_service.hub.reset()
    body = event(**change)
    with one_service.client() as client:
        response = client.post("/v1/events", content=body, headers=signed(body))
    accepted = response.status_code == 202
    assert accepted or response.json()["code"] in {"malformed", "unknown_type", "subject_mismatch", "invalid_id"}
    assert one_service.hub.events == ([body] if accepted else [])


def test_nothing_was_written_to_the_console(service: Service, client: httpx.Client, capfd: Any) -> None:
    """One of each hostile kind once more, with an eye on what the server prints."""
    for target in ("/%ff%00", "/v1/accounts/%/rooms/%2F", "/v1/events?" + "a" * 3000):
        for method in ("GET", "POST", "PATCH"):
            client.request(method, target, headers={"Authorization": "Bearer " + "x" * 5000})
    assert "Traceback" not in "".join(capfd.readouterr())
