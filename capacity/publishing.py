"""What `capacity publish` does: a plan-changed event, put into the stream or posted as a signed webhook."""

from __future__ import annotations

import asyncio
import http.client
import time
import urllib.error
import urllib.request
import uuid
from urllib.parse import quote, urlsplit

import msgspec
from redis.exceptions import RedisError

from capacity.domain import plans
from capacity.errors import SettingError, Unavailable
from capacity.protocol import events, signatures
from capacity.settings import Settings
from capacity.store.data_dir import DataDirectory

SOURCE = "capacity-publish"
ANSWER_SECONDS = 10.0
ANSWER_BYTES_MAX = 100_000


class NotPublished(Exception):
    """The event was not taken, or it is not known whether it was. `str()` says why in a few words."""


class Event(msgspec.Struct, frozen=True):
    """One event, ready to be sent; `summary` is what it says, for people."""

    id: str
    body: bytes
    summary: str


def event(
    settings: Settings,
    account: str,
    *,
    seats: int,
    plan: str | None = None,
    version: int | None = None,
    concurrent_sessions: int | None = None,
) -> Event:
    """Return the event of a change made now. Raises SettingError for what the contract does not allow in one."""
    id = str(uuid.uuid4())
    plan = plan if plan is not None else _plan_with(settings, seats)
    try:
        body = events.build(
            account,
            plan,
            seats,
            source=SOURCE,
            id=id,
            time_ms=time.time_ns() // 1_000_000,
            concurrent_sessions=concurrent_sessions,
            version=version,
        )
    except events.Rejected as rejected:
        raise SettingError(str(rejected)) from None
    return Event(id, body, f"{account} on plan {plan} with {seats} seats")


def _plan_with(settings: Settings, seats: int) -> str:
    """The id of the monthly plan on sale with exactly so many seats, `custom` if there is none."""
    on_sale = plans.load(settings.plans).on_sale()
    return next((plan.id for plan in on_sale if plan.seats == seats and plan.cycle_days == 30), "custom")


def append(settings: Settings, event: Event) -> str:
    """Write the event to the stream of the store."""
    url = store_url(settings, instead=", or give --url")
    try:
        entry = asyncio.run(_append(url, event.body))
    except (Unavailable, RedisError, OSError) as error:
        raise NotPublished(f"the store did not take it ({str(error) or type(error).__name__})") from None
    return f"published to the stream as entry {entry}: {event.summary} (event {event.id})"


def store_url(settings: Settings, *, instead: str = "") -> str:
    """Return the address of the store: CAPACITY_REDIS_URL, or the socket of the server that runs on the data directory.

    Raises SettingError if there is neither; `instead` is what else its text proposes.
    """
    if settings.redis_url is not None:
        return settings.redis_url
    socket = DataDirectory(settings.data_dir).running_socket()
    if socket is None:
        raise SettingError(
            f"CAPACITY_REDIS_URL: not set, and no server runs on {str(settings.data_dir)!r}; "
            f"set it, or CAPACITY_DATA_DIR to the directory of the running server{instead}."
        )
    return f"unix://{quote(str(socket))}"


async def _append(url: str, body: bytes) -> str:
    from capacity.store.plan_changes import PlanChanges
    from capacity.store.redis import Clients

    clients = Clients(url)
    try:
        return await PlanChanges(clients, SOURCE).append(body)
    finally:
        await clients.aclose()


def post(settings: Settings, event: Event, url: str) -> str:
    """Post the event to URL/v1/events, signed with the first of the webhook secrets."""
    if not settings.webhook_secrets:
        raise SettingError("CAPACITY_WEBHOOK_SECRET: expected the whsec_… secret to sign with, got nothing.")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise SettingError(f"--url: expected an address such as http://localhost:8000, got {url!a}.")
    target = url.rstrip("/").removesuffix("/v1/events") + "/v1/events"
    headers = signatures.sign(settings.webhook_secrets[0], event.id, int(time.time()), event.body)
    request = urllib.request.Request(
        target, data=event.body, headers={**headers, "Content-Type": "application/cloudevents+json"}, method="POST"
    )
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            status = answer.status
    except urllib.error.HTTPError as refused:
        with refused:
            raise NotPublished(f"{target} answered {refused.code}{_problem(refused)}") from None
    except urllib.error.URLError as error:
        raise NotPublished(f"{target} cannot be reached ({error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise NotPublished(f"{target} gave no answer ({error or type(error).__name__})") from None
    return f"{target} answered {status}: {event.summary} (event {event.id})"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signed event goes where it was told to and nowhere else."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def _problem(refused: urllib.error.HTTPError) -> str:
    """What the problem detail (RFC 9457) of the answer says, if it is one."""
    try:
        problem = msgspec.json.decode(refused.read(ANSWER_BYTES_MAX))
        return f" {problem['code']}: {problem.get('detail') or problem.get('title', '')}"
    except (OSError, http.client.HTTPException, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return ""
