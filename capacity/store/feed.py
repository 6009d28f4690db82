"""The feed: what rooms and accounts publish, by sharded pub/sub. It is a hint, never the truth.

Pub/sub loses messages without a word when a connection breaks. So a lost subscription is made anew from nothing and reported as a
gap, and a beacon of our own proves every second that the subscription lives: a server that is frozen or a connection that is half open
gives no error (docs/decisions/0003).

In a cluster a channel lives where its slot does, so there is one subscription for each node that has channels of ours. redis-py's own
`ClusterPubSub` asks the nodes in turn, waiting for each, and stays deaf after a slot moved or a node failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

from capacity.errors import Unavailable
from capacity.store.keys import beacon
from capacity.store.redis import Clients
from capacity.store.scripts import guarded
from capacity.store.subscription import Listener, Subscription
from capacity.store.tasks import end

BEACONS_TRIED_MAX = 16_384
REBALANCE_AFTER_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Feed:
    """All subscriptions of one process. `on_gap` is called when messages may have been missed."""

    def __init__(self, clients: Clients, hub: str, on_gap: Callable[[], None]) -> None:
        self._clients = clients
        self._hub = hub
        self._on_gap = on_gap
        self._nodes: dict[str, Subscription] = {}
        self._rebalancing: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def live(self) -> bool:
        """Whether every subscription stands."""
        return bool(self._nodes) and all(subscription.live for subscription in self._nodes.values())

    def silent_seconds(self) -> float:
        """Return for how long the most silent subscription has not heard its own beacon."""
        now = asyncio.get_running_loop().time()
        return max((now - subscription.heard_at for subscription in self._nodes.values()), default=0.0)

    async def start(self) -> None:
        """Begin to listen; returns at once."""
        if not self._clients.cluster:
            await self._subscription("")

    async def stop(self) -> None:
        """End every subscription."""
        self._stopped = True
        if self._rebalancing is not None:
            await end([self._rebalancing])
        for subscription in self._nodes.values():
            await subscription.stop()

    async def ready(self) -> None:
        """Return if every subscription stands; learns before where channels live. Raises Unavailable."""
        if self._clients.cluster and not self._nodes:
            await self._clients.learn_nodes()
            await self._subscription(self._clients.node_of(beacon(self._hub, 0)))
        if not self.live:
            raise Unavailable("a subscription does not stand yet")

    def renew(self) -> None:
        """Listen with new connections from now on."""
        for subscription in self._nodes.values():
            subscription.renew()

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Listen to a channel; returns when the server has confirmed it, so that nothing said afterwards is missed."""
        subscription = await self._subscription(self._clients.node_of(channel))
        await subscription.subscribe(channel, listener)

    async def unsubscribe(self, channel: str) -> None:
        """Stop listening to a channel."""
        for subscription in list(self._nodes.values()):
            if channel in subscription.listeners:
                await subscription.unsubscribe(channel)

    async def _subscription(self, node: str) -> Subscription:
        known = self._nodes.get(node)
        if known is None:
            known = self._nodes[node] = Subscription(
                lambda: self._clients.pubsub(node), self._beacon(node), self._shine, self._on_gap, self._moved
            )
            await known.start()
        return known

    def _beacon(self, node: str) -> str:
        """Return a channel of this hub that lives on the node."""
        for number in range(BEACONS_TRIED_MAX):
            channel = beacon(self._hub, number)
            if self._clients.node_of(channel) == node:
                return channel
        return beacon(self._hub, 0)

    async def _shine(self, channel: str) -> None:
        await guarded(self._clients.scripts.execute_command("SPUBLISH", channel, b"1"))

    def _moved(self) -> None:
        if self._clients.cluster and self._rebalancing is None and not self._stopped:
            self._rebalancing = asyncio.get_running_loop().create_task(self._rebalance())

    async def _rebalance(self) -> None:
        """Ask the cluster anew where everything lives, and listen there."""
        try:
            await asyncio.sleep(REBALANCE_AFTER_SECONDS)
            await self._clients.learn_nodes()
            moved = [
                (channel, listener)
                for node, subscription in self._nodes.items()
                for channel, listener in subscription.channels()
                if self._clients.node_of(channel) != node
            ]
            living = self._clients.nodes()
            for channel, listener in moved:
                await self.unsubscribe(channel)
                await self.subscribe(channel, listener)
            for node in [node for node in self._nodes if node not in living]:
                await self._nodes.pop(node).stop()
            if moved:
                log.info("feed_moved", channels=len(moved))
                self._on_gap()
        except (Unavailable, RedisError, OSError) as error:
            log.warning("feed_not_moved", error=type(error).__name__)
        finally:
            self._rebalancing = None
            if any(not subscription.live for subscription in self._nodes.values()):
                self._moved()
