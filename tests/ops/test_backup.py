"""`capacity backup`: a copy of the embedded Valkey's data that a new server starts from, made while everything goes on."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import redis

from capacity.store.backup import FOLDER, MANIFEST, NotBackedUp, back_up
from capacity.store.embedded import EmbeddedValkey
from tests.docs.documents import ROOT, blocks
from tests.support.customer import Customer
from tests.support.process import HubProcess
from tests.support.service import ACCOUNT, Billing

OPERATIONS = ROOT / "docs" / "operations.md"
BALLAST_BYTES = 1_000_000
PATIENT: dict[str, Any] = {"grace_seconds": 60, "place_seconds": 60, "lease_seconds": 5, "payments": "test"}


def client_of(valkey: EmbeddedValkey) -> Any:
    return redis.Redis(unix_socket_path=str(valkey.socket))


def command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "capacity", *arguments]
    return subprocess.run(program, env={"PYTHONPATH": str(ROOT)} | environ, capture_output=True, text=True, check=False)


def documented(data_dir: Path, backups: Path) -> list[str]:
    """Return the commands of "Backup and restore" as they stand there, with other paths."""
    text = "".join(blocks(OPERATIONS, "sh", "Backup and restore"))
    commands = (
        text.replace("/var/lib/capacity", str(data_dir)).replace("/var/backups/capacity", str(backups)).splitlines()
    )
    assert len(commands) == 3, commands
    return commands


def shell(line: str) -> None:
    """Type a command; `capacity` is that of this checkout."""
    program = f'capacity() {{ {sys.executable} -m capacity "$@"; }}\n{line}'
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-ec", program], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (line, done.stderr)


@pytest.mark.anyio
async def test_what_was_backed_up_while_it_ran_is_there_after_the_directory_was_lost(tmp_path: Path) -> None:
    data_dir, backups = tmp_path / "data", tmp_path / "backups"
    back, *restore = documented(data_dir, backups)
    async with HubProcess(None, tmp_path, **PATIENT) as hub:
        buyer = Customer(hub)
        await buyer.created("starter")
        await buyer.bought(plan="growth")
        billing = Billing(store := redis.asyncio.Redis(unix_socket_path=str(data_dir / "valkey.sock")))
        await billing.account(1)
        await hub.host()
        ann, ben = await hub.join("ann"), await hub.join("ben")
        await ann.told("seated")
        await ben.told("waiting")
        known = await seen(hub, buyer)
        await asyncio.to_thread(shell, back)
        await billing.publish(2)  # after the backup: will be gone
        await ben.told("refresh")
        await billing.close()
        await store.aclose()
    for line in restore:
        await asyncio.to_thread(shell, line)
    assert (tmp_path / "data.lost").is_dir()
    async with HubProcess(None, tmp_path, **PATIENT) as hub:
        assert await seen(hub, Customer(hub, buyer.name)) == known
        place = await hub.join("ben")
        assert (await place.told("waiting"))["position"] == 1
        assert (await (await hub.join("ann")).told("seated"))["seat_limit"] == 1


async def seen(hub: HubProcess, buyer: Customer) -> dict[str, Any]:
    """Return what there is: the account and its ledger, the room, the people, the keys, the verdicts of events."""
    paths = {
        "ledger": f"{buyer.path}/ledger",
        "ann": f"{hub.room_path()}/participants/ann",
        "ben": f"{hub.room_path()}/participants/ben",
        "events": "/v1/events",
    }
    found = {name: (await hub.call("GET", path)).json() for name, path in paths.items()}
    found["ann"].pop("state"), found["ben"].pop("state")  # away after the restart
    report = (await hub.call("GET", f"{hub.room_path()}/report")).json()
    assert ACCOUNT in str(found["events"])
    return found | {
        "account": await buyer.state(),
        "keys": (await hub.http.get("/v1/jwks.json")).json(),
        "report": {name: report[name] for name in ("peak", "joined", "opened_at")},
    }


def test_a_copy_is_of_one_moment_however_often_the_file_is_rewritten(tmp_path: Path) -> None:
    """Two counters that rise in one step are equal in every copy, and no copy is older than its beginning."""
    ended = threading.Event()
    copies: list[tuple[Path, int]] = []
    with EmbeddedValkey(tmp_path / "data") as valkey:
        client = client_of(valkey)
        client.set("ballast", os.urandom(BALLAST_BYTES))

        def write() -> None:
            while not ended.is_set():
                client.pipeline(transaction=True).incr("left").incr("right").execute()

        def rewrite() -> None:
            while not ended.is_set():
                try:
                    client.bgrewriteaof()
                except redis.ResponseError:
                    continue  # one is going on

        others = [threading.Thread(target=work) for work in (write, rewrite)]
        for other in others:
            other.start()
        try:
            manifests = set()
            for number in range(30):
                least = int(client.get("left") or 0)
                target = tmp_path / f"copy-{number}"
                assert back_up(tmp_path / "data", target) > BALLAST_BYTES
                copies.append((target, least))
                manifests.add((target / FOLDER / MANIFEST).read_bytes())
        finally:
            ended.set()
            for other in others:
                other.join()
        assert len(manifests) > 1, "it was rewritten between the copies"
    for target, least in copies[::10]:
        with EmbeddedValkey(target) as restored:
            left, right = map(int, client_of(restored).mget("left", "right"))
            assert left == right >= least


def test_a_copy_is_for_its_owner_alone_and_of_a_server_that_does_not_run_too(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "data") as valkey:
        client_of(valkey).set("kept", "1")
    target = tmp_path / "copies" / "one"
    done = command("backup", str(target), "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"backed up [0-9,]+ bytes of {tmp_path}/data to {target}\n", done.stdout)
    assert {path.stat().st_mode & 0o077 for path in [target, *target.rglob("*")]} == {0}
    assert [path.name for path in target.iterdir()] == [FOLDER]
    with EmbeddedValkey(target) as restored:
        assert client_of(restored).get("kept") == b"1"


def test_what_cannot_work_is_one_line(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "data") as valkey:
        client_of(valkey).set("kept", "1")
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for expected, said, environ, target in (
        (2, "which is there", {"CAPACITY_DATA_DIR": "data"}, "empty"),
        (2, "has no data of an embedded Valkey", {"CAPACITY_DATA_DIR": "empty"}, "new"),
        (2, "CAPACITY_REDIS_URL: expected not set", {"CAPACITY_REDIS_URL": "redis://localhost"}, "new"),
        (1, "not backed up: ", {"CAPACITY_DATA_DIR": "data"}, "file/new"),
    ):
        environ = {name: v if "://" in v else str(tmp_path / v) for name, v in environ.items()}
        done = command("backup", str(tmp_path / target), **environ)
        assert done.returncode == expected and done.stdout == "", done
        assert said in done.stderr and done.stderr.count("\n") == 1 and done.stderr.startswith("capacity: "), done
    assert {path.name for path in tmp_path.iterdir()} == {"data", "file", "empty"}


def test_nothing_is_left_of_a_copy_that_failed(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "data"):
        pass
    (piece,) = (tmp_path / "data" / FOLDER).glob("*.base.rdb")
    piece.unlink()
    with pytest.raises(NotBackedUp, match="do not stay the same"):
        back_up(tmp_path / "data", tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
