"""What can go wrong between a client and the service, as exceptions. All of them are ClientError.

| exception | when | trying the same again |
|---|---|---|
| `Unreachable` | no answer came: the network, the name, a server that is down | later |
| `Problem` and what derives from it | the service answered no, with a `code` | see `Problem.retryable` |
| `Stopped` | a close code says that reconnecting is of no use | no |
| `NotConnected` | something was to be sent while no connection stands | when it stands again |
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

import msgspec

StopReason = Literal["left", "bug", "token", "unknown_account", "replaced", "ended"]
"""Why a connection does not come back: the words of the browser's client (`StopReason` in `static/types.js`)."""
LOST = 1006
"""The code of an end without a Close frame (RFC 6455, section 7.1.5); it never stands in one."""
CLOSE_CODES: Mapping[int, Literal["soon", "growing"] | StopReason] = MappingProxyType(
    {
        1000: "left",
        1002: "bug",
        1003: "bug",
        1007: "bug",
        1008: "bug",
        1009: "bug",
        1012: "soon",
        1013: "growing",
        4401: "token",
        4404: "unknown_account",
        4409: "replaced",
        4410: "ended",
        4429: "growing",
    }
)
"""What a close code asks for (docs/protocol.md, "Close codes"): a short or a growing delay, or to stop."""
BODY_BYTES_MAX = 100_000
"""The most that is read of an answer which should be a problem detail."""


class ClientError(Exception):
    """Base of everything that this package raises on purpose."""


class Unreachable(ClientError):
    """No answer came, or it is not known whether the request arrived. `str()` says to whom and why, without secrets."""


class NotConnected(ClientError):
    """There is no connection to send this over at the moment."""


class Stopped(ClientError):
    """The connection ended for good. `code` and `reason` are those of the close; `stop` says what it means."""

    def __init__(self, code: int, reason: str, stop: StopReason) -> None:
        super().__init__(f"closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.stop: StopReason = stop


class Problem(ClientError):
    """The service answered no (RFC 9457). `code` is the one word for why (docs/protocol.md, "Codes"); None where the
    answer came from somebody else, such as a proxy."""

    def __init__(self, status: int, code: str | None, detail: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{status}{f' {code}' if code else ''}{f': {detail}' if detail else ''}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, without anything being changed about it."""
        return self.status in (408, 429) or self.status >= 500


class Malformed(Problem):
    """400, 413, 422: the request is wrong."""


class Unauthorized(Problem):
    """401: no valid token, or no valid signature."""


class PaymentDeclined(Problem):
    """402: the payment was declined; nothing was charged and nothing changed."""


class Forbidden(Problem):
    """403: the token does not allow this."""


class NotFound(Problem):
    """404: there is no such account, participant, quote, report or event; `code` says which."""


class Conflict(Problem):
    """409: the rules refuse this as things stand; `code` says which."""


class TooManyRequests(Problem):
    """429: too much was asked for at once."""


class Unavailable(Problem):
    """5xx: the service cannot answer at the moment."""


_KINDS: Mapping[int, type[Problem]] = {
    400: Malformed,
    401: Unauthorized,
    402: PaymentDeclined,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Malformed,
    422: Malformed,
    429: TooManyRequests,
}


def problem_of(status: int, body: bytes, retry_after: str | None = None) -> Problem:
    """Return the exception for an answer that is no success; whatever the body is, this returns one."""
    if 300 <= status < 400:
        return Problem(status, None, "redirects are not followed: name the address that this one leads to")
    kind = _KINDS.get(status, Unavailable if status >= 500 else Problem)
    seconds = (
        float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else None
    )
    try:
        said = msgspec.json.decode(body[:BODY_BYTES_MAX], type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return kind(status, None, "", seconds)
    return kind(status, said.code, said.detail or said.title, seconds)


class _Said(msgspec.Struct, frozen=True):
    """As much of a problem detail as is needed; others leave out what they like."""

    code: str
    title: str = ""
    detail: str = ""


def address_of(url: str) -> str:
    """Return the address of a server without the slash at its end. Raises ValueError for what is no http(s) address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and (parts.port is None or parts.port > 0)
        usable = usable and bool((parts.hostname or "").encode("idna"))  # raises for what no resolver takes
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url or "?" in url or "#" in url:
        raise ValueError(f"expected an address such as http://localhost:8000, got {url!a}")
    return url.rstrip("/")
