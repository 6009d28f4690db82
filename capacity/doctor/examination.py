"""The examination: settings, machine, store, each asked and judged. What cannot be reached is a finding, and takes a bounded time."""

from __future__ import annotations

import asyncio
import os

import msgspec
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError
from rich.text import Text

from capacity.app import check
from capacity.doctor import configuration, diagnosis, inquiry, machine
from capacity.doctor.findings import Finding, document, lines, ok, problem, together, worst
from capacity.doctor.inquiry import ServerState
from capacity.errors import SettingError, Unavailable
from capacity.publishing import store_url
from capacity.redis_url import parse
from capacity.settings import Settings, misspelled
from capacity.store.redis import Clients
from capacity.store.scripts import ScriptError

NONE_RUNS = ok("store", "none runs on the data directory; `capacity serve` starts its own there")
ANSWER_SECONDS = 20.0
"""How long the store may take for all questions but the watching of hubs."""


def report(settings: Settings, *, as_json: bool) -> tuple[Text, int]:
    """Return what `examine` finds, for people or as one JSON document, and the exit code."""
    found = examine(settings)
    text = Text(msgspec.json.encode(document(found)).decode()) if as_json else lines(found)
    return text, 1 if worst(found) == "problem" else 0


def examine(settings: Settings) -> list[Finding]:
    """Look at everything. Raises SettingError for what would stop the start."""
    check(settings)
    findings = [
        *configuration.unknown(misspelled(os.environ)),
        *configuration.judge(settings),
        *machine.judge_limits(machine.limits()),
    ]
    embedded = settings.redis_url is None
    if embedded:
        findings.append(machine.judge_directory(machine.directory(settings.data_dir)))
    try:
        url = store_url(settings)
    except SettingError:
        return [*findings, NONE_RUNS]
    return [*findings, *asyncio.run(_store(settings, url, embedded=embedded))]


async def _store(settings: Settings, url: str, *, embedded: bool) -> list[Finding]:
    clients = Clients(url)
    found: list[Finding] = []
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            found += await _servers(clients, settings, url, embedded=embedded)
        async with asyncio.timeout(ANSWER_SECONDS + inquiry.WATCH_SECONDS_MAX):
            hubs = await inquiry.hubs(clients, settings.lease_seconds)
            stream = await inquiry.stream(clients)
        found += [*diagnosis.of_stream(stream, hubs), diagnosis.of_hubs(hubs, settings.lease_seconds)]
    except (Unavailable, ScriptError, RedisError, RedisClusterException, OSError, TimeoutError) as error:
        found.append(_unusable(error, url, embedded=embedded))
    finally:
        await clients.aclose()
    return found


async def _servers(clients: Clients, settings: Settings, url: str, *, embedded: bool) -> list[Finding]:
    if clients.cluster:
        try:
            await clients.learn_nodes()
        except Unavailable:
            if not clients.nodes():
                raise
            # a node that is known and does not answer: it is asked by itself below, and the others too
    nodes = sorted(clients.nodes())
    states: list[ServerState] = []

    async def judged(node: str) -> list[Finding]:
        try:
            state = await inquiry.server(clients.of_node(node), cluster=clients.cluster)
        except Unavailable as error:
            if not clients.cluster:
                raise
            return [_unusable(error, url, embedded=embedded)]
        states.append(state)
        keeps_money = settings.desk == "on"
        return diagnosis.of_server(state, embedded=embedded, keeps_money=keeps_money, cluster=clients.cluster)

    found = together(zip(nodes, await asyncio.gather(*map(judged, nodes)), strict=True))
    address = parse(url)
    said = "the embedded Valkey" if embedded else str(address)
    said += f", of which {len(nodes)} take writes" if clients.cluster else ""
    return [ok("store", said), diagnosis.connection(address, states), *found]


def _unusable(error: Exception, url: str, *, embedded: bool) -> Finding:
    """The line of a store that does not answer, or not as it should."""
    if embedded and isinstance(error.__cause__, RedisConnectionError):
        return NONE_RUNS  # whoever was killed left the socket behind
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TimeoutError):
        said = f"no answer within {ANSWER_SECONDS:g} s"
    elif isinstance(error.__cause__, MasterNotFoundError):  # its own text is pages of the client library's objects
        said = f"no sentinel answers, or none knows a primary called {parse(url).master!a}"
    where = "CAPACITY_DATA_DIR" if embedded else "CAPACITY_REDIS_URL"
    return problem(
        "store", f"cannot be used: {said}", f"see that it runs and is reached from here, and what {where} says"
    )
