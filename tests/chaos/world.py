"""A world for one scenario: a store, hubs, proxies between them where faults need them, and an audience that moves all the time.

The way of a scenario is `play`: start, warm up, faults (the scenario's own function), heal, one more raise, settle, end the rooms,
wait for the platform to be told of everything, judge.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from redis.exceptions import RedisError

from capacity.store import keys
from capacity.store.keys import RoomName
from tests.chaos import tasks, times, verdict
from tests.chaos.attendee import Attendee
from tests.chaos.audience import Account, Audience
from tests.chaos.audit import Audit
from tests.chaos.billing import Billing
from tests.chaos.checks import leaks
from tests.chaos.differences import differences
from tests.chaos.hooks import Story, story
from tests.chaos.hubs import HubProcess
from tests.chaos.journal import Journal
from tests.chaos.monitor import Monitor
from tests.chaos.outcome import Outcome, Scenario
from tests.chaos.platform import Platform, Shows
from tests.chaos.proxy import Proxy
from tests.support.service import WEBHOOK_SECRET
from tests.support.waiting import wait_until

WARM_WITHIN_SECONDS = 10.0
WARM_SHARE = 0.6
CHANGE_EVERY_SECONDS = 1.5
HEAL_WITHIN_SECONDS = 30.0
ANSWER_SECONDS = 0.5
CONVERGE_WITHIN_SECONDS = 10.0
POLL_SECONDS = 0.2
LEARN_SECONDS = 2.0
"""How long after a cut was healed its clients may take to hear what happened meanwhile."""
GRACE_SLACK_SECONDS = 1.0


class World:
    """`fault` writes down what is done, `bit` that it was felt, `cut_off` whom its clients could not hear."""

    def __init__(self, scenario: Scenario, seed: int, directory: Path, seconds: float) -> None:
        self.scenario = scenario
        self.directory = directory
        self.seconds = seconds
        self.chance = random.Random(f"{seed} {scenario.name}")
        self.outcome = Outcome(scenario.name, seed)
        self.journal = Journal()
        self.platform = Platform(directory, seed)
        self.accounts = [
            Account(f"account-{number}", limit, tuple(f"a{number}r{room}" for room in range(scenario.rooms)))
            for number, limit in enumerate(scenario.seats)
        ]
        self.rooms = [RoomName(account.id, room) for account in self.accounts for room in account.rooms]
        self.hubs: list[HubProcess] = []
        self.hub_proxies: list[Proxy] = []
        """In front of each hub, where the scenario is proxied."""
        self.store_proxies: list[Proxy] = []
        """Between each hub and the store."""
        self.cuts: list[tuple[int, float, float, float]] = []
        self.lost_at = 0.0
        """When the store last lost data: a raise published before may be lost too, until it is published again."""
        self.settled: list[str] = []
        """What was not as it should be at the end."""
        self.story = Story([], set())
        """What the platform is to be told, once all has happened."""
        self.rooms_end_at = math.inf
        """When all is judged and every room is ended, whose people are told so."""
        self._over_at: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._events_before: Counter[str] = Counter()

    # ---- life

    async def start(self, store: Any) -> None:
        """Start everything, and let people come."""
        self.store = store
        self.http = httpx.AsyncClient(timeout=3)
        await asyncio.to_thread(store.start)
        self.redis = store.client()
        await self.platform.start()
        settings = {
            **times.SETTINGS,
            "grace_seconds": self.scenario.grace_seconds,
            "hook_urls": self.platform.url,
            "hook_secret": WEBHOOK_SECRET,
        }
        for number in range(self.scenario.hubs):
            url = self.store.url
            if self.scenario.proxied:
                self.store_proxies.append(Proxy(self.store.port, self.chance.getrandbits(32)))
                await self.store_proxies[-1].start()
                url = f"redis://127.0.0.1:{self.store_proxies[-1].port}"
            files_max = self.scenario.files_max if number == 0 else None
            self.hubs.append(HubProcess(number, url, self.directory, settings, files_max=files_max))
            self.hubs[-1].start()
            if self.scenario.proxied:
                self.hub_proxies.append(Proxy(self.hubs[-1].port, self.chance.getrandbits(32)))
                await self.hub_proxies[-1].start()
        seed = self.chance.getrandbits(32)
        self.audience = Audience(self.accounts, self.journal, self.pick, seed, self.scenario)
        ports = [hub.port for hub in self.hubs]
        self.billing = Billing(self.redis, self.http, ports, self.audience, self.journal, seed)
        self.audit = Audit(self.redis, self.accounts)
        self.shows = Shows(self.accounts, self.http, ports, seed)
        self.monitor = Monitor(self.redis, self.rooms, self.http, ports)
        await asyncio.gather(*(hub.ready(self.http) for hub in self.hubs))
        await self.billing.open_accounts()
        await wait_until(self._accounts_known, within_seconds=WARM_WITHIN_SECONDS, what="accounts to exist")
        self.audit.begin()
        self.monitor.begin()
        self.audience.begin()
        await wait_until(
            self._warm, within_seconds=WARM_WITHIN_SECONDS + self.scenario.arrival_seconds, what="people to be seated"
        )

    def _warm(self) -> bool:
        if self.scenario.calm:
            return all(visitor.answered for visitor in self.audience.visitors)
        seats = sum(account.seats * len(account.rooms) for account in self.accounts)
        return self.journal.seated >= WARM_SHARE * seats

    async def _accounts_known(self) -> bool:
        return all([await self.redis.exists(keys.account_key(account.id)) for account in self.accounts])

    async def stop(self) -> None:
        """End everything that was started here, by its own id."""
        await tasks.end(self._tasks)
        if hasattr(self, "audience"):
            self.audience.end()
            await self.monitor.end()
        for hub in self.hubs:
            hub.kill()
        for proxy in (*self.hub_proxies, *self.store_proxies):
            await proxy.stop()
        self.platform.kill()
        if hasattr(self, "redis"):
            await self.redis.aclose()
            await self.http.aclose()
        if hasattr(self, "store"):
            await asyncio.to_thread(self.store.stop)

    def pick(self, chance: random.Random) -> tuple[int, int]:
        """Return where a new connection goes to: (hub, port). Nobody knows which hub lives, as behind a plain balancer."""
        number = chance.randrange(len(self.hubs))
        return number, (self.hub_proxies[number] if self.hub_proxies else self.hubs[number]).port

    async def play(self) -> Outcome:
        """Inject the faults, wait for the end of what they did, and judge."""
        began = time.monotonic()
        plans = asyncio.create_task(self.billing.run(CHANGE_EVERY_SECONDS if not self.scenario.calm else math.inf))
        shows = asyncio.create_task(self.shows.run())
        self._events_before = self.log_events()
        if self.scenario.calm:
            self.audience.settle()
        self._tasks = [plans, shows, asyncio.create_task(self._watch_health())]
        await self.scenario.run(self)
        self.platform.calm()
        await self.heal()
        await tasks.end([plans, shows])
        if self.scenario.loses_data:
            await self.billing.publish_again()
        await self.converge()
        self.audience.settle()
        await self.settle()
        await self.monitor.end()
        self.rooms_end_at = time.monotonic()
        await self.shows.end(self.rooms)
        await self.audit.end()
        self.story = story(self.audit.entries)
        await self.platform.told(self.story.wanted(self.lost_at), self.redis)
        self.outcome.seconds = time.monotonic() - began
        verdict.judge(self)
        return self.outcome

    # ---- after the faults

    async def _watch_health(self) -> None:
        """Note how long it takes from the end of each fault until all is well again; of several the longest."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            over_at = self._over_at
            if over_at is not None and await self.well() and self._over_at == over_at:
                self._over_at = None
                self.outcome.heal_seconds = max(self.outcome.heal_seconds or 0.0, time.monotonic() - over_at)

    async def well(self) -> bool:
        """Whether every hub is ready, and nobody has waited long for an answer."""
        if self.audience.unanswered(ANSWER_SECONDS):
            return False
        return all(await asyncio.gather(*(hub.says(self.http, 200) for hub in self.hubs)))

    async def heal(self) -> None:
        """Wait until all is well."""
        try:
            await wait_until(self.well, within_seconds=HEAL_WITHIN_SECONDS)
        except AssertionError:
            ready = [await hub.says(self.http, 200) for hub in self.hubs]
            late = [f"{visitor.name} (tries {visitor.tries})" for visitor in self.audience.unanswered(ANSWER_SECONDS)]
            self.settled.append(
                f"not healed after {HEAL_WITHIN_SECONDS} s: hubs ready {ready}, without an answer {len(late)}: {late[:5]}"
            )

    async def converge(self) -> None:
        """Raise every account's limit once more, now that all is well, and wait until everybody who waits knows."""
        for account in self.accounts:
            await self.billing.change(account, up=True)
        with contextlib.suppress(AssertionError):  # the verdict says who never learned
            await wait_until(
                lambda: not any(under_way.waiting for under_way in self.audience.raises),
                within_seconds=CONVERGE_WITHIN_SECONDS,
            )

    async def settle(self) -> None:
        """Wait until the store has exactly the seats and places of those who are connected, and everybody knows the limits."""
        began = time.monotonic()
        while True:
            try:
                found = await differences(self)
            except (RedisError, OSError) as error:
                found = [f"the store does not answer: {error}"]
            if not found or time.monotonic() - began > self.scenario.settle_seconds:
                break
            await asyncio.sleep(POLL_SECONDS)
        self.outcome.settle_seconds = time.monotonic() - began
        self.outcome.leaks = leaks(found)
        self.settled += found

    # ---- what scenarios use

    def fault(self, what: str, times: int = 1) -> None:
        """Write down that a fault is injected now."""
        self.outcome.faults[what] += times
        self._over_at = None
        self.journal.note("fault", what=what)

    def over(self) -> None:
        """The fault is over now; from here the time to heal is counted."""
        self._over_at = time.monotonic()

    def lost_data(self) -> None:
        """The store has lost data until now."""
        self.lost_at = time.monotonic()

    def bit(self, what: str, times: int = 1) -> None:
        """Write down that a fault was felt."""
        if times:
            self.outcome.bites[what] += times

    def cut_off(self, hub: int, since: float, kept_seconds: float = times.LEASE_SECONDS) -> None:
        """From an instant until now a hub (-1: any) was cut off from the store or from its clients.

        `kept_seconds`: after so long the service takes its people for away. When their grace is over too, others may have
        their seats, and they cannot know it before the cut is healed.
        """
        self.cuts.append((hub, since, time.monotonic() + LEARN_SECONDS, kept_seconds))

    def excused(self, hub: int, at: float) -> bool:
        """Whether the clients of a hub may believe at an instant that they have seats which others have."""
        grace = self.scenario.grace_seconds - GRACE_SLACK_SECONDS
        return any(n in (hub, -1) and since + kept + grace <= at <= until for n, since, until, kept in self.cuts)

    def was_cut_off(self, hub: float, at: float) -> bool:
        """Whether a hub was cut off at an instant."""
        return any(number in (hub, -1) and since <= at <= until for number, since, until, _ in self.cuts)

    def reachable_since(self, hub: int, at: float) -> float:
        """Return when a hub that was cut off at an instant could be reached again; the instant itself if it was not."""
        ends = [
            until - LEARN_SECONDS
            for number, since, until, _ in self.cuts
            if number in (hub, -1) and since <= at <= until
        ]
        return max(ends, default=at)

    def violate(self, text: str) -> None:
        """Write down that something did not hold."""
        self.outcome.violations.append(text)

    def log_events(self) -> Counter[str]:
        """Return how often each event stands in the logs of all hubs."""
        return sum((hub.events() for hub in self.hubs), Counter[str]())

    def felt(self) -> Counter[str]:
        """Return what the hubs logged since the first fault."""
        return self.log_events() - self._events_before

    def generations(self) -> int:
        """Return how many rooms began their history anew, or again from an earlier state."""
        epochs = [{entry.body["after"]["epoch"] for entry in entries} for entries in self.audit.entries.values()]
        return sum(len(of_room) > 1 for of_room in epochs)

    def connected_to(self, hub: int) -> list[Attendee]:
        """Return the attendees who are connected to a hub, and know where they stand."""
        return [a for a in self.audience.attendees if a.wire is not None and a.wire.hub == hub and a.answered]

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def metric(self, hub: int, start: str) -> float:
        """Return the sum of a hub's metrics whose line begins so."""
        text = (await self.http.get(f"http://127.0.0.1:{self.hubs[hub].port}/metrics")).text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(start))

    async def store_errors(self, code: str) -> int:
        """Return how often the store has answered with an error of this code."""
        stats = await self.redis.info("errorstats")
        return int(stats.get(f"errorstat_{code}", {}).get("count", 0))
