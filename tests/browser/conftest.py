"""The browser: the system's Chromium, driven by Playwright, and one service for all tests of the folder.

Set CAPACITY_BROWSER_ARTIFACTS to a directory to get a trace (for `playwright show-trace`) and a screenshot per page.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.browser.platform import Platform
from tests.browser.service import Room, Service
from tests.support.installed import missing
from tests.support.servers import free_port

ARTIFACTS = os.environ.get("CAPACITY_BROWSER_ARTIFACTS")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LANGUAGES = ("en", "de", "es", "pl", "ru")
WAIT_MS = 10_000
WATCH = """
  window.capacityShifts = [];
  const placed = ({ x, y, width, height }) => [x, y, width, height].map(Math.round).join(" ");
  const within = (root) => [...root.querySelectorAll("*")].flatMap((node) => [node, ...(node.shadowRoot ? within(node.shadowRoot) : [])]);
  const at = (rect) => within(document).filter((node) => placed(node.getBoundingClientRect()) === placed(rect));
  const named = (node) => (node instanceof Element ? `${node.localName}.${node.className}` : node.nodeName);
  const moves = ({ node, previousRect, currentRect }) =>
    `${(node ? [node] : at(currentRect)).map(named).join(" or ")} from ${placed(previousRect)} to ${placed(currentRect)}`;
  new PerformanceObserver((list) => {
    for (const { value, startTime, hadRecentInput, sources } of list.getEntries()) {
      if (hadRecentInput) continue;
      window.capacityShifts.push(`${value.toFixed(5)} after ${Math.round(startTime)} ms: ${sources.map(moves).join("; ")}`);
    }
  }).observe({ type: "layout-shift", buffered: true });
"""
"""What moved without a click before it, in words. The browser names no node of a shadow tree: its place tells which it is."""


class Pages:
    """Opens pages and watches what they say on the console: the test fails on every error and warning.

    `allowed` is for what a browser itself says in tests that take the server away.
    """

    def __init__(self, browser: Browser, name: str) -> None:
        self.allowed: re.Pattern[str] | None = None
        self.complaints: list[str] = []
        self._browser = browser
        self._name = name
        self._contexts: list[BrowserContext] = []

    def open(self, address: str, *, width: int = 1280, dark: bool = False, language: str = "en") -> Page:
        """Open an address in a context of its own, as another person would."""
        page = self.blank(width=width, dark=dark, language=language)
        page.goto(address)
        return page

    def blank(self, *, width: int = 1280, dark: bool = False, language: str = "en") -> Page:
        """Return an empty page, in a browser of this language."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            locale=language,
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(WATCH)
        if ARTIFACTS:
            context.tracing.start(screenshots=True, snapshots=True)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not (self.allowed and self.allowed.search(message.text)):
            self.complaints.append(f"{message.type}: {message.text}")

    def close(self) -> None:
        """Close everything, and keep the records if they are wanted."""
        for number, context in enumerate(self._contexts):
            if ARTIFACTS:
                target = Path(ARTIFACTS) / f"{re.sub(r'[^A-Za-z0-9-]+', '-', self._name)}-{number}"
                for page in context.pages:
                    page.screenshot(path=f"{target}.png", full_page=True)
                context.tracing.stop(path=f"{target}.zip")
            context.close()


def executable() -> str | None:
    """The system's Chromium, if there is one."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The system's Chromium. Without one the tests are skipped, and say so."""
    path = executable()
    if path is None:
        missing(f"NO BROWSER: none of {', '.join(CHROMIUM_NAMES)} is installed; the pages were not tested")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def pages(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Pages]:
    """Pages that may not complain."""
    opened = Pages(chromium, request.node.name)
    yield opened
    opened.close()
    assert not opened.complaints, opened.complaints


@pytest.fixture(scope="package")
def embedder() -> Iterator[Platform]:
    """The platform whose origin the service allows."""
    with Platform(free_port()).serving() as platform:
        yield platform


@pytest.fixture
def platform(embedder: Platform) -> Platform:
    """The platform without pages and tokens of other tests."""
    embedder.pages.clear()
    embedder.give = lambda: (404, "")
    embedder.asked = 0
    return embedder


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory, embedder: Platform) -> Iterator[Service]:
    """One demo without an audience for the whole folder; each test has an account of its own."""
    # A short lease: after a restart, those who do not come back are away within seconds.
    environ = {"CAPACITY_LEASE_SECONDS": "3", "CAPACITY_ALLOWED_ORIGINS": embedder.url}
    running = Service(tmp_path_factory.mktemp("demo"), "--no-audience", environ=environ)
    try:
        running.start()
        yield running
        assert running.stop() == 0
        assert "Traceback" not in running.errors, running.errors
    finally:
        running.close()


@pytest.fixture
def room(service: Service, request: pytest.FixtureRequest) -> Room:
    """A room with two seats in an account of its own that nobody has opened."""
    return service.room(re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:100], seats=2)
