"""`capacity rehearse` against real hubs: it judges what is there, survives a restart, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import shlex
import signal
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from capacity.client import StreamPublisher, WebhookPublisher
from capacity.domain.plans import load
from capacity.errors import SettingError
from capacity.flags import Failed
from capacity.rehearsal.checker import verdict_of
from capacity.rehearsal.room_for_many import make_room
from capacity.rehearsal.script import Script, script_of
from capacity.rehearsal.stage import SOURCE, Stage
from tests.chaos.proxy import Proxy
from tests.docs.documents import ROOT, blocks
from tests.support.process import HubProcess
from tests.support.servers import binaries, free_port, running
from tests.support.service import SECRET, WEBHOOK_SECRET, Billing, Hub
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
OTHER_SECRET = "another-secret-that-is-long-enough-as-well"
TIMES: dict[str, Any] = {"grace_seconds": 15, "place_seconds": 20, "hold_seconds": 10, "lease_seconds": 5}


class Done(NamedTuple):
    """What a run of the program left."""

    code: int
    out: str
    err: str


def spoken(command: str, instead: dict[str, str]) -> list[str]:
    """Return the arguments of a command of the documents, with some of its words instead of others."""
    program, verb, *arguments = shlex.split(command)
    assert (program, verb) == ("capacity", "rehearse")
    return [instead.get(argument, argument) for argument in arguments]


async def start(*arguments: str, directory: Path) -> asyncio.subprocess.Process:
    """Start `capacity rehearse` as a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")}
    environ |= {"CAPACITY_TOKEN_KEY": SECRET, "CAPACITY_WEBHOOK_SECRET": WEBHOOK_SECRET}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "capacity", "rehearse", *arguments,
        cwd=directory, env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background of a shell ignore it
    )  # fmt: skip


async def done(process: asyncio.subprocess.Process) -> Done:
    """Wait for the end."""
    out, err = await process.communicate()
    assert process.returncode is not None and b"Traceback" not in err, err.decode()
    return Done(process.returncode, out.decode(), err.decode())


def script(**changes: Any) -> Script:
    """Return a script of few attendees and little time, but for some of it."""
    values: dict[str, Any] = {
        "account": None, "room": None, "attendees": 10, "duration_seconds": 5.0, "curve": "even", "seats": None,
        "raise_to": None, "raise_at": 0.5, "suffix": "x",
    }  # fmt: skip
    return script_of(**values | changes)


def stage(
    chosen: Script, address: str, *, secret: str = SECRET, webhook_secret: str = WEBHOOK_SECRET
) -> tuple[Stage, list[str]]:
    """Return a stage, and what it warns of."""
    warned: list[str] = []
    publisher = WebhookPublisher(address, webhook_secret, source=SOURCE)
    return Stage(chosen, address, secret, publisher, warn=warned.append), warned


class Page(HTMLParser):
    """A page, taken apart: what it refers to, its text, and whether every element is closed."""

    VOID = frozenset({"meta", "line", "path", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


async def test_a_rehearsal_is_judged_and_reported(hub: Hub, billing: Billing, tmp_path: Path) -> None:
    slow = Proxy(int(hub.address.rpartition(":")[2]))
    await slow.start()
    try:
        plainly, at_length = blocks(ROOT / "docs" / "operations.md", "sh", "Before the day: rehearse")[0].splitlines()
        few = {"500": "60", "450": "55", "http://localhost:8000": hub.address}
        good = await start(*spoken(at_length, few), "--duration", "5", "--raise-at", "0.6", directory=tmp_path)
        few = {"500": "5", "http://localhost:8000": f"http://127.0.0.1:{slow.port}"}
        late = await start(
            *spoken(plainly, few), "--duration", "5", "--curve", "stampede", "--account", "late", "--room", "late",
            directory=tmp_path,
        )  # fmt: skip
        room = hub.room_path("late", "late")

        async def late_room(field: str, value: object) -> bool:
            return bool((await hub.call("GET", room)).json().get(field) == value)

        await wait_until(lambda: late_room("state", "open"), within_seconds=10, what="the room to open")
        slow.delay_seconds = 0.6  # each way, while they come
        await wait_until(lambda: late_room("waiting", 2), within_seconds=10, what="all to come")
        slow.delay_seconds = 0.0
        held, broken = await asyncio.gather(done(good), done(late))
    finally:
        await slow.stop()

    assert held.code == 0, held
    verdict = json.loads(held.out)
    figures = verdict["figures"]
    assert verdict["held"] and len(verdict["promises"]) == 7
    assert (figures["came"], figures["seats"], figures["raise_to"]) == (60, 42, 55)
    assert (figures["seated_at_the_end"], figures["waiting_at_the_end"]) == (55, 5)
    assert figures["reloads"] == figures["seat"]["count"] == 13
    assert (figures["occupied_max"], figures["endings"]) == (55, [])

    assert broken.code == 1
    assert "broken" in broken.out and "Everybody is answered within" in broken.out

    page = Page((tmp_path / "rehearsal.html").read_text("utf-8"))
    assert page.open == [] and page.addresses == [] and "script" not in page.tags
    assert page.tags.count("svg") == page.tags.count("desc") == 6
    text = " ".join(page.words)
    assert "Every promise held." in text and hub.address in text
    for promise in verdict["promises"]:
        assert promise["promise"] in text and promise["says"] in text
    (other,) = (name for name in os.listdir(tmp_path) if re.fullmatch(r"capacity-rehearsal-[\d-]+\.html", name))
    assert "promises broken" in (tmp_path / other).read_text("utf-8")

    (name,) = re.findall(r"account (rehearsal-\w+)", held.err)
    for account in (name, "late"):  # the names of account and room are alike
        await billing.seats(account, 0)
        assert (await hub.call("GET", hub.room_path(account, account))).json()["state"] == "ended"


async def test_ctrl_c_clears_up(hub: Hub, billing: Billing, tmp_path: Path) -> None:
    process = await start(
        hub.address, "--attendees", "20", "--curve", "even", "--account", "mine", "--room", "dry", directory=tmp_path
    )

    async def seated() -> bool:
        room = await hub.call("GET", hub.room_path("dry", "mine"))
        return bool(room.status_code == 200 and room.json()["seated"])

    await wait_until(seated, within_seconds=10)
    process.send_signal(signal.SIGINT)
    ended = await done(process)
    assert ended.code == 130, ended
    assert (await hub.call("GET", hub.room_path("dry", "mine"))).json()["state"] == "ended"
    await billing.seats("mine", 0)
    assert os.listdir(tmp_path) == []


@pytest.mark.timeout(60)
async def test_a_restart_in_the_middle_costs_nobody_a_seat(redis_url: str, billing: Billing, tmp_path: Path) -> None:
    async with HubProcess(redis_url, tmp_path, **TIMES) as first, HubProcess(redis_url, tmp_path, **TIMES) as second:
        ports = [int(hub.address.rpartition(":")[2]) for hub in (first, second)]
        balancer = Proxy(ports[0])
        await balancer.start()
        chosen = script(attendees=60, duration_seconds=6.0, curve="stampede", raise_at=0.7)
        rehearsal, warned = stage(chosen, f"http://127.0.0.1:{balancer.port}")

        replaced = False

        def looks(passed: float) -> None:
            nonlocal replaced
            if rehearsal.journal.hall.came >= chosen.attendees // 2:
                balancer.target = ports[1]
            if rehearsal.journal.hall.came == chosen.attendees and not replaced:
                first.process.terminate()
                replaced = True

        try:
            journal = await rehearsal.play(looks)
        finally:
            await balancer.stop()
        assert await first.ended() == 0
    verdict = verdict_of(journal)
    assert verdict.held, [promise for promise in verdict.promises if not promise.held]
    assert 0 < verdict.figures.came_back < chosen.attendees
    assert (1012, "restarting") in {(end.code, end.reason) for end in verdict.figures.endings}
    assert (verdict.figures.seated_at_the_end, warned) == (chosen.attendees, [])


async def test_what_cannot_be_rehearsed_is_refused_before_anything_is_touched(hub: Hub, billing: Billing) -> None:
    async def refused(chosen: Script, address: str = hub.address, **secrets: str) -> str:
        with pytest.raises(Failed) as failed:
            await stage(chosen, address, **secrets)[0].play(lambda passed: None)
        return str(failed.value)

    assert "cannot be reached" in await refused(script(), f"http://127.0.0.1:{free_port()}")
    assert "no Capacity" in await refused(script(), hub.address + "/elsewhere")
    assert "CAPACITY_TOKEN_KEY" in await refused(script(), secret=OTHER_SECRET)
    assert "CAPACITY_WEBHOOK_SECRET" in await refused(script(), webhook_secret=f"whsec_{'A' * 32}")
    assert (await hub.call("GET", hub.room_path("rehearsal-x", "rehearsal-x"))).status_code == 404
    await billing.account(25, "rehearsal-x")
    assert "--account" in await refused(script())
    await billing.account(25, "acme")
    assert (await hub.call("PUT", hub.room_path("launch", "acme"))).status_code == 200
    assert "--room" in await refused(script(account="acme", room="launch"))
    plan = load(None).on_sale()[0].id
    assert (await hub.call("PUT", "/v1/accounts/bought", json={"plan": plan})).status_code in (200, 202)
    assert "purchases" in await refused(script(account="bought"))
    assert (await hub.occupancy())["seat_limit"] == 25


async def test_an_account_that_was_there_is_put_back(hub: Hub, billing: Billing) -> None:
    await billing.account(25, "acme")
    assert (await hub.call("PUT", hub.room_path("launch", "acme"))).status_code == 200
    rehearsal, warned = stage(script(account="acme"), hub.address)
    with pytest.raises(Failed, match="concurrent_sessions_reached"):
        await rehearsal.play(lambda passed: None)
    assert len(warned) == 1 and "acme" in warned[0]
    await billing.seats("acme", 25)
    account = (await hub.call("GET", "/v1/accounts/acme")).json()
    assert (account["plan"], account["seats"]) == ("plan-25", 25)


async def test_a_plan_change_that_does_not_arrive(hub: Hub, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("capacity.rehearsal.stage.READY_SECONDS", 0.3)
    monkeypatch.setattr("capacity.rehearsal.stage.PATIENCE_SECONDS", 0.3)
    with running(binaries()["valkey"], tmp_path) as another:
        for url, says in (
            (f"redis://127.0.0.1:{free_port()}", "the store did not take it"),
            (another.replace("redis:", "redis+cluster:"), "did not come into force"),
        ):
            publisher = StreamPublisher(url, source=SOURCE)
            with pytest.raises(Failed, match=says):
                await Stage(script(), hub.address, SECRET, publisher, warn=lambda text: None).play(lambda passed: None)


def test_more_attendees_than_this_machine_can_hold_are_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 1024))
    with pytest.raises(SettingError, match=r"expected at most 924 .*ulimit"):
        make_room(1000)
    monkeypatch.undo()
    with pytest.raises(SettingError, match="local ports"):
        make_room(19_000)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    make_room(10)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
