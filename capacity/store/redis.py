"""Connecting to the store: three clients, because a blocked read or a subscription must not hold up a script.

No client repeats a command by itself: redis-py does so ten times by default, and a script whose answer got lost would run again without
anybody knowing. Who repeats, repeats with the same operation id.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from redis.asyncio import BlockingConnectionPool, Connection, Redis, Sentinel, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from capacity.errors import Unavailable
from capacity.redis_url import RedisAddress, Scheme, parse
from capacity.store.schema import Schema
from capacity.store.versions import Server, needed, server_of

SCRIPT_TIMEOUT_SECONDS = 2.0
"""How long an answer may take before the store counts as unavailable; a script takes a few ms."""
BLOCK_MS = 2000
"""How long a blocking read waits on the server; below the timeout of its client."""
READ_TIMEOUT_SECONDS = 6.0
CONNECTIONS_MAX = 32
_RUN_ID = re.compile(rb"run_id:(\w+)")

log = structlog.get_logger(__name__)


class Clients:
    """The clients of one process: `scripts` for commands, `reads` for blocking reads, `pubsub()` for subscriptions."""

    def __init__(self, url: str) -> None:
        self._address = parse(url)
        self._servers: set[str] = set()
        self.server = ""
        """The run id of the one server; '' for a cluster, or if it is not known."""
        self.too_old: Server | None = None
        """A server that was met and is not used: it lacks what we need."""
        self._told_of: set[Server] = set()
        self._sentinels: list[Sentinel] = []
        self._on_other_server: Callable[[], None] | None = None
        self._outdated = False
        self.scripts: Any = _client(self._address, SCRIPT_TIMEOUT_SECONDS, self._sentinels, self._greet)
        self.reads: Any = _client(self._address, READ_TIMEOUT_SECONDS, self._sentinels)
        self.schema = Schema(self.scripts)
        self._of_nodes: dict[str, Any] = {}

    def watch_servers(self, on_other_server: Callable[[], None]) -> None:
        """From now on the servers are known; `on_other_server` is called when a connection finds another, or one that was restarted.

        That is how a loss of acknowledged writes can begin: a replica that was behind takes over, a server comes back without
        the end of its file.
        """
        self._on_other_server = on_other_server

    async def _greet(self, connection: Any) -> None:
        """Set a new connection up, and ask whom it leads to. One that leads to another server than before is not used, nor one to a
        server that is too old.
        """
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        try:
            info = await connection.read_response()
        except ResponseError:  # its user may not ask (ACL): then nobody notices
            return
        self._judge(server_of(info))
        found = _RUN_ID.search(info)
        server = found[1].decode() if found is not None else ""
        if server in self._servers:
            return
        if not self.cluster:
            self._servers.clear()
            self.server = server
        self._servers.add(server)
        if self._on_other_server is not None:
            self._outdated = not self.cluster
            self._on_other_server()
            raise RedisConnectionError("another server answers than before")

    def _judge(self, found: Server | None) -> None:
        """Raise for a server that is too old, and say so once."""
        if found is None or not found.too_old:
            self.too_old = None
            return
        if found not in self._told_of:
            log.error("store_too_old", server=str(found), needed=needed())
        self._told_of.add(found)
        self.too_old = found
        raise RedisConnectionError(f"{found} is too old: {needed()} is the oldest that works")

    async def meet_servers(self) -> None:
        """Connect to every server that has data of ours, and to no other any more. Raises Unavailable."""
        if self._outdated:  # connections to the last one may still be answered: then there would be two stores
            self._outdated = False
            for client in (self.scripts, self.reads):
                await client.connection_pool.disconnect(inuse_connections=True)
        nodes = {"target_nodes": self.scripts.get_primaries()} if self.cluster else {}
        try:
            await self.scripts.ping(**nodes)
        except (RedisError, RedisClusterException, OSError) as error:
            raise Unavailable(str(error) or type(error).__name__) from error

    @property
    def cluster(self) -> bool:
        """Whether the store is a cluster."""
        return self._address.scheme == "redis+cluster"

    def pubsub(self, node: str) -> Any:
        """Return a new pub/sub client for a node: a connection of its own, and the node's alone."""
        return self.of_node(node).pubsub()

    def of_node(self, node: str) -> Any:
        """Return a client that leads to a node alone, with connections of its own; '' where there is no cluster."""
        if node not in self._of_nodes:
            address = self._address
            if node:
                host, _, port = node.rpartition(":")
                scheme: Scheme = "rediss" if address.tls else "redis"
                address = msgspec.structs.replace(address, scheme=scheme, nodes=((host, int(port)),))
            self._of_nodes[node] = _client(address, READ_TIMEOUT_SECONDS, self._sentinels)
        return self._of_nodes[node]

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
        for client in (self.scripts, self.reads, *self._of_nodes.values(), *self._sentinels):
            await client.aclose()
        for client in (self.scripts, self.reads) if self.cluster else ():
            # redis-py 8.1 leaves them open in a client that was never wholly set up
            for nodes in ("nodes_cache", "startup_nodes"):
                await client.nodes_manager.aclose(nodes)


def _client(
    address: RedisAddress,
    timeout_seconds: float,
    sentinels: list[Sentinel],
    greet: Callable[[Any], Any] | None = None,
) -> Any:
    """Return a client. `sentinels` gets what it asks for its primary, to be closed with it; `greet` sets up its connections."""
    waits = {"socket_timeout": timeout_seconds, "socket_connect_timeout": SCRIPT_TIMEOUT_SECONDS, "protocol": 2}
    options = _given(address, address.tls) | waits | {"username": address.username, "password": address.password}
    never = Retry(NoBackoff(), 0)
    if address.scheme == "redis+cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        cluster = RedisCluster(startup_nodes=nodes, retry=never, ssl=address.tls, **options)
        if greet is not None:
            # redis-py 8.1 takes no redis_connect_func for a cluster, though its connections do
            cluster.nodes_manager.connection_kwargs["redis_connect_func"] = greet
            for node in cluster.nodes_manager.startup_nodes.values():
                node.connection_kwargs["redis_connect_func"] = greet
        return cluster
    options |= {"db": address.db, "retry": never}
    if greet is not None:
        options["redis_connect_func"] = greet
    if address.scheme == "redis+sentinel":
        asked = _given(address, address.sentinel_tls) | waits | {"ssl": address.sentinel_tls, "retry": never}
        asked |= {"username": address.sentinel_username, "password": address.sentinel_password}
        sentinel = Sentinel(list(address.nodes), sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
        sentinels.append(sentinel)
        return sentinel.master_for(address.master or "", ssl=address.tls, **options)
    pooled: dict[str, Any] = options | {"max_connections": CONNECTIONS_MAX, "timeout": timeout_seconds}
    if address.scheme == "unix":
        pool = BlockingConnectionPool(connection_class=UnixDomainSocketConnection, path=address.path, **pooled)
    else:
        (host, port), *_ = address.nodes
        kind = SSLConnection if address.tls else Connection
        pool = BlockingConnectionPool(connection_class=kind, host=host, port=port, **pooled)
    return Redis.from_pool(pool)


def _given(address: RedisAddress, tls: bool) -> dict[str, Any]:
    """Return the options of the URL; a connection without TLS takes none of those for it."""
    return {name: value for name, value in address.options if tls or not name.startswith("ssl_")}
