"""`capacity serve` as a process: how it starts, what stops it, and that nothing is left when it has ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from capacity.store.data_dir import DataDirectory
from tests.ops.programs import STOP_SECONDS_MAX, Program, gone, status_of


def valkey_pid(data_dir: Path) -> int:
    pid, _ = DataDirectory(data_dir)._record()
    assert pid is not None
    return pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_ends_by_a_signal(start: Callable[..., Program], number: signal.Signals) -> None:
    program = start()
    address = program.ready()
    assert status_of(address + "/healthz") == 200
    valkey = valkey_pid(program.data_dir)
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))):  # an idle connection is no excuse
        code, seconds = program.end(number)
    assert code == 0 and seconds < STOP_SECONDS_MAX
    assert gone(valkey, seconds=1)
    assert "Traceback" not in program.log_file.read_text()


def test_a_variable_that_nobody_reads_is_in_the_log_once(start: Callable[..., Program], redis_url: str) -> None:
    program = start("--workers", "1", CAPACITY_REDIS_URL=redis_url, CAPACITY_PING_SECOND="5")
    program.ready()
    (line,) = [line for line in program.log() if line["event"] == "setting_unknown"]
    assert (line["level"], line["variable"], line["meant"]) == (
        "warning",
        "CAPACITY_PING_SECOND",
        "CAPACITY_PING_SECONDS",
    )


def test_kill_9_ends_the_embedded_valkey_too_and_the_next_start_works(start: Callable[..., Program]) -> None:
    program = start()
    program.ready()
    valkey = valkey_pid(program.data_dir)
    program.process.kill()
    second = start()  # at once
    assert gone(valkey)
    second.ready()
    assert second.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_taken_is_refused_in_one_line(start: Callable[..., Program], tmp_path: Path, workers: str) -> None:
    first = start()
    port = first.ready().rpartition(":")[2]
    for arguments, other_dir, named in (
        (("--port", port), tmp_path / "other", "--port"),
        ((), first.data_dir, "CAPACITY_DATA_DIR"),
        (("--host", "no-such-host.invalid"), tmp_path / "other", "--host"),
        (("--host", "192.0.2.1"), tmp_path / "other", "--host"),  # TEST-NET: nobody's
    ):
        second = start(*arguments, "--workers", workers, data_dir=other_dir)
        assert second.process.wait(20) == 2
        (line,) = second.log_file.read_text().splitlines()
        assert named in line
    assert status_of(f"http://127.0.0.1:{port}/readyz") == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_setting_that_only_the_application_can_judge(
    start: Callable[..., Program], tmp_path: Path, workers: str
) -> None:
    (tmp_path / "key.pem").write_text("no key")
    program = start("--workers", workers, CAPACITY_TOKEN_KEY=f"file:{tmp_path}/key.pem")
    assert program.process.wait(20) == 2
    (line,) = program.log_file.read_text().splitlines()
    assert "CAPACITY_TOKEN_KEY" in line
    assert not program.data_dir.exists(), "nothing is started, and nothing written, for a setting that cannot work"


def test_workers_share_the_port_and_are_started_again(start: Callable[..., Program]) -> None:
    program = start("--workers", "2")
    address = program.ready(workers=2)
    first, second = (line["pid"] for line in program.listening())
    os.kill(first, signal.SIGKILL)
    program.until(lambda: len(program.listening()) == 3)
    assert status_of(address + "/healthz") == 200
    third = program.listening()[-1]["pid"]
    code, seconds = program.end(signal.SIGTERM)
    assert code == 0 and seconds < STOP_SECONDS_MAX
    assert gone(second, seconds=1) and gone(third, seconds=1)
    assert gone(valkey_pid(program.data_dir), seconds=1)


def test_workers_end_with_a_killed_supervisor(start: Callable[..., Program]) -> None:
    program = start("--workers", "2")
    program.ready(workers=2)
    pids = [line["pid"] for line in program.listening()]
    valkey = valkey_pid(program.data_dir)
    program.process.kill()
    assert all(gone(pid, seconds=STOP_SECONDS_MAX) for pid in (*pids, valkey))


def test_a_flag_reaches_the_workers(start: Callable[..., Program], redis_url: str) -> None:
    program = start("--workers", "2", "--redis-url", redis_url, CAPACITY_REDIS_URL="redis://127.0.0.1:1")
    program.ready(workers=2)
    assert not program.data_dir.exists()
    assert program.end(signal.SIGTERM)[0] == 0


def test_no_secret_is_in_the_log_or_in_the_arguments_of_a_worker(start: Callable[..., Program]) -> None:
    program = start("--workers", "2", "--token-key", "another secret of thirty-two bytes", "--log-level", "debug")
    program.ready(workers=2)
    pids = [line["pid"] for line in program.listening()]
    shown = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", ",".join(map(str, pids))], capture_output=True, text=True, check=True
    )
    assert "listening-fd" in shown.stdout and "another secret" not in shown.stdout
    assert program.end(signal.SIGTERM)[0] == 0
    assert "another secret" not in program.log_file.read_text()
