"""`capacity doctor` of docs/operations.md: each thing that can be wrong is named, with how to mend it; on real servers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from capacity.doctor import configuration, diagnosis, inquiry, machine
from capacity.doctor.examination import examine
from capacity.doctor.findings import Finding, ok, together, warning, worst
from capacity.doctor.inquiry import Clock
from capacity.doctor.machine import UNLIMITED, Directory, Limits
from capacity.redis_url import parse
from capacity.settings import Settings
from capacity.store import keys
from capacity.store.embedded import EmbeddedValkey
from capacity.store.permissions import COMMANDS, OPTIONAL, name_of
from capacity.store.plan_changes import GROUP
from capacity.store.redis import Clients
from tests.chaos.stores import Store, faketime
from tests.docs.documents import PACKAGE, ROOT, blocks, rows, section, words
from tests.support.installed import missing
from tests.support.old_server import AgedServer
from tests.support.store_user import OPERATIONS, PASSWORD, granted, make_users
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until

SECRET = "x8Qm2vT0pLk7RjN4wZcB9sYhE6uGaD1fKq5oVi3eMt"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
GIB = 1 << 30


def settings_of(**changes: Any) -> Settings:
    values: dict[str, Any] = {"data_dir": Path("unused"), "token_key": SECRET}
    return Settings(**values | changes)


def verdict(findings: list[Finding], check: str, *said: str) -> str:
    """Return the worst verdict on a check; what is not ok says how to mend it, and the texts have the words `said` in them."""
    found = [finding for finding in findings if finding.check == check]
    assert found, f"{check} was not looked at: {findings}"
    assert all(finding.mend for finding in findings if finding.verdict != "ok")
    text = " ".join(finding.found for finding in found)
    assert all(word in text for word in said), text
    return worst(found)


# ---- settings and keys


@pytest.mark.parametrize(
    "changes",
    [
        {"grace_seconds": 5.0},
        {"place_seconds": 20.0},
        {"hold_seconds": 5.0},
        {"lease_seconds": 1.0},
        {"ping_seconds": 90.0},
        {"near_full_clear": Decimal("0.9")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_that_are_allowed_and_unwise_are_warned_of(changes: dict[str, Any]) -> None:
    (name,) = changes
    assert verdict(configuration.judge(settings_of(**changes)), "settings", f"CAPACITY_{name.upper()}") == "warning"


def test_a_variable_that_nobody_reads_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPACITY_PING_SECOND", "5")
    found = examine(settings_of(data_dir=tmp_path))
    assert verdict(found, "settings", "CAPACITY_PING_SECOND is no setting") == "warning"
    assert "was CAPACITY_PING_SECONDS meant?" in " ".join(finding.mend for finding in found)


def test_the_default_settings_are_wise() -> None:
    assert worst(configuration.judge(settings_of())) == "ok"


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ("a" * 40, "problem"),
        ("0123456789abcdef" * 4, "problem"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "problem"),
        ("aabbaacbbaaccabbabcabcabbcabcabcbabc", "problem"),
        ("please-change-me-please-change-now", "warning"),
        ("the secret of our webinar platform", "warning"),
        (SECRET, "ok"),
        ("9f86d081884c7d659a2feaa0c55ad015", "ok"),
    ],
)
def test_secrets_that_are_easily_guessed_are_found_and_not_shown(secret: str, expected: str) -> None:
    findings = configuration.judge(settings_of(token_key=secret))
    assert verdict(findings, "token key") == expected
    assert secret not in repr(findings)


def test_public_keys_are_measured_and_their_file_is_nobody_elses(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    public = rsa.generate_private_key(65537, 2048).public_key()
    file.write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    settings = settings_of(token_key=f"file:{file}")
    assert verdict(configuration.judge(settings), "token key", "RSA of 2048 bits") == "ok"
    file.chmod(0o666)
    assert verdict(configuration.judge(settings), "token key", "others may write") == "problem"


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ((), "ok"),
        ((WHSEC,), "ok"),
        ((WHSEC, f"{WHSEC[:-4]}AAAA", f"{WHSEC[:-4]}BBBB"), "warning"),
        (("whsec_" + "QUFB" * 12,), "problem"),
    ],
)
def test_webhook_secrets_are_measured_and_counted(secrets: tuple[str, ...], expected: str) -> None:
    assert verdict(configuration.judge(settings_of(webhook_secrets=secrets)), "webhook secret") == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"payments": "test"}, "warning"),
        ({"payments": "stripe", "stripe_key": "sk_" + "test_1"}, "warning"),
        ({"payments": "stripe", "stripe_key": "rk_1"}, "warning"),
        ({"payments": "invoice"}, "ok"),
    ],
)
def test_payments_that_nobody_pays_are_warned_of(changes: dict[str, Any], expected: str) -> None:
    assert verdict(configuration.judge(settings_of(**changes)), "payments") == expected


# ---- this machine


@pytest.mark.parametrize(
    ("limits", "check", "expected"),
    [
        (Limits(1024, 1 << 20, 1 << 21, 4096), "open files", "ok"),
        (Limits(1024, UNLIMITED, None, None), "open files", "ok"),
        (Limits(1024, 4096, 1 << 21, 4096), "open files", "warning"),
        (Limits(1024, 1 << 20, 1 << 16, 4096), "open files", "warning"),
        (Limits(1024, 1 << 20, 1 << 21, 4096), "accept queue", "ok"),
        (Limits(1024, 1 << 20, 1 << 21, 128), "accept queue", "warning"),
    ],
)
def test_limits_of_the_kernel(limits: Limits, check: str, expected: str) -> None:
    assert verdict(machine.judge_limits(limits), check) == expected


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        (Directory(Path("/data"), None, True, True, 9 * GIB), "ok"),
        (Directory(Path("/data"), stat.S_IFDIR | 0o700, True, True, 9 * GIB), "ok"),
        (Directory(Path("/data"), stat.S_IFDIR | 0o755, True, True, 9 * GIB), "warning"),
        (Directory(Path("/data"), stat.S_IFDIR | 0o777, True, True, 9 * GIB), "problem"),
        (Directory(Path("/data"), stat.S_IFDIR | 0o700, False, True, 9 * GIB), "problem"),
        (Directory(Path("/data"), stat.S_IFDIR | 0o700, True, False, 9 * GIB), "problem"),
        (Directory(Path("/data"), stat.S_IFDIR | 0o700, True, True, 1 << 20), "problem"),
    ],
)
def test_data_directories(directory: Directory, expected: str) -> None:
    assert machine.judge_directory(directory).verdict == expected


def test_without_a_server_the_data_directory_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    found = examine(settings_of(data_dir=tmp_path / "data"))
    assert verdict(found, "data directory") == "warning"
    assert verdict(found, "store", "none runs") == "ok"


def test_the_embedded_server_is_asked_while_it_runs_and_not_missed_when_it_was_killed(tmp_path: Path) -> None:
    settings = settings_of(data_dir=tmp_path)
    with EmbeddedValkey(tmp_path) as valkey:
        found = examine(settings)
        assert verdict(found, "store", "embedded") == verdict(found, "durability", "everysec") == "ok"
        assert worst(found) == "ok", found
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(valkey.socket))
    assert verdict(examine(settings), "store", "none runs") == "ok"


# ---- what is judged from far away


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (Clock(-200.0, 1.0), "ok"),
        (Clock(1500.0, 600.0), "ok"),
        (Clock(-1500.0, 1.0), "warning"),
        (Clock(45_000.0, 1.0), "problem"),
        (None, "warning"),
    ],
)
def test_clocks(clock: Clock | None, expected: str) -> None:
    assert diagnosis.clock(clock).verdict == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///run/valkey.sock", "ok"),
        ("redis://127.0.0.1", "ok"),
        ("redis://store.example.com", "warning"),
        ("redis+cluster://u:hunter2@10.0.0.1,10.0.0.2", "warning"),
        ("redis+cluster://u:hunter2@10.0.0.1,10.0.0.2?ssl=true", "ok"),
        ("rediss://store.example.com", "ok"),
    ],
)
def test_ways_to_the_store(url: str, expected: str) -> None:
    found = diagnosis.connection(parse(url), [])
    assert found.verdict == expected and "hunter2" not in repr(found)


def test_what_holds_of_several_servers_is_said_once() -> None:
    same, other = ok("memory", "fine"), warning("memory", "full", "mend it")
    found = together([("b:1", [same]), ("a:1", [same]), ("c:1", [other])])
    assert [(finding.where, finding.found) for finding in found] == [(("a:1", "b:1"), "fine"), (("c:1",), "full")]


# ---- real servers


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A Valkey with its append-only file, whom each test leaves as it was."""
    server = Store(tmp_path_factory.mktemp("doctor"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def admin(store: Store) -> Iterator[Any]:
    """A client who may everything, on an empty store with the settings that it began with."""
    client: Any = redis.Redis(port=store.port, decode_responses=True)
    client.flushall()
    before = client.config_get("*")
    yield client
    after = client.config_get("*")
    for name, value in before.items():
        if after.get(name) != value:
            client.config_set(name, value)
    client.flushall()
    client.close()


def look(store: Store, **changes: Any) -> list[Finding]:
    return examine(settings_of(redis_url=store.url, lease_seconds=0.5, grace_seconds=30.0, **changes))


def test_a_store_as_it_should_be(store: Store, admin: Any) -> None:
    found = look(store)
    assert {finding.verdict for finding in found if finding.check != "settings"} == {"ok"}, found
    assert verdict(found, "permissions") == verdict(found, "stream") == verdict(found, "hubs") == "ok"


@pytest.mark.parametrize(
    ("changes", "check", "expected"),
    [
        ({"appendonly": "no"}, "durability", "problem"),
        ({"appendfsync": "no"}, "durability", "warning"),
        ({"maxmemory-policy": "allkeys-lru"}, "memory", "warning"),
        ({"maxmemory-policy": "volatile-ttl", "maxmemory": "1gb"}, "memory", "problem"),
        ({"maxmemory": "1mb"}, "memory", "problem"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_settings_of_the_store(store: Store, admin: Any, changes: dict[str, str], check: str, expected: str) -> None:
    for name, value in changes.items():
        admin.config_set(name, value)
    assert verdict(look(store), check) == expected


def test_without_the_desk_no_money_is_lost_by_a_restart(store: Store, admin: Any) -> None:
    admin.config_set("appendonly", "no")
    assert verdict(look(store, desk="off"), "durability") == "warning"


def test_a_primary_that_would_take_writes_alone(store: Store, admin: Any, tmp_path: Path) -> None:
    replica = Store(tmp_path, "--repl-diskless-sync-delay", "0")
    admin.config_set("repl-diskless-sync-delay", 0)
    replica.start()
    try:
        with redis.Redis(port=replica.port) as client:
            client.replicaof("127.0.0.1", store.port)
            until(lambda: client.info("replication")["master_link_status"] == "up")
        until(lambda: admin.info("replication").get("slave0", {}).get("state") == "online")
        assert verdict(look(store), "replicas", "min-replicas-to-write is 0") == "warning"
        admin.config_set("min-replicas-to-write", 1)
        assert verdict(look(store), "replicas") == "ok"
        admin.config_set("min-replicas-to-write", 2)
        assert verdict(look(store), "replicas", "refuses writes") == "problem"
        admin.config_set("min-replicas-to-write", 0)
        assert verdict(look(replica), "replicas", "this is a replica") == "problem"
    finally:
        replica.stop()


def until(condition: Any) -> None:
    asyncio.run(wait_until(condition, within_seconds=20))


def test_a_server_that_is_too_old(store: Store, admin: Any) -> None:
    async def aged() -> list[Finding]:
        async with AgedServer(store.port) as old:
            return await asyncio.to_thread(examine, settings_of(redis_url=old.url))

    found = asyncio.run(aged())
    assert verdict(found, "version", "too old") == verdict(found, "store", "too old") == "problem"


def test_a_clock_that_is_wrong(tmp_path: Path) -> None:
    if faketime() is None:
        missing("libfaketime is not installed (apt-get install faketime)")
    wrong = Store(tmp_path, clock=tmp_path / "clock")
    wrong.start()
    try:
        assert verdict(look(wrong), "clock") == "ok"
        wrong.set_clock(-90)
        assert verdict(look(wrong), "clock", "behind ours") == "problem"
    finally:
        wrong.stop()


# ---- the user


@contextmanager
def user(store: Store, admin: Any) -> Iterator[str]:
    """The documented user on the store; yields an address with it."""
    make_users(store.port, "capacity")
    yield store.url.replace("://", f"://capacity:{quote(PASSWORD, safe='')}@")
    admin.execute_command("ACL", "DELUSER", "capacity")


def test_the_smallest_user_is_enough_and_what_it_may_not_see_is_said(store: Store, admin: Any) -> None:
    with user(store, admin) as url:
        found = examine(settings_of(redis_url=url))
        assert worst(found) == "ok" and PASSWORD not in repr(found)
        assert verdict(found, "permissions") == "ok"
        assert verdict(found, "durability", "cannot be seen") == "ok", (
            "INFO says that the file is on; CONFIG may not be asked"
        )
        admin.execute_command("ACL", "SETUSER", "capacity", "-info")
        found = examine(settings_of(redis_url=url))
        for check in ("version", "durability", "memory", "replicas"):
            assert verdict(found, check, "cannot be seen with this user") == "warning"
        assert verdict(found, "permissions", "info") == "warning"


def test_every_command_of_the_smallest_user_is_missed_when_it_is_taken_away(store: Store, admin: Any) -> None:
    """The list is the document's, and what the server answers for a user without one of them is what the doctor says."""
    names = {name_of(command) for command in COMMANDS}
    assert granted() == names | {"cluster|slots", "command"}
    with user(store, admin) as url:
        for name in sorted(names - {"evalsha", "eval", *map(str.lower, OPTIONAL)}):
            admin.execute_command("ACL", "SETUSER", "capacity", f"-{name}")
            found = examine_permissions(url)
            assert (found.verdict, f"may not: {name}," in found.found) == ("problem", True), found
            admin.execute_command("ACL", "SETUSER", "capacity", f"+{name}")
        for name in ("eval", "evalsha"):
            admin.execute_command("ACL", "SETUSER", "capacity", f"-{name}")
            found = examine_permissions(url)
            assert found.verdict == "problem" and name in found.found
            admin.execute_command("ACL", "SETUSER", "capacity", f"+{name}")
        admin.execute_command("ACL", "SETUSER", "capacity", "resetchannels", "&other:*")
        assert "spublish, ssubscribe" in examine_permissions(url).found


def test_every_command_of_the_scripts_is_in_the_list() -> None:
    listed = {name_of(command) for command in COMMANDS}
    called = set()
    for script in sorted((PACKAGE / "store" / "lua").glob("*.lua")):
        code = "\n".join(line.partition("--")[0] for line in script.read_text("utf-8").splitlines())
        called |= {name.lower() for name in re.findall(r"\bcall\('([A-Z]+)'", code)}
    assert len(called) > 30 and called <= listed


def examine_permissions(url: str) -> Finding:
    async def ask() -> Finding:
        clients = Clients(url)
        try:
            state = await inquiry.server(clients.of_node(""), cluster=False)
        finally:
            await clients.aclose()
        return diagnosis.permissions(state)

    return asyncio.run(ask())


def test_a_wrong_password_is_one_line_without_it(store: Store, admin: Any) -> None:
    with user(store, admin):
        found = examine(settings_of(redis_url=store.url.replace("://", "://capacity:hunter2@")))
    assert verdict(found, "store", "invalid username-password") == "problem"
    assert "hunter2" not in repr(found)


# ---- stream and hubs


@contextmanager
def beating(store: Store, hub: str) -> Iterator[None]:
    """A hub that counts up, as far as the store can tell."""
    ended = threading.Event()

    def beat() -> None:
        with redis.Redis(port=store.port) as client:
            while not ended.wait(0.05):
                client.hincrby(keys.BEATS, hub, 1)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_stream_without_its_group(store: Store, admin: Any) -> None:
    admin.xadd(keys.PLAN_CHANGES, {"event": "{}"})
    assert verdict(look(store), "stream", "no consumer group yet") == "ok"
    admin.hset(keys.BEATS, "alive", 1)
    with beating(store, "alive"):
        found = look(store)
    assert verdict(found, "stream", "no consumer group, though hubs run") == "problem"
    assert verdict(found, "hubs", "1 alive") == "ok"


def test_events_that_nobody_reads_or_that_were_rejected(store: Store, admin: Any) -> None:
    admin.xgroup_create(keys.PLAN_CHANGES, GROUP, "0", mkstream=True)
    admin.xadd(keys.PLAN_CHANGES, {"event": "{}"}, id="1-1")
    admin.xadd(keys.PLAN_CHANGES, {"event": "{}"})
    admin.xreadgroup(GROUP, "dead", {keys.PLAN_CHANGES: ">"}, count=1)
    assert verdict(look(store), "stream", "1 to be read, 1 under way", "no hub runs") == "warning"
    admin.hset(keys.BEATS, "alive", 1)
    admin.xadd(keys.REJECTED, {"event": "{}", "reason": "malformed"})
    with beating(store, "alive"):
        found = look(store)
    assert verdict(found, "stream", "the oldest is") == "problem", "pending since 1970, and a hub that does not care"
    assert verdict(found, "rejected", "1 event") == "warning"


def test_hubs_that_died(store: Store, admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "NOBODY_SECONDS", 0.5)
    monkeypatch.setattr(inquiry, "REAPED_SECONDS", 0.5)
    admin.hset(keys.BEATS, "ghost", 7)
    admin.sadd(keys.hub_rooms("ghost"), "acme launch", "acme lobby")
    assert verdict(look(store), "hubs", "1 silent (ghost) with 2 rooms, and none alive") == "warning"
    admin.hset(keys.BEATS, "alive", 1)
    with beating(store, "alive"):
        assert verdict(look(store), "hubs", "1 silent (ghost) with 2 rooms", "1 alive") == "problem"


# ---- the program


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")}
    environ = {"CAPACITY_TOKEN_KEY": SECRET, "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-m", "capacity", "doctor", *arguments]
    return subprocess.run(command, env=others | environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_store_that_is_not_there_is_one_line_and_exit_code_1() -> None:
    done = run(CAPACITY_REDIS_URL="redis://someone:hunter2@127.0.0.1:1")
    assert done.returncode == 1 and done.stderr == ""
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert "store" in line and "Traceback" not in done.stdout
    assert "hunter2" not in done.stdout and SECRET not in done.stdout


def test_as_the_document_says_it(store: Store, admin: Any, tmp_path: Path) -> None:
    (command,) = blocks(OPERATIONS, "sh", "capacity doctor")
    with Terminal(tmp_path, CAPACITY_REDIS_URL=store.url, CAPACITY_TOKEN_KEY=SECRET) as terminal:
        *said, counts = terminal.types(command).splitlines()
    documented = {word for row in rows(section(OPERATIONS, "capacity doctor")) for word in words(row[0])}
    assert {line.split("  ")[0].split(" ")[0] for line in said} <= {"ok", "warning", ""}, said
    assert {check for check in documented if f" {check} " in " ".join(said)} >= {
        "store",
        "version",
        "hubs",
        "token key",
    }
    assert {finding.check for finding in look(store)} <= documented
    assert counts.startswith("0 problems, ")


def test_as_one_document_for_scripts(store: Store, admin: Any) -> None:
    done = run("--json", CAPACITY_REDIS_URL=store.url)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["verdict"] in ("ok", "warning"), done.stdout
    assert all(finding.keys() == {"check", "verdict", "found", "mend", "where"} for finding in found["findings"])


def test_a_setting_that_cannot_work_is_exit_code_2() -> None:
    done = run(CAPACITY_TOKEN_KEY="short")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("capacity: CAPACITY_TOKEN_KEY: ") and len(done.stderr.splitlines()) == 1
