"""Ids of accounts, rooms, participants and stream entries: what may stand in a token, a URL, an event and a key.

None of the characters means anything to Redis (`{}` would move a key to another slot) or to a path (`.` and `..` would).
"""

from __future__ import annotations

import re

ACCOUNT_OR_ROOM = r"(?!\.{1,2}$)[A-Za-z0-9_.:@-]{1,128}"
ENTRY = r"(?!0+-0+$)[0-9]{1,19}-[0-9]{1,19}"
PARTICIPANT = r"(?!\.{1,2}$)[A-Za-z0-9_.:@|+=~-]{1,128}"

_account_or_room = re.compile(ACCOUNT_OR_ROOM).fullmatch
_entry = re.compile(ENTRY).fullmatch
_participant = re.compile(PARTICIPANT).fullmatch


def is_account(text: object) -> bool:
    """Whether the text is an account id: 1 to 128 of `A-Z a-z 0-9 _ . : @ -`, and neither `.` nor `..`."""
    return isinstance(text, str) and _account_or_room(text) is not None


is_room = is_account


def is_participant(text: object) -> bool:
    """Whether the text is a participant id: as for accounts, and also `| + = ~` (ids of identity providers have them)."""
    return isinstance(text, str) and _participant(text) is not None


def is_entry(text: object) -> bool:
    """Whether the text is the id of a stream entry, MS-SEQUENCE in decimals; the store takes none that is longer, nor 0-0."""
    return isinstance(text, str) and _entry(text) is not None
