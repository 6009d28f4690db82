"""Sentinel promotes a replica that was behind: what the store forgot, the hub gives back before anybody new is let in."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as aioredis

from tests.support.servers import Server, binaries, free_port
from tests.support.service import Billing, Hub, serving, settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
MASTER = "rooms"


@contextmanager
def watching(primary: Server, directory: Path) -> Iterator[str]:
    """Run one sentinel over a primary; yields the address to give to a hub."""
    port = free_port()
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {directory}\nlogfile {directory / 'sentinel.log'}\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {primary.port} 1\nsentinel down-after-milliseconds {MASTER} 1000\n"
        f"sentinel failover-timeout {MASTER} 6000\n"
    )
    process = subprocess.Popen(
        [binaries()["valkey"], str(configuration), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"redis+sentinel://127.0.0.1:{port}/{MASTER}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    """A primary and its replica."""
    servers = []
    for name in ("primary", "replica"):
        (tmp_path / name).mkdir()
        server = Server(binaries()["valkey"], tmp_path / name, cluster=False)
        server.start()
        servers.append(server)
    primary, replica = servers
    client: Any = aioredis.Redis.from_url(replica.url)
    await client.config_set("repl-diskless-load", "swapdb")
    await client.execute_command("REPLICAOF", "127.0.0.1", primary.port)

    async def linked() -> bool:
        return bool((await client.info("replication"))["master_link_status"] == "up")

    await wait_until(linked, within_seconds=20, what="the replica to have everything")
    await client.aclose()
    yield primary, replica
    for server in servers:
        server.kill()


async def cut_off(primary: Server) -> None:
    """From now on the replica hears nothing of the primary."""
    client: Any = aioredis.Redis.from_url(primary.url)
    await client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync", "-replconf")
    await client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    await client.aclose()


async def watched(address: str) -> None:
    """Wait until the sentinel knows the replica."""
    host, _, port = address.removeprefix("redis+sentinel://").partition("/")[0].partition(":")
    client: Any = aioredis.Redis(host=host, port=int(port))

    async def known() -> bool:
        return bool((await client.sentinel_master(MASTER))["num-slaves"] == 1)

    await wait_until(known, within_seconds=20, what="a sentinel that knows the replica")
    await client.aclose()


async def metric(hub: Hub, name: str) -> float:
    """Return a metric without labels."""
    text = (await hub.http.get("/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def test_what_a_failover_lost_is_given_back_first(pair: tuple[Server, Server], tmp_path: Path) -> None:
    primary, replica = pair
    with watching(primary, tmp_path) as address:
        await watched(address)
        async with serving(settings(address, grace_seconds=6.0, place_seconds=20.0, hold_seconds=20.0)) as hub:
            billing = Billing(primary.url)
            await billing.account(3)
            host, ann, ben = await hub.host(), await hub.join("ann"), await hub.join("ben")
            await ben.told("seated")
            replicated: Any = aioredis.Redis.from_url(replica.url)

            async def has_ben() -> bool:
                return bool(await replicated.hexists("capacity:1:{acme}:room:people:launch", "ben"))

            await wait_until(has_ben, what="ben on the replica")
            await replicated.aclose()
            await cut_off(primary)
            # The replica knows nothing of what follows: ann leaves, cem and dot get seats, eve and fay wait.
            await ann.say("leave")
            assert await ann.gone() == (1000, "left")
            cem, dot = await hub.join("cem"), await hub.join("dot")
            await dot.told("seated")
            eve, fay = await hub.join("eve"), await hub.join("fay")
            await fay.told("waiting", position=2)
            primary.kill()
            await host.told("error", within_seconds=15, code="unavailable")

            async def given_back() -> bool:
                answer = await hub.call("GET", hub.room_path())
                numbers = answer.json()
                return answer.status_code == 200 and (numbers["seated"], numbers["waiting"]) == (3, 2)

            assert hub.application is not None
            live = hub.application.hub
            await wait_until(given_back, within_seconds=30, what="everybody given back")
            assert not live.usable, "nobody new meanwhile"
            assert await (await hub.join("gil")).gone() == (1013, "unavailable")
            # Ann is brought back by the old data: her seat is over the limit for her grace, and nobody is put out for it.
            assert (await hub.occupancy())["away"] == 1
            assert await metric(hub, "capacity_seats_over") == 1
            await wait_until(lambda: live.usable, within_seconds=10, what="ready for those who are new")
            await (await hub.join("gil")).told("waiting", position=3)

            async def shrunk() -> bool:
                return await metric(hub, "capacity_seats_over") == 0

            await wait_until(shrunk, within_seconds=12, what="no seat over the limit")
            assert (await hub.occupancy())["occupied"] == 3
            await cem.say("leave")
            await eve.told("refresh", within_seconds=5)
            for client, told in ((ben, ["seated"]), (dot, ["seated"]), (fay, ["waiting"])):
                assert client.closed is None
                assert {kind for kind in client.kinds if kind != "error"} == set(told)
            await wait_until(lambda: fay.of("waiting")[-1]["position"] == 1)
            await billing.close()
