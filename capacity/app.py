"""The composition root: settings → store → hub → edge and routes. Start reading here.

browser ── GET /v1/ws ──▶ web.edge ──▶ hub.Hub ──▶ store.rooms ──▶ lua/*.lua
billing ── POST /v1/events ──▶ web.webhook ──▶ store.plan_changes ──▶ hub.consumer ──▶ lua/apply.lua, lua/sweep.lua
                                    Redis ── feed ──▶ hub.room ──▶ sockets
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from capacity.domain import plans
from capacity.domain.near_full import Shares
from capacity.domain.plans import Catalogue
from capacity.errors import SettingError
from capacity.hub.hub import Hub
from capacity.protocol.messages import Upgrade
from capacity.settings import Settings
from capacity.store.redis import Clients
from capacity.store.rooms import Rules
from capacity.store.verdicts import Verdicts
from capacity.web import pages, problems
from capacity.web.auth import KeyRing
from capacity.web.edge import protocol_class
from capacity.web.metrics import Metrics
from capacity.web.routes import middleware, routes

ACCOUNT_PAGE = "/account"


class Application(NamedTuple):
    """What uvicorn serves: the ASGI app, the class for its connections, and the hub for its signals."""

    asgi: Starlette
    http_class: type[asyncio.Protocol]
    hub: Hub


def build(settings: Settings, *, extra_routes: Sequence[BaseRoute] = (), upgrade_url: str | None = None) -> Application:
    """Put a process together; nothing runs yet. `upgrade_url` is where the banner's button goes instead of the setting.

    Raises SettingError for what cannot work, and for a `redis_url` that is not set: the caller starts the embedded one.
    """
    if settings.redis_url is None:
        raise SettingError(
            "CAPACITY_REDIS_URL: expected the address of a store; `capacity serve` starts one without it."
        )
    catalogue = plans.load(settings.plans)
    keyring = KeyRing(settings.token_key)
    clients = Clients(settings.redis_url)
    hub = Hub(
        clients,
        rules_of(settings),
        settings.lease_seconds,
        offer_of(catalogue, upgrade_url or settings.upgrade_url or ACCOUNT_PAGE),
    )
    metrics = Metrics()
    http = routes(
        hub,
        keyring,
        event_log=Verdicts(clients.scripts),
        webhook_secrets=settings.webhook_secrets,
        catalogue=catalogue,
        pass_key=lambda: hub.pass_key,
        metrics=metrics,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await hub.start()
        yield
        await hub.stop()

    asgi = Starlette(
        routes=[*http, *extra_routes, *pages.routes(settings)],
        middleware=middleware(metrics, settings.allowed_origins),
        exception_handlers=problems.exception_handlers(),
        lifespan=lifespan,
    )
    edge = protocol_class(
        hub=hub,
        verify=keyring.verify,
        allowed_origins=settings.allowed_origins,
        trusted_proxies=settings.trusted_proxies,
        ping_seconds=settings.ping_seconds,
        stats=metrics.edge,
    )
    return Application(asgi, edge, hub)


def check(settings: Settings) -> None:
    """Raise SettingError for a key or a catalogue that cannot work, before anything is started for it."""
    plans.load(settings.plans)
    KeyRing(settings.token_key)


def rules_of(settings: Settings) -> Rules:
    """Return the settings that decide in the scripts."""
    return Rules(
        grace_ms=_ms(settings.grace_seconds),
        place_ms=_ms(settings.place_seconds),
        hold_ms=_ms(settings.hold_seconds),
        idle_ms=_ms(settings.idle_seconds),
        ended_ms=_ms(settings.ended_seconds),
        shares=Shares.of(settings.near_full, settings.near_full_clear),
    )


def offer_of(catalogue: Catalogue, url: str) -> Callable[[str, str, int, int], Upgrade | None]:
    """Return what tells a banner which plan would fit. Without a billing desk nobody knows what it costs today."""

    def offer(_: str, plan_id: str, seats: int, wanted: int) -> Upgrade | None:
        plan = catalogue.upgrade_for(plan_id, seats, wanted)
        if plan is None:
            return None
        return Upgrade(plan=plan.id, name=plan.name, seats=plan.seats, due_now=None, url=url)

    return offer


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
