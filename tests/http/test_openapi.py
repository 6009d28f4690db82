"""`/openapi.json` against the service as it answers: every operation, every status and every code in it is provoked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from tests.http.conftest import Service, running, token
from tests.http.recording_event_log import ENTRY
from tests.http.recording_hub import REPORT
from tests.http.test_webhook import LIMIT, event, signed
from tests.support import wire
from tests.support.described import body_validator, check, codes, described_answers, operations

ROOM = "/v1/accounts/{account}/rooms/{room}"
EVENTS = "/v1/events"
REPLAY = "/v1/events/{entry}/replay"
IDS = {"account": "acme", "room": "launch", "participant": "ada", "entry": ENTRY}

Asked = Callable[[Service, str, str], httpx.Response]


class Case(NamedTuple):
    """One way to get one answer: status, code (None: no refusal), and how to ask."""

    status: int
    code: str | None
    ask: Asked


def ask(auth: str | None, prepare: Callable[[Service], object] | None = None, query: str = "", **ids: str) -> Asked:
    """A plain request with a token, after preparing the service."""

    def asked(service: Service, method: str, path: str) -> httpx.Response:
        if prepare:
            prepare(service)
        with service.client(auth) as client:
            return client.request(method, path.format(**(IDS | ids)) + query)

    return asked


def post(
    body: bytes, headers: dict[str, str] | None = None, prepare: Callable[[Service], object] | None = None
) -> Asked:
    """A webhook call, signed unless headers are given."""

    def asked(service: Service, method: str, path: str) -> httpx.Response:
        if prepare:
            prepare(service)
        with service.client() as client:
            return client.request(method, path, content=body, headers=signed(body) if headers is None else headers)

    return asked


def stalled(service: Service, method: str, path: str) -> httpx.Response:
    """A request whose body never comes."""
    return wire.response(
        service.raw(f"{method.upper()} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode())
    )


def break_down(service: Service) -> None:
    service.hub.break_down()


def break_down_the_log(service: Service) -> None:
    service.event_log.break_down()


def refuse_replays(service: Service) -> None:
    service.event_log.refuse_replays()


def not_ready(service: Service) -> None:
    service.hub.reasons = ["store_unavailable"]


def lose_the_key(service: Service) -> None:
    service.key = None


def with_report(service: Service) -> None:
    service.hub.reports["acme", "launch"] = REPORT


def with_two_open_rooms(service: Service) -> None:
    with service.client(token()) as client:
        for room in ("one", "two"):
            client.put(f"/v1/accounts/acme/rooms/{room}").raise_for_status()


OPEN = [Case(200, None, ask(None))]
TOKEN = [
    Case(200, None, ask(token())),
    Case(401, "unauthorized", ask(None)),
    Case(401, "token_expired", ask(token(exp=int(time.time()) - 60))),
    Case(400, "invalid_id", ask(token(sub="a b"))),
]
ROOMS = [
    *TOKEN,
    Case(400, "invalid_id", ask(token(), room="a%2Fb")),
    Case(403, "forbidden", ask(token("attendee"))),
    Case(404, "unknown_account", ask(token(account="*"), account="nobody")),
    Case(503, "unavailable", ask(token(), break_down)),
]
UNKNOWN = Case(404, "unknown_participant", ask(token(), participant="bob"))
CASES: dict[tuple[str, str], list[Case]] = {
    ("get", "/healthz"): OPEN,
    ("get", "/readyz"): [*OPEN, Case(503, None, ask(None, not_ready))],
    ("get", "/metrics"): OPEN,
    ("get", "/openapi.json"): OPEN,
    ("get", "/asyncapi.json"): OPEN,
    ("get", "/v1/jwks.json"): [*OPEN, Case(503, "unavailable", ask(None, lose_the_key))],
    ("get", "/v1/plans"): TOKEN,
    ("get", ROOM): ROOMS,
    ("put", ROOM): [*ROOMS, Case(409, "concurrent_sessions_reached", ask(token(), with_two_open_rooms))],
    ("delete", ROOM): ROOMS,
    ("get", f"{ROOM}/report"): [
        Case(200, None, ask(token(), with_report)),
        *ROOMS[1:],
        Case(404, "no_report", ask(token())),
    ],
    ("get", f"{ROOM}/participants/{{participant}}"): [*ROOMS, UNKNOWN],
    ("delete", f"{ROOM}/participants/{{participant}}"): [*ROOMS, UNKNOWN],
    ("get", EVENTS): [
        *TOKEN,
        Case(400, "malformed", ask(token(), query="?limit=0")),
        Case(403, "forbidden", ask(token("host"))),
        Case(403, "forbidden", ask(token(), query="?account=other")),
        Case(503, "unavailable", ask(token(), break_down_the_log)),
    ],
    ("post", REPLAY): [
        Case(202, None, ask(token())),
        *TOKEN[1:],
        Case(400, "invalid_id", ask(token(), entry="0-0")),
        Case(403, "forbidden", ask(token("host"))),
        Case(404, "unknown_event", ask(token(), entry="1-1")),
        Case(409, "not_replayable", ask(token(), refuse_replays)),
        Case(503, "unavailable", ask(token(), break_down_the_log)),
    ],
    ("post", EVENTS): [
        Case(202, None, post(event())),
        Case(400, "malformed", post(b"{}")),
        Case(400, "unknown_type", post(event(type="x"))),
        Case(400, "subject_mismatch", post(event(subject="x"))),
        Case(400, "invalid_id", post(event(subject="..", data={"account": "..", "plan": "p", "seats": 1}))),
        Case(401, "invalid_signature", post(event(), {})),
        Case(408, "request_timeout", stalled),
        Case(413, "too_large", post(b" " * (LIMIT + 1))),
        Case(503, "unavailable", post(event(), None, break_down)),
    ],
}
NOT_PROVOKED_HERE = {("post", "/v1/events", 404, "not_found")}
"""Needs a service without a webhook secret: `test_the_webhook_without_a_secret`."""


@pytest.fixture(scope="module")
def document(one_service: Service) -> dict[str, Any]:
    """The document, as it is served."""
    with one_service.client() as client:
        found: dict[str, Any] = client.get("/openapi.json").json()
    return found


@pytest.mark.parametrize(
    ("method", "path", "case"),
    [
        pytest.param(method, path, case, id=f"{method} {path} {case.status} {case.code} {number}")
        for (method, path), cases in CASES.items()
        for number, case in enumerate(cases)
    ],
)
def test_live_answers_are_as_described(
    service: Service, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, method: str, path: str, case: Case
) -> None:
    monkeypatch.setattr(service, "key", service.key)
    response = case.ask(service, method, path)
    assert response.status_code == case.status, response.text
    described = document["paths"][path][method]["responses"][str(case.status)]
    check(document, described, response)
    if case.code:
        assert response.json()["code"] == case.code
    assert case.code in codes(described)


def test_everything_described_is_provoked(document: dict[str, Any]) -> None:
    provoked = {(method, path, case.status, case.code) for (method, path), cases in CASES.items() for case in cases}
    assert described_answers(document) == provoked | NOT_PROVOKED_HERE


@pytest.fixture
def closed_webhook() -> Iterator[Service]:
    """A service without a webhook secret."""
    yield from running(Service(webhook_secrets=()))


def test_the_webhook_without_a_secret(closed_webhook: Service, document: dict[str, Any]) -> None:
    response = post(event())(closed_webhook, "post", "/v1/events")
    assert response.status_code == 404
    check(document, document["paths"]["/v1/events"]["post"]["responses"]["404"], response)


def test_every_route_of_the_contract_is_there(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} == set(CASES)


def test_the_methods_described_are_the_methods_served(document: dict[str, Any], service: Service) -> None:
    with service.client() as client:
        for path, item in document["paths"].items():
            served = client.options(path.format(**IDS)).headers["allow"].split(", ")
            assert set(served) - {"HEAD", "OPTIONS"} == {method.upper() for method in item}


def test_open_operations_are_those_that_need_no_token(document: dict[str, Any], service: Service) -> None:
    with service.client() as client:
        for method, path, operation in operations(document):
            status = client.request(method, path.format(**IDS)).status_code
            assert (status == 401) == bool(operation["security"]), path


def test_the_body_of_an_event_is_described(document: dict[str, Any]) -> None:
    validator = body_validator(document, "post", EVENTS, "application/cloudevents+json")
    validator.validate(json.loads(event()))
    wrongs: list[dict[str, Any]] = [
        {"type": "x"},
        {"data": {}},
        {"data": {"account": "a", "plan": "p", "seats": True}},
        {"id": ""},
    ]
    for wrong in wrongs:
        assert not validator.is_valid(json.loads(event()) | wrong)


def test_the_parameters_say_what_an_id_is(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        named = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"]
        assert [f"{{{name}}}" for name in named] == [part for part in path.split("/") if part.startswith("{")]
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                validator = Draft202012Validator(parameter["schema"])
                assert validator.is_valid(ENTRY if parameter["name"] == "entry" else "a.b-C_1:@")
                assert not any(validator.is_valid(bad) for bad in ("", ".", "..", "a/b", "a b", "x" * 129, "ä"))


def test_the_parameters_of_a_query_are_described(document: dict[str, Any]) -> None:
    described = {parameter["name"]: parameter for parameter in document["paths"][EVENTS]["get"]["parameters"]}
    assert {parameter["in"] for parameter in described.values()} == {"query"}
    assert not any(parameter["required"] for parameter in described.values())
    schemas = {name: parameter["schema"] for name, parameter in described.items()}
    assert schemas["verdict"] == {"enum": ["applied", "duplicate", "rejected", "stale"]}
    assert schemas["limit"] == {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}
    for name, good, bad in (("account", "acme", "a/b"), ("before", ENTRY, "0-0")):
        validator = Draft202012Validator(schemas[name])
        assert validator.is_valid(good) and not validator.is_valid(bad) and not validator.is_valid(None)


def test_schemas_are_schemas_and_references_lead_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        validator_for(schema, Draft202012Validator).check_schema(schema)
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(schemas)
    assert document["openapi"].startswith("3.1.")
    identifiers = [operation["operationId"] for *_, operation in operations(document)]
    assert len(identifiers) == len(set(identifiers))
