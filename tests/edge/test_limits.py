"""Rate limits: exact, per what they are for, and in bounded memory."""

from __future__ import annotations

import pytest

from capacity.web.limits import Rate, Recent, Throttle, Window, address_key, spend
from tests.edge.conftest import Client, Served, handshake, masked, serving, text
from tests.support.waiting import wait_until

# ---- the arithmetic, on a clock of our own


def test_a_bucket_holds_its_burst_and_fills_at_its_rate() -> None:
    throttle = Throttle(Rate(50, 200))
    assert [throttle.take("a", 100.0) for _ in range(200)] == [0.0] * 200
    wait_seconds = throttle.take("a", 100.0)
    assert wait_seconds == pytest.approx(0.02)
    assert throttle.take("b", 100.0) == 0.0, "another key has its own bucket"
    assert throttle.take("a", 100.0 + wait_seconds) == 0.0
    assert throttle.take("a", 100.0 + wait_seconds) > 0
    taken = sum(throttle.take("a", 101.0 + i / 1000) == 0.0 for i in range(1000))
    assert 95 <= taken <= 101, "a second to fill 49, and 50 in the second that it is emptied"
    assert [throttle.take("a", 200.0) for _ in range(201)].count(0.0) == 200, "never more than its burst"


def test_a_refused_token_is_not_spent() -> None:
    rate = Rate(10, 2)
    full_at = spend(spend(0.0, 5.0, rate), 5.0, rate)
    assert spend(full_at, 5.0, rate) == -1
    assert spend(full_at, 5.1, rate) > 0


def test_a_window_slides() -> None:
    window = Window(30, 10.0)
    assert all(window.admit("ann", 100 + i / 10) for i in range(30))
    assert not window.admit("ann", 103.0)
    assert window.admit("bob", 103.0)
    assert not window.admit("ann", 109.99)
    assert window.admit("ann", 110.01), "the first is 10 s ago"
    assert not window.admit("ann", 110.02)
    assert all(window.admit("ann", 120.5 + i / 100) for i in range(30))


def test_what_is_recent_is_kept_and_the_rest_forgotten() -> None:
    recent: Recent[int] = Recent(10.0, 100)
    recent.get("a", 5.0)
    recent.set("a", 1)
    assert recent.get("a", 15.0) == 1
    assert recent.get("a", 24.9) == 1
    assert recent.get("a", 25.1) is None
    assert len(recent) == 0
    recent.set("a", 1)
    assert recent.get("a", 1000.0) is None
    for i in range(10_000):
        recent.set(i, i)
    assert len(recent) <= 200
    assert recent.get(9_999, 1000.0) == 9_999


def test_memory_is_bounded_whoever_comes() -> None:
    throttle, window = Throttle(Rate(50, 200), 1000), Window(30, 10.0, 1000)
    for i in range(20_000):
        throttle.take(i, i / 10_000)
        window.admit(i, i / 10_000)
    assert len(throttle) <= 2000
    assert len(window) <= 2000


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("not:an:address", "not:an:address", True),
    ],
)
def test_an_ipv6_address_counts_as_its_64(one: str, other: str, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same


# ---- on the wire


async def outcome(client: Client) -> int:
    """The status of a handshake, or the close code after it."""
    status, _ = await client.head()
    return status if status != 101 else (await client.close_code())[0]


@pytest.mark.anyio
async def test_a_flood_of_bad_tokens_gets_503_and_the_good_still_come_in() -> None:
    async with serving() as served:
        outcomes: list[int] = []
        while 503 not in outcomes:
            assert len(outcomes) < 3000
            async with await served.client() as client:
                await client.send(handshake("bad"))
                outcomes.append(await outcome(client))
        assert outcomes[:200] == [4401] * 200
        for _ in range(100):  # as many as fill up meanwhile, and one more
            async with await served.client() as client:
                await client.send(handshake("good-ann", Origin="null"))
                status, headers, body = await client.answer()
                if status == 503:
                    break
        assert (status, headers["retry-after"]) == (503, "1"), "a foreign origin counts as well"
        assert b'"overloaded"' in body
        assert served.stats.refused["overloaded"] == 2
        client, _ = await served.join("ann")
        client.reset()
        assert await hello(served) == 200, "only handshakes are limited"


async def hello(served: Served) -> int:
    async with await served.client() as client:
        await client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        return (await client.answer())[0]


@pytest.mark.anyio
async def test_authenticated_handshakes_are_not_limited_by_address() -> None:
    async with serving() as served:
        for i in range(300):
            client, _ = await served.join(f"p{i}")
            client.reset()
        assert served.stats.accepted == 300
        assert served.stats.refused == {}


@pytest.mark.anyio
async def test_a_participant_connects_30_times_in_10_seconds(edge: Served) -> None:
    for _ in range(30):
        client, _ = await edge.join("ann")
        client.reset()
    async with await edge.client() as client:
        await client.send(handshake("good-ann"))
        assert (await client.head())[0] == 101
        assert await client.close_code() == (4429, "rate_limited")
    assert len(edge.hub.connections["ann"]) == 30
    client, _ = await edge.join("bob")
    client.reset()


@pytest.mark.anyio
async def test_a_socket_sends_20_messages_at_once_and_10_a_second(edge: Served) -> None:
    client, connection = await edge.join("talker")
    async with client:
        await client.send(text('{"type":"claim"}') * 20)
        await wait_until(lambda: len(connection.received) == 20)
        connection.socket._loop = _LaterLoop(connection.socket._loop.time() + 1.0)  # type: ignore[assignment]
        await client.send(text('{"type":"claim"}') * 12)
        assert await client.close_code() == (4429, "rate_limited")
        assert 30 <= len(connection.received) <= 31
        assert connection.lost_count == 1


class _LaterLoop:
    """A clock that stands still."""

    def __init__(self, now: float) -> None:
        self._now = now

    def time(self) -> float:
        return self._now


@pytest.mark.anyio
@pytest.mark.parametrize("frame", [masked(0x89, b"?"), masked(0x8A, b"!")])
async def test_control_frames_are_limited_too(edge: Served, frame: bytes) -> None:
    client, connection = await edge.join(f"flooder-{frame[0]}")
    async with client:
        await client.send(frame * 400)
        first, payload = await client.frame()
        while first == 0x8A:
            first, payload = await client.frame()
        assert (first, payload[:2]) == (0x88, (4429).to_bytes(2, "big"))
        assert connection.lost_count == 1
