"""Connecting to the store: three clients, because a blocked read or a subscription must not hold up a script.

No client repeats a command by itself: redis-py does so ten times by default, and a script whose answer got lost would run again without
anybody knowing. Who repeats, repeats with the same operation id.
"""

from __future__ import annotations

from typing import Any

import msgspec
from redis.asyncio import BlockingConnectionPool, Connection, Redis, Sentinel, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from capacity.errors import Unavailable
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
        self._subscriptions: dict[str, Any] = {}

    @property
    def cluster(self) -> bool:
        """Whether the store is a cluster."""
        return self._address.scheme == "redis+cluster"

    def pubsub(self, node: str) -> Any:
        """Return a new pub/sub client for a node: a connection of its own, and the node's alone."""
        if node not in self._subscriptions:
            address = self._address
            if node:
                host, _, port = node.rpartition(":")
                address = msgspec.structs.replace(address, scheme="redis", nodes=((host, int(port)),))
            self._subscriptions[node] = _client(address, READ_TIMEOUT_SECONDS)
        return self._subscriptions[node].pubsub()

    async def learn_nodes(self) -> None:
        """Ask the cluster who has which slots. Raises Unavailable."""
        try:
            await self.scripts.initialize()
            await self.scripts.nodes_manager.initialize()
        except (RedisError, RedisClusterException, OSError) as error:
            raise Unavailable(str(error) or type(error).__name__) from error

    def nodes(self) -> set[str]:
        """Return the cluster's nodes that have slots, as HOST:PORT; the one node without a name where there is no cluster."""
        return {node.name for node in self.scripts.get_primaries()} if self.cluster else {""}

    def node_of(self, channel: str) -> str:
        """Return the node that has a channel. Raises Unavailable for a slot that no node has."""
        if not self.cluster:
            return ""
        try:
            node = self.scripts.get_node_from_key(channel)
        except (RedisError, RedisClusterException) as error:
            raise Unavailable(str(error)) from error
        if node is None:
            raise Unavailable("no node of the cluster has the slot of a channel")
        return str(node.name)

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (self.scripts, self.reads, *self._subscriptions.values()):
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
