"""What goes wrong, one thing after the other, as the seed has drawn it."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from redis.exceptions import BusyLoadingError, ReadOnlyError, RedisError

from tests.simulation.scenario import LOSSES

if TYPE_CHECKING:
    from tests.simulation.loop import Process
    from tests.simulation.node import Node
    from tests.simulation.world import World


LOSSES_MAX = 2
"""In one run: what was written is written again for each."""


class Nemesis:
    """Brings the faults of a scenario, and takes all of them away again. Each method is a kind of fault."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._network = world.network
        self._random = random.Random(f"{world.seed} nemesis")
        self.losses: list[float] = []
        """When the store lost data."""
        self.interruptions: list[tuple[float, float, str]] = []
        """From, until and name of a hub that could not reach the store; '' for all of them."""
        self._faults_at: list[float] = []
        self.steps: list[float] = []
        """When the store's clock was moved."""

    async def run(self) -> None:
        """Bring one fault after the other until cancelled; some last while the next one comes."""
        scenario = self._world.scenario
        under_way: list[asyncio.Task[None]] = []
        while scenario.faults:
            await asyncio.sleep(self._random.expovariate(1 / scenario.fault_every_seconds))
            kind = self._random.choice(scenario.faults)
            if kind in LOSSES and len(self.losses) == LOSSES_MAX:
                continue
            self._network.bites[kind] += 1
            if kind != "messages_lost":
                self._faults_at.append(self._world.loop.time())
            self._world.note_fault(kind)
            under_way.append(asyncio.get_running_loop().create_task(getattr(self, f"_{kind}")()))

    def heal(self) -> None:
        """Everything works again."""
        network = self._network
        network.rates.reset()
        network.refusal, network.at_next_hook = None, None
        network.backend.fill(full=False)
        network.thaw()
        for node in self._world.nodes:
            network.mend(node.link)
            if node.process.paused:
                node.process.go_on()

    def quiet_since(self) -> float:
        """Return when the last fault ended that could delay anything; in the future while there is one."""
        lasting = (until for _, until, _ in self.interruptions)
        return max((*lasting, *self.losses, *self._faults_at[-1:]), default=0.0)

    def _lasts(self, least: float, most: float, hub: str = "") -> float:
        seconds = self._random.uniform(least, most)
        now = self._world.loop.time()
        self.interruptions.append((now, now + seconds, hub))
        return seconds

    def _node(self) -> Node | None:
        nodes = [node for node in self._world.nodes if node.accepting and node.process.alive]
        return self._random.choice(nodes) if nodes else None

    # ---- the way to the store

    async def _noise(self) -> None:
        rates = self._network.rates
        rates.request_lost, rates.reply_lost, rates.late, rates.slow, rates.message_lost = 0.03, 0.05, 0.03, 0.2, 0.03
        await asyncio.sleep(self._lasts(3, 10))
        rates.reset()

    async def _messages_lost(self) -> None:
        self._network.rates.message_lost = self._random.uniform(0.1, 0.6)
        await asyncio.sleep(self._random.uniform(1, 6))
        self._network.rates.message_lost = 0.0

    async def _subscriptions_cut(self) -> None:
        for subscription in self._network.subscriptions():
            if self._random.random() < 0.6:
                subscription.fail(self._network.latency())

    async def _subscription_deaf(self) -> None:
        subscriptions = self._network.subscriptions()
        if subscriptions:
            self._random.choice(subscriptions).deaf = True

    async def _partition(self) -> None:
        node = self._node()
        if node is not None and not node.link.cut:
            node.link.cut = True
            await asyncio.sleep(self._lasts(0.3, self._world.scenario.lease_seconds * 2.5, node.name))
            self._network.mend(node.link)

    # ---- the store

    async def _frozen(self) -> None:
        self._network.freeze()
        await asyncio.sleep(self._lasts(0.3, 9))
        self._network.thaw()

    async def _scripts_forgotten(self) -> None:
        self._network.backend.forget_scripts()

    async def _full(self) -> None:
        self._network.backend.fill(full=True)
        await asyncio.sleep(self._lasts(0.5, 5))
        self._network.backend.fill(full=False)

    async def _loading(self) -> None:
        await self._refuse(BusyLoadingError("Redis is loading the dataset in memory", status_code="LOADING"))

    async def _read_only(self) -> None:
        await self._refuse(ReadOnlyError("You can't write against a read only replica.", status_code="READONLY"))

    async def _refuse(self, refusal: RedisError) -> None:
        self._network.refusal = refusal
        await asyncio.sleep(self._lasts(0.2, 5))
        self._network.refusal = None

    async def _clock_forward(self) -> None:
        self.steps.append(self._world.loop.time())
        self._network.backend.step_ms += 45_000

    async def _clock_back(self) -> None:
        self.steps.append(self._world.loop.time())
        self._network.backend.step_ms -= 3_600_000

    async def _emptied(self) -> None:
        self._world.keep_audits()
        self._network.cut_all()
        self._network.backend.empty()
        self.losses.append(self._world.loop.time())

    async def _flushed(self) -> None:
        """Somebody's FLUSHALL: every connection stands."""
        self._world.keep_audits()
        self._network.backend.empty(restart=False)
        self.losses.append(self._world.loop.time())

    async def _rolled_back(self) -> None:
        self._world.keep_audits()
        self._network.cut_all()
        lost = self._network.backend.roll_back(self._random.choice((1, 3, 10, 40, 100)))
        self._network.bites["writes_lost"] += lost
        self.losses.append(self._world.loop.time())

    # ---- the hubs

    async def _hub_killed(self) -> None:
        if self._random.random() < 0.5:
            self._network.at_next_hook = self._kill_process
            return
        node = self._node()
        if node is not None:
            await self._kill(node)

    def _kill_process(self, process: Process) -> None:
        """Kill the hub that has just written something down for webhooks: what only it could know, nobody does."""
        for node in self._world.nodes:
            if node.process is process and node.accepting:
                self._network.bites["killed_with_a_hook"] += 1
                self._faults_at.append(self._world.loop.time())
                asyncio.get_running_loop().create_task(self._kill(node))

    async def _kill(self, node: Node) -> None:
        node.kill()
        await asyncio.sleep(self._random.uniform(0.2, self._world.scenario.lease_seconds * 2))
        self._world.start_node()

    async def _hub_stopped(self) -> None:
        node = self._node()
        if node is not None:
            if node.process.paused:
                node.process.go_on()
            await node.stop()
            self._world.start_node()

    async def _hub_paused(self) -> None:
        node = self._node()
        if node is not None and not node.process.paused:
            node.process.pause()
            await asyncio.sleep(self._lasts(0.3, self._world.scenario.lease_seconds * 3, node.name))
            if node.process.alive:
                node.process.go_on()
