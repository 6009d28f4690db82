"""A process with few file descriptors: it says no in time, keeps what it has, and does not run hot."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from capacity.web.descriptors import shares
from tests.support.process import HubProcess
from tests.support.service import Billing, Client
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        sys.platform != "linux", reason="only Linux changes the limits of another process, and lists its files"
    ),
]

FILES_MAX = 256
CONNECTIONS_MAX, SOCKETS_MAX = shares(FILES_MAX)
MEASURED_SECONDS = 1.0
BUSY_SHARE = 0.5
"""Of a processor. One that spins takes all that it gets, one that waits next to nothing."""


@pytest.fixture
async def hub(redis_url: str, tmp_path: Path) -> AsyncIterator[HubProcess]:
    """A hub with few descriptors, full of participants."""
    async with HubProcess(redis_url, tmp_path, files_max=FILES_MAX) as running:
        billing = Billing(redis_url)
        await billing.account(1000)
        await billing.close()
        for number in range(SOCKETS_MAX):
            await running.join(f"p{number}")
        for client in running.clients:
            await client.told("waiting")
        yield running


async def refused(hub: HubProcess) -> bool:
    """Whether a participant who comes now is refused, and told when to come again."""
    try:
        await (await hub.join("late")).disconnect()
    except InvalidStatus as answer:
        assert answer.response.status_code == 503
        assert int(answer.response.headers["Retry-After"]) >= 1
        return True
    return False


async def metric(hub: HubProcess, name: str) -> float:
    """Return a number of /metrics, on the connection that is open already."""
    answer = await hub.http.get("/metrics")
    assert answer.status_code == 200
    found = re.search(rf"^{re.escape(name)} (\S+)$", answer.text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def strangers(hub: HubProcess, count: int) -> list[asyncio.StreamWriter]:
    """Connect so many times, and say nothing."""
    port = int(hub.address.rpartition(":")[2])
    return [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(count)]


async def busy_share(hub: HubProcess) -> float:
    """Return what part of a processor the hub takes while others knock."""
    began, before = time.monotonic(), await metric(hub, "process_cpu_seconds_total")
    while time.monotonic() < began + MEASURED_SECONDS:
        for writer in await strangers(hub, 5):
            writer.transport.abort()
        await asyncio.sleep(0.05)
    return (await metric(hub, "process_cpu_seconds_total") - before) / (time.monotonic() - began)


async def served(hub: HubProcess) -> bool:
    """Whether somebody who connects now gets an answer."""
    try:
        async with httpx.AsyncClient(timeout=1) as client:
            return (await client.get(f"{hub.address}/healthz")).status_code == 200
    except httpx.TransportError:
        return False


async def alive(clients: list[Client]) -> None:
    """Hold that everybody is still heard and answered."""
    for client in clients:
        await client.say("claim")
    for client in clients:
        await client.told("error", code="nothing_held")


async def test_nobody_new_is_let_in_while_descriptors_are_left_for_the_rest(hub: HubProcess) -> None:
    assert await refused(hub)
    crowd = await strangers(hub, FILES_MAX)
    assert await metric(hub, "process_open_fds") < FILES_MAX - 10
    assert await busy_share(hub) < BUSY_SHARE
    assert (await hub.http.get("/readyz")).status_code == 200, "the store is in reach"
    assert await metric(hub, 'capacity_edge_refusals_total{reason="too_many_sockets"}') == 1
    assert (
        await metric(hub, 'capacity_edge_refusals_total{reason="too_many_connections"}') > FILES_MAX - CONNECTIONS_MAX
    )
    await alive(hub.clients)
    for writer in crowd:
        writer.transport.abort()
    gone = hub.clients.pop()
    await gone.disconnect()

    async def let_in() -> bool:
        return not await refused(hub)

    await wait_until(let_in, what="the next one is let in")


async def test_without_any_descriptor_left_it_waits_and_comes_back(hub: HubProcess) -> None:
    """What should not happen: somebody lowers the limit under it."""
    pid = hub.process.pid
    files = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (files - 1, FILES_MAX))
    assert not await served(hub)
    assert await busy_share(hub) < BUSY_SHARE
    await alive(hub.clients)
    await hub.clients.pop().disconnect()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    late = await hub.join("late")
    await late.told("waiting")
    assert await served(hub) and await hub.says(200)
