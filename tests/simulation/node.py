"""A hub of the simulation: the product's hub, unchanged, in a process of its own that can be paused and killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from capacity.hooks.webhooks import Webhooks
from capacity.hub.hub import Hub
from capacity.store.outbox import Outbox
from capacity.store.redis import Clients
from capacity.store.rooms import Rules
from tests.simulation import platform
from tests.simulation.clients import SimulatedClients
from tests.simulation.loop import Process
from tests.simulation.network import Link, Network
from tests.simulation.platform import Platform, SimulatedEndpoint

if TYPE_CHECKING:
    from tests.simulation.wire import Wire


class Node:
    """One hub process."""

    def __init__(self, network: Network, platform: Platform, name: str, rules: Rules, lease_seconds: float) -> None:
        self.loop = network.loop
        self.name = name
        self.process = Process(network.loop, name)
        self.link = Link(self.process)
        self.wires: dict[Wire, None] = {}
        self.accepting = True
        """Whether new connections reach it."""
        self._network = network
        clients = SimulatedClients(network, self.link)
        self.hub = self.process.context.run(self._hub, clients, rules, lease_seconds)
        self.webhooks = self.process.context.run(self._webhooks, clients, platform)
        self.hub.rooms.outbox = self.webhooks.outbox
        self._starting = self.process.start(self._start())

    def _hub(self, clients: Clients, rules: Rules, lease_seconds: float) -> Hub:
        hub = Hub(clients, rules, lease_seconds, lambda *_: None, audit=True, id=self.name, clock=self.loop.time)
        hub.now_ms = lambda: self._network.backend.wall_ms  # type: ignore[method-assign]
        return hub

    def _webhooks(self, clients: Clients, at: Platform) -> Webhooks:
        outbox = Outbox(clients.scripts, look_every_ms=platform.LOOK_EVERY_MS, clock=self.loop.time)
        made = SimulatedEndpoint(at)
        return Webhooks(clients.scripts, [platform.URL], [], outbox=outbox, endpoint=lambda *_: made, **platform.TIMES)

    async def _start(self) -> None:
        await self.hub.start()
        self.webhooks.start()

    async def _stop(self) -> None:
        if self._starting.done():
            await self.webhooks.stop()
        await self.hub.stop()

    @property
    def ready(self) -> bool:
        """Whether a load balancer would send anybody here."""
        return self.accepting and not self.process.paused and not self.hub.problems()

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.accepting = False
        self.process.kill()
        for subscription in self._network.subscriptions(self.process):
            self._network.hang_up(subscription)
        for wire in list(self.wires):
            wire.cut()

    async def stop(self) -> None:
        """End it as SIGTERM does."""
        self.accepting = False
        stopping = self.process.start(self._stop())
        await asyncio.wait([stopping], timeout=10)
        self.kill()

    def ask(self, what: Any) -> asyncio.Task[Any]:
        """Make a call of the hub's HTTP side, in its process."""
        return self.process.start(what)
