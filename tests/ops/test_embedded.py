"""The embedded Valkey: one server per data directory, gone with its owner, its data kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from capacity.errors import SettingError
from capacity.store.data_dir import SOCKET_PATH_BYTES_MAX, DataDirectory
from capacity.store.embedded import EmbeddedValkey

GUARDS = ["prctl", "pipe"] if sys.platform == "linux" else ["pipe"]
OWNER = """
    import sys
    from pathlib import Path
    from capacity.store.embedded import EmbeddedValkey

    valkey = EmbeddedValkey(Path(sys.argv[1]), guard=sys.argv[2])
    valkey.start()
    print(valkey.directory._record()[0], flush=True)
    sys.stdin.read()
"""


def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def running(pid: int) -> bool:
    """Whether the process runs; one that ended and was not yet awaited by its parent does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return sys.platform != "linux"
    except ProcessLookupError:
        return False
    return state != "Z"


def server_pid(data_dir: Path) -> int:
    pid, _ = DataDirectory(data_dir)._record()
    assert pid is not None
    return pid


def client(valkey: EmbeddedValkey) -> redis.Redis:
    return redis.Redis.from_url(valkey.url, decode_responses=True)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """Start a process that owns an embedded Valkey; returns it and the pid of its server."""
    started: list[subprocess.Popen[str]] = []

    def start(data_dir: Path, guard: str = GUARDS[0]) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(OWNER), str(data_dir), guard],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("guard", GUARDS)
def test_data_are_there_after_a_restart(tmp_path: Path, guard: str) -> None:
    for expected in ("1", "2"):
        with EmbeddedValkey(tmp_path / "data", guard=guard) as valkey, client(valkey) as store:
            assert str(store.incr("starts")) == expected
            config = store.config_get("append*")
            assert config["appendonly"] == "yes" and config["appendfsync"] == "everysec"
            assert store.config_get("port")["port"] == "0"
            pid = server_pid(tmp_path / "data")
        assert not running(pid)
    assert not valkey.socket.exists()


def test_a_new_directory_and_everything_in_it_is_its_owners_alone(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "data") as valkey, client(valkey) as store:
        store.set("key", "value")
        modes = {path: path.lstat().st_mode & 0o077 for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]}
        assert any(path.name.endswith(".aof") for path in modes)
        assert {path: mode for path, mode in modes.items() if mode} == {}


def test_the_server_sees_no_setting_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPACITY_TOKEN_KEY", "not for the store, and 32 bytes long")
    with EmbeddedValkey(tmp_path / "data"):
        environment = Path(f"/proc/{server_pid(tmp_path / 'data')}/environ")
        if not environment.exists():
            pytest.skip("no /proc to look into")
        assert b"CAPACITY_" not in environment.read_bytes()


@pytest.mark.parametrize("guard", GUARDS)
def test_kill_9_of_the_owner_ends_the_server_and_loses_nothing(
    tmp_path: Path, owner: Callable[..., tuple[subprocess.Popen[str], int]], guard: str
) -> None:
    process, pid = owner(tmp_path, guard)
    with redis.Redis(unix_socket_path=str(tmp_path / "valkey.sock"), decode_responses=True) as store:
        store.set("acknowledged", "yes")
        assert running(pid)
        process.kill()
        process.wait()
        eventually(lambda: not running(pid))
    with EmbeddedValkey(tmp_path) as valkey, client(valkey) as store:
        assert store.get("acknowledged") == "yes"


def test_a_second_start_is_refused_in_one_line_and_changes_nothing(
    tmp_path: Path, owner: Callable[..., tuple[subprocess.Popen[str], int]]
) -> None:
    process, pid = owner(tmp_path)
    with pytest.raises(SettingError, match=r"CAPACITY_DATA_DIR.*in use") as refused:
        EmbeddedValkey(tmp_path).start()
    assert "\n" not in str(refused.value)
    with redis.Redis(unix_socket_path=str(tmp_path / "valkey.sock")) as store:
        assert store.ping()
    assert server_pid(tmp_path) == pid
    process.kill()
    process.wait()
    with EmbeddedValkey(tmp_path) as valkey, client(valkey) as store:  # at once: it waits for the old one to be gone
        assert store.ping()
        eventually(lambda: not running(pid))


def test_of_starts_at_the_same_time_one_wins(tmp_path: Path) -> None:
    servers = [EmbeddedValkey(tmp_path) for _ in range(4)]
    refused: list[str] = []

    def start(valkey: EmbeddedValkey) -> None:
        try:
            valkey.start()
        except SettingError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=start, args=(valkey,)) for valkey in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The threads that started the servers are over now, which must not end the one that runs.
    try:
        assert len(refused) == 3
        with redis.Redis(unix_socket_path=str(tmp_path / "valkey.sock")) as store:
            assert store.ping()
    finally:
        for valkey in servers:
            valkey.stop()


def test_a_server_that_outlived_its_owner_is_ended_first(
    tmp_path: Path, owner: Callable[..., tuple[subprocess.Popen[str], int]]
) -> None:
    # With the guard killed before the owner, nothing ends the server when the owner dies.
    process, pid = owner(tmp_path, "pipe")
    children = Path(f"/proc/{process.pid}/task")
    if not children.exists():
        pytest.skip("no /proc to find the guard in")
    guard = next(int(child) for task in children.iterdir() for child in (task / "children").read_text().split())
    os.kill(process.pid, signal.SIGSTOP)  # or the owner would start another server
    os.kill(guard, signal.SIGKILL)
    process.kill()
    process.wait()
    assert running(pid)
    with EmbeddedValkey(tmp_path) as valkey, client(valkey) as store:
        assert store.ping()
        # Its locks go a moment before the last of the process does.
        eventually(lambda: not running(pid))


def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey, client(valkey) as store:
        store.set("key", "value")
        pid = server_pid(tmp_path)
        os.kill(pid, signal.SIGKILL)

        def answers() -> bool:
            try:
                return bool(store.get("key") == "value")
            except redis.ConnectionError:
                return False

        eventually(lambda: not running(pid))
        eventually(answers)
        assert server_pid(tmp_path) != pid


def test_a_stale_pid_of_another_process_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "valkey.pid").write_text(f'{{"pid": {os.getpid()}, "socket": "/nowhere"}}')
    with EmbeddedValkey(tmp_path) as valkey, client(valkey) as store:
        assert store.ping()


@pytest.mark.parametrize("name", ["with 'quotes\" and spaces ü", "long-" * 30])
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    data_dir = tmp_path / name
    with EmbeddedValkey(data_dir) as valkey, client(valkey) as store:
        assert store.ping()
        assert len(os.fsencode(valkey.socket)) <= SOCKET_PATH_BYTES_MAX
        assert DataDirectory(data_dir).running_socket() == valkey.socket
        assert valkey.socket.parent.stat().st_mode & 0o077 == 0
    assert DataDirectory(data_dir).running_socket() is None


def test_a_runtime_directory_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    open_to_all = Path(f"/tmp/capacity-{os.getuid()}")
    existed = open_to_all.exists()
    open_to_all.mkdir(exist_ok=True, mode=0o700)
    try:
        open_to_all.chmod(0o777)
        with pytest.raises(SettingError, match="too long for a socket"):
            monkeypatch.setattr("tempfile.tempdir", "/tmp")
            DataDirectory(tmp_path / ("long-" * 30)).socket()
    finally:
        open_to_all.chmod(0o700)
        if not existed:
            open_to_all.rmdir()


def test_a_damaged_append_only_file_stops_the_start_in_one_line(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey, client(valkey) as store:
        for number in range(100):
            store.set(f"key-{number}", "value")
    (changes,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    content = bytearray(changes.read_bytes())
    content[1000:1100] = b"#" * 100
    changes.write_bytes(content)
    with pytest.raises(SettingError) as refused:
        EmbeddedValkey(tmp_path).start()
    line = str(refused.value)
    assert "append-only file is damaged" in line and str(tmp_path / "valkey.log") in line and "\n" not in line
    assert changes.read_bytes() == bytes(content)


def test_a_write_cut_off_by_a_crash_is_dropped(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey, client(valkey) as store:
        store.set("first", "1")
        store.set("last", "2")
    (changes,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    os.truncate(changes, changes.stat().st_size - 4)
    with EmbeddedValkey(tmp_path) as valkey, client(valkey) as store:
        assert store.mget("first", "last") == ["1", None]


def test_a_path_that_is_no_directory_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/capacity")):
        with pytest.raises(SettingError, match=r"CAPACITY_DATA_DIR.*cannot be used") as refused:
            EmbeddedValkey(path).start()
        assert "\n" not in str(refused.value)


def test_a_directory_whose_files_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()  # as permissions would, and for root too
    with pytest.raises(SettingError, match=r"CAPACITY_DATA_DIR.*cannot be used"):
        EmbeddedValkey(tmp_path).start()


def test_a_pid_file_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "valkey.pid").mkdir()
    with pytest.raises(SettingError, match=r"CAPACITY_DATA_DIR.*cannot run") as refused:
        EmbeddedValkey(tmp_path).start()
    assert "\n" not in str(refused.value)


def test_a_wheel_without_a_server_for_this_machine_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(SettingError, match=r"CAPACITY_REDIS_URL.*pdp11"):
        EmbeddedValkey(tmp_path).start()
    monkeypatch.undo()
    with EmbeddedValkey(tmp_path):  # the directory is free again
        pass


def test_stop_is_harmless_twice_and_before_a_start(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    valkey.stop()
    with EmbeddedValkey(tmp_path) as valkey:
        pass
    valkey.stop()
    with pytest.raises(RuntimeError):
        valkey.start()
