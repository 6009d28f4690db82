"""What a simulated hub takes for its clients: the product's `Clients`, whose commands go over the simulated network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from capacity.store.redis import READ_TIMEOUT_SECONDS, SCRIPT_TIMEOUT_SECONDS, Clients
from capacity.store.schema import Schema
from tests.simulation.network import Link, Network, OtherServer
from tests.simulation.subscription import SimulatedSubscription


class SimulatedRedis(Redis):
    """redis-py's client up to the point where it would use a connection. `greet` is given each new connection."""

    def __init__(
        self,
        network: Network,
        link: Link,
        timeout_seconds: float,
        greet: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(protocol=2)
        self._network = network
        self._link = link
        self._timeout_seconds = timeout_seconds
        self._greet = greet

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command, or raise what the client library would."""
        while True:
            try:
                return await self._network.ask(
                    self._link, args, options, self._timeout_seconds, greets=self._greet is not None
                )
            except OtherServer as found:
                self._link.server = str(found)
                assert self._greet is not None
                await self._greet(_Greeting(str(found)))


class _Greeting:
    """A new connection, as far as it is greeted."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    async def on_connect(self) -> None:
        """It is set up."""

    async def send_command(self, *command: str) -> None:
        """Take a command, which can only be one."""
        assert command == ("INFO", "server")

    async def read_response(self) -> bytes:
        """Answer it."""
        return f"# Server\r\nrun_id:{self._run_id}\r\n".encode()


class SimulatedClients(Clients):
    """The clients of one hub."""

    def __init__(self, network: Network, link: Link) -> None:
        super().__init__("redis://simulated")
        self.scripts = SimulatedRedis(network, link, SCRIPT_TIMEOUT_SECONDS, self._greet)
        self.reads = SimulatedRedis(network, link, READ_TIMEOUT_SECONDS)
        self.schema = Schema(self.scripts)
        self._network = network
        self._link = link

    def pubsub(self, node: str) -> SimulatedSubscription:
        """Return a new pub/sub client."""
        return SimulatedSubscription(self._network, self._link)

    async def aclose(self) -> None:
        """Nothing is open."""
