"""What terminals send for keys."""

from __future__ import annotations

import pytest

from capacity.top.keyboard import words


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("q", ["q"]),
        ("a/é", ["a", "/", "é"]),
        (
            "\r\n\t\x7f\x08\x1b\x03\x04",
            ["enter", "enter", "tab", "backspace", "backspace", "escape", "ctrl-c", "ctrl-d"],
        ),
        ("\x1b[A\x1bOB\x1b[Cx\x1b[D", ["up", "down", "right", "x", "left"]),
        ("\x1b[5~\x1b[15~\x1b[1;5Cp", ["p"]),
        ("\x1b[", []),
        ("\x00\x01", []),
    ],
)
def test_keys_are_read_off_what_was_sent(sent: str, keys: list[str]) -> None:
    assert list(words(sent)) == keys
