"""What a user of the store must be allowed to do for a hub: every command, as an example of how it is used.

The smallest user that works is written in docs/operations.md, "The store"; a test holds it to this list, and this list to what hubs really
do. `capacity doctor` asks the store whether its own user may do all of this.
"""

from __future__ import annotations

from typing import Any

import msgspec

from capacity.store import keys, scripts
from capacity.store.keys import RoomName

_ROOM = RoomName("probe", "probe")
_HASH = keys.room_key(_ROOM, "state")
_ZSET = keys.room_key(_ROOM, "line")
_SET = keys.hub_rooms("probe")
_STRING = keys.purchase("probe", "probe")
_STREAM = keys.PLAN_CHANGES
_CHANNEL = keys.account_feed("probe")

Command = tuple[str, ...]

COMMANDS: tuple[Command, ...] = (
    ("PING",),
    ("INFO", "server"),
    ("TIME",),
    ("EVAL", "return 1", "1", _HASH),
    ("EVALSHA", "0" * 40, "1", _HASH),
    ("SPUBLISH", _CHANNEL, ""),
    ("SSUBSCRIBE", _CHANNEL),
    ("SUNSUBSCRIBE", _CHANNEL),
    ("DEL", _STRING),
    ("EXISTS", _STRING),
    ("GET", _STRING),
    ("INCR", _STRING),
    ("PERSIST", _STRING),
    ("PEXPIRE", _STRING, "1"),
    ("PTTL", _STRING),
    ("SET", _STRING, ""),
    ("UNLINK", _STRING),
    ("HDEL", _HASH, "field"),
    ("HEXISTS", _HASH, "field"),
    ("HGET", _HASH, "field"),
    ("HGETALL", _HASH),
    ("HINCRBY", _HASH, "field", "1"),
    ("HKEYS", _HASH),
    ("HLEN", _HASH),
    ("HMGET", _HASH, "field"),
    ("HSCAN", _HASH, "0"),
    ("HSET", _HASH, "field", ""),
    ("HSETNX", _HASH, "field", ""),
    ("HVALS", _HASH),
    ("SADD", _SET, "member"),
    ("SMEMBERS", _SET),
    ("SREM", _SET, "member"),
    ("ZADD", _ZSET, "1", "member"),
    ("ZCARD", _ZSET),
    ("ZCOUNT", _ZSET, "0", "1"),
    ("ZPOPMIN", _ZSET),
    ("ZRANGE", _ZSET, "0", "0"),
    ("ZRANGEBYSCORE", _ZSET, "0", "1"),
    ("ZRANK", _ZSET, "member"),
    ("ZREM", _ZSET, "member"),
    ("ZSCORE", _ZSET, "member"),
    ("XACK", _STREAM, "group", "1-1"),
    ("XADD", _STREAM, "*", "field", ""),
    ("XAUTOCLAIM", _STREAM, "group", "consumer", "1", "0"),
    ("XDEL", _STREAM, "1-1"),
    ("XGROUP", "CREATE", _STREAM, "group", "0"),
    ("XGROUP", "DELCONSUMER", _STREAM, "group", "consumer"),
    ("XINFO", "CONSUMERS", _STREAM, "group"),
    ("XINFO", "GROUPS", _STREAM),
    ("XPENDING", _STREAM, "group"),
    ("XRANGE", _STREAM, "-", "+"),
    ("XREADGROUP", "GROUP", "group", "consumer", "STREAMS", _STREAM, ">"),
    ("XREVRANGE", _STREAM, "+", "-"),
    ("XTRIM", _STREAM, "MINID", "0"),
)
"""What every hub does, on every server with data."""
OF_CLUSTERS: tuple[Command, ...] = (("CLUSTER", "SLOTS"), ("COMMAND",))
"""What it does besides where the store is a cluster."""
OPTIONAL = frozenset({"INFO"})
"""Without it a hub works, but does not notice that another server answers than before (docs/guarantees.md)."""
_SPLIT = frozenset({"CLUSTER", "XGROUP", "XINFO"})


def name_of(command: Command) -> str:
    """Return a command as a rule of an ACL names it: `xgroup|create`, `hset`."""
    return "|".join(command[: 2 if command[0] in _SPLIT else 1]).lower()


async def refused(client: Any, *, cluster: bool) -> list[str]:
    """Return which of the commands the client's user may not use, or not with our keys and channels. Nothing is done with them.

    The client leads to one server. Raises Unavailable, and ScriptError where the user may not even run a script.
    """
    return await _refused(client, (*COMMANDS, *OF_CLUSTERS) if cluster else COMMANDS)


async def may_flush(client: Any) -> bool:
    """Whether the client's user may empty the store, which no hub does. Raises as `refused`."""
    return not await _refused(client, (("FLUSHALL",),))


async def _refused(client: Any, commands: tuple[Command, ...]) -> list[str]:
    numbers = await scripts.REFUSED.run(client, (), [msgspec.json.encode(commands)])
    return [name_of(commands[number - 1]) for number in numbers]
