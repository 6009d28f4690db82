"""How the pages are served: their headers, their modules without comments, and that nothing else is."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from capacity.settings import Settings
from capacity.web import pages
from tests.support.javascript import scan, tokens

PAGES = ("/", "/host", "/join", "/account", "/card")
DIRECTORY = pages.static_dir()
FILES = sorted(path.relative_to(DIRECTORY).as_posix() for path in DIRECTORY.rglob("*") if path.is_file())
SERVED = [name for name in FILES if name not in {*pages.PAGES.values(), *pages.CARD_PAGE.values()}]
MODULES = [name for name in SERVED if name.endswith(".js")]


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


@pytest.mark.parametrize("name", SERVED)
def test_every_file_of_the_directory_is_served(client: Client, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == pages.CONTENT_TYPES[Path(name).suffix]
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()[:32]}"', "of what is served"
    if name not in MODULES:
        assert answer.content == (DIRECTORY / name).read_bytes()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_served_without_its_comments_and_is_the_same(client: Client, name: str) -> None:
    source, served = (DIRECTORY / name).read_text("utf-8"), client.get(f"/static/{name}").text
    assert "comment" not in {kind for kind, _ in scan(served)}
    assert tokens(served) == tokens(source), "see without_comments: what it cannot read must be written otherwise"
    assert len(served) < len(source)


@pytest.mark.parametrize(
    "code",
    [
        'const a="http://host/*";const b="*/  // \\" //";',
        "const a='/* no  comment */';",
        "const a=`first  // line\n  /* second */ ${b}  // third`;",
        "const a=b.replace(/\\/\\*  [/*]/g,'//');",
        "const a='Zażółć  gęślą  jaźń';",
    ],
)
def test_what_looks_like_a_comment_and_is_none_survives(code: str) -> None:
    around = f"// @ts-check\n/** @type {{string}} it's */\n{code} // `\n/* ' */\n"
    assert pages.without_comments(around) == code


def test_statements_without_a_semicolon_stay_apart() -> None:
    assert pages.without_comments("let a = 1 // one\n  let b = a + ++a\n") == "let a=1\nlet b=a+ ++a"


@pytest.mark.parametrize("code", ["const a = () => /b  c/;", "const a = `${b(`c  d`)}`;"])
def test_what_cannot_be_read_is_noticed(code: str) -> None:
    """Should this fail, the library has learnt it, and the docstring of `without_comments` need not warn any more."""
    assert tokens(pages.without_comments(code)) != tokens(code)


def test_what_is_known_is_not_sent_again(client: Client) -> None:
    for path in (*PAGES, "/static/capacity.js", "/static/texts/en/common.js", "/favicon.ico"):
        tag = client.get(path).headers["etag"]
        for known in (tag, f'"other", W/{tag}'):
            again = client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/nothing.js",
        "/static/a/b.js",
        "/static/capacity.js/",
        "/static//capacity.js",
        "/static/common.js",
        "/static/texts",
        "/static/texts/",
        "/static/texts/en",
        "/static/texts/en/",
        "/static/texts/en/nothing.js",
        "/static/texts%5Cen%5Ccommon.js",
        "/static/%2e/capacity.js",  # encoded, since the client resolves plain dots itself; the routes see them decoded
        "/static/texts/%2e%2e/capacity.js",
        "/static/texts/..%2fcapacity.js",
        "/static/%2e%2e/pyproject.toml",
        "/static/..%2fpyproject.toml",
        "/static/..%2f..%2fetc%2fpasswd",
        "/static/%2fetc%2fpasswd",
        "/static/capacity.js%00",
        *(f"/static/{page}" for page in (*pages.PAGES.values(), *pages.CARD_PAGE.values())),
    ],
)
def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_frame_ancestors_and_links_come_from_the_settings() -> None:
    settings = Settings(
        data_dir=Path("unused"),
        frame_ancestors=("https://platform.example", "'self'"),
        upgrade_url='https://billing.example/?a=1&b="<2>"',
        support_url="mailto:help@example.com",
    )
    answer = Client(settings).get("/account")
    assert "frame-ancestors https://platform.example 'self'" in answer.headers["content-security-policy"]
    assert 'upgrade-url="https://billing.example/?a=1&amp;b=&quot;&lt;2&gt;&quot;"' in answer.text
    assert 'support-url="mailto:help@example.com"' in answer.text
