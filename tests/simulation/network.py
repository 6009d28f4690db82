"""Between the hubs and the store: what can go wrong with a command on its way there, with its answer, and with what is published.

The faults that are drawn for each command are rates, which the test turns up and down; those that last (a frozen store, a hub that is
cut off) are switched by it. `bites` counts what really happened.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ConnectionError, RedisError, TimeoutError

from capacity.store.keys import PLAN_CHANGES
from tests.simulation.backend import Backend, Message, name_of
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.subscription import SimulatedSubscription

CONNECT_SECONDS = 2.0
FIRST_ROOM_KEY = 5
"""Where a room's name is in a call of its scripts: EVALSHA, digest, count, two keys of the account, then those of the room."""


@dataclass(eq=False, slots=True)
class Call:
    """A command on its way. `era`: how often all connections had been cut when it was sent."""

    link: Link
    command: tuple[Any, ...]
    options: dict[str, Any]
    answer: asyncio.Future[Any]
    era: int
    greets: bool
    """Whether its connections ask whom they lead to."""


class Link:
    """All connections of one hub."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.cut = False
        """Nothing arrives, in either direction."""
        self.server = ""
        """The server that its connections led to last."""
        self.backlog: list[Call] = []
        """What was sent while the link was cut, and arrives when it is mended."""


class OtherServer(ConnectionError):
    """A new connection leads to another server than before."""


class Rates:
    """How probable each fault of a single command or message is. Some ways are slow at all times, so that answers and feed overtake
    each other.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to what is usual."""
        self.request_lost = self.reply_lost = self.late = self.message_lost = 0.0
        self.slow = 0.02


class Network:
    """All links to one store."""

    def __init__(self, loop: VirtualLoop, seed: str, url: str, trace: Callable[..., None] | None) -> None:
        self.loop = loop
        self.backend = Backend(url, loop.time, self._publish)
        self.rates = Rates()
        self.bites: Counter[str] = Counter()
        self.refusal: RedisError | None = None
        """What the server answers to everything, if it is not ready."""
        self.era = 0
        self.room_ends: list[tuple[str, float]] = []
        """When each room was seen to be over; an instant may come again."""
        self.late_indexes: set[str] = set()
        """Keys of the lists of rooms to which a hub that was dead by then added one: such a key may be left behind. No wire of TCP is that
        late, a proxy may be; the scripts know whose call is late, this is a plain SADD."""
        self.at_next_hook: Callable[[Process], None] | None = None
        """What happens to a hub whose call writes something down for webhooks next, before it hears of it."""
        self._random = random.Random(f"{seed} network")
        self._trace = trace
        self._frozen = False
        self._backlog: list[Call] = []
        self._readers: dict[Call, asyncio.TimerHandle] = {}
        self._listeners: dict[str, dict[SimulatedSubscription, None]] = {}

    # ---- the way of a command

    async def ask(
        self, link: Link, command: tuple[Any, ...], options: dict[str, Any], timeout_seconds: float, *, greets: bool
    ) -> Any:
        """Send a command and wait for its answer, as the client library does. A client that greets raises OtherServer, once."""
        call = Call(link, command, options, self.loop.create_future(), self.era, greets)
        self.loop.outside(self.latency(), self._arrive, call)
        timer = self.loop.call_later(timeout_seconds, self._give_up, call)
        try:
            return await call.answer
        finally:
            timer.cancel()

    def latency(self) -> float:
        """Return how long one way takes."""
        if self._random.random() < self.rates.slow:
            return self._random.uniform(0.02, 0.6)
        return self._random.uniform(0.0002, 0.003)

    def _give_up(self, call: Call) -> None:
        if not call.answer.done():
            self.bites["timeout"] += 1
            call.answer.set_exception(TimeoutError("Timeout reading from the store"))

    def _arrive(self, call: Call) -> None:
        if call.era != self.era:
            self._fail(call)
        elif call.link.cut:
            call.link.backlog.append(call)
        elif self._frozen:
            self._backlog.append(call)
        elif self.refusal is not None:
            self.bites["refused"] += 1
            self._reply(call, self.refusal)
        elif call.greets and call.link.server != self.backend.run_id:
            self._reply(call, OtherServer(self.backend.run_id))
        elif self._hit(self.rates.request_lost, "request_lost"):
            self._fail(call)
        elif self._hit(self.rates.late, "late"):
            self.loop.outside(self._random.uniform(0.3, 7.0), self._perform, call)
        else:
            self._perform(call)

    def _perform(self, call: Call) -> None:
        """Run it on the server; nobody may be waiting for the answer any more."""
        if call.era != self.era:
            return
        if self._frozen:
            self._backlog.append(call)
            return
        command, block_ms = _without_block(call.command)
        answer: Any
        try:
            answer = self.backend.run(command, call.options)
        except RedisError as error:
            answer = error
        self._saw(call, answer)
        if self.at_next_hook is not None and isinstance(answer, bytes) and b'"hooked":true' in answer:
            happens, self.at_next_hook = self.at_next_hook, None
            happens(call.link.process)
        if block_ms and not answer and not call.answer.done():
            self._readers[call] = self.loop.outside(block_ms / 1000, self._nothing_new, call)
            return
        if command[0] == "XADD" and command[1] == PLAN_CHANGES:
            self.new_entry()
        if self._hit(self.rates.reply_lost, "reply_lost"):
            if self._random.random() < 0.7:
                self._fail(call)
            return
        self._reply(call, answer)

    def _saw(self, call: Call, answer: Any) -> None:
        """Note what the faults did to the product, and the trace."""
        if self._trace is not None:
            self._trace(call.link.process.name, self.backend.wall_ms, name_of(call.command), answer)
        if call.answer.done():
            self.bites["after_giving_up"] += 1
        if call.command[0] == "SADD" and not call.link.process.alive:
            self.late_indexes.add(str(call.command[1]))
        if isinstance(answer, RedisError):
            kind = type(answer).__name__
            self.bites[kind] += 1
        elif isinstance(answer, bytes) and answer.startswith(b"{"):
            if b'"state":"ended"' in answer:
                self.room_ends.append((str(call.command[FIRST_ROOM_KEY]).rpartition(":")[2], self.loop.time()))
            for status in (b"fenced", b"overtaken"):
                if b'"status":"%b"' % status in answer:
                    self.bites[status.decode()] += 1

    def _reply(self, call: Call, answer: Any) -> None:
        self.loop.outside(self.latency(), self._answer, call, answer)

    def _answer(self, call: Call, answer: Any) -> None:
        if call.answer.done() or call.link.cut or not call.link.process.alive:
            return
        if call.era != self.era:
            answer = ConnectionError("Connection closed by server.")
        if isinstance(answer, Exception):
            call.answer.set_exception(answer)
        else:
            call.answer.set_result(answer)

    def _fail(self, call: Call) -> None:
        self.loop.outside(self.latency(), self._answer, call, ConnectionError("Connection closed by server."))

    def _hit(self, rate: float, what: str) -> bool:
        if rate and self._random.random() < rate:
            self.bites[what] += 1
            return True
        return False

    # ---- blocked reads

    def new_entry(self) -> None:
        """Something was added to the stream: whoever waits longest for it gets it."""
        for call in list(self._readers):
            self._readers.pop(call).cancel()
            if call.link.process.alive and call.era == self.era:
                self._perform(call)

    def _nothing_new(self, call: Call) -> None:
        del self._readers[call]
        self._reply(call, None)

    # ---- what is published

    async def connect(self, link: Link) -> None:
        """Make a connection of its own for a subscription."""
        await asyncio.sleep(self.latency())
        if self.refusal is not None:
            raise self.refusal
        if link.cut or self._frozen:
            await asyncio.sleep(CONNECT_SECONDS)
            raise TimeoutError("Timeout connecting to server")

    def subscribe(self, subscription: SimulatedSubscription, channel: str) -> None:
        """A subscription asks for a channel."""
        self.loop.outside(self.latency(), self._subscribe, subscription, channel)

    def _subscribe(self, subscription: SimulatedSubscription, channel: str) -> None:
        if self._frozen:
            self.loop.outside(0.05, self._subscribe, subscription, channel)
            return
        if subscription.link.cut or not subscription.open:
            subscription.deaf = True
            return
        self.backend.listen_to(channel)
        self._listeners.setdefault(channel, {})[subscription] = None
        subscription.say("ssubscribe", channel, 1, self.latency())

    def unsubscribe(self, subscription: SimulatedSubscription, channel: str) -> None:
        """A subscription gives a channel up."""
        self._listeners.get(channel, {}).pop(subscription, None)
        subscription.say("sunsubscribe", channel, 1, self.latency())

    def hang_up(self, subscription: SimulatedSubscription) -> None:
        """A subscription ends."""
        for listeners in self._listeners.values():
            listeners.pop(subscription, None)

    def _publish(self, message: Message) -> None:
        channel, data = message
        for subscription in list(self._listeners.get(channel, {})):
            if subscription.link.cut:
                subscription.deaf = True
            elif not self._hit(self.rates.message_lost, "message_lost"):
                subscription.say("smessage", channel, data, self.latency())

    def subscriptions(self, process: Process | None = None) -> list[SimulatedSubscription]:
        """Return the subscriptions of a process, or of all."""
        found = {s: None for listeners in self._listeners.values() for s in listeners}
        return [s for s in found if process is None or s.link.process is process]

    # ---- what lasts

    def freeze(self) -> None:
        """The server stands still; what is sent to it lies in its sockets."""
        self._frozen = True

    def thaw(self) -> None:
        """It goes on, with what lies there: of each connection in order, of several in any."""
        self._frozen = False
        self._random.shuffle(self._backlog)
        self._run_all(self._backlog)
        self._backlog = []

    def mend(self, link: Link) -> None:
        """A link that was cut carries again; what was sent meanwhile was lost, or arrives when it is next sent again."""
        link.cut = False
        if self._random.random() < 0.7:
            for call in link.backlog:
                self.loop.outside(self._random.choice((0.01, 0.2, 3.0)) * self._random.random(), self._perform, call)
        link.backlog = []

    def _run_all(self, calls: list[Call]) -> None:
        for call in calls:
            self.loop.outside(self.latency(), self._perform, call)

    def cut_all(self) -> None:
        """Every connection breaks, as when the server's process ends: what lies in its sockets is gone."""
        self.era += 1
        self._backlog = []
        for call, timer in self._readers.items():
            timer.cancel()
            self._fail(call)
        self._readers = {}
        for subscription in self.subscriptions():
            subscription.fail(self.latency())


def _without_block(command: tuple[Any, ...]) -> tuple[tuple[Any, ...], int]:
    """Return a blocking read as one that does not block, and for how many ms it would have."""
    if command[0] != "XREADGROUP":
        return command, 0
    for index, part in enumerate(command):
        if part in ("BLOCK", b"BLOCK"):
            return (*command[:index], *command[index + 2 :]), int(command[index + 1])
    return command, 0
