"""The server of a simulation: a real Valkey with the real scripts, which runs each command at once, on a clock that the test moves.

The commands are run one after the other over one plain connection. What they publish comes over a second one, which is read up to the
answer of a PING after each command, so that nothing depends on how fast the server is. What was written is remembered: a failover that
loses the last writes is a server that is emptied and written again without them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from redis import Redis, connection
from redis.exceptions import ResponseError

from capacity.store import keys, scripts
from capacity.store.plan_changes import GROUP

EPOCH_MS = 1_800_000_000_000
_HOOKS = (scripts.HOOK_NOTE, scripts.HOOK_LOOK, scripts.HOOK_PUT, scripts.HOOK_TAKE, scripts.HOOK_SETTLE)
_SCRIPTS = (*scripts.ROOM.values(), scripts.APPLY, scripts.RESTORE, scripts.BEAT, scripts.SETTLE)
_CLOCK = """
local now_ms, server = tonumber(table.remove(ARGV)), redis
local redis = {call = function(name, ...)
    if name == 'TIME' then return {math.floor(now_ms / 1000), now_ms % 1000 * 1000} end
    return server.call(name, ...)
end}
"""
"""Before a script that reads the server's clock: what it reads is its last argument."""
_TIMED = {script.text: script.text.replace("\n", _CLOCK, 1) for script in _HOOKS}
_TIMED |= {
    script.sha: hashlib.sha1(_TIMED[script.text].encode(), usedforsecurity=False).hexdigest() for script in _HOOKS
}
"""Text and digest of such a script → the same of what is run instead."""
_ROOM_SCRIPTS = {script.sha for script in scripts.ROOM.values()} | {script.text for script in scripts.ROOM.values()}
_INSPECT = scripts.ROOM["inspect"].sha, scripts.ROOM["inspect"].text
_READS = {"HGETALL", "HGET", "GET", "ZRANGE", "SMEMBERS", "HSCAN", "XRANGE", "XINFO CONSUMERS", "XINFO GROUPS", "INFO"}
_NAMES = {script.sha: script.name for script in (*_SCRIPTS, *_HOOKS)}
_SILENT = {scripts.BEAT.sha, scripts.SETTLE.sha, scripts.RESTORE.sha, *_INSPECT, *_TIMED.values()}
_LOOKS = _TIMED[scripts.HOOK_LOOK.sha], _TIMED[scripts.HOOK_LOOK.text]
_TAKES = _TIMED[scripts.HOOK_TAKE.sha], _TIMED[scripts.HOOK_TAKE.text]
LOOKED_NONE, TAKEN_NONE = 1, 2
"""How long the answers of hook_look.lua and hook_take.lua are when there was nothing: then they changed nothing."""
Message = tuple[str, bytes]


class Backend:
    """One store. `clock`: seconds of the simulation. `step_ms`: how far the server's own clock was moved."""

    def __init__(self, url: str, clock: Callable[[], float], publish: Callable[[Message], None]) -> None:
        library: Any = connection  # whose connections have no types
        options = library.parse_url(url)
        self._wire = library.Connection(protocol=2, **options)
        self._ear = library.Connection(protocol=2, **options)
        self._callbacks: Any = Redis(protocol=2, **options).response_callbacks
        self._clock = clock
        self._publish = publish
        self._channels: dict[str, None] = {}
        self._written: list[tuple[Any, ...]] = []
        self._given: dict[str, float] = {}
        """Entry of the stream → when it was given to a consumer last, by our clock."""
        self._last_entry = (0, 0)
        self.step_ms = 0
        self.restarts = 0
        self.entries_at: list[float] = []
        self.read(("FLUSHALL",))
        self.read(("CONFIG", "SET", "maxmemory", "0"))
        self._load_scripts()

    def _load_scripts(self) -> None:
        """Make every script known: whether one is must not depend on what ran before."""
        all = {script.sha: script.text for script in _SCRIPTS}
        all |= {_TIMED[script.sha]: _TIMED[script.text] for script in _HOOKS}
        for text, there in zip(all.values(), self.read(("SCRIPT", "EXISTS", *all)), strict=True):
            if not there:
                self.read(("SCRIPT", "LOAD", text))

    @property
    def run_id(self) -> str:
        """What INFO calls the server; another one after each restart."""
        return f"{self.restarts:040x}"

    @property
    def wall_ms(self) -> int:
        """The server's clock."""
        return EPOCH_MS + int(self._clock() * 1000) + self.step_ms

    def close(self) -> None:
        """Hang up."""
        self._wire.disconnect()
        self._ear.disconnect()

    # ---- commands

    def run(self, command: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run a command and return its answer as the client library would; errors are raised."""
        name = str(command[0])
        if name == "SPUBLISH":
            self._say((str(command[1]), bytes(command[2])))
            return 1
        if name == "INFO":
            return {"run_id": self.run_id, "redis_mode": "standalone"}
        if name == "XAUTOCLAIM":
            return self._take_over(command)
        command = self._on_our_clock(name, command)
        answer = self.read(command)
        if name not in _READS and not (name.startswith("EVAL") and _changed_nothing(command[1], answer)):
            self._written.append(command)
        if name == "XREADGROUP" and answer:
            for id, _ in answer[0][1]:
                self._given[id.decode()] = self._clock()
        if name.startswith("EVAL") and command[1] not in _SILENT:
            self._listen()
        options = {key: value for key, value in options.items() if key != "keys"}
        return self._callbacks[name](answer, **options) if name in self._callbacks else answer

    def read(self, command: tuple[Any, ...]) -> Any:
        """Run a command, and return its answer as it is on the wire. Nothing of it is remembered."""
        self._wire.send_command(*command)
        return self._wire.read_response()

    def _on_our_clock(self, name: str, command: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give a script our clock, and an entry of a stream an id of our clock."""
        if name.startswith("EVAL") and command[1] in _ROOM_SCRIPTS:
            at = 3 + int(command[2])
            context = b'{"wall":%d,' % self.wall_ms + command[at][1:]
            return (*command[:at], context, *command[at + 1 :])
        if name.startswith("EVAL") and command[1] in _TIMED:
            return (command[0], _TIMED[command[1]], *command[2:], self.wall_ms)
        if name == "XADD" and command[2] in ("*", b"*"):
            ms, number = max((self.wall_ms, 0), (self._last_entry[0], self._last_entry[1] + 1))
            self._last_entry = ms, number
            self.entries_at.append(self._clock())
            return (*command[:2], f"{ms}-{number}", *command[3:])
        return command

    def _take_over(self, command: tuple[Any, ...]) -> Any:
        """XAUTOCLAIM, with the idle time by our clock."""
        _, stream, group, consumer, idle_ms = command[:5]
        pending = self.read(("XPENDING", stream, group, "-", "+", 100))
        idle = [
            id.decode()
            for id, *_ in pending
            if (self._clock() - self._given.get(id.decode(), 0.0)) * 1000 >= int(idle_ms)
        ]
        if not idle:
            return [b"0-0", [], []]
        claim = ("XCLAIM", stream, group, consumer, 0, *idle)
        answer = self.read(claim)
        self._written.append(claim)
        for id in idle:
            self._given[id] = self._clock()
        return [b"0-0", [(id, _pairs(fields)) for id, fields in answer if fields is not None], []]

    # ---- what is published

    def listen_to(self, channel: str) -> None:
        """Hear what is published to a channel from now on."""
        if channel not in self._channels:
            self._channels[channel] = None
            self._ear.send_command("SSUBSCRIBE", channel)
            self._ear.read_response()

    def _listen(self) -> None:
        self._ear.send_command("PING")
        while True:
            said = self._ear.read_response()
            if said[0] == b"smessage":
                self._say((said[1].decode(), said[2]))
            elif said[0] == b"pong":
                return

    def _say(self, message: Message) -> None:
        self._publish(message)

    # ---- disasters

    def forget_scripts(self) -> None:
        """Every script is unknown again."""
        self.read(("SCRIPT", "FLUSH", "SYNC"))

    def fill(self, *, full: bool) -> None:
        """Leave no memory for anything that writes, or enough of it again."""
        self.read(("CONFIG", "SET", "maxmemory", "1" if full else "0"))

    def empty(self, *, restart: bool = True) -> None:
        """Come back without any data; without a restart it is the same server that has lost it."""
        self.restarts += restart
        self._written.clear()
        self.read(("FLUSHALL",))
        self.read(("CONFIG", "SET", "maxmemory", "0"))

    def roll_back(self, writes: int) -> int:
        """Come back without the last writes; returns how many there were to lose."""
        kept = self._written[: max(0, len(self._written) - writes)]
        lost = len(self._written) - len(kept)
        self.empty()
        self._load_scripts()
        for start in range(0, len(kept), 500):
            piece = kept[start : start + 500]
            self._wire.send_packed_command(self._wire.pack_commands(piece))
            for _ in piece:
                try:
                    self._wire.read_response()
                except ResponseError as error:
                    raise AssertionError(f"what was done could not be done again: {error}") from error
        self._written = kept
        said, self._publish = self._publish, lambda _: None
        self._listen()
        self._publish = said
        return lost

    # ---- looking, for the test

    def audit(self, name: keys.RoomName) -> list[bytes]:
        """Return the room's audit as it is now."""
        return [fields[1] for _, fields in self.read(("XRANGE", keys.audit(name), "-", "+"))]

    def pending(self) -> int:
        """Return how many entries of the stream were given to a hub and are not settled."""
        try:
            return int(self.read(("XPENDING", keys.PLAN_CHANGES, GROUP))[0])
        except ResponseError:
            return 0


def _changed_nothing(script: str, answer: Any) -> bool:
    """Whether a script has only looked: into a room, or for webhooks where there was none."""
    if script in _INSPECT:
        return True
    return (script in _LOOKS and len(answer) == LOOKED_NONE) or (script in _TAKES and len(answer) == TAKEN_NONE)


def name_of(command: tuple[Any, ...]) -> str:
    """Return what a command does in one word, for the trace: a script's name, or the command's."""
    if command[0] in ("EVALSHA", "EVAL"):
        return _NAMES.get(str(command[1]), "script")
    return str(command[0]).lower()


def _pairs(fields: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(fields[::2], fields[1::2], strict=True))
