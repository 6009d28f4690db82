"""What is wrong with a request is said, and what stood in it is not, but for words that may be typos."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity.protocol.reasons import reason_of


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """Something that can be asked for in many wrong ways."""

    plan: Literal["growth", "scale"] = "growth"
    seats: Annotated[int, msgspec.Meta(ge=1)] = 1
    names: dict[str, int] = {}


def reason(raw: bytes) -> str:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(raw, type=Wish)
    return reason_of(caught.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"seats": 0}', "Expected `int` >= 1 - at `$.seats`"),
        (b'{"names": {"eyJx9": "eyJx9"}}', "Expected `int`, got `str` - at `$.names[...]`"),
        (b'{"plna": 1}', "Object contains unknown field `plna`"),
        (b'{"plan": "grwoth"}', "Invalid enum value 'grwoth' - at `$.plan`"),
        (b'{"eyJx9": 1}', "Object contains unknown field …"),
        (b'{"plan": "eyJx9"}', "Invalid enum value … - at `$.plan`"),
        (b'{"plan": "x\' - at `$.y` eyJx9"}', "Invalid enum value … - at `$.plan`"),
    ],
)
def test_what_is_said(raw: bytes, said: str) -> None:
    assert reason(raw) == said


@given(text=st.text(max_size=40), field=st.sampled_from(["plan", "seats", "names", ""]))
def test_no_secret_is_said(text: str, field: str) -> None:
    secret = f"{text}eyJhbGciOiJIUzI1NiJ9{text}"
    wish: dict[str, Any] = {field: secret} if field else {secret: 1}
    assert "eyJ" not in reason(json.dumps(wish).encode())
