"""The keys of a terminal, one by one and without Enter, while somebody looks at it."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

READ_BYTES = 1024
_WORDS = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x1b": "escape",
    "\x03": "ctrl-c",
    "\x04": "ctrl-d",
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOC": "right",
    "\x1bOD": "left",
}


def words(text: str) -> Iterator[str]:
    """Yield the keys of what a terminal sent: characters, and words for those that are none. Sequences that nobody needs are skipped."""
    place = 0
    while place < len(text):
        length = 1
        if text.startswith(("\x1b[", "\x1bO"), place):
            length = 3
            while (
                place + length < len(text)
                and not text[place + length - 1].isalpha()
                and text[place + length - 1] != "~"
            ):
                length += 1
        piece = text[place : place + length]
        place += length
        if piece in _WORDS:
            yield _WORDS[piece]
        elif len(piece) == 1 and piece.isprintable():
            yield piece


@contextmanager
def keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Call `pressed` for every key of stdin, in the running loop; where that is no terminal there are none. Afterwards it is as it was."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        sent = os.read(descriptor, READ_BYTES)
        if not sent:  # the terminal was hung up
            loop.remove_reader(descriptor)
            pressed("ctrl-d")
        for word in words(sent.decode("utf-8", "ignore")):
            pressed(word)

    tty.setcbreak(descriptor, termios.TCSANOW)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
