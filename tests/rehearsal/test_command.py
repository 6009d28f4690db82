"""What cannot be rehearsed is one line: exit code 2 for what was asked wrongly, 1 for what was tried and failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ops.test_cli import SECRET, WHSEC, run
from tests.support.servers import free_port

URL = "http://127.0.0.1:1"
ENVIRON = {"CAPACITY_TOKEN_KEY": SECRET, "CAPACITY_WEBHOOK_SECRET": WHSEC}


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["localhost:8000"], ENVIRON, "URL: expected an address"),
        ([URL], ENVIRON | {"CAPACITY_TOKEN_KEY": ""}, "CAPACITY_TOKEN_KEY: expected the HS256 secret"),
        ([URL], ENVIRON | {"CAPACITY_WEBHOOK_SECRET": "secret"}, "CAPACITY_WEBHOOK_SECRET"),
        ([URL, "--seats", "200", "--raise-to", "100"], ENVIRON, "--raise-to: expected 201 to"),
        ([URL, "--account", "no account"], ENVIRON, "--account: expected"),
        ([URL, "--report", "no/such/directory/report.html"], ENVIRON, "--report: expected"),
        ([URL], ENVIRON | {"CAPACITY_WEBHOOK_SECRET": ""}, "CAPACITY_REDIS_URL: not set"),
    ],
)
def test_what_was_asked_wrongly(arguments: list[str], environ: dict[str, str], says: str, tmp_path: Path) -> None:
    done = run("rehearse", *arguments, "--attendees", "10", environ=environ | {"CAPACITY_DATA_DIR": str(tmp_path)})
    assert done.code == 2 and says in done.err, done
    assert done.err.count("capacity: ") == 1 and SECRET not in done.err and WHSEC not in done.err


def test_the_file_of_a_public_key_signs_nothing(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(key)
    done = run("rehearse", URL, "--attendees", "10", environ=ENVIRON, CAPACITY_TOKEN_KEY=f"file:{tmp_path / 'key.pem'}")
    assert done.code == 2 and "the file of a public key" in done.err


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run("rehearse", url, "--attendees", "10", "--report", str(tmp_path / "report.html"), environ=ENVIRON)
    assert done.code == 1 and f"{url}" in done.err and "cannot be reached" in done.err
    assert not (tmp_path / "report.html").exists()
