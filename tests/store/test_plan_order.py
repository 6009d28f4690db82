"""Whatever the order, the duplicates and the redeliveries: the account ends where the newest event of its source left it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.domain.near_full import Shares
from capacity.protocol.events import PlanChanged
from capacity.store import keys
from capacity.store.plan_changes import Entry, PlanChanges
from capacity.store.redis import Clients
from capacity.store.rooms import Rooms, Rules

RULES = Rules(30_000, 120_000, 60_000, 900_000, 3_600_000, Shares.of(Decimal("0.9"), Decimal("0.8")))


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

    def apply(self, event: PlanChanged, *, desk: str | None = None, entry: str | None = None) -> str:
        """Apply the event as a new entry of the stream, or as one that is delivered again."""
        self._entries += 1
        delivered = Entry(entry or f"{self._entries}-0", b"", desk)
        return self._loop.run_until_complete(self._stream.apply(delivered, event))

    def remember(self, event: PlanChanged, verdict: str) -> None:
        """Leave what a release before this one wrote for an event that it had handled."""
        self._raw.set(keys.event_key("acme", event.source, event.id), verdict, px=60_000)

    def forget(self, field: str) -> None:
        """Drop a field of the hash."""
        self._raw.hdel(keys.account_key("acme"), field)

    @property
    def fields(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self._raw.hgetall(keys.account_key("acme")).items()}

    @property
    def desk(self) -> str | None:
        """What a hub learns that the desk wrote."""
        known = self._loop.run_until_complete(Rooms(self._clients.scripts, RULES, "test").account("acme"))
        assert known is not None and known.fields == self.fields
        return known.desk

    @property
    def seats(self) -> int:
        return int(self.fields["seats"])


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


@settings(max_examples=40, deadline=None)
@given(versions=versioned, again=st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=8))
def check_redeliveries(url: str, versions: list[int], again: list[tuple[int, bool]]) -> None:
    """Each event comes once, then some come again: as the entry that they were, or copied into another one."""
    sent = [change(number, version, 1000) for number, version in enumerate(versions)]
    with Account(url) as account:
        first = [account.apply(event, entry=f"{number}-7") for number, event in enumerate(sent)]
        left = account.fields
        for index, same_entry in again:
            if index < len(sent):
                verdict = account.apply(sent[index], entry=f"{index}-7" if same_entry else None)
                assert verdict == (first[index] if same_entry else "duplicate")
        assert account.fields == left


speakers = st.sampled_from(["events", "events", "desk", "desk", "released"])


@settings(max_examples=80, deadline=None)
@given(changes=st.lists(st.tuples(speakers, st.integers(1, 9)), min_size=1, max_size=14))
def check_sources(url: str, changes: list[tuple[str, int]]) -> None:
    """Desk and billing system send versions of their own. The desk's count outlives its hold on the account: what it
    published before it let the account go cannot take it back."""
    managed, counted, of_desk, expected = False, 0, 0, -1
    with Account(url) as account:
        for number, (who, version) in enumerate(changes):
            event, desk = change(number, version, 1000), f"[{number}]" if who == "desk" else who
            if who == "events" and managed:
                verdict = "managed_by_desk"
            elif version > (counted if who == "events" else of_desk):
                verdict, expected = "applied", number
                managed, counted = who == "desk", 0 if who == "released" else version
                of_desk = of_desk if who == "events" else version
            else:
                verdict = "stale"
            assert account.apply(event, desk=None if who == "events" else desk) == verdict
            fields = account.fields
            if expected < 0:
                assert fields == {}
                continue
            assert int(fields["seats"]) == expected
            assert int(fields.get("version", 0)) == counted
            assert int(fields.get("desk_version", 0)) == of_desk
            assert fields["source"] == ("desk" if managed else "events")
            assert account.desk == (f"[{expected}]" if managed else None)


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


def test_an_entry_that_comes_again_gets_the_verdict_that_it_got(each_redis_url: str) -> None:
    check_redeliveries(each_redis_url)


def test_from_its_first_event_on_the_account_is_the_desks(each_redis_url: str) -> None:
    check_sources(each_redis_url)


def test_the_desk_takes_over_with_its_own_time(each_redis_url: str) -> None:
    with Account(each_redis_url) as account:
        assert account.apply(change(1, 9, 500)) == "applied"
        assert account.apply(change(2, 1, 100), desk="{}") == "applied"
        assert (account.fields["version"], account.fields["time"]) == ("1", "100")
        assert account.apply(change(3, 1, 900), desk="{}") == "stale", "the desk's own count has begun"


def test_a_desks_account_of_the_release_before_is_counted_on(each_redis_url: str) -> None:
    """That release kept no `desk_version`."""
    with Account(each_redis_url) as account:
        assert account.apply(change(1, 5, 100), desk="{}") == "applied"
        account.forget("desk_version")
        assert account.apply(change(2, 5, 200), desk="{}") == "stale"
        assert account.apply(change(3, 6, 200), desk="{}") == "applied"


def test_what_was_applied_before_the_desk_took_over_comes_again_as_applied(each_redis_url: str) -> None:
    with Account(each_redis_url) as account:
        assert account.apply(change(1, 1, 1), entry="1-1") == "applied"
        assert account.apply(change(2, 1, 1), desk="{}") == "applied"
        assert account.apply(change(1, 1, 1), entry="1-1") == "applied"
        assert account.apply(change(1, 1, 1)) == "managed_by_desk"
        assert account.seats == 2


def test_what_a_release_before_remembered_is_a_duplicate(each_redis_url: str) -> None:
    with Account(each_redis_url) as account:
        for number, verdict in enumerate(("applied", "stale")):
            account.remember(change(number, None, 1), verdict)
            assert account.apply(change(number, None, 1), entry="1-1") == "duplicate"
        assert account.fields == {}


def test_an_event_that_was_rejected_is_not_remembered(each_redis_url: str) -> None:
    with Account(each_redis_url) as account:
        account.apply(change(1, 1, 1), desk="{}")
        assert account.apply(change(2, 2, 2)) == "managed_by_desk"
        assert account.apply(change(2, 3, 2), desk="{}") == "applied"
