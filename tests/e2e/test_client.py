"""The Python client on a real hub, and on a server that closes as it is told to."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from capacity import client
from capacity.client import (
    Attendee,
    Change,
    Connected,
    Host,
    Lost,
    PlanChange,
    PlanEvent,
    Reloading,
    Service,
    Stopped,
    StreamPublisher,
    WebhookPublisher,
)
from capacity.client.errors import CLOSE_CODES, LOST, address_of, problem_of
from capacity.domain.money import Money
from capacity.protocol import events
from capacity.protocol.codec import encode
from capacity.protocol.desk_bodies import AccountWish, PurchaseWish, QuoteWish
from capacity.protocol.messages import Ended, Error, NearFull, Occupancy, Pass, Refresh, Seated, SeatLimit, Waiting
from tests.docs.documents import PROTOCOL, rows, section
from tests.hooks.platform import serving
from tests.support.servers import free_port
from tests.support.service import (
    ACCOUNT,
    ROOM,
    SECRET,
    WEBHOOK_SECRET,
    Billing,
    Hub,
    service_token,
    token,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
AT_ONCE, ACCEPT_SECONDS = 5, 10.0
SEATED = json.dumps({"type": "seated", "room": ROOM, "participant": "ada", "seat_limit": 5, "occupied": 1})
REFRESH = encode(Refresh(ROOM, "seat_freed", seat_limit=5, hold_seconds=60.0, held_until=0, spread_ms=0)).decode()
HASTE = 2**-10
"""A chance that makes delays short and keeps them apart, without rounding."""


async def until(side: Any, kind: type[Any]) -> Any:
    """Return the next message of a kind."""
    async with asyncio.timeout(5):
        async for message in side:
            if isinstance(message, kind):
                return message
    raise AssertionError(f"the iteration ended without a {kind.__name__}")


# ---- on a real hub


async def test_an_attendee_and_a_host_speak_with_a_hub(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with Host(hub.address, token("hanna", role="host")) as host:
        assert (await until(host, Occupancy)).state == "open"
        async with Attendee(hub.address, token("ada")) as ada, Attendee(hub.address, token("ben")) as ben:
            assert (await until(ada, Seated)).participant == "ada"
            assert (await until(ben, Waiting)).position == 1
            assert (await until(host, NearFull)).level == "full"
            await ada.ask_pass()
            assert (await until(ada, Pass)).token.count(".") == 2
            await ben.claim()
            assert (await until(ben, Error)).code == "nothing_held"
            await ada.leave()
            assert [message async for message in ada] == []
            assert (await until(ben, Refresh)).reason == "seat_freed"
            assert (await until(ben, Seated)).participant == "ben"
            await host.open()
            await host.end()
            assert (await until(ben, Ended)).reason == "host"
            assert [message async for message in ben] == []


@pytest.mark.parametrize("refresh", ["claim", "reconnect", "ignore"])
async def test_a_refresh_is_followed_within_its_spread(hub: Hub, billing: Billing, refresh: Any) -> None:
    await billing.account(0)
    changes: list[Change] = []
    async with (
        Host(hub.address, token("hanna", role="host")),
        Attendee(hub.address, token("ada"), refresh=refresh, on_change=changes.append) as ada,
    ):
        assert isinstance(await anext(ada), Waiting)
        await billing.publish(1)
        assert (await until(ada, SeatLimit)).seat_limit == 1
        assert isinstance(await anext(ada), Refresh)
        if refresh == "ignore":
            await ada.claim()
        assert isinstance(await anext(ada), Seated)
    assert [type(change) for change in changes] == (
        [Connected, Reloading, Connected] if refresh == "reconnect" else [Connected]
    )


async def test_what_the_service_refuses_for_good_is_raised(hub: Hub, billing: Billing) -> None:
    with pytest.raises(Stopped) as stopped:
        async with Attendee(hub.address, token("ada")):
            pass
    assert (stopped.value.code, stopped.value.reason, stopped.value.stop) == (
        4404,
        "unknown_account",
        "unknown_account",
    )
    await billing.account(5)
    with pytest.raises(Stopped) as stopped:
        async with Attendee(hub.address, "no token"):
            pass
    assert stopped.value.stop == "token"
    asked = iter(["no token", token("ada")])

    async def platform() -> str:
        return next(asked)

    async with Attendee(hub.address, platform, chance=lambda: 0.0) as ada:
        assert isinstance(await anext(ada), Waiting)
        async with Attendee(hub.address, token("ada")):
            with pytest.raises(Stopped) as stopped:
                await until(ada, Seated)
            assert stopped.value.stop == "replaced"
    with pytest.raises(client.NotFound):
        async with Attendee(hub.address + "/elsewhere", token("ada")):
            pass


async def test_a_token_that_stays_bad_is_asked_for_twice(hub: Hub, billing: Billing) -> None:
    await billing.account(5)
    for bad in ("no token", token("not an id")):
        asked: list[str] = []

        async def platform(bad: str = bad, asked: list[str] = asked) -> str:
            asked.append(bad)
            return bad

        with pytest.raises(Stopped) as stopped:
            async with Attendee(hub.address, platform, chance=lambda: 0.0) as ada:
                await until(ada, Seated)
        assert (stopped.value.stop, len(asked)) == ("token", 2)


async def test_rooms_and_participants_over_http(hub: Hub, billing: Billing) -> None:
    await billing.account(2)
    async with Service(hub.address, service_token()) as service:
        with pytest.raises(client.NotFound) as unknown:
            await service.get_room("nobody", ROOM)
        assert (unknown.value.code, unknown.value.retryable) == ("unknown_account", False)
        assert (await service.open_room(ACCOUNT, ROOM)).state == "open"
        with pytest.raises(client.Conflict) as second:
            await service.open_room(ACCOUNT, "another")
        assert second.value.code == "concurrent_sessions_reached"
        async with Attendee(hub.address, token("a|b+c=d~")):
            assert (await service.get_participant(ACCOUNT, ROOM, "a|b+c=d~")).state == "seated"
            assert (await service.put_out_participant(ACCOUNT, ROOM, "a|b+c=d~")).state == "put_out"
        assert (await service.end_room(ACCOUNT, ROOM)).state == "ended"
        assert (await service.get_report(ACCOUNT, ROOM)).joined == 1
        assert (await service.list_events(account=ACCOUNT, verdict="applied", limit=1)).events[0].seats == 2
        with pytest.raises(client.NotFound) as entry:
            await service.replay_event("1-1")
        assert entry.value.code == "unknown_event"
    async with Service(hub.address, "no token") as nobody:
        with pytest.raises(client.Unauthorized):
            await nobody.get_plans()


async def test_an_account_buys_over_http(hub: Hub) -> None:
    async with Service(hub.address, service_token()) as service:
        small, large = [plan for plan in (await service.get_plans()).plans if plan.cycle_days == 30 and not plan.trial][
            :2
        ]
        account = await service.put_account("globex", AccountWish(plan=small.id))
        assert (account.seats, account.managed_by) == (small.seats, "desk")
        quote = await service.create_quote("globex", QuoteWish(plan=large.id))
        assert isinstance(quote.due_now, Money) and quote.kind == "upgrade"
        bought = [
            await service.create_purchase("globex", PurchaseWish(quote=quote.id), idempotency_key="one")
            for _ in range(2)
        ]
        assert bought[0] == bought[1] and bought[0].status == "completed"
        with pytest.raises(client.Conflict) as stale:
            await service.create_purchase("globex", PurchaseWish(quote=quote.id), idempotency_key="two")
        assert stale.value.code == "quote_stale"
        down = await service.create_quote("globex", QuoteWish(plan=small.id))
        await service.create_purchase("globex", PurchaseWish(quote=down.id), idempotency_key="three")
        assert (await service.get_account("globex")).scheduled_change is not None
        assert (await service.delete_scheduled_change("globex")).scheduled_change is None


async def test_a_plan_change_is_published_both_ways(hub: Hub, billing: Billing, redis_url: str) -> None:
    async with WebhookPublisher(hub.address, WEBHOOK_SECRET, source="/tests") as by_webhook:
        event = await by_webhook.publish(PlanChange(account=ACCOUNT, plan="growth", seats=7, version=1))
        await billing.seats(ACCOUNT, 7)
        await by_webhook.send(event)
    async with StreamPublisher(redis_url.replace("redis://", "redis+cluster://"), source="/tests") as by_stream:
        await by_stream.publish(PlanChange(account=ACCOUNT, plan="large", seats=9, concurrent_sessions=2, version=2))
        await billing.seats(ACCOUNT, 9)
    async with Service(hub.address, service_token()) as service:
        handled = (await service.list_events(account=ACCOUNT)).events
        assert sorted((done.verdict, done.id == event.id) for done in handled) == [
            ("applied", False),
            ("applied", True),
            ("duplicate", True),
        ]
    with pytest.raises(events.Rejected):
        PlanEvent.of(PlanChange(account="no account", plan="p", seats=1), source="/tests")
    async with WebhookPublisher(hub.address, f"whsec_{'A' * 32}", source="/tests") as stranger:
        with pytest.raises(client.Unauthorized) as refused:
            await stranger.publish(PlanChange(account=ACCOUNT, plan="growth", seats=7))
        assert refused.value.code == "invalid_signature"


def test_every_operation_for_a_platform_has_a_method(hub_operations: set[str]) -> None:
    methods = {name for name in dir(Service) if not name.startswith("_")} - {"close"}
    assert methods == hub_operations


@pytest.fixture
def hub_operations() -> set[str]:
    """The operations of the HTTP interface that take a token and answer JSON, but for those beside the contract."""
    from tests.docs.test_docs import operations

    beside = {"delete_account", "delete_payment", "get_ledger"}
    names = {"".join(f"_{c.lower()}" if c.isupper() else c for c in o.name): o for o in operations()}
    return {name for name, operation in names.items() if operation.access in ("token", "service")} - beside


# ---- close codes


def test_the_client_knows_every_close_code() -> None:
    should = {int(row[0]): row[3] for row in rows(section(PROTOCOL, "Close codes"))[1:]}
    assert should.keys() <= CLOSE_CODES.keys()
    for code, advice in should.items():
        reconnects = {"soon": "short", "growing": "growing"}.get(CLOSE_CODES[code])
        assert ("reconnect" in advice) == (reconnects is not None) and (reconnects or "") in advice, code


Script = Callable[[ServerConnection, int], Any]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    """Serve WebSockets that do what the script says with the connection of each number."""
    numbers = itertools.count()
    async with serve(
        lambda connection: script(connection, next(numbers)),
        "127.0.0.1",
        0,
        subprotocols=["capacity.v1"],  # type: ignore[list-item]
    ) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@pytest.mark.parametrize(
    ("code", "longest"), [(1012, [2, 2, 2]), (1013, [1, 2, 4]), (4429, [1, 2, 4]), (None, [1, 2, 4]), (3999, [1, 2, 4])]
)
async def test_a_code_that_says_come_back(code: int | None, longest: list[float], monkeypatch: Any) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    async def close(connection: ServerConnection, number: int) -> None:
        if number == 3:
            await connection.send(SEATED)
            await connection.wait_closed()
        elif code is None:
            connection.transport.abort()
        else:
            await connection.close(code, "why")

    changes: list[Change] = []
    async with scripted(close) as address:
        monkeypatch.setattr("capacity.client.connection.asyncio.sleep", at_once)
        async with Attendee(address, "token", on_change=changes.append, chance=lambda: 1.0) as ada:
            assert isinstance(await anext(ada), Seated)
    assert changes[:-1] == [Lost(code or LOST, "why" if code else "", seconds) for seconds in longest]
    assert isinstance(changes[-1], Connected)
    assert [seconds for seconds in slept if seconds in longest] == longest


@pytest.mark.parametrize("code", [code for code, action in CLOSE_CODES.items() if action not in ("soon", "growing")])
async def test_a_code_that_says_stop(code: int) -> None:
    async def close(connection: ServerConnection, number: int) -> None:
        assert number == 0, "came back"
        await connection.send(SEATED)
        await connection.close(code, "why")

    async with scripted(close) as address, Attendee(address, "token") as ada:
        assert isinstance(await anext(ada), Seated)
        if CLOSE_CODES[code] in ("left", "ended"):
            assert [message async for message in ada] == []
        else:
            with pytest.raises(Stopped) as stopped:
                await anext(ada)
            assert (stopped.value.code, stopped.value.stop) == (code, CLOSE_CODES[code])
        with pytest.raises(client.NotConnected):
            await ada.leave()


@pytest.mark.parametrize("end", ["lost", "reload", "disconnect"])
@pytest.mark.parametrize(("stable_seconds", "longest"), [(0.0, [1, 2, 1]), (3600.0, [1, 2, 4])])
async def test_a_connection_that_lived_long_starts_the_delays_afresh(
    end: str, stable_seconds: float, longest: list[float], monkeypatch: Any
) -> None:
    """Whoever ended it: the server, the client for a held seat, or the caller."""

    async def speak(connection: ServerConnection, number: int) -> None:
        if number in (0, 1) or (number == 3 and end != "lost"):
            await connection.close(1013, "why")
            return
        await connection.send(SEATED)
        if number == 2 and end == "lost":
            await connection.close(1013, "why")
        elif number == 2 and end == "reload":
            await connection.send(REFRESH)
        await connection.wait_closed()

    monkeypatch.setattr("capacity.client.connection.STABLE_SECONDS", stable_seconds)
    changes: list[Change] = []
    async with (
        asyncio.timeout(5),
        scripted(speak) as address,
        Attendee(address, "token", refresh="reconnect", on_change=changes.append, chance=lambda: HASTE) as ada,
    ):
        assert isinstance(await anext(ada), Seated)
        if end == "disconnect":
            await ada.disconnect()
        assert await until(ada, Seated)
    assert [change.delay_seconds for change in changes if isinstance(change, Lost)] == [
        HASTE * most for most in longest
    ]
    assert [type(change) for change in changes if not isinstance(change, Lost)] == (
        [Connected, Reloading, Connected] if end == "reload" else [Connected, Connected]
    )


async def test_giving_up_counts_from_the_end_of_the_last_connection() -> None:
    async def speak(connection: ServerConnection, number: int) -> None:
        if number == 1:
            await connection.close(1013, "why")
            return
        await connection.send(SEATED)
        await connection.wait_closed()

    changes: list[Change] = []
    async with (
        scripted(speak) as address,
        Attendee(address, "token", give_up_seconds=1.0, on_change=changes.append, chance=lambda: HASTE) as ada,
    ):
        assert isinstance(await anext(ada), Seated)
        began_at = time.monotonic()
        await wait_until(lambda: time.monotonic() - began_at > 1.0)
        await ada.disconnect()
        assert isinstance(await anext(ada), Seated)
    assert [type(change) for change in changes] == [Connected, Lost, Connected]


async def test_messages_of_later_servers_are_passed_over() -> None:
    async def speak(connection: ServerConnection, number: int) -> None:
        await connection.send('{"type": "weather", "sun": true}')
        await connection.send(SEATED.replace("{", '{"new": 1, ', 1))
        await connection.wait_closed()

    async with scripted(speak) as address, Attendee(address, "token") as ada:
        assert isinstance(await anext(ada), Seated)


async def test_a_server_that_cannot_be_reached() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(client.Unreachable, match="cannot be reached"):
        async with Attendee(address, SECRET, give_up_seconds=0.1):
            pass
    async with Service(address, SECRET) as service:
        with pytest.raises(client.Unreachable, match="cannot be reached") as unreachable:
            await service.get_plans()
        assert SECRET not in str(unreachable.value)


@pytest.mark.parametrize("location", [None, "ws://[", "//a:b", ""])
async def test_a_redirect_takes_no_token_along(location: str | None) -> None:
    """`location` of None: another server, which hears nothing."""
    heard: list[str] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response()

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{other}/v1/ws" if location is None else location})

    async with serving(hear) as other, serving(redirect) as address:
        with pytest.raises(client.Problem, match="302: redirects are not followed"):
            async with Attendee(address, SECRET):
                pass
        async with Service(address, SECRET) as service:
            with pytest.raises(client.Problem, match="302: redirects are not followed"):
                await service.get_plans()
    assert not heard


@pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": on}) for on in (False, True)], ids=["asyncio", "uvloop"]
)
async def test_a_proxy_that_takes_connections_and_has_nobody_to_pass_them_to(hub: Hub, billing: Billing) -> None:
    """As Docker's does while the container behind it starts: closed at once, after the request, within an answer, or nonsense."""
    await billing.account(1)
    answers = [b"", b"HTTP/1.1 101 Switch", b"\x00\xff\r\n\r\n"]
    left = answers.copy()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if left:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(left.pop())
            writer.close()
        else:
            there = await asyncio.open_connection("127.0.0.1", urlsplit(hub.address).port)
            await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))

    listener = socket.create_server(("127.0.0.1", 0))

    async def come_up() -> asyncio.Server:
        await asyncio.to_thread(close_at_once, listener, AT_ONCE)
        return await asyncio.start_server(proxy, sock=listener)

    changes: list[Change] = []
    coming_up = asyncio.create_task(come_up())
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with Attendee(address, token("ada"), on_change=changes.append, chance=lambda: 0.0) as ada:
        assert isinstance(await anext(ada), Waiting)
    assert changes[:-1] == [Lost(LOST, "", 0.0)] * (AT_ONCE + len(answers)) and isinstance(changes[-1], Connected)
    (await coming_up).close()


def close_at_once(listener: socket.socket, times: int) -> None:
    listener.settimeout(ACCEPT_SECONDS)  # or a client that does not come again would hold up the end of the test
    for _ in range(times):
        listener.accept()[0].close()


async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(65_536):
        sink.write(piece)
        await sink.drain()
    sink.close()


async def test_a_cancelled_iteration_leaves_nothing_behind(hub: Hub, billing: Billing) -> None:
    await billing.account(1)

    async def watch() -> None:
        async with Attendee(hub.address, token("ada")) as ada:
            async for _ in ada:
                pass

    task = asyncio.create_task(watch())
    assert hub.application is not None
    await wait_until(lambda: hub.application.hub.connections == 1)  # type: ignore[union-attr]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await wait_until(lambda: hub.application.hub.connections == 0)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://a", "http://", "http://a:0", "http://a:x", "http://a b", "http://a?b", "http://a..b", ""],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="expected an address"):
        address_of(url)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"code": 5}', b"\xff", b"[" * 99_999])
def test_an_answer_that_is_no_problem_detail(body: bytes) -> None:
    problem = problem_of(502, body, "2")
    assert isinstance(problem, client.Unavailable)
    assert (problem.code, problem.retryable, problem.retry_after_seconds) == (None, True, 2.0)
