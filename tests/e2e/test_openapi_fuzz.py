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
EXAMPLES = 20
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
"""Left out are those that know better than our contract: a wrong plan is a 400, a room that was ended is still there."""
MOVING = re.compile(rb"capacity:1:\{(hubs|billing)\}:(beats|rooms:.*|plan-changes.*|ledger:.*|due|asked:.*|notices)")
"""Keys that the service moves on its own, or where it writes down that somebody was refused."""


@pytest.fixture
async def hub(redis_url: str, billing: Billing, tmp_path: Path) -> AsyncIterator[HubProcess]:
    """A hub with a desk, an account of each kind, and an open room."""
    async with HubProcess(redis_url, tmp_path, payments="test") as running:
        await Customer(running, ACCOUNT).created("business")  # type: ignore[arg-type]
        await billing.account(25, OF_EVENTS)
        assert (await running.call("PUT", running.room_path())).status_code == 200
        yield running


def state(store: Any) -> dict[bytes, bytes]:
    """Return all that the store has, but for what moves: key by key, as a digest."""
    names = sorted(name for name in store.scan_iter(count=1000) if not MOVING.fullmatch(name))
    return dict(zip(names, (store.dump(name) for name in names), strict=True))


def cases(operation: Any) -> st.SearchStrategy[Case]:
    """Return requests for an operation: right ones and wrong ones, of any ids and of those that there are."""
    known = {"account": ACCOUNT, "room": ROOM, "participant": "ann"}
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return st.one_of(
        *(operation.as_strategy(mode) for mode in modes),
        *(operation.as_strategy(mode, path_parameters=ids) for mode in modes for ids in (known, known | {"account": OF_EVENTS}))
    )


TOKENS = st.sampled_from([service_token()] * 4 + [token("ann"), token("hanna", role="host", billing=True), "none"])


async def test_every_operation(hub: HubProcess, redis_url: str) -> None:
    load_all_checks()
    checks = [CHECKS.get_one(name) for name in CHECKED]
    store: Any = redis.Redis.from_url(redis_url)
    answered: dict[str, set[int]] = {}

    def ask(operation: Any) -> None:
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=cases(operation), text=TOKENS)
        def asked(case: Case, text: str) -> None:
            before = state(store)
            response = case.call(headers={"Authorization": f"Bearer {text}"}, allow_redirects=False)
            case.validate_response(response, checks=checks)
            answered.setdefault(operation.label, set()).add(response.status_code)
            if response.status_code >= 400:
                assert state(store) == before

        asked()

    schema = await asyncio.to_thread(schemathesis.openapi.from_url, f"{hub.address}/openapi.json")
    for found in schema.get_all_operations():
        await asyncio.to_thread(ask, found.ok())
    print(answered)
    store.close()
    assert 0
