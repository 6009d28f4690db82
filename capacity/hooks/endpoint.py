"""An endpoint of the platform: one POST to it, and what its answer means.

A redirect is an answer like any other that is not 2xx: where events go is said by the settings alone.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from capacity import __version__
from capacity.protocol import signatures

TIMEOUT_SECONDS = 15.0
"""For the whole of a try; the spec asks for 15 to 30 s."""
CONNECT_SECONDS = 5.0
ANSWER_BYTES_MAX = 4096
"""As much of an answer is read, so that its connection can be used again; a longer one costs the connection."""
GONE = 410
BUSY = (429, 503)
RETRY_AFTER_SECONDS_MAX = 24 * 3600
HEADERS = {"content-type": "application/json", "user-agent": f"capacity/{__version__}"}


class Answer(NamedTuple):
    """What became of a try. `after_seconds`: for how long the endpoint wants to be left alone; 0: it did not say."""

    outcome: Literal["delivered", "failed", "gone"]
    reason: str = ""
    """Why not, in a word or a status; for logs and dead letters."""
    after_seconds: float = 0.0


class Endpoint:
    """One address of CAPACITY_HOOK_URLS, and the secrets that sign what goes there."""

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        self._url = url
        self._secrets = tuple(secrets)
        self.id = id_of(url)
        self.shown = shown(url)

    async def post(self, session: aiohttp.ClientSession, id: str, body: bytes, now_seconds: int) -> Answer:
        """Try to deliver, signed now. Whatever the other side does is an answer; `session` as `new_session` makes it."""
        headers = HEADERS | signatures.sign_with_all(self._secrets, id, now_seconds, body)
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                answer = _judged(response, now_seconds)
                await _finish(response)
                return answer
        except TimeoutError:
            return Answer("failed", "timeout")
        except aiohttp.ClientSSLError:
            return Answer("failed", "tls")
        except aiohttp.ClientConnectorError:
            return Answer("failed", "not_connected")
        except (aiohttp.ClientError, OSError, ValueError):  # a ValueError: a host that cannot be a name
            return Answer("failed", "no_answer")


def new_session() -> aiohttp.ClientSession:
    """Return a session: no cookies, no proxies and no passwords from the environment, nothing unpacked."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=ANSWER_BYTES_MAX,
    )


def id_of(url: str) -> str:
    """Return what stands for an address in the store."""
    return hashlib.blake2b(url.encode(), digest_size=8).hexdigest()


def shown(url: str) -> str:
    """Return an address without its path, query and credentials, each of which may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _judged(response: aiohttp.ClientResponse, now_seconds: int) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer("delivered")
    if status == GONE:
        return Answer("gone", "410")
    after_seconds = _retry_after(response.headers.get("retry-after", ""), now_seconds) if status in BUSY else 0.0
    return Answer("failed", str(status), after_seconds)


def _retry_after(text: str, now_seconds: int) -> float:
    """Return the time of a Retry-After (RFC 9110, section 10.2.3), 0 for one that is none; at most a day."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            instant = parsedate_to_datetime(text)
            seconds = instant.replace(tzinfo=instant.tzinfo or UTC).timestamp() - now_seconds
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(0.0, seconds), RETRY_AFTER_SECONDS_MAX)


async def _finish(response: aiohttp.ClientResponse) -> None:
    """Read an answer that is short to its end; leaving the block closes the connection of another. Its status was said before."""
    left = ANSWER_BYTES_MAX
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        while left > 0 and (piece := await response.content.read(left)):
            left -= len(piece)
