"""The handshake: what is accepted, what is refused before the 101, and what is closed after it."""

from __future__ import annotations

import json

import pytest
import websockets
from structlog.testing import capture_logs

from capacity import errors
from capacity.protocol.codec import frame
from capacity.protocol.messages import Leave, Seated
from capacity.protocol.tokens import Claims
from capacity.web.websocket import WebSocket
from tests.edge.conftest import ACCEPT, Served, handshake, masked, serving, text
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

SEATED = Seated("town-hall", "ann", 10, 1)


async def test_the_websockets_client_joins_talks_and_leaves(edge: Served) -> None:
    async with websockets.connect(
        f"ws://127.0.0.1:{edge.port}/v1/ws",
        subprotocols=[websockets.Subprotocol("capacity.v1"), websockets.Subprotocol("bearer.good-ann")],
        origin=websockets.Origin(f"http://127.0.0.1:{edge.port}"),
    ) as client:
        assert client.subprotocol == "capacity.v1"
        connection = await edge.hub.connection("ann")
        assert connection.claims == Claims("ann", "acme", "town-hall", "attendee", 0)
        connection.socket.send(frame(SEATED))
        assert json.loads(await client.recv()) == {
            "type": "seated",
            "room": "town-hall",
            "participant": "ann",
            "seat_limit": 10,
            "occupied": 1,
        }
        assert await (await client.ping()) >= 0
        await client.send('{"type":"leave","unknown":[1]}')
        await wait_until(lambda: connection.received == [Leave()])
        connection.socket.close(errors.LEFT)
        with pytest.raises(websockets.ConnectionClosedOK) as closed:
            await client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "left")
    await wait_until(lambda: connection.lost_count == 1)


async def test_the_101_is_the_standards(edge: Served) -> None:
    async with await edge.client() as client:
        await client.send(handshake("good-bob"))
        status, headers = await client.head()
        assert status == 101
        assert headers == {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": ACCEPT,
            "sec-websocket-protocol": "capacity.v1",
        }


async def test_a_bearer_header_will_do_and_no_subprotocol_is_made_up(edge: Served) -> None:
    async with await edge.client() as client:
        await client.send(handshake(Authorization="bEARER  good-carl "))
        status, headers = await client.head()
        assert status == 101
        assert "sec-websocket-protocol" not in headers
        await edge.hub.connection("carl")


async def test_a_proxys_own_authorization_does_not_hide_the_token(edge: Served) -> None:
    async with await edge.client() as client:
        await client.send(handshake("good-dora", Authorization="Basic cHJveHk6cHJveHk="))
        assert (await client.head())[0] == 101
        await edge.hub.connection("dora")


@pytest.mark.parametrize(
    ("participant", "request_of"),
    [
        ("e1", lambda head: [head[:1], head[1:9], head[9:60], head[60:]]),
        ("e2", lambda head: [bytes((byte,)) for byte in head]),
        ("e3", lambda head: [b"\r\n" + head]),
        ("e4", lambda head: [head.replace(b"GET /", b"GET http://rooms.example/")]),
        ("e5", lambda head: [head.replace(b"/v1/ws ", b"/v1/ws?x=1 ")]),
        ("e6", lambda head: [head.replace(b"Upgrade: websocket", b"uPGRADE: foo, WebSocket")]),
        ("e7", lambda head: [head.replace(b"Connection: Upgrade", b"Connection: keep-alive, upgrade")]),
        ("e8", lambda head: [head.replace(b"Connection: Upgrade", b"Connection: keep-alive\r\nConnection: UPGRADE")]),
        ("e9", lambda head: [head.replace(b"13\r\n", b"13  \r\n")]),
        (
            "e10",
            lambda head: [head.replace(b"capacity.v1, bearer", b"capacity.v1\r\nSec-WebSocket-Protocol: bearer")],
        ),
        ("e11", lambda head: [head + text('{"type":"leave"}')]),
        ("e12", lambda head: [head + masked(0x81, b'{"type":"leave"}\r\n\r\n', mask=bytes(4))]),
    ],
)
async def test_odd_handshakes_that_are_sound(edge: Served, participant: str, request_of: object) -> None:
    assert callable(request_of)
    async with await edge.client() as client:
        for piece in request_of(handshake(f"good-{participant}")):
            await client.send(piece)
        assert (await client.head())[0] == 101
        connection = await edge.hub.connection(participant)
        if participant in ("e11", "e12"):
            await wait_until(lambda: connection.received == [Leave()], what="what came with the header is read")


async def test_an_upgrade_may_be_the_second_request_of_a_connection(edge: Served) -> None:
    async with await edge.client() as client:
        await client.send(b"GET /hello HTTP/1.1\r\nHost: rooms.example\r\n\r\n")
        assert (await client.answer())[2] == b"hello"
        await client.send(handshake("good-second"))
        assert (await client.head())[0] == 101
        connection = await edge.hub.connection("second")
        await client.send(text('{"type":"leave"}'))
        await wait_until(lambda: connection.received == [Leave()])


REFUSED = {
    "no upgrade": (handshake(Upgrade=None, Connection=None), 426, "upgrade_required"),
    "an upgrade that Connection does not name": (handshake(Connection="keep-alive"), 426, "upgrade_required"),
    "an upgrade to something else": (handshake(Upgrade="h2c"), 426, "upgrade_required"),
    "no version": (handshake(Sec_WebSocket_Version=None), 426, "upgrade_required"),
    "another version": (handshake(Sec_WebSocket_Version="8"), 426, "upgrade_required"),
    "no key": (handshake(Sec_WebSocket_Key=None), 400, "malformed"),
    "a short key": (handshake(Sec_WebSocket_Key="AAAA"), 400, "malformed"),
    "a key of 15 bytes": (handshake(Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAA"), 400, "malformed"),
    "a key that is not base64": (handshake(Sec_WebSocket_Key="!" * 24), 400, "malformed"),
    "two keys": (
        handshake().replace(b"Upgrade: w", b"Sec-WebSocket-Key: " + b"A" * 22 + b"==\r\nUpgrade: w"),
        400,
        "malformed",
    ),
    "no host": (handshake(Host=None), 400, "malformed"),
    "two hosts": (handshake().replace(b"Upgrade: w", b"Host: b\r\nUpgrade: w"), 400, "malformed"),
    "a host that is none": (handshake(Host="a b"), 400, "malformed"),
    "a body": (handshake(Content_Length="3") + b"abc", 400, "malformed"),
    "a chunked body": (handshake(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400, "malformed"),
    "HTTP/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "malformed"),
    "POST": (handshake().replace(b"GET", b"POST"), 405, "method_not_allowed"),
    "DELETE without upgrade": (b"DELETE /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
    "another path": (handshake("good-x", path="/v1/wss"), 404, "not_found"),
    "a path below": (handshake("good-x", path="/v1/ws/"), 404, "not_found"),
    "the application's path": (handshake("good-x", path="/hello"), 404, "not_found"),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
    "a bad request line": (b"nonsense\r\n\r\n", 400, "malformed"),
    "a bad header": (handshake("good-x").replace(b"Upgrade: w", b"Upgrade w"), 400, "malformed"),
    "a URL that is none": (b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
    "a path with no URL": (b"GET nonsense HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_before_the_101(edge: Served, case: str) -> None:
    request, status, code = REFUSED[case]
    before = edge.stats.refused.get(code, 0)
    async with await edge.client() as client:
        await client.send(request)
        got, headers, body = await client.answer()
        problem = json.loads(body)
        assert (got, problem["code"], problem["status"]) == (status, code, status)
        assert headers["content-type"] == "application/problem+json"
        assert "close" in headers["connection"]
        if status == 426:
            assert headers["sec-websocket-version"] == "13"
            assert headers["upgrade"] == "websocket"
        assert await client.end() == b""
    assert edge.stats.refused[code] == before + 1
    await wait_until(lambda: not edge.connections, what="nothing is left open")


async def test_a_head_request_gets_no_body(edge: Served) -> None:
    async with await edge.client() as client:
        await client.send(b"HEAD /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.head())[0] == 405
        assert await client.end() == b""


CLOSED = {
    "no token": (handshake(), (4401, "unauthorized")),
    "an empty token": (handshake(Authorization="Bearer "), (4401, "unauthorized")),
    "a bad token": (handshake("bad"), (4401, "unauthorized")),
    "a token that is not ASCII": (handshake("bad-\xff"), (4401, "unauthorized")),
    "a token in the query": (handshake(path="/v1/ws?token=good-query"), (4401, "unauthorized")),
    "an expired token": (handshake("expired"), (4401, "token_expired")),
    "a service token": (handshake("service-billing"), (4401, "unauthorized")),
    "a verifier that breaks": (handshake("broken"), (1013, "overloaded")),
}


@pytest.mark.parametrize("case", CLOSED)
async def test_closed_after_the_101(edge: Served, case: str) -> None:
    request, close = CLOSED[case]
    before = edge.stats.refused.get(close[1], 0)
    async with await edge.client() as client:
        with capture_logs() as lines:
            await client.send(request)
            status, headers = await client.head()
        assert (status, headers["sec-websocket-accept"]) == (101, ACCEPT)
        assert await client.close_code() == close
        assert all("broken" not in str(line.values()) for line in lines)
    assert edge.stats.refused[close[1]] == before + 1
    assert "query" not in edge.hub.connections
    await wait_until(lambda: not edge.connections)


async def test_a_bad_id_is_explained_before_the_close(edge: Served) -> None:
    async with await edge.client() as client:
        await client.send(handshake("badid"))
        assert (await client.head())[0] == 101
        first, payload = await client.frame()
        assert first == 0x81
        message = json.loads(payload)
        assert message == {"type": "error", "code": "invalid_id", "message": "The token's room is not a room id."}
        assert await client.close_code() == (4401, "invalid_id")


async def test_the_hub_may_answer_and_close_at_once() -> None:
    async with serving() as served, await served.client() as client:

        def refuse(socket: WebSocket, _: Claims) -> None:
            socket.send(frame(SEATED))
            socket.close(errors.UNKNOWN_ACCOUNT)
            socket.send(frame(SEATED))
            socket.close(errors.LEFT)

        served.hub.on_connect = refuse
        await client.send(handshake("good-ann"))
        assert (await client.head())[0] == 101
        assert (await client.frame())[0] == 0x81
        assert await client.close_code() == (4404, "unknown_account")
        connection = await served.hub.connection("ann")
        assert connection.lost_count == 0
        client.reset()
        await wait_until(lambda: connection.lost_count == 1)


async def test_a_hub_that_breaks_costs_one_connection_and_one_line() -> None:
    async with serving() as served:

        def break_down(socket: WebSocket, claims: Claims) -> None:
            raise LookupError(f"no room for bearer.good-{claims.participant}")

        served.hub.on_connect = break_down
        async with await served.client() as client:
            with capture_logs() as lines:
                await client.send(handshake("good-ann"))
                assert (await client.head())[0] == 101
                assert await client.close_code() == (1013, "overloaded")
        assert [line["event"] for line in lines] == ["connect_failed"]
        assert lines[0]["error"] == "LookupError"
        assert "good-ann" not in str(lines)
        served.hub.on_connect = None
        client, _ = await served.join("bob")
        async with client:
            assert served.stats.accepted == 1
