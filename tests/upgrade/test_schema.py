"""The number of the data's schema: written once, and left alone by a release that does not know it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio as aioredis

from capacity.errors import Unavailable
from capacity.store import keys
from capacity.store.redis import Clients
from tests.support.process import HubProcess
from tests.support.service import SECRET, Billing
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
LATER = keys.SCHEMA + 1


async def test_the_first_hub_writes_the_schema_and_the_next_agree(redis_url: str) -> None:
    store: Any = aioredis.Redis.from_url(redis_url)
    for _ in range(2):
        clients = Clients(redis_url)
        await clients.schema.agree()
        assert await store.get(keys.SCHEMA_KEY) == str(keys.SCHEMA).encode() and clients.schema.unknown is None
        await clients.aclose()
    await store.aclose()


@pytest.mark.parametrize("found", [str(LATER), "", "one"])
async def test_another_schema_is_left_as_it_is(redis_url: str, found: str) -> None:
    clients = Clients(redis_url)
    await clients.scripts.set(keys.SCHEMA_KEY, found)
    with pytest.raises(Unavailable, match="schema"):
        await clients.schema.agree()
    assert clients.schema.unknown == found and await clients.scripts.get(keys.SCHEMA_KEY) == found.encode()
    await clients.scripts.set(keys.SCHEMA_KEY, keys.SCHEMA)
    await clients.schema.agree()
    await clients.aclose()


def test_it_does_not_start_on_data_that_it_does_not_know(redis_url: str) -> None:
    store: Any = redis.Redis.from_url(redis_url)
    store.set(keys.SCHEMA_KEY, LATER)
    environ = {"CAPACITY_TOKEN_KEY": SECRET, "CAPACITY_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "capacity", "serve", "--port", "0"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"capacity: the data of the store has schema '{LATER}', and capacity ")
    assert store.dbsize() == 1
    store.close()


async def unknown(hub: HubProcess) -> bool:
    """Whether a hub says that it does not know the data."""
    return "schema_unknown" in (await hub.http.get("/readyz")).json()["problems"]


async def test_a_hub_that_finds_other_data_behind_its_address_is_not_ready(
    redis_url: str, billing: Billing, tmp_path: Path
) -> None:
    store: Any = billing._client
    async with HubProcess(redis_url, tmp_path) as hub:
        await billing.account(1)
        await store.set(keys.SCHEMA_KEY, LATER)
        await store.client_pause(2500)  # longer than a hub waits for an answer: it begins anew
        await wait_until(lambda: unknown(hub), within_seconds=10, what="schema_unknown")
        answer = await hub.http.get("/readyz")
        assert answer.json()["problems"] == ["store_unavailable", "schema_unknown"]
        refused = await hub.join("ann")
        assert await refused.gone() == (1013, "unavailable")
        await store.set(keys.SCHEMA_KEY, keys.SCHEMA)
        await hub.ready()
