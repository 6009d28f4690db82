"""Why something could not be read, in the decoder's words, but without what it quotes of the sender's.

A token may stand where nobody would look for one, and an answer is kept in more places than a request.
"""

from __future__ import annotations

import re

_SAID_CHARACTERS_MAX = 2000
_AT = re.compile(r" - at `\$[\w.\[\]]*`$")
_QUOTED = re.compile(r"(?:unknown field|value) [`'\"](.*)[`'\"]?$", re.DOTALL)
_WORD = re.compile(r"[a-z_]{1,24}[`'\"]?")


def reason_of(error: Exception) -> str:
    """Return what an error of msgspec says is wrong, without a full stop. Plain words are quoted, for they may be typos."""
    said = str(error)[:_SAID_CHARACTERS_MAX]
    at = _AT.search(said)
    said, where = (said[: at.start()], at[0]) if at else (said, "")
    quoted = _QUOTED.search(said)
    if quoted is not None and _WORD.fullmatch(quoted[1]) is None:
        said = said[: quoted.start(1) - 1] + "…"
    return said.rstrip(".") + where
