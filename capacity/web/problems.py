"""Refusals over HTTP: RFC 9457 problem details with our `code`, for everything that is no answer.

    {"type": "urn:problem-type:capacity:no_report", "title": "…", "status": 404, "detail": "…", "code": "no_report"}

`STATUS` is the one place that says which code has which status. Nothing gets past `Guard` as a 500 with a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from capacity.errors import ErrorCode, Refused, Unavailable
from capacity.protocol.answers import Problem

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem-type:capacity:"
RETRY_AFTER_SECONDS = {HTTPStatus.SERVICE_UNAVAILABLE: 2, HTTPStatus.TOO_MANY_REQUESTS: 60}

STATUS: Mapping[str, int] = MappingProxyType(
    {
        ErrorCode.INVALID_ID: 400,
        ErrorCode.MALFORMED: 400,
        ErrorCode.SUBJECT_MISMATCH: 400,
        ErrorCode.UNKNOWN_TYPE: 400,
        ErrorCode.UNKNOWN_PLAN: 400,
        ErrorCode.INVALID_AMOUNT: 400,
        ErrorCode.INVALID_PERIOD: 400,
        ErrorCode.IDEMPOTENCY_KEY_MISSING: 400,
        ErrorCode.UNAUTHORIZED: 401,
        ErrorCode.TOKEN_EXPIRED: 401,
        ErrorCode.INVALID_SIGNATURE: 401,
        ErrorCode.PAYMENT_DECLINED: 402,
        ErrorCode.FORBIDDEN: 403,
        ErrorCode.NOT_ALLOWED: 403,
        ErrorCode.FOREIGN_ORIGIN: 403,
        ErrorCode.NOT_FOUND: 404,
        ErrorCode.UNKNOWN_ACCOUNT: 404,
        ErrorCode.UNKNOWN_PARTICIPANT: 404,
        ErrorCode.UNKNOWN_QUOTE: 404,
        ErrorCode.NO_REPORT: 404,
        ErrorCode.UNKNOWN_EVENT: 404,
        ErrorCode.METHOD_NOT_ALLOWED: 405,
        ErrorCode.REQUEST_TIMEOUT: 408,
        ErrorCode.CONCURRENT_SESSIONS_REACHED: 409,
        ErrorCode.ACCOUNT_EXISTS: 409,
        ErrorCode.ACCOUNT_NOT_MANAGED: 409,
        ErrorCode.PLAN_NOT_ON_SALE: 409,
        ErrorCode.NO_CHANGE: 409,
        ErrorCode.TRIAL_NOT_AVAILABLE: 409,
        ErrorCode.CURRENCY_MISMATCH: 409,
        ErrorCode.ADD_ON_NOT_AVAILABLE: 409,
        ErrorCode.ADD_ON_WHOLE_BATCH: 409,
        ErrorCode.MIXED_CHANGE: 409,
        ErrorCode.QUOTE_STALE: 409,
        ErrorCode.PAYMENT_PENDING: 409,
        ErrorCode.NOTHING_HELD: 409,
        ErrorCode.NOT_SEATED: 409,
        ErrorCode.NOT_REPLAYABLE: 409,
        ErrorCode.TOO_LARGE: 413,
        ErrorCode.IDEMPOTENCY_KEY_REUSED: 422,
        ErrorCode.TOO_MANY_REQUESTS: 429,
        ErrorCode.UPGRADE_REQUIRED: 426,
        ErrorCode.HEADER_TOO_LARGE: 431,
        ErrorCode.INTERNAL_ERROR: 500,
        ErrorCode.UNAVAILABLE: 503,
        ErrorCode.OVERLOADED: 503,
    }
)
"""Every code that an HTTP answer may carry, and its status. A code that is missing here is a bug and becomes a 500."""

SCOPE_CODE = "capacity.code"
"""Where an ASGI scope says with which code the request was refused."""
SCOPE_ROUTE = "capacity.route"
"""Where an ASGI scope says which route took the request, as a template without ids."""

_CHALLENGED = frozenset({ErrorCode.UNAUTHORIZED, ErrorCode.TOKEN_EXPIRED})
_BODY_UNREAD = frozenset({ErrorCode.TOO_LARGE, ErrorCode.REQUEST_TIMEOUT})
CLOSE = {"Connection": "close"}

log = structlog.get_logger("capacity.http")


def title(code: str) -> str:
    """Return the sentence that is the same for every problem of this code."""
    return ErrorCode(code).message


def problem(code: str, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer for a code of `STATUS`. A 401 says how to authenticate, a 429 and a 503 when to come again."""
    status = STATUS[code]
    body = Problem(TYPE_PREFIX + code, title(code), status, detail or title(code), code)
    response = Response(msgspec.json.encode(body), status, media_type=MEDIA_TYPE, headers=headers)
    if code in _CHALLENGED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="capacity"'
    if (seconds := RETRY_AFTER_SECONDS.get(HTTPStatus(status))) is not None:
        response.headers["Retry-After"] = str(seconds)
    return response


class ProblemException(Exception):
    """A refusal with a code that `ErrorCode` has not, from inside an HTTP handler."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def _answer(
    request: Request, code: str, detail: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    request.scope[SCOPE_CODE] = code
    return problem(code, detail, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused | ProblemException)
    return _answer(request, error.code, error.detail, CLOSE if error.code in _BODY_UNREAD else None)


async def _unavailable(request: Request, error: Exception) -> Response:
    return _answer(request, ErrorCode.UNAVAILABLE)


async def _http_exception(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: no such route, no such method, a body that it cannot read."""
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            return _answer(request, ErrorCode.NOT_FOUND)
        case 405:
            return _answer(request, ErrorCode.METHOD_NOT_ALLOWED, headers=error.headers)
        case 413:
            return _answer(request, ErrorCode.TOO_LARGE)
        case status if 400 <= status < 500:
            return _answer(request, ErrorCode.MALFORMED)
        case _:
            return _answer(request, ErrorCode.INTERNAL_ERROR)


def exception_handlers() -> dict[type[Exception], ExceptionHandler]:
    """Return what `Starlette(exception_handlers=…)` needs. What is not among them comes to `Guard`."""
    return {
        Refused: _refused,
        ProblemException: _refused,
        Unavailable: _unavailable,
        HTTPException: _http_exception,
    }


class Guard:
    """ASGI middleware: an exception that nobody expected becomes one log line and a 500 problem.

    Starlette's own handler of last resort raises the exception again, and the server then logs the traceback. That may
    quote what a client sent, so the line names the exception and where it came from, and nothing that was in it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            return
        except Exception as error:
            log.error("request_failed", error=type(error).__name__, at=_origin(error), route=scope.get(SCOPE_ROUTE))
            if not started:
                scope[SCOPE_CODE] = ErrorCode.INTERNAL_ERROR
                await problem(ErrorCode.INTERNAL_ERROR)(scope, receive, send)


def _origin(error: BaseException) -> str:
    """`module:line` of where the exception was raised."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "unknown" if frame is None else f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}"
