"""Every command of the documents is run by a test: the quick start here, as a reader types it; the table says where the others are."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.docs.documents import DOCUMENTS, README, ROOT, blocks
from tests.support.servers import free_port
from tests.support.terminal import Terminal

QUICKSTART = ROOT / "docs" / "quickstart.md"
MAKE = "Makefile"
INSTALLING = ("python3 -m venv ~/capacity", ". ~/capacity/bin/activate", "pip install .")
"""What tests/ops/test_packaging.py does: here `capacity` is installed already."""
RUN_BY = {
    ("README.md", "Run it for real"): "tests/docs/test_commands.py",
    ("README.md", "Try it"): MAKE,
    ("docs/quickstart.md", "*"): "tests/docs/test_commands.py",
    ("docs/embed.md", "*"): "tests/browser/test_embed_document.py",
    ("docs/tokens.md", "*"): "tests/docs/test_tokens_document.py",
    ("docs/billing.md", "*"): "tests/docs/test_billing_document.py",
    ("docs/operations.md", "Before the day: rehearse"): "tests/e2e/test_rehearsal.py",
    ("docs/operations.md", "Backup and restore"): "tests/ops/test_backup.py",
    ("docs/operations.md", "Several processes on one machine"): "tests/ops/test_supervisor.py",
    ("docs/operations.md", "Traces"): "tests/e2e/test_tracing.py",
    ("docs/operations.md", "capacity top"): "tests/top/test_document.py",
    ("docs/operations.md", "capacity doctor"): "tests/ops/test_doctor.py",
    ("docs/operations.md", "Set it up"): "tests/hooks/test_commands.py",
    ("docs/operations.md", "Dead letters"): "tests/hooks/test_commands.py",
    ("docs/performance.md", "*"): MAKE,
    ("CONTRIBUTING.md", "*"): MAKE,
}
"""(document, heading of the section or * for all) → what runs the shell blocks there. MAKE: they name targets of it."""


def sections_with_commands(path: Path) -> list[str]:
    """Return the headings under which a document has shell blocks, each the nearest above them."""
    found, heading, fenced = [], "", False
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
            if line == "```sh" and heading not in found:
                found.append(heading)
        elif not fenced and (title := re.fullmatch(r"#+ (.+)", line)):
            heading = title[1]
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_every_document_is_run_by_a_test(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    for heading in sections_with_commands(path):
        whole = (name, "*") in RUN_BY
        where = RUN_BY.get((name, "*" if whole else heading))
        assert where is not None, f"{name}, {heading!r}: no test runs its commands"
        if where == MAKE:
            lines = "\n".join(blocks(path, "sh", heading)).splitlines()
            assert lines and all(line.startswith("make ") for line in lines), f"{name}, {heading!r}: more than make"
        else:
            test = (ROOT / where).read_text("utf-8")
            assert path.name in test and (whole or heading in test), f"{where} does not read {name}, {heading!r}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_target_of_make_that_a_document_names_exists(path: Path) -> None:
    for target in sorted(set(re.findall(r"(?:^|`|    )make ([a-z][a-z-]*)", path.read_text("utf-8"), re.MULTILINE))):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"make {target}: {done.stderr}"


def test_the_readme_starts_a_server(tmp_path: Path) -> None:
    (commands,) = blocks(README, "sh", "Run it for real")
    port = free_port()
    with Terminal(tmp_path, instead={"capacity serve": f"capacity serve --port {port}"}) as terminal:
        terminal.leaves_running(commands, f"http://localhost:{port}/readyz", without=INSTALLING)


def test_the_quick_start_from_the_first_command_to_the_last(tmp_path: Path, redis_url: str) -> None:
    port = free_port()
    instead = {"localhost:8000": f"localhost:{port}", "capacity serve": f"capacity serve --port {port}"}
    with Terminal(tmp_path, instead=instead) as terminal:
        (install,) = blocks(QUICKSTART, "sh", "Install")
        assert install.split("\n")[:-1] == list(INSTALLING)
        (serve,) = blocks(QUICKSTART, "sh", "Serve")
        terminal.leaves_running(serve, "http://localhost:8000/readyz")

        account, tokens, raise_ = blocks(QUICKSTART, "sh", "A room")
        terminal.types(account, without=INSTALLING)
        host, attendee = terminal.types(tokens).split()
        assert host.count(".") == attendee.count(".") == 2
        said = terminal.types(raise_).splitlines()
        assert "1 seats" in said[0] and "50 seats" in said[-1]

        (numbers,) = blocks(QUICKSTART, "sh", "From a program")
        assert json.loads(terminal.types(numbers))["room"] == "launch"

        asked, bought = blocks(QUICKSTART, "sh", "Selling plans")
        created, rest = _first_document(terminal.types(asked))
        quote, _ = _first_document(rest)
        assert (created["plan"], quote["kind"]) == ("starter", "upgrade")
        terminal.instead["QUOTE_ID"] = quote["id"]
        purchase, ledger = _first_document(terminal.types(bought))
        assert purchase["status"] == "completed"
        assert {"line", "change"} <= {row["kind"] for row in csv.DictReader(io.StringIO(ledger))}

        (several,) = blocks(QUICKSTART, "sh", "More processes")
        second = free_port()
        terminal.instead = {"capacity serve": f"capacity serve --port {second}", "redis://localhost:6379": redis_url}
        terminal.leaves_running(several, f"http://localhost:{second}/readyz")


def _first_document(text: str) -> tuple[dict[str, Any], str]:
    """Return the JSON document at the beginning of what was printed, and what comes behind it."""
    document, end = json.JSONDecoder().raw_decode(text)
    return document, text[end:]
