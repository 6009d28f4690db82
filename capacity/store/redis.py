"""Connecting to the store: three clients, because a blocked read or a subscription must not hold up a script.

No client repeats a command by itself: redis-py does so ten times by default, and a script whose answer got lost would run again without
anybody knowing. Who repeats, repeats with the same operation id.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis, Sentinel, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from capacity.redis_url import RedisAddress, parse

SCRIPT_TIMEOUT_SECONDS = 2.0
"""How long an answer may take before the store counts as unavailable; a script takes a few ms."""
BLOCK_MS = 2000
"""How long a blocking read waits on the server; below the timeout of its client."""
READ_TIMEOUT_SECONDS = 6.0
CONNECTIONS_MAX = 32


class Clients:
    """The clients of one process: `scripts` for commands, `reads` for blocking reads, `pubsub()` for subscriptions."""

    def __init__(self, url: str) -> None:
        self._address = parse(url)
        self.scripts: Any = _client(self._address, SCRIPT_TIMEOUT_SECONDS)
        self.reads: Any = _client(self._address, READ_TIMEOUT_SECONDS)
        self._subscriptions: Any = None

    def pubsub(self) -> Any:
        """Return a new subscription of its own connection."""
        if self._subscriptions is None:
            self._subscriptions = _client(self._address, READ_TIMEOUT_SECONDS)
        return self._subscriptions.pubsub()

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (self.scripts, self.reads, self._subscriptions):
            if client is not None:
                await client.aclose()


def _client(address: RedisAddress, timeout_seconds: float) -> Any:
    options: dict[str, Any] = dict(address.options) | {
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": SCRIPT_TIMEOUT_SECONDS,
        "protocol": 2,
    }
    never = Retry(NoBackoff(), 0)
    if address.scheme == "redis+cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        return RedisCluster(startup_nodes=nodes, retry=never, **options)
    options |= {"db": address.db, "retry": never}
    if address.scheme == "redis+sentinel":
        sentinel = Sentinel(list(address.nodes), **options)  # type: ignore[no-untyped-call]
        return sentinel.master_for(address.master or "", **options)
    pooled: dict[str, Any] = options | {"max_connections": CONNECTIONS_MAX, "timeout": timeout_seconds}
    if address.scheme == "unix":
        pool = BlockingConnectionPool(connection_class=UnixDomainSocketConnection, path=address.path, **pooled)
    else:
        (host, port), *_ = address.nodes
        kind = SSLConnection if address.scheme == "rediss" else Connection
        pool = BlockingConnectionPool(connection_class=kind, host=host, port=port, **pooled)
    return Redis.from_pool(pool)
