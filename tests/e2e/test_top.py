"""`capacity top` as its user has it: of hubs that live, drain and die, as a document, in a pipe, and on a terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from capacity import __version__
from capacity.hub.status import HubStatus
from capacity.store.keys import SCHEMA
from capacity.top import screen
from capacity.top.document import Room, Top
from tests.ops.test_cli import Done, refused, run
from tests.support.process import HubProcess
from tests.support.service import ACCOUNT, ROOM, Billing, Hub, settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
COMMAND = (sys.executable, "-m", "capacity", "top")


async def ran(redis_url: str, *arguments: str) -> Done:
    """Run `capacity top` to its end."""
    return await asyncio.to_thread(run, "top", *arguments, CAPACITY_REDIS_URL=redis_url, COLUMNS="100")


async def look(redis_url: str, **wish: Any) -> Top:
    """Return the document of now."""
    return await asyncio.to_thread(screen.document, settings(redis_url), screen.Wish(0.01, **wish))


async def until(redis_url: str, right: Callable[[Top], bool]) -> Top:
    """Return the first document that is right."""
    found: list[Top] = []

    async def now() -> bool:
        found.append(await look(redis_url))
        return right(found[-1])

    await wait_until(now, within_seconds=10.0, what=f"another document than {found[-1:]}")
    return found[-1]


def measured(top: Top) -> list[HubStatus]:
    """Return the statuses that have everything in them: the loop's lag is measured twice a second."""
    return [hub.status for hub in top.hubs if hub.status is not None and hub.status.loop_lag.count]


async def test_two_hubs_their_room_and_the_death_of_one(
    hub: Hub, billing: Billing, redis_url: str, tmp_path: Path
) -> None:
    await billing.account(3)
    async with HubProcess(redis_url, tmp_path) as other:
        await check_life_and_death(hub, other, redis_url)


async def check_life_and_death(first: Hub, second: HubProcess, redis_url: str) -> None:
    await first.host()
    for hub, name in ((first, "ann"), (first, "ben"), (second, "cid"), (second, "dan"), (second, "eve")):
        await (await hub.join(name)).first()
    top = await until(redis_url, lambda top: [said.connections for said in measured(top)] == [3, 3])
    (room,) = top.rooms
    assert room == Room(
        account=ACCOUNT, room=ROOM, state="open", seat_limit=3, occupied=3, seated=3, away=0, held=0, waiting=2, free=0,
        peak=3, level="full", opened_at=room.opened_at, arrivals_per_second=0.0, full_in_seconds=0.0,
        hubs=[hub.id for hub in top.hubs],
    )  # fmt: skip
    statuses = {said.pid: said for said in measured(top)}
    assert statuses[second.process.pid].address == second.address
    for said in (statuses[os.getpid()], statuses[second.process.pid]):
        assert (said.version, said.schema, said.host, said.problems) == (__version__, SCHEMA, socket.gethostname(), [])
        assert said.rooms == 1 and said.unanswered == 0 and said.joins_per_second > 0
        assert said.store_calls.count > 0
        assert said.store_calls.mean_ms is not None and said.store_calls.max_ms is not None
        assert 0 < said.store_calls.mean_ms <= said.store_calls.max_ms < 2000

    await check_document(redis_url)
    await check_pipe(redis_url)
    await asyncio.to_thread(check_terminal, redis_url)

    second.process.kill()
    top = await until(redis_url, lambda top: len(top.hubs) == 1 and top.rooms[0].away == 1)
    assert top.hubs[0].status is not None and top.hubs[0].status.pid == os.getpid()
    assert top.rooms[0].hubs == [top.hubs[0].id]


async def check_document(redis_url: str) -> None:
    """`--json` is one document of the documented type, filtered, sorted and cut."""
    done = await ran(redis_url, "--json", "--interval", "0.2", "--filter", ROOM[:3].upper(), "--limit", "1")
    assert done.code == 0 and done.err == "", done.err
    top = msgspec.json.decode(done.out, type=Top)
    assert msgspec.json.encode(top).decode() == done.out.strip(), "nothing in it is undocumented"
    assert (len(top.rooms), top.rooms_total, len(top.hubs)) == (1, 1, 2)
    assert (await look(redis_url, account="nobody")).rooms == []


async def check_pipe(redis_url: str) -> None:
    """Into a pipe it prints once, without a sequence that a terminal would obey."""
    done = await ran(redis_url, "--interval", "0.2")
    assert done.code == 0 and "\x1b" not in done.out
    assert done.out.startswith("capacity · redis ") and f"{ACCOUNT}/{ROOM}" in done.out


@contextmanager
def terminal(redis_url: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `capacity top` on a terminal of 100 columns and 20 lines; yields the process and the terminal's other end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    env |= {"CAPACITY_REDIS_URL": redis_url, "TERM": "xterm"}
    process = subprocess.Popen(COMMAND, env=env, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    try:
        before = termios.tcgetattr(theirs)
        yield process, ours
        assert termios.tcgetattr(theirs) == before, "the terminal is as it was"
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)


def check_terminal(redis_url: str) -> None:
    """On a terminal keys filter, sort and end it, and the terminal is as it was."""
    with terminal(redis_url) as (process, ours):
        shown = b""

        def told(*texts: str) -> None:
            """Read until all of these were shown since the last key."""
            nonlocal shown
            while not all(text.encode() in shown for text in texts):
                piece = os.read(ours, 65536)
                assert piece, shown
                shown += piece
            shown = b""

        told(f"{ACCOUNT}/{ROOM}", "2 hubs", "q quit")
        os.write(ours, b"/nothing")
        told("filter: ", "nothing")
        os.write(ours, b"\r")
        told("0 rooms", "filter nothing")
        os.write(ours, b"\x1b")
        told(f"{ACCOUNT}/{ROOM}")
        os.write(ours, b"\x1b[C")
        told("rate in▾")
        os.write(ours, b"p")
        told("paused")
        os.write(ours, b"q")
        assert process.wait(10) == 0


async def test_a_hub_that_drains_says_so(hub: Hub, redis_url: str) -> None:
    await until(redis_url, lambda top: [hub.status and hub.status.problems for hub in top.hubs] == [[]])
    assert hub.application is not None
    hub.application.hub.drain()
    await until(redis_url, lambda top: [hub.status and hub.status.problems for hub in top.hubs] == [["draining"]])


def test_what_cannot_be_shown_is_one_line(tmp_path: Path) -> None:
    nowhere = {"CAPACITY_REDIS_URL": "redis://127.0.0.1:1"}
    for arguments in (("top", "--json"), ("top",)):
        line = refused(*arguments, code=1, environ=nowhere)
        assert line.startswith("capacity: not shown: the store cannot be read (")
    assert "--account: expected the id of an account" in refused("top", "--account", "no account", environ=nowhere)
    assert "no server runs on" in refused("top", CAPACITY_DATA_DIR=str(tmp_path))


def test_a_signal_ends_it_and_leaves_the_terminal_in_order() -> None:
    with terminal("redis://127.0.0.1:1") as (process, ours):
        shown = b""
        while b"looking again: the store cannot be read" not in shown:
            shown += os.read(ours, 65536)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
