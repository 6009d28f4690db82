"""Keys rotate under a running service: every worker follows the file, and none restarts, forgets a connection or takes half a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tests.ops.programs import Program

WORKERS = 2
WITHIN_SECONDS = 5.0
ASKED = 12
"""Connections, one after the other: so many do not all come to the same worker."""
KEYS = {name: Ed25519PrivateKey.generate() for name in ("old", "new")}


def jwks(*names: str) -> bytes:
    public = [OKPAlgorithm.to_jwk(KEYS[name].public_key(), as_dict=True) for name in names]
    return json.dumps({"keys": [key | {"kid": name} for key, name in zip(public, names, strict=True)]}).encode()


def token(name: str, role: str = "service") -> str:
    claims = {"sub": "ann", "account": "acme", "room": "launch", "role": role, "aud": "capacity"}
    return jwt.encode(claims | {"exp": int(time.time()) + 600}, KEYS[name], "EdDSA", headers={"kid": name})


def joined(address: str, name: str) -> ClientConnection:
    url = address.replace("http", "ws", 1) + "/v1/ws"
    return connect(url, subprotocols=["capacity.v1", f"bearer.{token(name, 'host')}"], compression=None)  # type: ignore[list-item]


def answers(address: str, name: str) -> set[int]:
    """Return what several connections of a token are answered."""
    return {
        httpx.get(f"{address}/v1/plans", headers={"Authorization": f"Bearer {token(name)}"}).status_code
        for _ in range(ASKED)
    }


def test_the_keys_of_a_file_rotate_without_a_restart(start: Callable[..., Program], tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks("old"))
    program = start("--workers", str(WORKERS), CAPACITY_TOKEN_KEY=f"file:{path}")
    address = program.ready(WORKERS)

    def lines(event: str) -> list[dict[str, Any]]:
        return [line for line in program.log() if line["event"] == event]

    def all_workers(event: str, times: int) -> None:
        program.until(lambda: len(lines(event)) >= times * WORKERS, WITHIN_SECONDS)

    assert (answers(address, "old"), answers(address, "new")) == ({200}, {401})
    httpx.put(
        f"{address}/v1/accounts/acme", headers={"Authorization": f"Bearer {token('old')}"}, json={"plan": "growth"}
    )
    with joined(address, "old") as kept:
        assert json.loads(kept.recv())["type"] == "occupancy"

        # Both are good while the platform changes over; the file is replaced in one step, as a rotation should do it.
        (tmp_path / "fresh").write_bytes(jwks("old", "new"))
        (tmp_path / "fresh").replace(path)
        all_workers("token_keys_changed", 1)
        assert (answers(address, "old"), answers(address, "new")) == ({200}, {200})

        # Somebody writes the next one in its place, and is slow.
        content = jwks("new")
        with path.open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            all_workers("token_keys_unusable", 1)
            assert (answers(address, "old"), answers(address, "new")) == ({200}, {200})
            file.write(content[len(content) // 2 :])
        all_workers("token_keys_changed", 2)
        assert (answers(address, "old"), answers(address, "new")) == ({401}, {200})

        with joined(address, "old") as refused, pytest.raises(ConnectionClosedError) as closed:
            refused.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401
        with joined(address, "new") as other:
            assert json.loads(other.recv())["type"] == "occupancy"
        kept.send('{"type":"open"}')
        assert json.loads(kept.recv())["type"] == "occupancy", "who is in stays in"

    assert [line["kids"] for line in lines("token_keys_changed")] == [["old", "new"]] * WORKERS + [["new"]] * WORKERS
    assert len(lines("token_keys_unusable")) <= 2 * WORKERS, "one line each for an empty file and for half a one"
    said = program.log_file.read_text()
    assert not any(key["x"] in said for key in json.loads(jwks("old", "new"))["keys"])
    assert "Traceback" not in said
