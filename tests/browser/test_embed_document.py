"""docs/embed.md, done as it says: the service, the platform and the pages of "In five minutes", and what it lists."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import expect

from capacity.web.pages import static_dir
from tests.browser.conftest import Pages
from tests.browser.service import wait_for
from tests.docs.documents import ROOT, blocks, words
from tests.support.servers import free_port

DOCUMENT = ROOT / "docs" / "embed.md"
TEXT = DOCUMENT.read_text("utf-8")
SOURCES = {path.name: path.read_text("utf-8") for path in static_dir().glob("*.js")}
ALL = "\n".join(SOURCES.values())


@contextmanager
def running(script: str, directory: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a block as a shell does, in a directory, until the end of the `with` block."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")}
    # What the reader has installed: `capacity` and `python` of this environment, and a store of the test's own.
    environ |= {
        "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
        "CAPACITY_DATA_DIR": str(directory / "data"),
    }
    with log.open("wb") as output:
        lines = script.strip().splitlines()
        lines[-1] = f"exec {lines[-1]}"
        process = subprocess.Popen(
            ["sh", "-ec", "\n".join(lines)], cwd=directory, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def is_ready(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://localhost:{port}/readyz").status_code == 200
    return False


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
        return True
    return False


def done(script: str, directory: Path) -> None:
    """Run a block that ends by itself."""
    log = directory / "done.log"
    with running(script, directory, log) as process:
        assert process.wait(30) == 0, log.read_text()


def test_from_nothing_to_a_banner(pages: Pages, tmp_path: Path) -> None:
    pages.allowed = re.compile("status of 404")  # the platform of the document has no icon
    service, platform = free_port(), free_port()

    def here(text: str) -> str:
        return text.replace("8000", str(service)).replace("8080", str(platform))

    serve, publish, start, more = (here(block) for block in blocks(DOCUMENT, "sh"))
    (program,) = blocks(DOCUMENT, "python")
    (tmp_path / "platform.py").write_text(here(program))
    # What the second terminal knows from its first commands.
    exports = "\n".join(line for line in publish.splitlines() if line.startswith("export"))
    with running(serve, tmp_path, tmp_path / "serve.log") as server:
        wait_for(lambda: is_ready(service), what=(tmp_path / "serve.log").read_text(), seconds=30)
        done(publish, tmp_path)
        with running(f"{exports}\n{start}", tmp_path, tmp_path / "platform.log"):
            wait_for(lambda: accepts(platform), what="the platform", seconds=30)
            look(pages, platform, lambda: done(f"{exports}\n{more}", tmp_path))
            pages.close()
        assert server.poll() is None
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def look(pages: Pages, port: int, raise_the_limit: Callable[[], None]) -> None:
    """What the document says that its reader sees."""
    url = f"http://localhost:{port}"
    host = pages.open(f"{url}/host")
    banner = host.locator(".banner:not(.ghost)")
    expect(banner).to_have_attribute("data-level", "calm")
    for guest in ("ada", "bob"):
        expect(pages.open(f"{url}/{guest}").get_by_role("heading", name="My webinar")).to_be_visible()
    expect(banner).to_have_attribute("data-level", "full")
    eve = pages.open(f"{url}/eve")
    expect(eve.locator("capacity-waiting-room")).to_have_attribute("state", "waiting")
    raise_the_limit()
    expect(banner).to_have_attribute("data-level", "good")
    expect(eve.get_by_role("heading", name="My webinar")).to_be_visible()


def told(pattern: str) -> set[str]:
    return {word for found in re.findall(pattern, ALL) for word in found.split()}


def test_every_element_is_documented() -> None:
    elements = set(re.findall(r'"(capacity-[a-z-]+)": async', SOURCES["capacity.js"]))
    assert len(elements) == 6
    assert {f"<{element}>" for element in elements} <= words(TEXT)
    assert set(re.findall(r"<(capacity-[a-z-]+)", TEXT)) == elements


def test_every_event_is_documented() -> None:
    events = {f"capacity-{name}" for name in told(r'\.tell\(\s*"([a-z-]+)"')}
    assert events == {word for word in words(TEXT) if re.fullmatch(r"capacity-[a-z-]+", word)} - {"capacity-account"}


def test_every_colour_is_documented() -> None:
    assert told(r"var\((--capacity-[a-z-]+)") == {word for word in words(TEXT) if word.startswith("--capacity-")}


def test_every_attribute_and_slot_is_documented() -> None:
    attributes = set(re.findall(r'(?:get|has)Attribute\(\s*"([a-z-]+)"', ALL)) - {
        "data-key",
        "data-own",
        "checked",
        "aria-current",
    }
    assert attributes <= words(TEXT), attributes - words(TEXT)
    slots = set(re.findall(r'h\(\s*"slot",\s*\{ name: "([a-z-]+)"', ALL))
    assert slots and slots <= words(TEXT), slots - words(TEXT)


def test_every_part_is_documented() -> None:
    parts = {word for found in re.findall(r'part: "([a-z_ -]+)"', ALL) for word in found.split()}
    assert parts <= words(TEXT) | {"refusal", "scheduled", "support"}, parts - words(TEXT)
