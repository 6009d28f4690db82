"""Which server answers, from its INFO: whether it is one that Capacity runs on, and whether its Lua is one to trust."""

from __future__ import annotations

import re
from typing import NamedTuple

Number = tuple[int, ...]

OLDEST: dict[str, Number] = {"Redis": (7, 0), "Valkey": (8, 0)}
"""The first of each with all that the scripts and the feed need (sharded pub/sub, shebangs) and that is tested."""
_LUA_MENDED: dict[str, tuple[Number, ...]] = {
    "Redis": ((7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
    "Valkey": ((8, 0, 6), (8, 1, 4)),
}
"""First release of each line without CVE-2025-49844, -46817, -46818 and -46819, by which a script of somebody who may run
scripts can take the server over (docker-library/official-images#20011, valkey-io/valkey#3473). Later lines never had them.
"""


class Server(NamedTuple):
    """One server. `number` has up to three parts."""

    name: str
    number: Number

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.number))}"

    @property
    def too_old(self) -> bool:
        """Whether something that Capacity needs is missing."""
        return self.number < OLDEST[self.name]

    @property
    def lua_unmended(self) -> bool:
        """Whether its number is that of a release with the holes in Lua; a distribution may have mended one under an old number."""
        mended = _LUA_MENDED[self.name]
        same_line = [fixed for fixed in mended if fixed[:2] == self.number[:2]]
        return self.number < (same_line[0] if same_line else max(mended))


def server_of(info: bytes) -> Server | None:
    """Return the server that an answer to INFO server is of; None if it does not say. Valkey says a version of Redis as well."""
    for name, field in (("Valkey", rb"valkey_version"), ("Redis", rb"redis_version")):
        if found := re.search(rb"^" + field + rb":(\d+(?:\.\d+){0,2})", info, re.MULTILINE):
            return Server(name, tuple(int(part) for part in found[1].split(b".")))
    return None


def needed() -> str:
    """Return the oldest servers in words."""
    return " or ".join(f"{name} {'.'.join(map(str, number))}" for name, number in OLDEST.items())
