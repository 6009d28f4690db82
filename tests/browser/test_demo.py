"""The demo with its audience: what it prints, how it fills, and that nothing of it is left when it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.service import TOKEN_KEY, Room, Service, wait_for

SEATS, NEXT_SEATS = 25, 50
LINE = 20
DUE = {"amount": 1450, "currency": "USD"}  # 29 of 30 days are left
FAST = {"CAPACITY_DEMO_RATE": "60"}
FILL_SECONDS = 30.0
JOINS = 200
LEAVING_MAX = 5
"""Guests whose `leave` the room may still have to hear when others have come for them."""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Service]:
    """A demo that is not started, with its audience in a hurry."""
    running = Service(tmp_path, environ=FAST)
    yield running
    running.close()


def audience_of(demo: Service) -> int:
    """The pid of the demo's audience."""
    assert demo.process is not None
    parent = demo.process.pid
    return wait_for(lambda: next(iter(children(parent, "capacity.demo.audience")), 0), what="the audience")


def children(parent: int, what: str) -> list[int]:
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(None, 2) for line in listed.splitlines())
    return [int(row[0]) for row in rows if int(row[1]) == parent and what in row[2]]


def is_running(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(found) and not found.startswith("Z")


def printed_host(demo: Service) -> dict[str, str]:
    """The header of the host whose address the demo printed."""
    return {"Authorization": f"Bearer {demo.address('/host').partition('#')[2]}"}


def buy(demo: Service, plan: str) -> dict[str, Any]:
    """Buy as the host page does, by the printed host's token: a quote, then the purchase with the test card."""
    path = f"/v1/accounts/{demo.demo_room().account}"
    host = printed_host(demo)
    assert demo.http.get("/v1/plans", headers=host).json()["payments"] == "test"
    quote = demo.http.post(f"{path}/quotes", headers=host, json={"plan": plan})
    assert quote.status_code == 200, quote.text
    wish = {"quote": quote.json()["id"], "payment_method": "good"}
    bought = demo.http.post(f"{path}/purchases", headers={**host, "Idempotency-Key": "first"}, json=wish)
    assert (bought.status_code, bought.json()["status"]) == (200, "completed"), bought.text
    return dict(bought.json())


def test_the_audience_fills_the_room_and_more_come_after_an_upgrade(demo: Service) -> None:
    demo.start()
    room = demo.demo_room()
    room.until(seconds=FILL_SECONDS, seat_limit=SEATS, occupied=SEATS, waiting=LINE)
    bought = buy(demo, "growth")
    assert (bought["plan"], bought["seats"], bought["amount"]) == ("growth", NEXT_SEATS, DUE)
    room.until(seconds=FILL_SECONDS, seat_limit=NEXT_SEATS, occupied=NEXT_SEATS, waiting=LINE)

    ledger = demo.http.get(f"/v1/accounts/{room.account}/ledger", headers=printed_host(demo)).json()["entries"]
    assert [entry["amount"] for entry in ledger if entry["kind"] == "payment"] == [DUE["amount"]]

    audience = audience_of(demo)
    assert demo.stop(signal.SIGINT) == 0
    assert not is_running(audience)
    assert demo.errors == ""


def test_guests_who_are_away_come_back_to_leave(tmp_path: Path) -> None:
    """A place is kept for two minutes: the line would grow by everybody who leaves without saying so."""
    quiet = Service(tmp_path, "--no-audience")
    try:
        quiet.start()
        room = quiet.demo_room()
        audience = subprocess.Popen(
            [
                *(sys.executable, "-m", "capacity.demo.audience", quiet.url, "--account", room.account),
                *("--rate", "60", "--line", str(LINE), "--stay-seconds", "3", "--drop-seconds", "2"),
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "CAPACITY_TOKEN_KEY": TOKEN_KEY},
        )
        try:
            wait_for(lambda: joins(quiet) >= JOINS, what=f"{JOINS} joins", seconds=FILL_SECONDS)
            path = f"/v1/accounts/{room.account}/rooms/{room.name}"
            occupancy = quiet.http.get(path, headers=printed_host(quiet)).json()
            assert occupancy["waiting"] <= LINE + LEAVING_MAX, occupancy
        finally:
            _, errors = audience.communicate()
        assert (audience.returncode, errors) == (0, b"")
        assert quiet.stop() == 0
    finally:
        quiet.close()


def joins(demo: Service) -> float:
    """How often anybody was seated or put into the line."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in demo.http.get("/metrics").text.splitlines()
        if line.startswith("capacity_joins_total{")
    )


def test_nothing_is_left_after_a_kill(demo: Service) -> None:
    demo.start()
    audience = audience_of(demo)
    demo.stop(signal.SIGKILL)
    wait_for(lambda: not is_running(audience), what="the audience ends with the demo")
    # The room starts afresh, on the smallest plan, for the same people.
    demo.start()
    demo.demo_room().until(seconds=FILL_SECONDS, seat_limit=SEATS, occupied=SEATS, waiting=LINE)
    assert demo.stop() == 0


def test_a_later_demo_starts_on_the_smallest_plan_again(demo: Service) -> None:
    demo.start()
    buy(demo, "scale")
    demo.demo_room().until(seat_limit=1000)
    demo.stop()
    demo.start()
    demo.demo_room().until(state="open", seat_limit=SEATS)


def test_without_an_audience_nobody_comes(service: Service) -> None:
    assert service.process is not None
    assert children(service.process.pid, "capacity.demo.audience") == []


def test_a_real_servers_data_is_not_touched(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert (service.directory / "demo" / "appendonlydir").is_dir()
    assert not (service.directory / "appendonlydir").exists()


def test_throw_away_secrets_are_made_and_not_printed(tmp_path: Path) -> None:
    demo = Service(tmp_path, "--no-audience", environ={"CAPACITY_TOKEN_KEY": "", "CAPACITY_WEBHOOK_SECRET": ""})
    try:
        demo.start()
        assert (
            demo.http.get(
                "/v1/plans", headers={"Authorization": f"Bearer {Room(demo, 'acme', 'welcome').token('x')}"}
            ).status_code
            == 401
        )
        printed = demo.address("/host").partition("#")[2]
        assert demo.http.get("/v1/plans", headers={"Authorization": f"Bearer {printed}"}).status_code == 200
        assert "whsec_" not in demo.output + demo.errors
        assert demo.stop() == 0
    finally:
        demo.close()


def test_a_port_in_use_is_one_line(demo: Service) -> None:
    with socket.create_server(("127.0.0.1", demo.port)):
        assert demo.spawn().wait(20) == 2
    assert demo.output == ""
    assert len(demo.errors.splitlines()) == 1 and str(demo.port) in demo.errors


def test_a_data_directory_in_use_is_one_line(demo: Service, service: Service) -> None:
    second = Service(demo.directory, environ={"CAPACITY_DATA_DIR": str(service.directory)})
    try:
        assert second.spawn().wait(20) == 2
        assert len(second.errors.splitlines()) == 1 and "CAPACITY_DATA_DIR" in second.errors
    finally:
        second.close()


def test_a_key_file_cannot_sign_the_demos_tokens(tmp_path: Path) -> None:
    key = tmp_path / "jwks.json"
    key.write_text(
        '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
    )
    demo = Service(tmp_path, environ={"CAPACITY_TOKEN_KEY": f"file:{key}"})
    try:
        assert demo.spawn().wait(20) == 2
        assert len(demo.errors.splitlines()) == 1 and "CAPACITY_TOKEN_KEY" in demo.errors
    finally:
        demo.close()


def test_an_audience_ends_with_its_standard_input() -> None:
    audience = subprocess.Popen(
        [sys.executable, "-m", "capacity.demo.audience", "http://127.0.0.1:1"],
        stdin=subprocess.PIPE,
        env={**os.environ, "CAPACITY_TOKEN_KEY": TOKEN_KEY},
    )
    assert audience.stdin is not None
    audience.stdin.close()
    assert audience.wait(20) == 0


def test_an_audience_needs_the_secret() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "CAPACITY_TOKEN_KEY"}
    command = [sys.executable, "-m", "capacity.demo.audience", "http://127.0.0.1:1"]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environ, timeout=20, check=False
    )
    assert ended.returncode == 2
    assert "CAPACITY_TOKEN_KEY" in ended.stderr
