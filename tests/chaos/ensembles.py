"""Stores of several processes: a primary with replicas and sentinels, and a cluster whose primaries have replicas."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import redis
import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.chaos.outcome import Scenario
from tests.chaos.stores import Store, tls_arguments
from tests.support.certificates import Certificates
from tests.support.servers import binaries, free_port

NAME = "rooms"
SENTINELS = 3
DOWN_AFTER_MS = 1000
FAILOVER_TIMEOUT_MS = 6000
NODE_TIMEOUT_MS = 1500
READY_WITHIN_SECONDS = 20.0
POLL_SECONDS = 0.05
SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))
AT_ONCE = ("--repl-diskless-sync-delay", "0")
SAFE = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")


def store_of(scenario: Scenario, directory: Path) -> Any:
    """Return the store that a scenario wants."""
    match scenario.store:
        case "clock":
            return Store(directory, clock=directory / "clock")
        case "small disk":
            return Store(directory, small_disk=True)
        case "sentinel":
            return SentinelStore(directory, replicas=1)
        case "safe sentinel":
            return SentinelStore(directory, *SAFE, replicas=2)
        case "cluster":
            return ClusterStore(directory)
        case _:
            return Store(directory, "--busy-reply-threshold", "500")


class SentinelStore:
    """A primary with replicas, watched by three sentinels; whoever is the primary, they say.

    With `tls` everybody listens for TLS too, and the address leads there; a binary that can do TLS must be given then.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        replicas: int,
        binary: str | None = None,
        tls: Certificates | None = None,
    ) -> None:
        self._directory = directory
        self._binary, self._tls = binary or binaries()["valkey"], tls
        self.nodes = [Store(directory, *AT_ONCE, *arguments, binary=binary, tls=tls) for _ in range(replicas + 1)]
        self.sentinel_ports = [free_port() for _ in range(SENTINELS)]
        tls_ports = [free_port() for _ in range(SENTINELS)] if tls else []
        self._tls_ports = dict(zip(self.sentinel_ports, tls_ports, strict=False))
        self._sentinels: list[subprocess.Popen[bytes]] = []
        hosts = ",".join(f"127.0.0.1:{port}" for port in tls_ports or self.sentinel_ports)
        self.url = f"redis+sentinel://{hosts}/{NAME}"

    def start(self) -> None:
        """Start everything, and wait until the sentinels know of each other and of the replicas."""
        primary, *replicas = self.nodes
        primary.start()
        for replica in replicas:
            replica.start()
            _command(replica.port, "REPLICAOF", "127.0.0.1", primary.known_port)
        for port in self.sentinel_ports:
            home = self._directory / f"sentinel-{port}"
            home.mkdir()
            (home / "sentinel.conf").write_text(
                f"port {port}\nbind 127.0.0.1\ndir {home}\nlogfile {home / 'log'}\n"
                f"sentinel monitor {NAME} 127.0.0.1 {primary.known_port} 2\n"
                f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}\n"
            )
            command = [self._binary, str(home / "sentinel.conf"), "--sentinel"]
            if self._tls is not None:
                command += ["--tls-port", str(self._tls_ports[port]), *tls_arguments(self._tls)]
            self._sentinels.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        _until(lambda: all(self._knows_all(port) for port in self.sentinel_ports), "the sentinels to know each other")
        _until(lambda: all(_follows(replica) for replica in replicas), "the replicas to have everything")

    def _knows_all(self, port: int) -> bool:
        words = _command(port, "SENTINEL", "MASTER", NAME)
        known = dict(zip(words[::2], words[1::2], strict=True)) if isinstance(words, list) else words
        return int(known["num-slaves"]) == len(self.nodes) - 1 and int(known["num-other-sentinels"]) == SENTINELS - 1

    def primary(self) -> Store:
        """Return the node that the sentinels call the primary."""
        for port in self.sentinel_ports:
            try:
                _, chosen = _command(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
            except redis.RedisError:
                continue
            return next(node for node in self.nodes if node.known_port == int(chosen))
        raise RuntimeError("no sentinel answers")

    async def failed_over(self, former: Store, within_seconds: float = READY_WITHIN_SECONDS) -> float:
        """Wait until another node is the primary; returns how long it took."""
        began = time.monotonic()
        await asyncio.to_thread(_until, lambda: self.primary() is not former, "another primary", within_seconds)
        return time.monotonic() - began

    async def demoted(self, former: Store, within_seconds: float = READY_WITHIN_SECONDS) -> float:
        """Wait until a node that was the primary follows another one; returns how long it took."""
        began = time.monotonic()
        await asyncio.to_thread(
            _until, lambda: _follows(former), "the old primary to follow the new one", within_seconds
        )
        return time.monotonic() - began

    def force_failover(self) -> None:
        """Have the sentinels promote a replica though the primary lives: what it takes until it hears of it is lost."""
        _command(self.sentinel_ports[0], "SENTINEL", "FAILOVER", NAME)

    def client(self) -> Any:
        """Return a client of the harness that follows the primary."""
        options: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 1, "retry": Retry(NoBackoff(), 0)}
        sentinel = aioredis.Sentinel([("127.0.0.1", port) for port in self.sentinel_ports], **options)  # type: ignore[no-untyped-call]
        return sentinel.master_for(NAME, **options)

    def stop(self) -> None:
        """End everything."""
        for process in self._sentinels:
            process.kill()
            process.wait()
        for node in self.nodes:
            node.stop()


class ClusterStore:
    """Three primaries with a replica each. With `tls`, as `SentinelStore`."""

    def __init__(self, directory: Path, *, binary: str | None = None, tls: Certificates | None = None) -> None:
        arguments = [*AT_ONCE, "--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)]
        arguments += ["--cluster-replica-validity-factor", "0", "--cluster-require-full-coverage", "no"]
        arguments += ["--tls-cluster", "yes"] if tls is not None else []
        self.nodes = [Store(directory, *arguments, binary=binary, tls=tls) for _ in range(2 * len(SLOTS))]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.known_port}" for node in self.nodes)

    def start(self) -> None:
        """Start the nodes and make them one cluster."""
        for node in self.nodes:
            node.start()
        first, *others = self.nodes
        for node, slots in zip(self.nodes, SLOTS, strict=False):
            _command(node.port, "CLUSTER", "ADDSLOTSRANGE", *slots)
        for number, node in enumerate(self.nodes):
            _command(node.port, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in others:
            _command(first.port, "CLUSTER", "MEET", "127.0.0.1", node.known_port)
        _until(lambda: all(len(self.view(node)) == len(self.nodes) for node in self.nodes), "the nodes to meet")
        for replica, primary in zip(self.nodes[len(SLOTS) :], self.nodes, strict=False):
            _command(replica.port, "CLUSTER", "REPLICATE", str(_command(primary.port, "CLUSTER", "MYID")))
        _until(self._whole, "the cluster to be whole")
        _until(
            lambda: all(_follows(replica) for replica in self.nodes[len(SLOTS) :]), "the replicas to have everything"
        )

    def _whole(self) -> bool:
        for node in self.nodes:
            view = self.view(node)
            replicas = sum("slave" in fields[2] for fields in view)
            if (len(view), replicas) != (len(self.nodes), len(SLOTS)) or any(
                fields[7] != "connected" for fields in view
            ):
                return False
        return True

    def view(self, node: Store) -> list[list[str]]:
        """Return how a node sees the cluster: the fields of each node."""
        return [line.split() for line in str(_command(node.port, "CLUSTER", "NODES", text=True)).splitlines()]

    def primary_of(self, key: str) -> Store:
        """Return the node that has a key, as a living node sees it."""
        for node in self.nodes:
            try:
                slot = int(_command(node.port, "CLUSTER", "KEYSLOT", key))
                view = self.view(node)
            except redis.RedisError:
                continue
            for fields in view:
                alive = "master" in fields[2] and "fail" not in fields[2]
                if alive and any(_within(slot, part) for part in fields[8:]):
                    return self._at(fields)
        raise RuntimeError(f"no node has the slot of {key}")

    def _at(self, fields: list[str]) -> Store:
        port = int(fields[1].partition("@")[0].rpartition(":")[2])
        return next(node for node in self.nodes if node.port == port)

    async def failed_over(self, key: str, former: Store, within_seconds: float = READY_WITHIN_SECONDS) -> float:
        """Wait until another node has the key; returns how long it took."""
        began = time.monotonic()

        def moved() -> bool:
            try:
                return self.primary_of(key) is not former
            except RuntimeError:
                return False

        await asyncio.to_thread(_until, moved, "a replica to take over", within_seconds)
        return time.monotonic() - began

    def migrate(self, key: str) -> Store:
        """Begin to move the slot of a key to another primary, as it is used; returns from where."""
        source = self.primary_of(key)
        slot = int(_command(source.port, "CLUSTER", "KEYSLOT", key))
        others = [f for f in self.view(source) if "master" in f[2] and "myself" not in f[2] and len(f) > 8]
        _command(source.port, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", others[0][0])
        return source

    def client(self) -> Any:
        """Return a client of the harness that follows the slots."""
        return RedisCluster(
            startup_nodes=[ClusterNode("127.0.0.1", node.port) for node in self.nodes],
            socket_timeout=2,
            socket_connect_timeout=1,
            cluster_error_retry_attempts=3,
        )

    def stop(self) -> None:
        """End everything."""
        for node in self.nodes:
            node.stop()


def _command(port: int, *words: Any, text: bool = False) -> Any:
    client: Any = redis.Redis(port=port, socket_timeout=2, socket_connect_timeout=1, decode_responses=True)
    try:
        if text:  # redis-py would parse it
            client.response_callbacks.clear()
        return client.execute_command(*words)
    finally:
        client.close()


def _follows(node: Store) -> bool:
    """Whether a node is a replica that has all that its primary has."""
    found = _command(node.port, "INFO", "replication")
    return bool(found["role"] == "slave" and found["master_link_status"] == "up")


def _within(slot: int, part: str) -> bool:
    first, _, last = part.partition("-")
    return first.isdigit() and int(first) <= slot <= int(last or first)


def _until(condition: Any, what: str, within_seconds: float = READY_WITHIN_SECONDS) -> None:
    """Wait, in a thread of its own or before the loop has anything to do."""
    deadline = time.monotonic() + within_seconds
    while True:
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(POLL_SECONDS)
