"""The table that the HTTP surface is made from: one Operation per method and path.

`ApiRoute` serves it and `openapi.document` describes it, so what is described is what is served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from capacity.errors import ErrorCode, Refused
from capacity.protocol.reasons import reason_of
from capacity.web.answers import JSON
from capacity.web.problems import SCOPE_CODE, SCOPE_ROUTE, problem

Access = Literal["open", "token", "signature", "gateway"]
"""What opens an operation; `gateway`: whatever its payment gateway signs with."""
Handler = Callable[[Request], Awaitable[Response]]
Query = TypeVar("Query", bound=msgspec.Struct)


class Answer(NamedTuple):
    """An answer that is no refusal. `type` is the msgspec type of the body; None: no JSON."""

    status: int
    description: str
    type: Any = None
    media_type: str = JSON


class Operation(NamedTuple):
    """What one method of one path does, answers and refuses. `path` is a template: `/v1/accounts/{account}`."""

    method: Literal["GET", "PUT", "POST", "DELETE"]
    path: str
    name: str
    summary: str
    access: Access
    handler: Handler
    answers: tuple[Answer, ...]
    refusals: tuple[str, ...] = ()
    """The codes of its refusals."""
    body: Any = None
    """The msgspec type of the request's body."""
    query: type[msgspec.Struct] | None = None
    """The msgspec type of the query, one field a parameter; the handler reads it with `query_of`."""
    headers: tuple[str, ...] = ()
    """Headers that it needs, besides those of its access."""


class ApiRoute(BaseRoute):
    """All operations of one path.

    Starlette matches the path after decoding it, so that `/v1/accounts/a%2Frooms%2Fb` would be another route than the
    client meant. Here the raw path is split at its slashes first, then each segment is decoded: an encoded slash, or
    `..`, stays in its segment, where it is no id. An empty segment is taken as an empty id, which is none either.
    """

    def __init__(self, path: str, operations: Iterable[Operation]) -> None:
        self.path = path
        self._segments = path.split("/")
        self._handlers: dict[str, Handler] = {operation.method: operation.handler for operation in operations}
        if "GET" in self._handlers:
            self._handlers["HEAD"] = self._handlers["GET"]
        self._allow = ", ".join([*self._handlers, "OPTIONS"])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the path is this one; the ids go into `path_params`."""
        if scope["type"] != "http":
            return Match.NONE, {}
        given = _raw_segments(scope)
        if len(given) != len(self._segments):
            return Match.NONE, {}
        ids: dict[str, str] = {}
        for segment, wanted in zip(given, self._segments, strict=True):
            text = unquote(segment)
            if wanted.startswith("{"):
                ids[wanted[1:-1]] = text
            elif text != wanted:
                return Match.NONE, {}
        return Match.FULL, {"path_params": ids, "endpoint": self, SCOPE_ROUTE: self.path}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the method's handler; any other method is answered 405, OPTIONS 204, both with Allow."""
        method = scope["method"]
        if method in self._handlers:
            response = await self._handlers[method](Request(scope, receive))
        elif method == "OPTIONS":
            response = Response(status_code=204, headers={"Allow": self._allow})
        else:
            scope[SCOPE_CODE] = ErrorCode.METHOD_NOT_ALLOWED
            response = problem(ErrorCode.METHOD_NOT_ALLOWED, headers={"Allow": self._allow})
        await response(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        """No address is ever made from a route's name."""
        raise NoMatchFound(name, path_params)


def routes_of(operations: Iterable[Operation]) -> list[BaseRoute]:
    """Return one route per path, in the order of the table."""
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    return [ApiRoute(path, found) for path, found in by_path.items()]


def query_of(request: Request, kind: type[Query]) -> Query:
    """Return the query as its type; numbers are read from their text. What the type does not name is ignored, if it does not forbid that.

    Raises Refused (`malformed`) for a parameter that is not as the type says, or comes twice.
    """
    given = request.query_params.multi_items()
    values = dict(given)
    if len(values) < len(given) or not all(value.isprintable() for value in values.values()):
        raise Refused(ErrorCode.MALFORMED, "Each parameter of the query may come once, in printable characters.")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(ErrorCode.MALFORMED, f"The query: {reason_of(error)}.") from None


def _raw_segments(scope: Scope) -> list[str]:
    raw: bytes | None = scope.get("raw_path")
    path = str(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")
    return path.removeprefix(scope.get("root_path", "")).split("/")
