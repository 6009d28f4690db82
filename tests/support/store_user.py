"""The users of docs/operations.md, "The store": read from the document as they stand there, and made on real servers."""

from __future__ import annotations

from typing import Any

import redis

from tests.docs.documents import ROOT, blocks

OPERATIONS = ROOT / "docs" / "operations.md"
PASSWORD = "a+password/of@the:tests"


def rules() -> list[list[str]]:
    """Return every ACL line of the section, in words."""
    return [line.split() for block in blocks(OPERATIONS, "redis", "The store") for line in block.splitlines()]


def granted(user: str = "capacity") -> set[str]:
    """Return the commands that the document gives to a user: `hset`, `xgroup|create`."""
    return {word[1:] for line in rules() if line[2] == user for word in line[3:] if word.startswith("+")}


def make_users(port: int, *users: str, cluster: bool = False) -> None:
    """Make users of the document on a server or a sentinel, as who may everything; `cluster`: with what a cluster needs besides."""
    client: Any = redis.Redis(port=port, socket_timeout=2)
    try:
        for words in rules():
            if words[2] in users and (cluster or "+cluster|slots" not in words):
                client.execute_command(*(word.replace(">PASSWORD", f">{PASSWORD}") for word in words))
    finally:
        client.close()


def called(port: int) -> dict[str, int]:
    """Return which commands a server ran since its counters were reset, by clients and in scripts, and how often."""
    client: Any = redis.Redis(port=port, socket_timeout=2)
    try:
        return {name.removeprefix("cmdstat_"): found["calls"] for name, found in client.info("commandstats").items()}
    finally:
        client.close()


def refusals(port: int) -> set[str]:
    """Return what the server refused to the documented user since its log was reset."""
    client: Any = redis.Redis(port=port, socket_timeout=2)
    try:
        return {entry["object"] for entry in client.acl_log() if entry["username"] == "capacity"}
    finally:
        client.close()


def reset(port: int) -> None:
    """Begin to count anew."""
    client: Any = redis.Redis(port=port, socket_timeout=2)
    try:
        client.config_resetstat()
        client.acl_log_reset()
    finally:
        client.close()
