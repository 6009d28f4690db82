"""The Lua scripts: one verb, one file in `lua/`. Run by EVALSHA, and by EVAL where the server does not know the script.

Not SCRIPT LOAD: in a cluster that reaches another node than the key's. Not functions: their names are global, so two releases
could not run side by side (docs/decisions/0001).
"""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import Any, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from capacity.errors import StoreFull, Unavailable

# The server's words for "not now", whatever the cause: they become one state, store unavailable (docs/protocol.md).
_NOT_NOW = (
    "OOM",
    "MISCONF",
    "READONLY",
    "LOADING",
    "BUSY ",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "MASTERDOWN",
    "TRYAGAIN",
    "UNBLOCKED",
)

FAILURES = (RedisError, RedisClusterException, OSError, RuntimeError, AttributeError)
"""What the client library and its event loop raise when something is wrong with the store, or with us."""

_LUA = files("capacity.store") / "lua"
_PRELUDE = (_LUA / "_prelude.lua").read_text("utf-8")


class ScriptError(Exception):
    """A script failed for a reason that is a bug; the text names the file and its line."""


def unavailable(error: Exception) -> bool:
    """Whether the error of the client library says that the store cannot be used at the moment."""
    if isinstance(error, RedisConnectionError | RedisTimeoutError | RedisClusterException | OSError):
        return True
    if isinstance(error, RuntimeError | AttributeError):  # redis-py 8.1 writes to a connection that has just been cut
        return "the handler is closed" in str(error) or str(error).startswith("'NoneType' object has no attribute")
    code = getattr(error, "status_code", None)  # the client library cuts the words it knows off the text
    return isinstance(error, RedisError) and f"{code} {error}".removeprefix("None ").startswith(_NOT_NOW)


def not_now(error: Exception) -> Unavailable:
    """Return what the rest of the program is told of an error that says «not now»."""
    kind = StoreFull if isinstance(error, OutOfMemoryError) or str(error).startswith("OOM") else Unavailable
    return kind(str(error) or type(error).__name__)


class Timer(Protocol):
    """Who wants to know how long calls take (`capacity/hub/timings.py`)."""

    def began(self) -> float:
        """Return the instant."""

    def ended(self, verb: str, began: float) -> None:
        """A call that began at an instant has ended, well or not."""


class Script:
    """One verb. `prelude`: the script is a room's, and starts with what all of those share."""

    def __init__(self, name: str, *, prelude: bool = True) -> None:
        shebang, _, body = (_LUA / f"{name}.lua").read_text("utf-8").partition("\n")
        if not shebang.startswith("#!lua"):
            raise ValueError(f"{name}.lua must begin with #!lua: without it the server does not guard slots and memory")
        self.name = name
        self.text = f"{shebang}\n{_PRELUDE}{body}\nend\nreturn run()\n" if prelude else f"{shebang}\n{body}"
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        self._lines_before = _PRELUDE.count("\n") if prelude else 0

    async def run(
        self, client: Any, keys: tuple[str, ...], arguments: list[str | bytes | int], timer: Timer | None = None
    ) -> Any:
        """Run the script once. Raises Unavailable (whether it ran is then unknown) or ScriptError."""
        began = timer.began() if timer is not None else 0.0
        try:
            try:
                return await client.execute_command("EVALSHA", self.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return await client.execute_command("EVAL", self.text, len(keys), *keys, *arguments)
        except ResponseError as error:
            if unavailable(error):
                raise not_now(error) from error
            raise ScriptError(self._locate(str(error))) from None
        except FAILURES as error:
            if unavailable(error):
                raise not_now(error) from error
            raise
        finally:
            if timer is not None:
                timer.ended(self.name, began)

    def _locate(self, message: str) -> str:
        """Name the file in the server's message: `user_script:37` becomes `join.lua:12` or `_prelude.lua:36`."""

        def place(match: re.Match[str]) -> str:
            line = int(match[1])
            if 1 < line <= self._lines_before + 1:
                return f"_prelude.lua:{line - 1}"
            return f"{self.name}.lua:{line - self._lines_before}"

        return re.sub(r"@?user_script:(\d+)", place, message)


ROOM_VERBS = (
    "join",
    "leave",
    "away",
    "claim",
    "host",
    "open",
    "end",
    "put_out",
    "sweep",
    "inspect",
    "attach",
    "detach",
    "fence",
    "reassert",
)
ROOM = {name: Script(name) for name in ROOM_VERBS}
APPLY = Script("apply", prelude=False)
RESTORE = Script("restore", prelude=False)
BEAT = Script("beat", prelude=False)
COMMIT = Script("commit", prelude=False)
TAKE_DUE = Script("take_due", prelude=False)
TIME = Script("time", prelude=False)
NOTE = Script("note", prelude=False)
CARD = Script("card", prelude=False)
COUNT = Script("count", prelude=False)
SETTLE = Script("settle", prelude=False)
REPLAY = Script("replay", prelude=False)
LOOK = Script("look", prelude=False)
REFUSED = Script("refused", prelude=False)
HOOK_NOTE = Script("hook_note", prelude=False)
HOOK_LOOK = Script("hook_look", prelude=False)
HOOK_PUT = Script("hook_put", prelude=False)
HOOK_TAKE = Script("hook_take", prelude=False)
HOOK_SETTLE = Script("hook_settle", prelude=False)
HOOK_REPLAY = Script("hook_replay", prelude=False)


async def guarded(pending: Any) -> Any:
    """Await a command of the client library; raises Unavailable where the store cannot be used."""
    try:
        return await pending
    except FAILURES as error:
        if unavailable(error):
            raise not_now(error) from error
        raise
