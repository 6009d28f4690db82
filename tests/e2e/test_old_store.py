"""A store that is too old is not used: the process says so, and goes on when a newer one answers in its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capacity.store.versions import Server, needed, server_of
from tests.support.old_server import AgedServer
from tests.support.process import HubProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio


async def test_a_store_that_is_too_old_is_named_and_not_used(redis_url: str, tmp_path: Path) -> None:
    async with AgedServer(int(redis_url.rpartition(":")[2])) as aged:
        hub = HubProcess(aged.url, tmp_path)
        try:

            async def named() -> bool:
                return await hub.says(503) and "store_too_old" in (await hub.http.get("/readyz")).json()["problems"]

            await wait_until(named, within_seconds=20, what="the store to be called too old")
            lines = [json.loads(line) for line in hub.log.read_text().splitlines()]
            told = [line for line in lines if line["event"] == "store_too_old"]
            assert {(line["server"].partition(".")[0], line["needed"]) for line in told} == {("Valkey 6", needed())}
            assert len(told) <= 2, "once at start, once by the hub, and not at every attempt"
            aged.major = None
            await hub.ready()
        finally:
            await hub.__aexit__()


@pytest.mark.parametrize(
    ("info", "server", "too_old", "unmended"),
    [
        (b"# Server\r\nredis_version:6.2.20\r\n", Server("Redis", (6, 2, 20)), True, True),
        (b"redis_version:7.0.0\r\n", Server("Redis", (7, 0, 0)), False, True),
        (b"redis_version:7.2.10\r\n", Server("Redis", (7, 2, 10)), False, True),
        (b"redis_version:7.2.11\r\n", Server("Redis", (7, 2, 11)), False, False),
        (b"redis_version:8.1.0\r\n", Server("Redis", (8, 1, 0)), False, True),
        (b"redis_version:8.4\r\n", Server("Redis", (8, 4)), False, False),
        (
            b"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.2.9\r\n",
            Server("Valkey", (7, 2, 9)),
            True,
            True,
        ),
        (b"redis_version:7.2.4\r\nvalkey_version:8.1.3\r\n", Server("Valkey", (8, 1, 3)), False, True),
        (b"redis_version:7.2.4\r\nvalkey_version:9.0.0\r\n", Server("Valkey", (9, 0, 0)), False, False),
    ],
)
def test_versions_are_read_and_judged(info: bytes, server: Server, too_old: bool, unmended: bool) -> None:
    found = server_of(info)
    assert found == server
    assert (found.too_old, found.lua_unmended) == (too_old, unmended)


def test_a_server_that_does_not_say_its_version_is_not_judged() -> None:
    assert server_of(b"# Server\r\nrun_id:abc\r\n") is None
