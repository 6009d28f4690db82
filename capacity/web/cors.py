"""CORS for the allowed origins, on `/v1` and the static modules: platforms embed the web components on their pages.

No credentials: a token is sent in a header by whoever has it, never by the browser on its own.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from capacity.errors import ErrorCode
from capacity.web.problems import SCOPE_CODE, problem

PATHS = ("/v1/", "/static/")
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key")
ANSWER_HEADERS = ("Retry-After",)
MAX_AGE_SECONDS = 600


class Cors:
    """ASGI middleware: Starlette's, on our paths, with refused preflights as problems."""

    def __init__(self, app: ASGIApp, allowed_origins: Collection[str]) -> None:
        self._app = app
        self._cors = _Preflights(
            app,
            allow_origins=allowed_origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
            max_age=MAX_AGE_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and scope["path"].startswith(PATHS)
        await (self._cors if ours else self._app)(scope, receive, send)


class _Preflights(CORSMiddleware):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        foreign = "origin" in headers and not self.is_allowed_origin(headers["origin"])
        if foreign and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            scope[SCOPE_CODE] = ErrorCode.FOREIGN_ORIGIN
        await super().__call__(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return Response(status_code=204, headers=_kept(response))
        if self.is_allowed_origin(request_headers["origin"]):
            # The browser compares the lists itself, and then tells its page what was wrong.
            return Response(status_code=204, headers=_kept(response))
        return problem(ErrorCode.FOREIGN_ORIGIN, headers={"Vary": response.headers["vary"]})


def _kept(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if not name.startswith("content-")}
