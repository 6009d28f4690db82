"""One WebSocket (RFC 6455): frames of the client to messages for the hub, and frames of the hub to the client.

A protocol of the event loop without a task, a queue or a timer of its own; nothing in it waits. Its life:

    OPEN ── close() or a violation: our Close is sent ──► CLOSING ── the client's Close, or the deadline ──► CLOSED
      └──── the client's Close (it is echoed), a silent or slow client, the end of the connection ─────────────┘

The hub is told once, by `lost()`: at the client's Close, at a violation, else when the connection is gone. What ends a
connection from inside `send` or `close` is told later, never from within the hub's own call.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final, Protocol

from websockets.exceptions import ProtocolError
from websockets.frames import Close

from capacity import errors
from capacity.protocol import codec
from capacity.protocol.messages import ClientMessage
from capacity.web import frames
from capacity.web.limits import CONTROL_FRAMES, MESSAGES, Rate, spend
from capacity.web.watch import Watch, complain

WRITE_BUFFER_BYTES_MAX: Final = 256 * 1024
FRAGMENTS_MAX: Final = 128
PINGS_UNANSWERED_MAX: Final = 2

OPEN, CLOSING, CLOSED = 0, 1, 2


class Connection(Protocol):
    """The hub's side of a connection."""

    def receive(self, message: ClientMessage) -> None:
        """A message of the client came."""

    def lost(self) -> None:
        """The connection is gone. Called once."""


class WebSocket(asyncio.Protocol):
    """The edge's side of a connection; the hub knows it as `Socket` and uses `send` and `close` alone.

    What is ours about it, and not the RFC's, stands in the limits below and in `_text_received`.
    """

    __slots__ = (
        "_connection",
        "_connections",
        "_controls_full_at",
        "_fragments",
        "_fragments_count",
        "_loop",
        "_messages_full_at",
        "_opening",
        "_rest",
        "_skip",
        "_state",
        "_transport",
        "_unanswered",
        "_watch",
        "beat",
    )
    beat: int
    message_bytes_max: ClassVar[int] = codec.MESSAGE_BYTES_MAX
    fragments_max: ClassVar[int] = FRAGMENTS_MAX
    message_rate: ClassVar[Rate] = MESSAGES

    def __init__(
        self,
        transport: asyncio.Transport,
        connections: set[Any],
        watch: Watch,
        loop: asyncio.AbstractEventLoop,
        opening: bytes,
    ) -> None:
        """Takes the connection over. `connections` are those that the server waits for when it stops.

        `opening`, the 101, goes out with the first frame, in one write: two cost the client a wake-up more, and us a twentieth of a join.
        """
        self._transport = transport
        self._connections = connections
        self._watch = watch
        self._loop = loop
        self._connection: Connection | None = None
        self._state = OPEN
        self._opening = opening
        self._rest = b""
        self._skip = 0
        self._fragments: bytearray | None = None
        self._fragments_count = 0
        self._unanswered = 0
        self._messages_full_at = 0.0
        self._controls_full_at = 0.0
        connections.add(self)
        watch.stats.sockets += 1
        watch.beat.add(self)
        watch.openings.add(transport)
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)

    def attach(self, connection: Connection) -> None:
        """From now on the connection gets the messages, and is told of the end."""
        self._connection = connection

    # ---- what the hub may do

    def send(self, frame: bytes) -> None:
        """Write a frame. Never blocks and never raises; nothing happens once closed, or if the client does not read."""
        if self._state == OPEN:
            if self._opening:
                self._write(frame)
            else:
                self._transport.write(frame)

    def close(self, close: errors.Close) -> None:
        """Send the close frame; the connection ends with the client's, or with the closing deadline."""
        if self._state == OPEN:
            self._state = CLOSING
            self._watch.beat.discard(self)
            self._watch.closings.add(self._transport)
            self._write(frames.close_frame(close))

    # ---- what the watch and the server do

    def opening_expired(self) -> None:
        """The hub has nothing to say yet: the client shall know that it is connected."""
        self._write(b"")

    def ping(self) -> None:
        """Send a ping, or drop the connection if two stayed unanswered."""
        if self._unanswered >= PINGS_UNANSWERED_MAX:
            self._watch.stats.silent += 1
            self._drop()
        else:
            self._unanswered += 1
            self._write(frames.PING_FRAME)

    def shutdown(self) -> None:
        """The server stops. In any state: the connection ends by itself within the closing deadline."""
        self.close(errors.RESTARTING)

    # ---- what the event loop tells

    def pause_writing(self) -> None:
        """The write buffer is over its maximum: the client does not read."""
        if self._state != CLOSED:
            self._watch.stats.slow += 1
            self._drop()

    def eof_received(self) -> None:
        """The client sends no more, and has not said goodbye; the loop closes the transport."""
        self._end()
        self._watch.closings.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._watch.openings.discard(self._transport)
        self._watch.closings.discard(self._transport)
        self._connections.discard(self)
        self._watch.stats.sockets -= 1

    def data_received(self, data: bytes) -> None:
        if (
            self._unanswered
            and len(data) == 6
            and data.startswith(frames.PONG_HEAD)
            and not self._rest
            and self._state == OPEN
        ):
            self._unanswered = 0  # a pong alone, all that a quiet client ever sends
            return
        if self._rest:
            data = self._rest + data
            self._rest = b""
        offset, size = 0, len(data)
        # Frames: RFC 6455, section 5.2. The header is judged before the payload is there.
        while self._state == OPEN and size - offset >= 2:
            head = data[offset]
            length = data[offset + 1] & 0x7F
            opcode = head & 0x0F
            start = offset + 2
            is_control = opcode >= frames.CLOSE
            if (
                (head & 0x70 or data[offset + 1] < 0x80)
                or (opcode > frames.PONG or frames.BINARY < opcode < frames.CLOSE)
                or (is_control and (head < frames.FIN or length > 125))
            ):
                self._violation(errors.PROTOCOL_ERROR)
                break
            if not is_control:
                if length == 126:
                    if size - start < 2:
                        break
                    length = data[start] << 8 | data[start + 1]
                    start += 2
                elif length == 127:
                    if size - start < 8:
                        break
                    length = int.from_bytes(data[start : start + 8], "big")
                    start += 8
                if length + len(self._fragments or b"") > self.message_bytes_max:
                    self._violation(errors.TOO_BIG)
                    break
            end = start + 4 + length
            if end > size:
                break
            payload = frames.unmask(data[start + 4 : end], data[start : start + 4])
            offset = end
            if is_control:
                self._control(opcode, payload)
            else:
                self._data(opcode, head >= frames.FIN, payload)
        if self._state == OPEN:
            if offset < size:
                self._rest = data[offset:]
        elif self._state == CLOSING:
            self._await_close(data, offset)

    # ---- frames

    def _data(self, opcode: int, final: bool, payload: bytes) -> None:
        fragments = self._fragments
        if opcode == frames.CONTINUATION:
            if fragments is None:
                self._violation(errors.PROTOCOL_ERROR)
                return
            fragments += payload
            self._fragments_count += 1
            if final:
                self._fragments = None
                self._message(bytes(fragments))
            elif self._fragments_count >= self.fragments_max:
                self._violation(errors.TOO_BIG)
        elif fragments is not None:
            self._violation(errors.PROTOCOL_ERROR)
        elif opcode != frames.TEXT:
            self._violation(errors.BAD_MESSAGE)
        elif final:
            self._message(payload)
        else:
            self._fragments = bytearray(payload)
            self._fragments_count = 1

    def _message(self, payload: bytes) -> None:
        self._messages_full_at = spend(self._messages_full_at, self._loop.time(), self.message_rate)
        if self._messages_full_at < 0:
            self._violation(errors.RATE_LIMITED)
            return
        try:
            # The decoder of messages does not look into fields that it does not know.
            payload.decode()
        except UnicodeDecodeError:
            self._violation(errors.BAD_DATA)
        else:
            self._text_received(payload)

    def _text_received(self, text: bytes) -> None:
        try:
            message = codec.decode(text)
        except codec.BadMessage:
            self._violation(errors.BAD_MESSAGE)
            return
        connection = self._connection
        if connection is not None:
            self._watch.stats.messages += 1
            try:
                connection.receive(message)
            except Exception as error:
                complain("receive_failed", error)
                self._violation(errors.OVERLOADED)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == frames.CLOSE:
            self._close_received(payload)
            return
        if opcode == frames.PONG and self._unanswered:
            self._unanswered = 0
            return
        self._controls_full_at = spend(self._controls_full_at, self._loop.time(), CONTROL_FRAMES)
        if self._controls_full_at < 0:
            self._violation(errors.RATE_LIMITED)
        elif opcode == frames.PING:
            self._write(bytes((frames.FIN | frames.PONG, len(payload))) + payload)

    def _close_received(self, payload: bytes) -> None:
        try:
            Close.parse(payload)
        except ProtocolError:
            self._violation(errors.PROTOCOL_ERROR)
        except UnicodeDecodeError:
            self._violation(errors.BAD_DATA)
        else:
            code = payload[:2]
            self._write(bytes((frames.FIN | frames.CLOSE, len(code))) + code)
        # The client has said its last: nothing to wait for but the flushing of our answer.
        self._end()
        self._watch.closings.add(self._transport)
        self._transport.close()

    def _await_close(self, data: bytes, offset: int) -> None:
        """After our Close: look for the client's, and keep nothing of what else it sends."""
        found, offset = frames.find_close(data, offset + self._skip)
        if found:
            self._end()
            self._transport.close()
            return
        self._skip = max(0, offset - len(data))
        self._rest = data[offset:]

    def _write(self, data: bytes) -> None:
        if self._opening:
            data, self._opening = self._opening + data, b""
            self._watch.openings.discard(self._transport)
        self._transport.write(data)

    # ---- ends

    def _violation(self, close: errors.Close) -> None:
        """The client did what it may not: close, and tell the hub now."""
        self.close(close)
        self._fragments = None
        self._tell_lost()

    def _drop(self) -> None:
        """Cut the connection. The hub is told when the loop has done it, not from within its own `send`."""
        self._state = CLOSED
        self._watch.beat.discard(self)
        self._transport.abort()

    def _end(self) -> None:
        self._state = CLOSED
        self._watch.beat.discard(self)
        self._rest = b""
        self._fragments = None
        self._tell_lost()

    def _tell_lost(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.lost()
            except Exception as error:
                complain("lost_failed", error)
