"""What `capacity publish` does: a plan-changed event, put into the stream or posted as a signed webhook."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import msgspec

from capacity.client import ClientError, PlanChange, PlanEvent, PlanPublisher, StreamPublisher, WebhookPublisher
from capacity.client.errors import Problem
from capacity.domain import plans
from capacity.errors import SettingError
from capacity.protocol import events
from capacity.settings import Settings
from capacity.store.data_dir import DataDirectory

SOURCE = "capacity-publish"


class NotPublished(Exception):
    """The event was not taken, or it is not known whether it was. `str()` says why in a few words."""


class Event(msgspec.Struct, frozen=True):
    """One event, ready to be sent; `summary` is what it says, for people."""

    event: PlanEvent
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
    plan = plan if plan is not None else _plan_with(settings, seats)
    change = PlanChange(
        account=account, plan=plan, seats=seats, concurrent_sessions=concurrent_sessions, version=version
    )
    try:
        return Event(PlanEvent.of(change, source=SOURCE), f"{account} on plan {plan} with {seats} seats")
    except events.Rejected as rejected:
        raise SettingError(str(rejected)) from None


def _plan_with(settings: Settings, seats: int) -> str:
    """The id of the monthly plan on sale with exactly so many seats, `custom` if there is none."""
    on_sale = plans.load(settings.plans).on_sale()
    return next((plan.id for plan in on_sale if plan.seats == seats and plan.cycle_days == 30), "custom")


def append(settings: Settings, event: Event) -> str:
    """Write the event to the stream of the store."""
    url = store_url(settings, instead=", or give --url")
    return asyncio.run(_send(StreamPublisher(url, source=SOURCE), event, "the store"))


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


def post(settings: Settings, event: Event, url: str) -> str:
    """Post the event to URL/v1/events, signed with the first of the webhook secrets."""
    if not settings.webhook_secrets:
        raise SettingError("CAPACITY_WEBHOOK_SECRET: expected the whsec_… secret to sign with, got nothing.")
    try:
        publisher = WebhookPublisher(url, settings.webhook_secrets[0], source=SOURCE)
    except ValueError as error:
        raise SettingError(f"--url: {error}.") from None
    return asyncio.run(_send(publisher, event, publisher.target))


async def _send(publisher: PlanPublisher, event: Event, to: str) -> str:
    async with publisher:
        try:
            done = await publisher.send(event.event)
        except Problem as refused:
            raise NotPublished(f"{to} answered {refused}") from None
        except ClientError as error:
            raise NotPublished(str(error)) from None
    return f"{done}: {event.summary} (event {event.event.id})"
