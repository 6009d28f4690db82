"""The same service on a real cluster of three nodes: rooms, feeds, billing and hubs on different ones."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.cluster import RedisCluster

from capacity.store import keys
from capacity.top.reading import Reader
from tests.support.process import HubProcess
from tests.support.servers import binaries, cluster
from tests.support.service import Billing, Hub
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
ACCOUNTS = ("acme", "globex", "initech", "umbrella", "hooli")


async def raise_reaches(hub: Hub, billing: Billing, account: str) -> None:
    """Fill a room of one seat, raise it, and see who waits told."""
    await billing.account(1, account)
    await hub.host(account=account)
    await (await hub.join("ann", account=account)).told("seated")
    ben = await hub.join("ben", account=account)
    await ben.told("waiting")
    await billing.publish(2, account)
    await ben.told("refresh")


async def test_rooms_on_every_node_hear_of_their_raises(tmp_path: Path) -> None:
    with cluster(binaries()["valkey"], tmp_path) as (url, _):
        client: Any = RedisCluster.from_url(url.replace("redis+cluster://", "redis://").partition(",")[0])
        nodes = {
            client.get_node_from_key(keys.account_feed(account)).name for account in ACCOUNTS if await client.ping()
        }
        assert len(nodes) == 3, "the accounts of this test must live on every node"
        async with HubProcess(url, tmp_path) as first, HubProcess(url, tmp_path) as second:
            billing = Billing(client)
            for number, account in enumerate(ACCOUNTS):
                await raise_reaches((first, second)[number % 2], billing, account)
            async with aclosing(Reader(url, lambda name: name.account in ACCOUNTS)) as reader:
                top = await reader.look()
            assert {(room.account, room.seat_limit, room.seated, room.held) for room in top.rooms} == {
                (account, 2, 1, 1) for account in ACCOUNTS
            }
            assert [hub.status is not None for hub in top.hubs] == [True, True]
        await client.aclose()


async def test_purchases_reach_rooms_on_every_node(tmp_path: Path) -> None:
    """The desk's node commits, and the account's node has the seats: a purchase at one hub, the room at the other."""
    with cluster(binaries()["valkey"], tmp_path) as (url, _):
        async with (
            HubProcess(url, tmp_path, payments="test") as first,
            HubProcess(url, tmp_path, payments="test") as second,
        ):
            for account in ACCOUNTS:
                path = f"/v1/accounts/{account}"
                created = await first.call("PUT", path, json={"plan": "starter"})
                assert created.status_code == 200, created.text
                host = await second.host(account=account)
                assert host.messages[0]["seat_limit"] == 25
                quote = (await first.call("POST", f"{path}/quotes", json={"plan": "growth"})).json()
                bought = await first.call(
                    "POST", f"{path}/purchases", json={"quote": quote["id"]}, headers={"Idempotency-Key": "key"}
                )
                assert (bought.status_code, bought.json()["status"]) == (200, "completed")
                await host.told("seat_limit", seat_limit=50)
                entries = (await second.call("GET", f"{path}/ledger")).json()["entries"]
                assert [entry["amount"] for entry in entries if entry["kind"] == "payment"] == [
                    quote["due_now"]["amount"]
                ]
                let_go = await first.call("DELETE", path)
                assert (let_go.status_code, let_go.json()["managed_by"]) == (200, "events")


async def test_an_account_that_moves_to_another_node_is_heard_there(tmp_path: Path) -> None:
    """Valkey 9 moves a slot in one piece; the subscription follows, and what was missed is caught up."""
    with cluster(binaries()["valkey"], tmp_path) as (url, _):
        client: Any = RedisCluster.from_url(url.replace("redis+cluster://", "redis://").partition(",")[0])
        billing = Billing(client)
        async with HubProcess(url, tmp_path) as hub:
            await raise_reaches(hub, billing, "acme")
            cem = await hub.join("cem", account="acme")
            await cem.told("waiting")
            slot = client.keyslot(keys.account_key("acme"))
            source = client.get_node_from_key(keys.account_key("acme"))
            target = next(node for node in client.get_primaries() if node.name != source.name)
            target_id = await client.execute_command("CLUSTER MYID", target_nodes=target)
            await client.execute_command(
                "CLUSTER MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target_id.decode(), target_nodes=source
            )

            async def moved() -> bool:
                await client.nodes_manager.initialize()
                return bool(client.get_node_from_key(keys.account_key("acme")).name == target.name)

            await wait_until(moved, within_seconds=15, what="the slot to move")
            await billing.publish(3, "acme")
            await cem.told("refresh", within_seconds=10)
            await wait_until(lambda: hub.says(200), within_seconds=10, what="ready again")
        await client.aclose()
