"""RFC 6455, case by case: the Autobahn TestSuite's client against the edge, its frames, messages and closes.

Autobahn wants a server that echoes messages of up to 16 MiB, and it brings no token. So the edge has two variants here:
a `Gate` that adds a token to the handshake, and an `Echo` with larger limits. All the rest is the code that serves.

The cases run by `kosoku`, in a process of its own: it makes Python itself older, for cases that were written for 2.7.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from capacity.web import edge
from capacity.web.edge import Gate
from capacity.web.limits import Rate
from tests.edge.conftest import serving
from tests.edge.echo import Echo

pytestmark = pytest.mark.anyio

BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": uvloop}), id="uvloop" if uvloop else "asyncio") for uvloop in (False, True)
]
AT_ONCE = 16
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
SELDOM_SECONDS = 600.0
"""A ping of ours in the middle of a case is no part of it."""

CASES = 517
NOT_STRICT = {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}
"""Text that is no UTF-8 ends the connection when the message is whole, not at its first wrong byte: it is 4 KiB at most."""
UNSPECIFIED = {"7.1.6", "7.13.1", "7.13.2"}
"""A close amid 256 KiB, and close codes that the RFC leaves to nobody: Autobahn has no opinion."""
COMPRESSION = ("12.", "13.")
"""permessage-deflate is not negotiated: an idle connection would take 57 KB with it, and takes 23 KB without."""


class Door(Gate):
    """The production gate; every handshake is another participant's."""

    __slots__ = ()
    _numbers: ClassVar = itertools.count()

    def data_received(self, data: bytes) -> None:
        token = b"\r\nAuthorization: Bearer good-%d\r\n\r\n" % next(self._numbers)
        super().data_received(data.replace(b"\r\n\r\n", token, 1))


class Patient(Echo):
    """With limits that are Autobahn's."""

    message_bytes_max = MESSAGE_BYTES_MAX
    fragments_max = MESSAGE_BYTES_MAX
    message_rate = Rate(1e6, 1_000_000)

    def pause_writing(self) -> None:
        """Autobahn reads, when it has written."""


def expected(case: str) -> tuple[str, str]:
    """Return what is to become of a case, and of its closing handshake."""
    if case in NOT_STRICT:
        return "NON-STRICT", "OK"
    if case in UNSPECIFIED:
        return "INFORMATIONAL", "INFORMATIONAL"
    return "UNIMPLEMENTED" if case.startswith(COMPRESSION) else "OK", "OK"


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_autobahn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(edge, "Gate", Door)
    monkeypatch.setattr(edge, "WebSocket", Patient)
    async with serving(ping_seconds=SELDOM_SECONDS) as served:
        client = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("kosoku")),
            f"ws://127.0.0.1:{served.port}/v1/ws",
            *("--parallelism", str(AT_ONCE), "--outdir", str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await client.communicate()
    assert (tmp_path / "index.json").exists(), said.decode()
    (cases,) = json.loads((tmp_path / "index.json").read_text("utf-8")).values()
    verdicts = {name: (case["behavior"], case["behaviorClose"]) for name, case in cases.items()}
    assert len(verdicts) == CASES
    wrong = {name: verdict for name, verdict in verdicts.items() if verdict != expected(name)}
    assert not wrong, said.decode()
