"""docs/tokens.md and docs/seat-pass.md: every example is run as it stands, and what it makes is good for what it says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from capacity.errors import Refused
from capacity.web.auth import KeyRing
from tests.docs.documents import ROOT, blocks
from tests.support.installed import installed
from tests.support.service import ACCOUNT, ROOM, SECRET, Billing, Hub, serving, settings, token
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio
TOKENS = ROOT / "docs" / "tokens.md"
PASS = ROOT / "docs" / "seat-pass.md"
PROGRAMS = {"python": ("python", "example.py"), "js": ("node", "example.mjs"), "php": ("php", "example.php")}
PACKAGES = {"node": "nodejs", "php": "php-cli"}


def command(language: str, code: str, terminal: Terminal) -> str:
    """Write an example into a file; returns how it is run."""
    program, name = PROGRAMS[language]
    if program in PACKAGES:
        installed(program, PACKAGES[program])
    (terminal.home / name).write_text(code)
    return f"{program} {name}"


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    async with serving(settings(redis_url)) as hub:
        billing = Billing(redis_url)
        await billing.account(5)
        await billing.close()
        yield hub


async def joins(hub: Hub, text: str) -> None:
    """Hold that somebody with this token takes a seat."""
    host = await hub.host()
    client = await hub.connect(text)
    await client.told("seated", participant="ada", room=ROOM)
    await host.disconnect()


@pytest.mark.parametrize("language", PROGRAMS)
async def test_a_token_made_in_each_language_joins_a_room(language: str, hub: Hub, tmp_path: Path) -> None:
    with Terminal(tmp_path, CAPACITY_TOKEN_KEY=SECRET) as terminal:
        (code, *_) = blocks(TOKENS, language, "With a shared secret")
        text = await asyncio.to_thread(terminal.types, command(language, code, terminal))
    await joins(hub, text.strip())


async def test_a_token_made_by_each_shell_example_joins_a_room(hub: Hub, tmp_path: Path) -> None:
    made, *shells = blocks(TOKENS, "sh", "With a shared secret")
    with Terminal(tmp_path) as terminal:
        await asyncio.to_thread(terminal.types, made)
        assert len((await asyncio.to_thread(terminal.types, 'printf %s "$CAPACITY_TOKEN_KEY"')).encode()) >= 32
    for shell in shells:
        with Terminal(tmp_path, CAPACITY_TOKEN_KEY=SECRET) as terminal:
            (tmp_path / ".environment").unlink(missing_ok=True)
            await joins(hub, (await asyncio.to_thread(terminal.types, shell)).strip())
    assert len(shells) == 2


def test_a_token_of_a_key_pair_is_good_for_the_server_that_has_the_public_key(tmp_path: Path) -> None:
    (keys,) = blocks(TOKENS, "sh", "With a key pair")
    (code,) = blocks(TOKENS, "python", "With a key pair")
    with Terminal(tmp_path) as terminal:
        terminal.types(keys)
        text = terminal.types(command("python", code, terminal)).strip()
        source = terminal.types('printf %s "$CAPACITY_TOKEN_KEY"')
    claims = KeyRing(source.replace("file:", f"file:{tmp_path}/")).verify(text)
    assert (claims.participant, claims.account, claims.room) == ("ada", ACCOUNT, ROOM)
    with pytest.raises(Refused):
        KeyRing(SECRET).verify(text)


async def seat_pass(hub: Hub) -> str:
    """Return a pass as a seated attendee gets it."""
    await hub.host()
    ada = await hub.join("ada")
    await ada.told("seated")
    await ada.say("pass")
    return str((await ada.told("pass"))["token"])


@pytest.mark.parametrize("language", ["python", "js"])
async def test_a_seat_pass_is_checked_as_the_document_says(language: str, hub: Hub, tmp_path: Path) -> None:
    real = await seat_pass(hub)
    header, payload, signature = real.split(".")
    claims = jwt.decode(real, options={"verify_signature": False})
    kid = {"kid": jwt.get_unverified_header(real)["kid"]}
    forged = jwt.encode(claims | {"sub": "eve"}, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=kid)
    weak = jwt.encode(claims | {"sub": "eve"}, SECRET, algorithm="HS256", headers=kid)
    changed = jwt.utils.base64url_encode(json.dumps(claims | {"sub": "eve"}).encode()).decode()
    (code,) = blocks(PASS, language)
    with Terminal(tmp_path) as terminal:
        program = command(language, code, terminal).split()

        def check(text: str, room: str = ROOM) -> subprocess.CompletedProcess[str]:
            arguments = ["env", f"PATH={terminal.path}", *program, hub.address, ACCOUNT, room, text]
            return subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)

        good = await asyncio.to_thread(check, real)
        assert (good.returncode, good.stdout) == (0, "ada\n"), good.stderr
        false = (token("ada"), forged, weak, f"{header}.{changed}.{signature}", f"{header}.{payload}.", "nonsense")
        for text in false:
            refused = await asyncio.to_thread(check, text)
            assert (refused.returncode, refused.stdout) == (1, ""), text
            assert refused.stderr.startswith("no seat: ") and "\n    at " not in refused.stderr, refused.stderr
        elsewhere = await asyncio.to_thread(check, real, "other")
        assert (elsewhere.returncode, elsewhere.stderr) == (1, "no seat: a pass for another room\n")


async def test_a_pass_that_has_expired_is_none(hub: Hub, tmp_path: Path) -> None:
    assert hub.application is not None
    await seat_pass(hub)
    key = hub.application.hub.pass_key
    assert key is not None
    old = key.issue(KeyRing(SECRET).verify(token("ada")), int((time.time() - 3600) * 1000))
    (code,) = blocks(PASS, "python")
    with Terminal(tmp_path) as terminal:
        program = command("python", code, terminal)
        with pytest.raises(AssertionError, match=r"no seat: .*expired"):
            await asyncio.to_thread(terminal.types, f"{program} {hub.address} {ACCOUNT} {ROOM} {old.token}")
