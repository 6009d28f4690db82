"""Frames by chance: the edge's parser against that of the library `websockets`, however the stream is cut.

Bytes go straight into the protocol, as the event loop would hand them over: on a socket nobody could say where they
are cut. What it answers is read by the library, too.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol

from capacity import errors
from capacity.protocol.messages import ClientMessage
from capacity.web.limits import Rate
from capacity.web.watch import Stats, Watch
from capacity.web.websocket import WebSocket
from tests.edge.echo import Echo

pytestmark = pytest.mark.anyio
bounded = settings(max_examples=300)

CODES = {value.code for value in vars(errors).values() if isinstance(value, errors.Close)}
LIMIT = 300
"""Bytes of a message: small, so that the limit is met often."""
NO_CODE = 1005
"""What the library says of a Close without a code."""


class SmallEcho(Echo):
    message_bytes_max = LIMIT
    message_rate = Rate(1e6, 1_000_000)


class Wire(asyncio.Transport):
    """The other end of a protocol: what it wrote, and whether it ended the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.closed, "nothing is written after the end"
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Recorder:
    """The hub's side: what came, and how often it was told of the end."""

    def __init__(self) -> None:
        self.received: list[ClientMessage] = []
        self.lost_count = 0

    def receive(self, message: ClientMessage) -> None:
        assert not self.lost_count
        self.received.append(message)

    def lost(self) -> None:
        self.lost_count += 1


class Outcome(NamedTuple):
    """What came of a stream: the frames that were answered (opcode, payload), the close code, if any, and the end."""

    frames: list[tuple[int, bytes]]
    code: int | None
    closed: bool
    received: list[ClientMessage]


def seldom() -> Watch:
    """A watch that does nothing within a test."""
    return Watch(
        ping_seconds=600, head_seconds=600, body_seconds=600, flush_seconds=600, closing_seconds=600, stats=Stats()
    )


def fed(kind: type[WebSocket], pieces: Sequence[bytes]) -> Outcome:
    """Return what comes of a stream that arrives in pieces."""
    wire, recorder = Wire(), Recorder()
    watch = seldom()
    socket = kind(wire, set(), watch, asyncio.get_running_loop(), b"")
    socket.attach(recorder)
    for piece in pieces:
        if not wire.closed:
            socket.data_received(piece)
    assert len(socket._rest) <= LIMIT + 14 or kind is WebSocket
    library = Protocol(CLIENT)
    library.receive_data(bytes(wire.written))
    assert library.parser_exc is None
    frames = [event for event in library.events_received() if isinstance(event, Frame)]
    ended = bool(library.close_rcvd)
    assert recorder.lost_count == (1 if ended else 0)
    socket.connection_lost(None)
    assert recorder.lost_count == 1
    # Its pings and deadlines are the loop's, which the next examples run on, too.
    for timer in (watch.beat._timer, watch.closings._timer):
        if timer is not None:
            timer.cancel()
    return Outcome(
        [(frame.opcode, bytes(frame.data)) for frame in frames if frame.opcode is not Opcode.CLOSE],
        library.close_rcvd.code if library.close_rcvd else None,
        wire.closed,
        recorder.received,
    )


class Sent(NamedTuple):
    """A frame as a client may send it. `width`: how many bytes of length it has, though fewer may do."""

    head: int
    masked: bool
    width: int
    mask: bytes
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.head & 0x0F

    @property
    def control(self) -> bool:
        return self.opcode >= Opcode.CLOSE

    def raw(self) -> bytes:
        """Return it as it goes over the wire."""
        length = len(self.payload)
        width = max(self.width, 0 if length < 126 else 2)
        short = length if width == 0 else 126 if width == 2 else 127
        long = length.to_bytes(width, "big") if width else b""
        head = bytes((self.head, short | 0x80 * self.masked)) + long
        if not self.masked:
            return head + self.payload
        return head + self.mask + bytes(byte ^ self.mask[i % 4] for i, byte in enumerate(self.payload))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Return the bytes in pieces."""
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends) if end > start]


good_heads = st.sampled_from([0x81, 0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x80, 0x89, 0x8A])
heads = st.one_of(*[good_heads] * 12, st.just(0x88), st.integers(0, 255))
texts = st.sampled_from(
    [b"", b"{}", "é€𝄞".encode(), b"\xc3", b"\xa9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"x" * 125]
)
codes = st.sampled_from([999, 1000, 1001, 1004, 1005, 1006, 1011, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65535])
closes = st.builds(lambda code, reason: code.to_bytes(2, "big") + reason, codes, texts)
payloads = st.one_of(*[texts] * 6, st.binary(max_size=130), closes, st.integers(120, LIMIT + 3).map(lambda n: b"y" * n))
sent = st.builds(
    Sent,
    head=heads,
    masked=st.sampled_from([True] * 30 + [False]),
    width=st.sampled_from([0] * 8 + [2, 8]),
    mask=st.binary(min_size=4, max_size=4),
    payload=payloads,
)
streams = st.lists(sent, max_size=12)
places = st.lists(st.integers(0, 10_000), max_size=12)


def expected(stream: Sequence[Sent]) -> Outcome:
    """Return what the library, the limit of a message and the rule that text is UTF-8 make of a stream.

    After a violation nothing is looked for but a Close, which the frame that was one may be itself.
    """
    library = Protocol(SERVER, max_size=None)
    answers: list[tuple[int, bytes]] = []
    message: tuple[int, bytes] | None = None
    for number, frame in enumerate(stream):
        said_close = any(later.opcode == Opcode.CLOSE for later in stream[number:])
        proper = frame.masked and not frame.head & 0x70 and (frame.opcode in (*range(3), *range(8, 11)))
        if proper and not frame.control and len(frame.payload) + len(message[1] if message else b"") > LIMIT:
            return Outcome(answers, errors.TOO_BIG.code, said_close, [])
        if proper and frame.control and frame.width:  # the library takes the long way to 125 bytes
            return Outcome(answers, errors.PROTOCOL_ERROR.code, said_close, [])
        if frame.opcode == Opcode.CLOSE and message:  # it wants the message to be whole, the RFC does not (section 5.4)
            library = Protocol(SERVER)
        library.receive_data(frame.raw())
        if library.parser_exc is not None:
            (closing,) = (each for each in answered(library) if each.opcode is Opcode.CLOSE)
            return Outcome(answers, int.from_bytes(closing.data[:2], "big"), said_close, [])
        if frame.opcode == Opcode.CLOSE:
            code = int.from_bytes(frame.payload[:2], "big") if frame.payload else NO_CODE
            return Outcome(answers, code, True, [])
        if frame.opcode == Opcode.PING:
            answers.append((Opcode.PONG, frame.payload))
        if not frame.control:
            opcode, before = message or (frame.opcode, b"")
            message = (opcode, before + frame.payload)
            if frame.head & 0x80:
                if opcode == Opcode.TEXT and not is_utf8(message[1]):
                    return Outcome(answers, errors.BAD_DATA.code, said_close, [])
                answers.append(message)
                message = None
    return Outcome(answers, None, False, [])


def answered(library: Protocol) -> Iterator[Frame]:
    """Yield the frames that the library wants to send."""
    reader = Protocol(CLIENT)
    for data in library.data_to_send():
        if data:
            reader.receive_data(data)
    yield from (event for event in reader.events_received() if isinstance(event, Frame))


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@bounded
@given(stream=streams, places=places)
async def test_any_frames_in_any_pieces(stream: list[Sent], places: list[int]) -> None:
    data = b"".join(frame.raw() for frame in stream)
    assert fed(SmallEcho, cut(data, places)) == expected(stream)


@bounded
@given(data=st.binary(max_size=400), places=places)
async def test_any_bytes_end_in_a_documented_close_or_wait_for_more(data: bytes, places: list[int]) -> None:
    whole = fed(WebSocket, [data])
    assert whole == fed(WebSocket, cut(data, places))
    assert whole.code is None or whole.code in CODES or data[0] == 0x88, "or the client's own, which is echoed"


messages = st.sampled_from(
    [b'{"type":"leave"}', b'{"type":"claim","x":"\xff"}', b'{"type":7}', b"[]", b'{"type":"pass"}']
)


@bounded
@given(
    stream=st.lists(st.builds(Sent, good_heads | st.just(0x88), st.just(True), st.just(0), st.just(b"abcd"), messages)),
    places=places,
)
async def test_messages_are_the_same_in_any_pieces(stream: list[Sent], places: list[int]) -> None:
    data = b"".join(frame.raw() for frame in stream)
    assert fed(WebSocket, [data]) == fed(WebSocket, cut(data, places)) == fed(WebSocket, [bytes((b,)) for b in data])


@bounded
@given(stream=streams, places=places)
async def test_after_our_close_the_clients_is_found_in_any_pieces(stream: list[Sent], places: list[int]) -> None:
    """Nothing is checked any more: the first Close among the frames ends the connection, and nothing else does."""
    wire, recorder = Wire(), Recorder()
    watch = seldom()
    socket = WebSocket(wire, set(), watch, asyncio.get_running_loop(), b"")
    socket.attach(recorder)
    socket.close(errors.ENDED)
    written = bytes(wire.written)
    for piece in cut(b"".join(frame.raw() for frame in stream), places):
        if not wire.closed:
            socket.data_received(piece)
        assert len(socket._rest) < 14
    assert wire.closed == any(frame.opcode == Opcode.CLOSE for frame in stream)
    assert wire.written == written and not recorder.received
