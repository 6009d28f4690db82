"""The key of the seat passes in a real Valkey: one for all hubs, kept, given back, and never replaced by accident."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from capacity.errors import SettingError, Unavailable
from capacity.protocol.passes import PassKey
from capacity.store.keys import PASS_KEY
from capacity.store.pass_keys import load_or_create

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the empty store."""
    async with Redis.from_url(redis_url) as client:
        yield client


async def test_many_hubs_at_once_share_one_key(store: Redis) -> None:
    keys = await asyncio.gather(*(load_or_create(store) for _ in range(20)))
    assert len({key.kid for key in keys}) == 1
    assert (await load_or_create(store)).kid == keys[0].kid
    assert await store.ttl(PASS_KEY) == -1


async def test_a_client_that_decodes_gets_the_same(store: Redis, redis_url: str) -> None:
    key = await load_or_create(store)
    async with Redis.from_url(redis_url, decode_responses=True) as decoding:
        assert (await load_or_create(decoding)).kid == key.kid


async def test_a_hub_gives_its_key_back_after_a_loss(store: Redis) -> None:
    mine = await load_or_create(store)
    await store.flushall()
    assert (await load_or_create(store, mine)).kid == mine.kid
    assert (await load_or_create(store)).kid == mine.kid


async def test_of_two_that_give_back_one_wins(store: Redis) -> None:
    first = await load_or_create(store, PassKey.generate())
    assert (await load_or_create(store, PassKey.generate())).kid == first.kid


@pytest.mark.parametrize("value", [b"", b"nonsense", b"{}", b"\xff"])
async def test_a_damaged_key_is_an_error_and_stays(store: Redis, value: bytes) -> None:
    await store.set(PASS_KEY, value)
    with pytest.raises(SettingError, match=r"^CAPACITY_REDIS_URL: [^\n]*pass-key is damaged[^\n]*delete that key"):
        await load_or_create(store)
    assert await store.get(PASS_KEY) == value


async def test_a_key_of_another_kind_is_an_error(store: Redis) -> None:
    await store.lpush(PASS_KEY, "x")
    with pytest.raises(SettingError, match="pass-key cannot be used"):
        await load_or_create(store)


async def test_without_a_store(tmp_path: Path) -> None:
    async with Redis(unix_socket_path=str(tmp_path / "none.sock"), retry=Retry(NoBackoff(), 0)) as nowhere:
        with pytest.raises(Unavailable):
            await load_or_create(nowhere)
