"""Whatever the order, the duplicates and the redeliveries: the account ends where the newest event left it."""

from __future__ import annotations

import asyncio
from typing import Any

import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.protocol.events import PlanChanged
from capacity.store import keys
from capacity.store.plan_changes import PlanChanges
from capacity.store.redis import Clients


def change(number: int, version: int | None, time_ms: int) -> PlanChanged:
    return PlanChanged(
        id=f"e{number}", source="/t", account="acme", time_ms=time_ms, plan=f"p{number}", seats=number,
        concurrent_sessions=None, version=version,
    )  # fmt: skip


versioned = st.lists(st.integers(1, 9), min_size=1, max_size=12)
timed = st.lists(st.integers(1, 5), min_size=1, max_size=12)


class Account:
    """One account on a real server, and the verdicts that its events got."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._clients = Clients(url)
        self._stream = PlanChanges(self._clients, "test")
        self._raw: Any = redis.Redis.from_url(url)
        self._entries = 0

    def __enter__(self) -> Account:
        self._raw.flushall()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._clients.aclose())
        self._loop.close()
        self._raw.close()

    def apply(self, event: PlanChanged) -> str:
        self._entries += 1
        return self._loop.run_until_complete(self._stream.apply(f"{self._entries}-0", event))

    @property
    def seats(self) -> int:
        return int(self._raw.hget(keys.account_key("acme"), "seats"))


@settings(max_examples=40, deadline=None)
@given(versions=versioned, again=st.lists(st.integers(0, 11), max_size=6))
def check_versions(url: str, versions: list[int], again: list[int]) -> None:
    sent = [change(number, version, 1000 - number) for number, version in enumerate(versions)]
    sent += [sent[index] for index in again if index < len(versions)]
    highest, expected = 0, -1
    seen: set[str] = set()
    with Account(url) as account:
        for event in sent:
            assert event.version is not None
            if event.id in seen:
                verdict = "duplicate"
            elif event.version > highest:
                verdict, highest, expected = "applied", event.version, event.seats
            else:
                verdict = "stale"
            seen.add(event.id)
            assert account.apply(event) == verdict
            assert account.seats == expected


@settings(max_examples=40, deadline=None)
@given(times=timed)
def check_times(url: str, times: list[int]) -> None:
    latest, expected = 0, -1
    with Account(url) as account:
        for number, time_ms in enumerate(times):
            verdict = "applied" if time_ms >= latest else "stale"
            if verdict == "applied":
                latest, expected = time_ms, number
            assert account.apply(change(number, None, time_ms)) == verdict
            assert account.seats == expected


def test_by_version_alone(each_redis_url: str) -> None:
    check_versions(each_redis_url)


def test_by_time_alone_and_equal_times_by_the_stream(each_redis_url: str) -> None:
    check_times(each_redis_url)


def test_with_and_without_a_version_the_highest_of_both_is_kept(each_redis_url: str) -> None:
    with Account(each_redis_url) as account:
        assert account.apply(change(1, 5, 100)) == "applied"
        assert account.apply(change(2, None, 99)) == "stale"
        assert account.apply(change(3, None, 200)) == "applied"
        assert account.apply(change(4, 5, 300)) == "stale"
        assert account.apply(change(5, 6, 50)) == "applied"
        assert account.apply(change(6, None, 199)) == "stale", "the time of the third event still counts"
        assert account.seats == 5
