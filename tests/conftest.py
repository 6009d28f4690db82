"""What all tests share: real servers, one backend, and the rule that no key is left without a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, settings

from tests.support.installed import missing
from tests.support.servers import binaries, running

# How long an example takes says more about what else the machine does than about us.
settings.register_profile("capacity", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("capacity")

PERMANENT = (
    r"capacity:1:\{billing\}:((desk|ledger):.*|due|notices)",
    r"capacity:1:\{billing\}:plan-changes(:rejected|:verdicts)?",
    r"capacity:1:\{hubs\}:(beats|rooms:.*|pass-key|schema|hooks:accounts|hooks:noted)",
    r"capacity:1:\{[^{}]+\}:(account|open)",
)
"""Keys that live as long as what they are of; everything else has a TTL, but for the keys of open rooms."""
ROOM_KEY = r"capacity:1:\{(?P<account>[^{}]+)\}:room:(?P<kind>[a-z_]+):(?P<room>.+)"


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """asyncio, not uvloop: uvloop hangs in close() when a failed test leaves a connection open. Processes run on uvloop."""
    return ("asyncio", {"use_uvloop": False})


@pytest.fixture(scope="session", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of each server in turn: Valkey always, Debian's Redis where it is installed."""
    if request.param not in binaries():
        missing("redis-server is not installed (apt-get install redis-server): not tested against Redis")
    with running(binaries()[request.param], tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Valkey for tests that need not run against every server."""
    with running(binaries()["valkey"], tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def redis_url(valkey: str) -> Iterator[str]:
    """An empty Valkey; afterwards every key must have a TTL or stand on the list."""
    yield from clean(valkey)


@pytest.fixture
def each_redis_url(server: str) -> Iterator[str]:
    """As `redis_url`, once for every server."""
    yield from clean(server)


def clean(url: str) -> Iterator[str]:
    """Empty the server, yield its address, and look for leaked keys."""
    client = redis.Redis.from_url(url)
    client.flushall()
    yield url
    leaked = leaks(client)
    client.flushall()
    client.close()
    assert not leaked, f"keys without TTL and without a reason: {leaked}"


def leaks(client: redis.Redis) -> list[str]:
    """Return the keys that have no TTL and no reason to have none."""
    found = []
    for raw in client.scan_iter(count=1000):
        key = raw.decode()
        if client.ttl(key) >= 0 or any(re.fullmatch(pattern, key) for pattern in PERMANENT):
            continue
        match = re.fullmatch(ROOM_KEY, key)
        if match and client.zscore(f"capacity:1:{{{match['account']}}}:open", match["room"]) is not None:
            continue
        found.append(key)
    return found
