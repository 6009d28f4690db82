"""Frames: what a client may send, and how each violation ends (RFC 6455, sections 5 and 7)."""

from __future__ import annotations

import json
import time

import pytest
from structlog.testing import capture_logs

from capacity import errors
from capacity.protocol.codec import MESSAGE_BYTES_MAX, frame
from capacity.protocol.messages import Claim, ClientMessage, Leave, Seated
from capacity.web.websocket import FRAGMENTS_MAX
from tests.edge.conftest import Served, masked, text
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

LEAVE = b'{"type":"leave"}'
EXACTLY_4_KIB = json.dumps({"type": "leave", "x": "y" * (MESSAGE_BYTES_MAX - 26)}).encode()
assert len(EXACTLY_4_KIB) == MESSAGE_BYTES_MAX


async def another_joins(edge: Served) -> None:
    """When somebody who came later was answered, the server has read what came before."""
    client, _ = await edge.join("another")
    client.reset()


async def test_a_message_of_4_kib_is_read_in_any_slices(edge: Served) -> None:
    client, connection = await edge.join("sliced")
    async with client:
        whole = masked(0x81, EXACTLY_4_KIB)
        await client.send(whole[:1])
        await client.send(whole[1:3])
        await client.send(whole[3:7])
        for i in range(7, len(whole), 1000):
            await client.send(whole[i : i + 1000])
        await client.send(text('{"type":"claim"}') + text('{"type":"leave"}')[:9])
        await client.send(text('{"type":"leave"}')[9:])
        await wait_until(lambda: connection.received == [Leave(), Claim(), Leave()])


async def test_fragments_are_joined_and_control_frames_come_between(edge: Served) -> None:
    client, connection = await edge.join("fragments")
    async with client:
        message = '{"type":"leave","name":"é"}'.encode()
        cut = message.index(b"\xc3") + 1
        await client.send(masked(0x01, message[:cut]) + masked(0x89, b"are you there?"))
        assert await client.frame() == (0x8A, b"are you there?")
        await client.send(masked(0x00) + masked(0x80, message[cut:]))
        await wait_until(lambda: connection.received == [Leave()])
        many = [masked(0x01, LEAVE[:1])] + [masked(0x00)] * (FRAGMENTS_MAX - 2) + [masked(0x80, LEAVE[1:])]
        await client.send(b"".join(many))
        await wait_until(lambda: connection.received == [Leave(), Leave()])


async def test_a_ping_may_be_empty_or_of_125_bytes(edge: Served) -> None:
    client, connection = await edge.join("pings")
    assert not hasattr(connection.socket, "__dict__"), "a connection has slots alone: there are many"
    async with client:
        await client.send(masked(0x89) + masked(0x8A, b"nobody asked") + masked(0x89, b"p" * 125))
        assert await client.frame() == (0x8A, b"")
        assert await client.frame() == (0x8A, b"p" * 125)


VIOLATIONS = {
    "not masked": (b"\x81\x02{}", errors.PROTOCOL_ERROR),
    "a ping not masked": (b"\x89\x00", errors.PROTOCOL_ERROR),
    "RSV1": (masked(0xC1, LEAVE), errors.PROTOCOL_ERROR),
    "RSV2": (masked(0xA1, LEAVE), errors.PROTOCOL_ERROR),
    "RSV3": (masked(0x91, LEAVE), errors.PROTOCOL_ERROR),
    "opcode 3": (masked(0x83, LEAVE), errors.PROTOCOL_ERROR),
    "opcode 7": (masked(0x87, LEAVE), errors.PROTOCOL_ERROR),
    "opcode 11": (masked(0x8B, LEAVE), errors.PROTOCOL_ERROR),
    "opcode 15": (masked(0x8F, LEAVE), errors.PROTOCOL_ERROR),
    "a fragmented ping": (masked(0x09, b"x"), errors.PROTOCOL_ERROR),
    "a ping of 126 bytes": (masked(0x89, b"x" * 126), errors.PROTOCOL_ERROR),
    "a continuation of nothing": (masked(0x80, LEAVE), errors.PROTOCOL_ERROR),
    "a message within a message": (masked(0x01, b"{") + masked(0x81, LEAVE), errors.PROTOCOL_ERROR),
    "4 KiB and a byte": (masked(0x81, EXACTLY_4_KIB + b" "), errors.TOO_BIG),
    "4 KiB and a byte, announced": (masked(0x81, EXACTLY_4_KIB + b" ")[:4], errors.TOO_BIG),
    "70,000 bytes": (masked(0x81, b" " * 70_000), errors.TOO_BIG),
    "2 ** 63 bytes, announced": (b"\x81\xff" + b"\xff" * 12, errors.TOO_BIG),
    "4 KiB and a byte, in fragments": (masked(0x01, EXACTLY_4_KIB[:4000]) + masked(0x80, b" " * 97), errors.TOO_BIG),
    "too many fragments": (masked(0x01) + masked(0x00) * FRAGMENTS_MAX, errors.TOO_BIG),
    "no UTF-8": (masked(0x81, b'{"type":"leave","x":"\xff"}'), errors.BAD_DATA),
    "a surrogate": (masked(0x81, b'{"type":"leave","x":"\xed\xa0\x80"}'), errors.BAD_DATA),
    "half a character": (masked(0x01, b'{"type":"leave","x":"\xc3') + masked(0x80), errors.BAD_DATA),
    "a binary message": (masked(0x82, LEAVE), errors.BAD_MESSAGE),
    "no JSON": (text("leave"), errors.BAD_MESSAGE),
    "nothing": (text(""), errors.BAD_MESSAGE),
    "no object": (text('["leave"]'), errors.BAD_MESSAGE),
    "no type": (text("{}"), errors.BAD_MESSAGE),
    "an unknown type": (text('{"type":"dance"}'), errors.BAD_MESSAGE),
    "JSON that is very deep": (text("[" * 4000), errors.BAD_MESSAGE),
    "half a close code": (masked(0x88, b"\x03"), errors.PROTOCOL_ERROR),
    "a close code of nobody": (masked(0x88, b"\x03\xed"), errors.PROTOCOL_ERROR),
    "a close reason that is no UTF-8": (masked(0x88, b"\x03\xe8\xff"), errors.BAD_DATA),
}


@pytest.mark.parametrize("case", VIOLATIONS)
async def test_a_violation_ends_the_connection_at_once(edge: Served, case: str) -> None:
    data, close = VIOLATIONS[case]
    client, connection = await edge.join(f"violation-{list(VIOLATIONS).index(case)}")
    async with client:
        await client.send(data + text('{"type":"claim"}'))
        assert await client.close_code() == close
        assert connection.lost_count == 1
        connection.socket.send(frame(Seated("r", "p", 1, 1)))
        connection.socket.close(errors.LEFT)
        await client.send(masked(0x88, bytes((close.code >> 8, close.code & 0xFF))))
        if "announced" in case:  # our close is taken for a part of the payload
            client.reset()
        else:
            begun = time.monotonic()
            assert await client.end() == b""
            assert time.monotonic() - begun < 1.0, "not by the closing deadline of 2 s"
    await wait_until(lambda: connection.socket not in edge.connections)
    assert connection.received == []
    assert connection.lost_count == 1


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8goodbye", b"\x0f\xa0"])
async def test_the_clients_close_is_echoed_and_is_a_lost_connection_at_once(edge: Served, payload: bytes) -> None:
    client, connection = await edge.join(f"closes-{payload.hex()}")
    async with client:
        await client.send(masked(0x88, payload) + text('{"type":"leave"}'))
        assert await client.frame() == (0x88, payload[:2])
        assert connection.lost_count == 1
        assert await client.end() == b""
    assert connection.received == []
    await wait_until(lambda: connection.socket not in edge.connections)
    assert connection.lost_count == 1


async def test_a_reset_and_a_half_close_are_lost_connections(edge: Served) -> None:
    client, connection = await edge.join("resets")
    client.reset()
    await wait_until(lambda: connection.lost_count == 1)
    client, connection = await edge.join("half-closes")
    async with client:
        await client.half_close()
        await wait_until(lambda: connection.lost_count == 1)
        assert await client.end() == b""
    connection.socket.send(b"\x81\x00")
    connection.socket.close(errors.LEFT)
    assert connection.lost_count == 1


async def test_after_our_close_nothing_is_heard_but_the_clients(edge: Served) -> None:
    client, connection = await edge.join("late")
    async with client:
        connection.socket.close(errors.REPLACED)
        assert await client.close_code() == (4409, "replaced")
        payload = masked(0x82, b"\x88\x00" * 50_000, mask=bytes(4))  # full of what would be close frames
        await client.send(text('{"type":"leave"}') + payload[:50_000])
        for rest in (payload[50_000:], masked(0x88, b"\x11\x39")[:1]):
            await another_joins(edge)
            await client.send(rest)
        await another_joins(edge)
        assert connection.lost_count == 0
        begun = time.monotonic()
        await client.send(masked(0x88, b"\x11\x39")[1:])
        assert await client.end() == b""
        assert time.monotonic() - begun < 1.0, "not by the closing deadline of 2 s"
    await wait_until(lambda: connection.lost_count == 1)
    assert connection.received == []


async def test_a_hub_that_breaks_on_a_message_costs_one_connection_and_one_line(edge: Served) -> None:
    client, connection = await edge.join("breaks")

    def break_down(message: ClientMessage) -> None:
        raise RuntimeError("good-breaks")

    connection.on_receive = break_down
    async with client:
        with capture_logs() as lines:
            await client.send(text('{"type":"leave"}') * 3)
            assert await client.close_code() == (1013, "overloaded")
        assert [line["event"] for line in lines] == ["receive_failed"]
        assert "good-breaks" not in str(lines)
    assert len(connection.received) == 1
    await wait_until(lambda: connection.lost_count == 1)
