"""The 101 waits for the hub's first message, to go out in one write with it; but not for long, and never behind anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from capacity import errors
from capacity.web import frames
from capacity.web.watch import OPENING_SECONDS, Stats, Watch
from capacity.web.websocket import WebSocket
from tests.edge.conftest import masked
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

OPENING = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
FRAME = b"\x81\x02{}"
PONG = b"\x8a\x02hi"


class Wire(asyncio.Transport):
    """What was written to it, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.protocol: Any = None
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.writes.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True

    close = abort

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def opened() -> tuple[Wire, WebSocket, Watch]:
    watch = Watch(
        ping_seconds=600, head_seconds=600, body_seconds=600, flush_seconds=600, closing_seconds=600, stats=Stats()
    )
    wire = Wire()
    return wire, WebSocket(wire, set(), watch, asyncio.get_running_loop(), OPENING), watch


@pytest.mark.parametrize(
    ("act", "written"),
    [
        (lambda socket: socket.send(FRAME), FRAME),
        (lambda socket: socket.close(errors.RESTARTING), frames.close_frame(errors.RESTARTING)),
        (lambda socket: socket.ping(), frames.PING_FRAME),
        (lambda socket: socket.data_received(masked(0x89, b"hi")), PONG),
        (lambda socket: socket.data_received(masked(0x88, b"\x03\xe8")), b"\x88\x02\x03\xe8"),
        (lambda socket: socket.data_received(b"\xff" * 8), frames.close_frame(errors.PROTOCOL_ERROR)),
    ],
    ids=["message", "close", "ping", "pong", "echoed close", "violation"],
)
async def test_whatever_comes_first_takes_it_along(act: Callable[[WebSocket], None], written: bytes) -> None:
    wire, socket, watch = opened()
    assert wire.writes == [] and len(watch.openings) == 1
    act(socket)
    assert wire.writes == [OPENING + written]
    assert len(watch.openings) == 0


async def test_it_is_written_once() -> None:
    wire, socket, _ = opened()
    socket.send(FRAME)
    socket.send(FRAME)
    assert wire.writes == [OPENING + FRAME, FRAME]


async def test_it_does_not_wait_for_a_hub_that_has_nothing_to_say() -> None:
    wire, socket, _ = opened()
    began = asyncio.get_running_loop().time()
    await wait_until(lambda: bool(wire.writes))
    assert asyncio.get_running_loop().time() - began >= OPENING_SECONDS - 0.001
    socket.send(FRAME)
    assert wire.writes == [OPENING, FRAME]


async def test_a_connection_that_is_gone_gets_none() -> None:
    wire, socket, watch = opened()
    socket.connection_lost(None)
    assert len(watch.openings) == 0 and wire.writes == []
