"""The composition root: settings → store → hub → edge and routes. Start reading here.

browser ── GET /v1/ws ──▶ web.edge ──▶ hub.Hub ──▶ store.rooms ──▶ lua/*.lua
billing ── POST /v1/events ──▶ web.webhook ──▶ store.plan_changes ──▶ hub.consumer ──▶ lua/apply.lua, lua/sweep.lua
  or it ── POST …/purchases ──▶ web.accounts ──▶ billing.Desk ──▶ lua/commit.lua ──▶ the same stream
                                    Redis ── feed ──▶ hub.room ──▶ sockets
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from starlette.applications import Starlette

from capacity import log
from capacity.billing import offers
from capacity.billing.account import Dunning
from capacity.billing.card import CardGateway
from capacity.billing.desk import Desk
from capacity.billing.gateway import Gateway, InvoiceGateway
from capacity.billing.taxes import Tax
from capacity.domain import plans
from capacity.domain.near_full import Shares
from capacity.domain.plans import Catalogue, Plan
from capacity.domain.subscription import Pricing
from capacity.errors import SettingError
from capacity.hub.hub import Hub
from capacity.protocol.messages import Upgrade
from capacity.settings import Settings
from capacity.store.card_bank import CardBank
from capacity.store.redis import Clients
from capacity.store.rooms import Account, Rules
from capacity.store.tasks import end
from capacity.store.verdicts import Verdicts
from capacity.web import pages, private_port, problems
from capacity.web.auth import KeyRing
from capacity.web.edge import protocol_class
from capacity.web.metrics import Metrics
from capacity.web.routes import middleware, routes

if TYPE_CHECKING:
    from capacity.hooks.webhooks import Webhooks
    from capacity.tracing import Tracing

ACCOUNT_PAGE = "/account"
START_SECONDS = 3.0
"""How long a new process keeps those who connect waiting until it is ready; then it says why it is not."""


class Port(NamedTuple):
    """What uvicorn serves on one port: the ASGI app, and the class for its connections."""

    asgi: Starlette
    http_class: type[asyncio.Protocol]


class Application(NamedTuple):
    """What a process serves, the hub for its signals, the desk if there is one, and what its private port serves."""

    asgi: Starlette
    http_class: type[asyncio.Protocol]
    hub: Hub
    desk: Desk | None
    private: Port


def build(settings: Settings, *, tax: Tax | None = None, metrics_apart: bool = False) -> Application:
    """Put a process together; nothing runs yet.

    `tax` is the hook for a tax line: (account, net amount) → the line of an invoice, or None. Without it amounts are net.
    `metrics_apart`: the metrics are on the private port alone, and the public one knows no such address.

    Raises SettingError for what cannot work, and for a `redis_url` that is not set: the caller starts the embedded one.
    """
    if settings.redis_url is None:
        raise SettingError(
            "CAPACITY_REDIS_URL: expected the address of a store; `capacity serve` starts one without it."
        )
    catalogue = plans.load(settings.plans)
    keyring = KeyRing(settings.token_key)
    clients = Clients(settings.redis_url)
    pricing = pricing_of(settings, catalogue)
    desk = desk_of(settings, clients, pricing, tax) if settings.desk == "on" else None
    hub = Hub(
        clients,
        rules_of(settings),
        settings.lease_seconds,
        offer_of(pricing, url=settings.upgrade_url or ACCOUNT_PAGE),
        audit=settings.audit == "on",
    )
    hub.traces = tracing = tracing_of(settings, hub)
    metrics = Metrics()
    http = routes(
        hub,
        keyring,
        event_log=Verdicts(clients.scripts),
        desk=desk,
        webhook_secrets=settings.webhook_secrets,
        catalogue=catalogue,
        pass_key=lambda: hub.pass_key,
        metrics=metrics,
        metrics_apart=metrics_apart,
    )
    webhooks = webhooks_of(settings, clients) if settings.hook_urls else None
    if webhooks is not None:
        hub.rooms.outbox = webhooks.outbox
        metrics.hooks = webhooks

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        log.identify(hub.id)
        await hub.start()
        # Whoever connects meanwhile waits in the queue of the socket: a balancer knows no better than that it is open.
        await hub.readiness.ready(START_SECONDS)
        if webhooks is not None:
            webhooks.start()
        beside = [asyncio.create_task(keyring.watch())]
        if desk is not None:
            beside.append(asyncio.create_task(desk.clerk.run()))
        yield
        await end(beside)
        if webhooks is not None:
            await webhooks.stop()
        await hub.stop()
        if tracing is not None:
            await tracing.close()

    asgi = Starlette(
        routes=[*http.public, *pages.routes(settings)],
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
    private = Starlette(
        routes=http.private, middleware=middleware(metrics, ()), exception_handlers=problems.exception_handlers()
    )
    return Application(asgi, edge, hub, desk, Port(private, private_port.protocol_class(edge)))


def check(settings: Settings) -> None:
    """Raise SettingError for a key, a catalogue or a payment gateway that cannot work, before anything is started for it."""
    plans.load(settings.plans)
    KeyRing(settings.token_key)
    if settings.desk == "on":
        gateway_of(settings, None)
    if settings.traces == "on":
        from capacity import tracing

        tracing.exporter()


def tracing_of(settings: Settings, hub: Hub) -> Tracing | None:
    """Return what takes the hub's traces, if they are wanted. Raises SettingError without its library, and for its environment."""
    if settings.traces == "off":
        return None
    # Imported here, because its library is an extra.
    from capacity.tracing import Tracing

    return Tracing(hub.id, hub.clock)


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


def pricing_of(settings: Settings, catalogue: Catalogue) -> Pricing:
    """Return what prices are made from."""
    return Pricing(catalogue, settings.running_day == "used", settings.downgrade_warning_days)


def desk_of(settings: Settings, clients: Clients, pricing: Pricing, tax: Tax | None) -> Desk:
    """Return the billing desk with the payment gateway of the settings."""
    retry_ms = tuple(_ms(seconds) for seconds in settings.payment_retry_seconds)
    dunning = Dunning(retry_ms, _ms(settings.payment_grace_seconds))
    return Desk(clients.scripts, pricing, gateway_of(settings, clients.scripts), dunning, tax=tax)


def webhooks_of(settings: Settings, clients: Clients) -> Webhooks:
    """Return the outbound webhooks to the addresses of the settings."""
    # Imported here, because its HTTP client is 8 MB that a process without webhooks need not have.
    from capacity.hooks.webhooks import Webhooks

    return Webhooks(clients.scripts, settings.hook_urls, settings.hook_secrets)


def gateway_of(settings: Settings, client: Any) -> Gateway:
    """Return the payment gateway of the settings; the test card's bank is asked by a client of the store."""
    match settings.payments:
        case "invoice":
            return InvoiceGateway()
        case "test":
            return CardGateway(CardBank(client))
        case "stripe":
            # Imported here, because its library is an extra.
            from capacity.billing.stripe_gateway import StripeGateway

            return StripeGateway(
                settings.stripe_key,
                settings.stripe_webhook_secrets,
                base_url=settings.stripe_url,
                return_url=settings.stripe_return_url,
            )


def offer_of(pricing: Pricing, *, url: str) -> Callable[[Account | None, int, int], Upgrade | None]:
    """Return what tells a banner which plan would fit, and what it costs today where the desk manages the account.

    `url` is where those buy whose account is not the desk's; the others do on its page.
    """

    def offer(account: Account | None, seats: int, wanted: int) -> Upgrade | None:
        subscription = offers.read(account.desk) if account is not None else None
        if subscription is not None:
            current: Plan | None = subscription.plan  # as it was bought: the catalogue may have forgotten it
        else:
            current = pricing.catalogue.get(account.plan) if account is not None else None
        plan = pricing.catalogue.upgrade_for(current, seats, wanted)
        if plan is None:
            return None
        upgrade = Upgrade(plan=plan.id, name=plan.name, seats=plan.seats, due_now=None, url=url)
        if subscription is None:
            return upgrade
        due_now = offers.due_now(pricing, subscription, plan, time.time_ns() // 1_000_000)
        return msgspec.structs.replace(upgrade, due_now=due_now, url=ACCOUNT_PAGE)

    return offer


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
