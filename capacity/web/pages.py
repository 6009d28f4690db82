"""The built-in pages and the static modules: `/host`, `/join`, `/account`, `/`, `/card` with the test card, and `/static/…`.

Every file is read once at the start and served from memory, with an ETag and `no-cache`: a browser asks each time and
is answered 304, so that a new release never mixes with an old one in somebody's cache, and a whole waiting room may
reload at once. There is no path to walk out of: a request names a file that was found at the start, or none.

Modules are served without their comments and indentation. The sources carry types (JSDoc) and reasons, which no browser
needs and which are two fifths of their bytes; and there is no build step to take them out (docs/decisions/0011).
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import rjsmin
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import capacity
from capacity.errors import SettingError
from capacity.settings import Settings

PAGES = {
    "/": "index.html",
    "/host": "host.html",
    "/join": "join.html",
    "/account": "account.html",
}
CARD_PAGE = {"/card": "card.html"}
"""Only where payments are made by the test card."""
ICON = "icon.svg"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFile(msgspec.Struct, frozen=True):
    """A file of `static/` as it goes over the wire. `etag` has its quotes (RFC 9110, section 8.8.3)."""

    body: bytes
    content_type: str
    etag: str


def static_dir() -> Path:
    """Return where the pages are: inside the installed package, else beside it in a checkout. Raises SettingError."""
    package = Path(capacity.__file__).parent
    for candidate in (package / "static", package.parent / "static"):
        if (candidate / "capacity.js").is_file():
            return candidate
    raise SettingError(f"The pages are missing: there is no static directory in or beside {package}; install it again.")


def routes(settings: Settings) -> list[Route]:
    """Return the routes of the pages and of the static modules. Raises SettingError when the files are not there."""
    files = _files(static_dir())
    values = {"upgrade_url": settings.upgrade_url or "", "support_url": settings.support_url or ""}
    page_headers = {
        "Content-Security-Policy": content_security_policy(settings.frame_ancestors),
        "Referrer-Policy": "no-referrer",
    }
    found = [
        Route(path, _endpoint(_page(files[name], values), page_headers), methods=["GET"], name=name)
        for path, name in (PAGES | (CARD_PAGE if settings.payments == "test" else {})).items()
    ]
    # Pages carry settings and are served at their own addresses only.
    modules = {name: _static_file(name, body) for name, body in files.items() if not name.endswith(".html")}
    found.append(Route("/favicon.ico", _endpoint(modules[ICON], {}), methods=["GET"], name="icon"))
    found.append(Route("/static/{name:path}", _modules_endpoint(modules), methods=["GET"], name="static"))
    return found


def content_security_policy(frame_ancestors: Sequence[str]) -> str:
    """Return the policy of the pages: our own files and our own server, nothing inline, markup never made from text."""
    ancestors = " ".join(frame_ancestors) or "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",  # the page's own WebSocket included (CSP 3, "Does url match expression")
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {ancestors}",
            "require-trusted-types-for 'script'",
        )
    )


def without_comments(source: str) -> str:
    """Return a module without its comments, and without the space between its tokens.

    The library takes a template within the `${…}` of another for code, and a regular expression right after `=>` for a
    division. tests/browser/test_pages.py finds where that would change a module of ours; write such a place otherwise.
    """
    return str(rjsmin.jsmin(source))


def _files(directory: Path) -> dict[str, bytes]:
    """Read what is served, by the path within the directory: `host.html`, `texts/en/host.js`."""
    found = {}
    for path in directory.rglob("*"):
        if path.suffix in CONTENT_TYPES and path.is_file():
            body = path.read_bytes()
            found[path.relative_to(directory).as_posix()] = (
                without_comments(body.decode()).encode() if path.suffix == ".js" else body
            )
    return found


def _page(body: bytes, values: Mapping[str, str]) -> StaticFile:
    """Fill the places `{{name}}` of a page, which stand in attributes."""
    text = body.decode()
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", html.escape(value))
    return _static_file("page.html", text.encode())


def _static_file(name: str, body: bytes) -> StaticFile:
    digest = hashlib.sha256(body).hexdigest()[:32]
    return StaticFile(body, CONTENT_TYPES[Path(name).suffix], f'"{digest}"')


def _endpoint(file: StaticFile, headers: Mapping[str, str]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return _answer(request, file, headers)

    return endpoint


def _modules_endpoint(modules: Mapping[str, StaticFile]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        file = modules.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return _answer(request, file, {})

    return endpoint


def _answer(request: Request, file: StaticFile, headers: Mapping[str, str]) -> Response:
    headers = {"ETag": file.etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", **headers}
    known = request.headers.get("if-none-match", "")
    # Compared weakly: a proxy that compresses turns our tag into a weak one.
    if any(tag.strip().removeprefix("W/") == file.etag for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.content_type, headers=headers)
