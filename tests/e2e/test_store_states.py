"""A real server's words for «not now», whatever the cause: one state, told once, left by itself. Out of memory, seats are still freed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.support.process import HubProcess
from tests.support.servers import Server, binaries
from tests.support.service import ACCOUNT, Billing, Hub, serving, settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
Heal = Callable[[], Awaitable[None]]


@pytest.fixture
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A Valkey that the test may break."""
    directory = tmp_path / "store"
    directory.mkdir()
    server = Server(binaries()["valkey"], directory, cluster="clusterdown" in request.node.name)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def admin(store: Server) -> AsyncIterator[Any]:
    """A client of the test's own."""
    client: Any = aioredis.Redis.from_url(store.url, socket_timeout=None, retry=Retry(NoBackoff(), 0))
    yield client
    await client.aclose()


async def oom(admin: Any, _: Server) -> Heal:
    await admin.config_set("maxmemory", 1)
    return lambda: admin.config_set("maxmemory", 0)


async def noreplicas(admin: Any, _: Server) -> Heal:
    await admin.config_set("min-replicas-to-write", 1)
    return lambda: admin.config_set("min-replicas-to-write", 0)


async def readonly(admin: Any, store: Server) -> Heal:
    """As after a failover, for whoever still talks to the server that was primary."""
    await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    return lambda: admin.execute_command("REPLICAOF", "NO", "ONE")


async def misconf(admin: Any, store: Server) -> Heal:
    """The disk cannot be written."""
    await admin.config_set("save", "3600 1")
    shutil.rmtree(store.directory)

    async def failed() -> bool:
        with contextlib.suppress(RedisError):
            await admin.bgsave()
        return bool((await admin.info("persistence"))["rdb_last_bgsave_status"] == "err")

    await wait_until(failed, what="a save that fails")
    return lambda: admin.config_set("save", "")


async def busy(admin: Any, _: Server) -> Heal:
    """Somebody's script does not end."""
    await admin.config_set("busy-reply-threshold", 50)
    running = asyncio.create_task(admin.eval("while true do end", 0))

    async def blocked() -> bool:
        try:
            await admin.ping()
        except RedisError as error:
            return bool("busy" in str(error).lower())
        return False

    await wait_until(blocked, what="a busy server")

    async def heal() -> None:
        await admin.script_kill()
        await asyncio.gather(running, return_exceptions=True)

    return heal


async def clusterdown(admin: Any, _: Server) -> Heal:
    """The slot of the account is nobody's."""
    slot = await admin.execute_command("CLUSTER", "KEYSLOT", ACCOUNT)
    await admin.execute_command("CLUSTER", "DELSLOTS", slot)
    return lambda: admin.execute_command("CLUSTER", "ADDSLOTS", slot)


async def frozen(_: Any, store: Server) -> Heal:
    store.signal(signal.SIGSTOP)

    async def heal() -> None:
        store.signal(signal.SIGCONT)

    return heal


STATES = {state.__name__: state for state in (oom, noreplicas, readonly, misconf, busy, clusterdown, frozen)}


async def problems(hub: Hub) -> list[str]:
    """What /readyz says."""
    answer: httpx.Response = await hub.http.get("/readyz")
    assert answer.status_code == (503 if answer.json().get("problems") else 200)
    return answer.json().get("problems", [])  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", STATES)
async def test_every_state_of_the_store_is_one(store: Server, admin: Any, name: str) -> None:
    async with serving(settings(store.url, hold_seconds=30.0, grace_seconds=30.0)) as hub:
        billing = Billing(store.url)
        await billing.account(1)
        host, ann, ben = await hub.host(), await hub.join("ann"), await hub.join("ben")
        await ben.told("waiting")
        heal = await STATES[name](admin, store)
        assert (await (await hub.join("dot")).gone(within_seconds=10)) == (1013, "unavailable")
        for client in (host, ann, ben):
            assert (await client.told("error", within_seconds=10))["code"] == "unavailable"
        assert "store_unavailable" in await problems(hub)
        assert await (await hub.join("eve")).gone() == (1013, "unavailable")
        await heal()

        async def ready() -> bool:
            return await problems(hub) == []

        await wait_until(ready, within_seconds=15, what="ready again")
        async with await hub.join("dot") as dot:
            assert (await dot.told("waiting"))["position"] == 2
            await ann.say("leave")
            await ben.told("refresh", within_seconds=5)
        assert all(client.closed is None and len(client.of("error")) == 1 for client in (host, ben))
        await billing.close()


async def test_out_of_memory_seats_are_still_freed(store: Server, admin: Any) -> None:
    """Who leaves gives the seat up, a grace ends, the next in line is held the seat; only who is new is not let in."""
    async with serving(settings(store.url, hold_seconds=30.0, place_seconds=60.0)) as hub:
        billing = Billing(store.url)
        await billing.account(2)
        host = await hub.host()
        ann, ben = await hub.join("ann"), await hub.join("ben")
        cem, dot = await hub.join("cem"), await hub.join("dot")
        await dot.told("waiting")
        await admin.config_set("maxmemory", 1)
        assert await (await hub.join("eve")).gone(within_seconds=10) == (1013, "unavailable")
        await ann.say("leave")
        assert await ann.gone() == (1000, "left")
        await cem.told("refresh", within_seconds=5)
        await ben.drop()
        await dot.told("refresh", within_seconds=8)
        await host.told("occupancy", within_seconds=5, held=2, seated=0)
        assert "store_unavailable" in await problems(hub)
        await admin.config_set("maxmemory", 0)
        await wait_until(lambda: not hub.application or hub.application.hub.usable, within_seconds=5)
        await cem.say("claim")
        await cem.told("seated")
        await billing.close()


async def test_a_hub_that_hears_nothing_takes_nobody_and_says_so(store: Server, admin: Any) -> None:
    """Everything is answered, but no message of the feed arrives: seats would change without anybody being told."""
    async with serving(settings(store.url)) as hub:
        billing = Billing(store.url)
        await billing.account(1)
        await hub.host()
        ann = await hub.join("ann")
        await ann.told("seated")

        async def deaf() -> bool:
            await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            return bool(ann.of("error"))

        await wait_until(deaf, within_seconds=15, what="told that the service is unavailable")
        assert ann.of("error")[0]["code"] == "unavailable"
        assert await (await hub.join("ben")).gone() == (1013, "unavailable")

        async def ready() -> bool:
            return await problems(hub) == []

        await wait_until(ready, within_seconds=10)
        await (await hub.join("ben")).told("waiting")
        await billing.close()


async def test_a_process_that_stood_still_looks_before_it_acts(
    redis_url: str, billing: Billing, tmp_path: Path
) -> None:
    """Stopped for less than its lease it is fenced by nobody; it takes nobody new before it knows where it stands."""
    async with HubProcess(redis_url, tmp_path, lease_seconds=30) as hub:
        await billing.account(1)
        await hub.host()
        ann = await hub.join("ann")
        await ann.told("seated")
        hub.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        await wait_until(lambda: time.monotonic() - stopped > 4.5, within_seconds=6)
        hub.process.send_signal(signal.SIGCONT)
        assert (await ann.told("error"))["code"] == "unavailable"
        await hub.ready()
        await (await hub.join("ben")).told("waiting")
        assert "loop_stood_still" in hub.log.read_text()
