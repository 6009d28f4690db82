"""How the pages are served: their headers, and that nothing but them is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from capacity.settings import Settings
from capacity.web import pages

PAGES = ("/", "/host", "/join", "/account", "/card")
MODULES = (
    "capacity.js",
    "page.js",
    "join.js",
    "host.js",
    "upgrade.js",
    "account.js",
    "card.js",
    "capacity.css",
    "icon.svg",
)
PAGE_BYTES_MAX = 60_000


class Client:
    """Asks the pages, without a server. In a thread: Playwright keeps a loop running in this one."""

    def __init__(self, settings: Settings) -> None:
        self._app = Starlette(routes=pages.routes(settings))

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://pages.example") as client:
                return await client.get(path, headers=headers)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, ask()).result()


@pytest.fixture(scope="module")
def client() -> Client:
    return Client(Settings(data_dir=Path("unused"), payments="test"))


def test_the_test_cards_page_is_there_only_where_it_pays() -> None:
    assert Client(Settings(data_dir=Path("unused"))).get("/card").status_code == 404


@pytest.mark.parametrize("path", PAGES)
def test_a_page_allows_nothing_but_its_own_files(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(directive.split(" ", 1) for directive in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert " style=" not in answer.text and "<style" not in answer.text and "{{" not in answer.text


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_served_with_its_type(client: Client, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == pages.CONTENT_TYPES[Path(name).suffix]
    assert answer.headers["cache-control"] == "no-cache"


def test_every_file_of_the_directory_is_served(client: Client) -> None:
    for path in pages.static_dir().iterdir():
        assert path.name in MODULES or path.name in (pages.PAGES | pages.CARD_PAGE).values(), path


def test_what_is_known_is_not_sent_again(client: Client) -> None:
    for path in (*PAGES, "/static/capacity.js", "/favicon.ico"):
        tag = client.get(path).headers["etag"]
        for known in (tag, f'"other", W/{tag}'):
            again = client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/static/nothing.js", "/static/join.html", "/static/..%2fpyproject.toml", "/static/", "/static/a/b.js"]
)
def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_frame_ancestors_and_links_come_from_the_settings() -> None:
    settings = Settings(
        data_dir=Path("unused"),
        frame_ancestors=("https://platform.example", "'self'"),
        upgrade_url='https://billing.example/?a=1&b="<2>"',
    )
    answer = Client(settings).get("/account")
    assert "frame-ancestors https://platform.example 'self'" in answer.headers["content-security-policy"]
    assert 'content="https://billing.example/?a=1&amp;b=&quot;&lt;2&gt;&quot;"' in answer.text


def test_a_page_is_small(client: Client) -> None:
    """Bytes of a page with all that it loads, uncompressed."""
    common = sum(len(client.get(f"/static/{name}").content) for name in ("capacity.js", "page.js", "capacity.css"))
    for page, own in {"/join": ("join.js",), "/host": ("host.js", "upgrade.js"), "/account": ("account.js",)}.items():
        size = common + len(client.get(page).content) + sum(len(client.get(f"/static/{name}").content) for name in own)
        assert size <= PAGE_BYTES_MAX, (page, size)
