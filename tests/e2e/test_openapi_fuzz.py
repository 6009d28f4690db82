"""`/openapi.json` as its own fuzzer: schemathesis makes requests of it, right and wrong, and holds the answers to it.

The service is a process of its own on a store of its own. Every answer has a documented status, media type, headers and
body; none is a 5xx; and what is answered 4xx leaves the store as it was.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.support.customer import Customer
from tests.support.process import HubProcess
from tests.support.service import ROOM, Billing, service_token, token

pytestmark = pytest.mark.anyio

ACCOUNT, OF_EVENTS = "acme", "events-co"
ACCOUNT_PATH = "/v1/accounts/{account}"
EXAMPLES = 30
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
"""Left out are those that know better than our contract: a wrong plan is a 400, a room that was ended is still there."""
ON_ITS_OWN = re.compile(
    rb"capacity:1:(\{hubs\}:(beats|status:.*|rooms:.*)|\{billing\}:(plan-changes.*|ledger:.*|due|asked:.*)|\{.*\}:room:(hubs|operations):.*)"
)
"""Keys that the service moves on its own, or where it writes down that somebody was refused."""
STATE = re.compile(rb"capacity:1:\{.*\}:room:state:.*")
SAID = ("state", "seat_limit", "peak", "opened_at", "ended_at", "barred")
"""Of a room's state; its clock moves with every call."""


@pytest.fixture
async def hub(redis_url: str, billing: Billing, tmp_path: Path) -> AsyncIterator[HubProcess]:
    """A hub with a desk, an account of each kind, and an open room."""
    async with HubProcess(redis_url, tmp_path, payments="test") as running:
        await Customer(running, ACCOUNT).created("business")
        await billing.account(25, OF_EVENTS)
        assert (await running.call("PUT", running.room_path())).status_code == 200
        yield running


def state(store: Any) -> dict[bytes, Any]:
    """Return all that the store has, key by key."""
    found = {}
    for name in store.scan_iter(count=1000):
        if STATE.fullmatch(name):
            found[name] = store.hmget(name, *SAID)
        elif not ON_ITS_OWN.fullmatch(name):
            found[name] = store.dump(name)
    return found


def cases(operation: Any) -> st.SearchStrategy[Case[Any]]:
    """Return requests for an operation: right ones and wrong ones, of any ids and of those that there are."""
    known = {"account": ACCOUNT, "room": ROOM, "participant": "ann"}
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return st.one_of(
        *(operation.as_strategy(mode) for mode in modes),
        *(
            operation.as_strategy(mode, path_parameters=ids)
            for mode in modes
            for ids in (known, known | {"account": OF_EVENTS})
        ),
    )


tokens = st.sampled_from([service_token()] * 4 + [token("ann"), token("hanna", role="host", billing=True), "none"])
plans = st.sampled_from([None, "growth", "starter"])
"""A plan that there is instead of one by chance, which there never is."""


async def test_every_operation(hub: HubProcess, redis_url: str) -> None:
    load_all_checks()
    checks: list[Any] = [CHECKS.get_one(name) for name in CHECKED]
    store: Any = redis.Redis.from_url(redis_url)
    answered: dict[str, set[int]] = {}

    def ask(operation: Any) -> None:
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=cases(operation), text=tokens, plan=plans)
        def asked(case: Case[Any], text: str, plan: str | None) -> None:
            if plan is not None and isinstance(case.body, dict) and "plan" in case.body:
                case.body["plan"] = plan
            before = state(store)
            response = case.call(headers={"Authorization": f"Bearer {text}"}, allow_redirects=False)
            case.validate_response(response, checks=checks)
            answered.setdefault(operation.label, set()).add(response.status_code)
            if response.status_code >= 400:
                assert state(store) == before

        asked()

    document: Any = await asyncio.to_thread(schemathesis.openapi.from_url, f"{hub.address}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    # Whoever leaves does so at the end.
    for operation in sorted(operations, key=lambda operation: bool(operation.label == f"DELETE {ACCOUNT_PATH}")):
        await asyncio.to_thread(ask, operation)
    assert answered.keys() == {operation.label for operation in operations}
    assert {200, 400, 401, 403, 404} <= set().union(*answered.values()), "it came to the heart of the matter"
    store.close()
