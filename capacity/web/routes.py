"""The HTTP surface put together: the table of operations, its routes, and what stands around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from capacity.billing.desk import Desk
from capacity.domain.plans import Catalogue
from capacity.protocol.answers import Plans
from capacity.protocol.passes import PassKey
from capacity.web import private_port
from capacity.web.accounts import AccountApi
from capacity.web.auth import KeyRing
from capacity.web.bodies import BODY_SECONDS
from capacity.web.console import ConsoleApi
from capacity.web.cors import Cors
from capacity.web.metrics import Metrics
from capacity.web.openapi import document
from capacity.web.operations import routes_of
from capacity.web.payments import PaymentApi
from capacity.web.ports import EventLog, RoomHub
from capacity.web.problems import Guard
from capacity.web.rooms import RoomApi
from capacity.web.service import ServiceApi
from capacity.web.traffic import SafeHeaders, Traffic
from capacity.web.webhook import Webhook


class Routes(NamedTuple):
    """The routes of each port. Those of the private one are the public ones' too, but for the metrics if they are apart."""

    public: list[BaseRoute]
    private: list[BaseRoute]


def routes(
    hub: RoomHub,
    keyring: KeyRing,
    *,
    event_log: EventLog,
    desk: Desk | None = None,
    webhook_secrets: Sequence[str],
    catalogue: Catalogue,
    pass_key: Callable[[], PassKey | None],
    metrics: Metrics,
    metrics_apart: bool = False,
    clock: Callable[[], float] = time.time,
    body_seconds: float = BODY_SECONDS,
) -> Routes:
    """Return the routes of the contract, those of the billing desk only if there is one.

    The app needs `problems.exception_handlers()` and `middleware` as well.
    """
    metrics.watch(hub, desk.cashier.outcomes if desk is not None else {})
    payments = desk.gateway.kind if desk is not None else None
    service = ServiceApi(hub, keyring, metrics, Plans.of(catalogue, payments), pass_key)
    table = [
        *service.operations(),
        *RoomApi(hub, keyring).operations(),
        *Webhook(hub, webhook_secrets, clock=clock, body_seconds=body_seconds).operations(),
        *ConsoleApi(event_log, keyring).operations(),
    ]
    if desk is not None:
        table += [*AccountApi(desk, keyring).operations(), *PaymentApi(desk).operations()]
    private = [operation for operation in table if operation.path in private_port.PATHS]
    if metrics_apart:
        table = [operation for operation in table if operation.path != private_port.METRICS]
    service.describe(msgspec.json.encode(document(table)))
    return Routes(routes_of(table), routes_of(private))


def middleware(metrics: Metrics, allowed_origins: Sequence[str]) -> list[Middleware]:
    """Return what `Starlette(middleware=…)` needs, outermost first."""
    cors = [Middleware(Cors, allowed_origins=tuple(allowed_origins))] if allowed_origins else []
    return [Middleware(Traffic, metrics=metrics), Middleware(SafeHeaders), *cors, Middleware(Guard)]
