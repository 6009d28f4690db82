"""`capacity serve --workers`: how it rolls on SIGHUP, what stops a roll, the private ports, and what systemd hears of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import accumulate, dropwhile
from pathlib import Path

import httpx
import pytest

from capacity import cli
from tests.docs.documents import ROOT, blocks
from tests.ops.programs import SECRET, STOP_SECONDS_MAX, Program, children, gone, status_of
from tests.support import service
from tests.support.service import Billing, Client, Hub, token
from tests.support.waiting import wait_until

SEATS = 30
Stubs = Callable[[float], tuple[subprocess.Popen[bytes], Path, Path]]
STUB = """
import os, signal, sys, time
while "--succeeding" in sys.argv and not os.path.exists(sys.argv[0] + ".go"):
    time.sleep(0.01)
os.write(int(sys.argv[sys.argv.index("--ready-fd") + 1]), b".")
signal.pause()
"""
"""A worker that is ready at once; as a successor, when there is a file."""
SUPERVISED = """
import asyncio, os, socket, sys
from capacity import log
from capacity.supervisor import Supervisor
log.set_up()
async def main():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return await Supervisor(
            sys.argv[2:], os.environ, listener, metrics=[None], ready_seconds=float(sys.argv[1])
        ).run()
sys.exit(asyncio.run(main()))
"""


class Systemd:
    """The socket that systemd listens on, and what came there."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.variable = {"NOTIFY_SOCKET": str(path)}
        self._heard: list[dict[str, str]] = []

    def heard(self) -> list[dict[str, str]]:
        """Return every datagram until now, as its fields."""
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self._heard
            self._heard.append(dict(line.split("=", 1) for line in text.splitlines()))

    def states(self) -> list[str]:
        """Return the first word of each datagram that says more than a status."""
        return [word for fields in self.heard() if (word := next(iter(fields))) != "STATUS"]

    def statuses(self) -> list[str]:
        """Return what `systemctl status` showed, one after the other."""
        return [fields["STATUS"] for fields in self.heard()]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """Somebody who listens at a NOTIFY_SOCKET."""
    listening = Systemd(tmp_path / "notify")
    yield listening
    listening.socket.close()


def events(program: Program, event: str) -> int:
    """How often a line of this kind is in the log."""
    return sum(line["event"] == event for line in program.log())


class Follower:
    """A participant who comes back whenever the connection ends, as the contract says of 1012."""

    def __init__(self, hub: Hub, participant: str) -> None:
        self.told: list[str] = []
        self.closes: list[tuple[int, str]] = []
        self._hub = hub
        self._participant = participant
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            client: Client = await self._hub.connect(token(self._participant))
            await wait_until(lambda client=client: client.closed, within_seconds=60)  # type: ignore[misc]
            assert client.closed is not None
            self.told += client.kinds
            self.closes.append(client.closed)


async def probe(address: str, statuses: list[int | None]) -> None:
    """Ask again and again, each time by a new connection."""
    while True:
        statuses.append(await asyncio.to_thread(status_of, address + "/healthz"))
        await asyncio.sleep(0.01)


@pytest.mark.anyio
async def test_a_roll_loses_no_seat_and_refuses_nobody(
    start: Callable[..., Program], redis_url: str, systemd: Systemd
) -> None:
    """The command is that of docs/operations.md, but for the number of the port."""
    (command,) = blocks(ROOT / "docs" / "operations.md", "sh", "Several processes on one machine")
    *_, flag, port = arguments = command.removeprefix("capacity serve ").split()
    assert flag == "--metrics-port" and port.isdigit()
    program = start(
        *arguments[:-1],
        "0",
        **systemd.variable,
        CAPACITY_REDIS_URL=redis_url,
        CAPACITY_TOKEN_KEY=service.SECRET,
    )
    await asyncio.to_thread(program.until, lambda: "READY" in systemd.states())
    assert events(program, "worker_ready") == 2, "it was not said before both were"
    address = program.listening()[0]["address"]
    billing, hub = Billing(redis_url), Hub(address)
    await billing.account(SEATS)
    assert (await hub.call("PUT", hub.room_path())).status_code == 200
    followers = [Follower(hub, f"p{number}") for number in range(SEATS)]
    statuses: list[int | None] = []
    probing = asyncio.create_task(probe(address, statuses))

    async def seated() -> int:
        return int((await hub.occupancy())["seated"])

    async def all_are() -> bool:
        return await seated() == SEATS

    await wait_until(all_are)
    hung_up_usec = time.monotonic_ns() // 1000
    program.process.send_signal(signal.SIGHUP)
    await wait_until(lambda: events(program, "rolled") == 1, within_seconds=60)
    await wait_until(all_are)
    probing.cancel()

    assert statuses and set(statuses) == {200}
    for follower in followers:
        assert not follower.task.done(), "it has always been let in"
        assert follower.closes and set(follower.closes) == {(1012, "restarting")}
        assert set(follower.told) == {"seated"}
    report = (await hub.call("GET", f"{hub.room_path()}/report")).json()
    assert report["peak"] == report["joined"] == SEATS
    ready = accumulate({"worker_ready": 1, "draining": -1}.get(line["event"], 0) for line in program.log())
    assert min(dropwhile(lambda count: count < 2, ready)) == 2, "each was sent away after another was there"
    listening = program.listening()
    pids = [line["pid"] for line in listening]
    assert len(set(pids)) == 4 and children(program.pid) == set(pids[2:])
    assert {line["metrics"] for line in listening[:2]} == {line["metrics"] for line in listening[2:]}
    assert status_of(address + "/metrics") == 404
    for line in listening[2:]:
        assert "capacity_ready 1.0" in (await hub.http.get(line["metrics"] + "/metrics")).text
    assert systemd.states() == ["READY", "RELOADING", "READY"]
    assert systemd.statuses()[-3:] == ["ready", "rolling", "ready"]
    (rolling,) = [fields for fields in systemd.heard() if "RELOADING" in fields]
    assert hung_up_usec < int(rolling["MONOTONIC_USEC"]) < time.monotonic_ns() // 1000

    for follower in followers:
        follower.task.cancel()
    await asyncio.gather(*(follower.task for follower in followers), return_exceptions=True)
    await hub.close()
    await billing.close()
    code, seconds = await asyncio.to_thread(program.end, signal.SIGTERM)
    assert code == 0 and seconds < STOP_SECONDS_MAX
    assert systemd.states()[-1] == "STOPPING"
    assert "Traceback" not in program.log_file.read_text()


def test_a_roll_stops_at_a_worker_that_does_not_start(start: Callable[..., Program], tmp_path: Path) -> None:
    plans = tmp_path / "plans.toml"
    good = (Path(cli.__file__).parent / "plans.toml").read_text("utf-8")
    plans.write_text(good, "utf-8")
    program = start("--workers", "2", CAPACITY_PLANS=str(plans))
    address = program.ready(workers=2)
    program.until(lambda: events(program, "workers_ready") == 1)
    first = children(program.pid)
    for line in program.listening():
        os.kill(line["pid"], signal.SIGHUP)  # it is for the supervisor alone
    plans.write_text("no plan", "utf-8")
    program.process.send_signal(signal.SIGHUP)
    program.until(lambda: events(program, "roll_stopped") == 1)
    (failed,) = [line for line in program.log() if line["event"] == "successor_failed"]
    assert "code 2" in failed["why"] and "CAPACITY_PLANS" in program.log_file.read_text()
    assert children(program.pid) == first and status_of(address + "/readyz") == 200

    plans.write_text(good, "utf-8")
    program.process.send_signal(signal.SIGHUP)
    program.until(lambda: events(program, "worker_ready") == 3)  # in the middle of a roll
    everybody = first | children(program.pid)
    assert len(everybody) >= 4, "two and the Valkey, and a third"
    code, seconds = program.end(signal.SIGTERM)
    assert code == 0 and seconds < STOP_SECONDS_MAX
    assert all(gone(pid, seconds=1) for pid in everybody)
    assert events(program, "roll_stopped") == 1, "a roll that SIGTERM ends has not failed"


@pytest.fixture
def stubs(tmp_path: Path) -> Iterator[Stubs]:
    """Starts a supervisor of one stub, ready within so many seconds: itself, the stub's program, and its log."""
    stub, log = tmp_path / "stub", tmp_path / "log"
    stub.write_text(f"#!{sys.executable} -IS{STUB}", "utf-8")
    stub.chmod(0o700)
    started: list[subprocess.Popen[bytes]] = []

    def begin(ready_seconds: float) -> tuple[subprocess.Popen[bytes], Path, Path]:
        with log.open("wb") as stderr:
            started.append(
                subprocess.Popen([sys.executable, "-c", SUPERVISED, str(ready_seconds), str(stub)], stderr=stderr)
            )
        until(lambda: "workers_ready" in log.read_text())
        return started[0], stub, log

    yield begin
    for supervisor in started:
        supervisor.kill()
        supervisor.wait()


def test_a_roll_stops_at_a_worker_that_is_not_ready_in_time(stubs: Stubs) -> None:
    supervisor, _, log = stubs(0.1)
    (worker,) = children(supervisor.pid)
    supervisor.send_signal(signal.SIGHUP)
    until(lambda: "roll_stopped" in log.read_text())
    assert "not ready within 0.1 s" in log.read_text()
    assert children(supervisor.pid) == {worker}
    supervisor.terminate()
    assert supervisor.wait(STOP_SECONDS_MAX) == 0 and gone(worker, seconds=1)


def test_a_roll_stops_where_the_program_is_gone_and_a_second_sighup_lets_another_follow(stubs: Stubs) -> None:
    supervisor, stub, log = stubs(20)
    (worker,) = children(supervisor.pid)
    away = stub.rename(stub.with_suffix(".away"))
    supervisor.send_signal(signal.SIGHUP)
    until(lambda: "roll_stopped" in log.read_text())
    assert "no such file or directory" in log.read_text() and children(supervisor.pid) == {worker}

    away.rename(stub)
    supervisor.send_signal(signal.SIGHUP)
    until(lambda: len(children(supervisor.pid)) == 2)
    supervisor.send_signal(signal.SIGHUP)  # in the middle of it
    stub.with_suffix(".go").touch()
    until(lambda: log.read_text().count('"rolled"') == 2)
    assert len(children(supervisor.pid)) == 1 and children(supervisor.pid) != {worker}
    assert log.read_text().count('"worker_ready"') == 3


@pytest.mark.parametrize(
    ("arguments", "status"), [(("--workers", "2"), "0 of 2 workers are ready"), ((), "not ready")], ids=["2", "alone"]
)
def test_a_start_without_its_store_is_no_success_and_says_what_it_waits_for(
    start: Callable[..., Program], systemd: Systemd, arguments: tuple[str, ...], status: str
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen: who comes is refused
        store = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        program = start(*arguments, CAPACITY_REDIS_URL=store, **systemd.variable)
        program.until(lambda: events(program, "hub_not_ready") >= 1 and systemd.statuses())
        assert (systemd.states(), systemd.statuses()) == ([], [status])
        assert program.end(signal.SIGTERM)[0] == 0
    assert (systemd.states(), systemd.statuses()) == (["STOPPING"], [status, "draining"])


def test_a_worker_is_of_the_program_that_was_started_not_of_the_directory(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    (tmp_path / "capacity.py").write_text("raise SystemExit(77)", "utf-8")
    program = start("--workers", "1", command=(sys.executable, "-P", "-m", "capacity"), cwd=tmp_path)
    program.ready()
    assert events(program, "worker_ended") == 0


def test_a_process_alone_does_not_end_by_sighup(start: Callable[..., Program], systemd: Systemd) -> None:
    program = start("--metrics-port", "0", **systemd.variable)
    program.until(lambda: systemd.states() == ["READY"])
    (line,) = program.listening()
    public, private = line["address"], line["metrics"]
    assert status_of(public + "/readyz") == 200, "that is what it says with READY"
    program.process.send_signal(signal.SIGHUP)
    program.until(lambda: events(program, "nothing_to_roll") == 1)
    # or systemctl reload would wait for ever
    program.until(lambda: systemd.states() == ["READY", "RELOADING", "READY"])

    assert status_of(public + "/metrics") == 404
    assert "/metrics" not in httpx.get(public + "/openapi.json").json()["paths"]
    assert "capacity_ready 1.0" in httpx.get(private + "/metrics").text
    assert [status_of(private + path) for path in ("/healthz", "/readyz")] == [200, 200]
    assert [status_of(private + path) for path in ("/", "/join", "/v1/plans", "/openapi.json")] == [404] * 4
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for headers in ({}, upgrade | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}):
        refused = httpx.get(private + "/v1/ws", headers={**headers, "Authorization": f"Bearer {SECRET}"})
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert program.end(signal.SIGTERM)[0] == 0
    assert systemd.states()[-1] == "STOPPING"
    assert "Traceback" not in program.log_file.read_text()


def test_a_metrics_port_that_cannot_work_stops_the_start(start: Callable[..., Program], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        wrong = [
            (("--metrics-port", port), "--metrics-port", "already in use"),
            (("--metrics-host", "127.0.0.1"), "--metrics-host", "--metrics-port"),
            (("--metrics-port", "65535", "--workers", "2"), "--metrics-port", "at most 65534"),
        ]
        programs = [start(*arguments, data_dir=tmp_path / "unused") for arguments, *_ in wrong]
        for program, (_, *words) in zip(programs, wrong, strict=True):
            assert program.process.wait(20) == 2
            said = program.log_file.read_text()
            assert all(word in said for word in words) and "Traceback" not in said, said
    assert not (tmp_path / "unused").exists()


def until(condition: Callable[[], bool]) -> None:
    """Wait for the condition, outside any event loop."""
    asyncio.run(wait_until(condition, within_seconds=20))
