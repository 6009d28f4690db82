"""Messages to frames and back: whatever a client says is a message or a BadMessage, and every frame of ours is read."""

from __future__ import annotations

import json
import math
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol

from capacity.protocol import messages
from capacity.protocol.codec import MESSAGE_BYTES_MAX, BadMessage, decode, encode, frame
from capacity.protocol.messages import ClientMessage, ServerMessage

SAID = {str(kind.__struct_config__.tag): kind for kind in typing.get_args(messages.ClientMessage)}

words = st.sampled_from([*SAID, "type", "seated", "Leave", "leave ", "", "\x00", "\ud800"]) | st.text(max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)
objects = st.builds(lambda kind, rest: {"type": kind} | rest, words | anything, st.dictionaries(words, anything))


def said(text: bytes) -> ClientMessage | None:
    """Return what a client said, None if it is no message; nothing but BadMessage may be raised."""
    try:
        return decode(text)
    except BadMessage:
        return None


@given(
    st.binary(max_size=200)
    | st.text(st.characters(), max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_a_message_or_a_bad_one(text: bytes) -> None:
    assert said(text) is None or isinstance(said(text), ClientMessage)


@given(objects | anything)
def test_the_type_alone_makes_the_message(found: Any) -> None:
    """Fields that nobody knows are passed over, whatever is in them."""
    kind = found.get("type") if isinstance(found, dict) else None
    wanted = SAID.get(kind) if isinstance(kind, str) else None
    text = json.dumps(found)
    if any(odd in text for odd in ("NaN", "Infinity", "\\ud")):  # Python writes what others may not read
        assert said(text.encode()) is None or wanted is not None
    else:
        assert said(text.encode()) == (wanted() if wanted is not None else None)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * MESSAGE_BYTES_MAX,
        b'{"type":' * 500,
        b'{"type":"leave","x":' + b"[" * 4000,
        b'{"type":"leave","x":' + b"9" * 4000 + b"}" * 2,
        b'{"type":"leave"}{"type":"leave"}',
        b'\xef\xbb\xbf{"type":"leave"}',
        '{"type":"leave"}'.encode("utf-16"),
        b'{"type":"leave"',
        b'{"type":"seated","room":"r"}',
        b'{"type":["leave"]}',
        b'{"Type":"leave"}',
    ],
)
def test_what_is_no_message(text: bytes) -> None:
    assert said(text) is None


long_ones = st.builds(messages.Error, st.just("x"), st.integers(0, 5000).map("y".__mul__))


@given(st.one_of(long_ones, *map(st.builds, typing.get_args(messages.ServerMessage))))
def test_every_frame_of_ours_is_read_as_one_text_with_the_message_in_it(message: ServerMessage) -> None:
    assume(all(math.isfinite(value) for value in msgspec.structs.astuple(message) if isinstance(value, float)))
    library = Protocol(CLIENT)
    library.receive_data(frame(message))
    (event,) = library.events_received()
    assert isinstance(event, Frame)
    assert (event.opcode, event.fin) == (Opcode.TEXT, True)
    assert bytes(event.data) == encode(message)
    assert msgspec.json.decode(event.data, type=type(message)) == message
