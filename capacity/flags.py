"""What the commands of the program share: the flags of the settings, and how a failure is told."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from capacity import settings

# flag → what --help says of it
SETTINGS = {
    "redis_url": "Redis or Valkey to use; without one, an embedded Valkey runs in the data directory.",
    "data_dir": "Where the embedded Valkey keeps its data.",
    "token_key": "HS256 secret of at least 32 bytes, or file:PATH of a PEM public key or a JWKS. Others on this "
    "machine can see arguments: a secret is better off in CAPACITY_TOKEN_KEY.",
    "webhook_secret": "whsec_… secrets of the billing system, separated by spaces.",
    "hook_urls": "https:// addresses that are told what happens in rooms, separated by spaces.",
    "hook_secret": "whsec_… secrets that sign it, separated by spaces; better off in CAPACITY_HOOK_SECRET.",
    "plans": "Plan catalogue (TOML).",
    "allowed_origins": "Browser origins let in besides our own, separated by spaces.",
    "trusted_proxies": "Address ranges whose forwarded headers count, separated by spaces.",
    "frame_ancestors": "Who may frame the pages, separated by spaces.",
    "near_full": "Share of the seat limit that is near full. Default: 0.9.",
    "near_full_clear": "Share of the seat limit below which that is over. Default: 0.8.",
    "grace_seconds": "How long a lost connection keeps its seat. Default: 30.",
    "place_seconds": "How long a lost connection keeps its place in the line. Default: 120.",
    "hold_seconds": "How long a seat is held for someone told to refresh. Default: 60.",
    "lease_seconds": "How long a silent process keeps its participants. Default: 10.",
    "ping_seconds": "Time between server pings; two unanswered are a lost connection. Default: 25.",
    "idle_seconds": "When an open room with nobody in it ends. Default: 900.",
    "ended_seconds": "How long an ended room answers that it ended. Default: 3600.",
    "audit": "on: every change of a room is written down in a stream of the store. Default: off.",
    "log_level": "Least severe kind of line to log: debug, info, warning or error. Default: info.",
    "log_format": "json, text for eyes, or auto: text on a terminal, JSON lines otherwise. Default: auto.",
    "traces": "on: send OpenTelemetry traces to where the OTEL_* environment says; needs capacity[traces]. Default: off.",
    "upgrade_url": "Where the upgrade button goes when billing is external.",
    "support_url": "Support link beside a downgrade.",
    "desk": "on, or off where another billing system publishes all plan changes. Default: on.",
    "payments": "How purchases are paid: invoice (recorded as due), stripe, or test (a card that pays nothing). "
    "Default: invoice.",
    "payment_grace_seconds": "How long an account keeps its seats after a declined renewal. Default: 604800.",
    "payment_retry_seconds": "When a declined renewal is tried again, counted from the first time. "
    "Default: 86400 259200 432000.",
    "downgrade_warning_days": "With fewer days left in the period, a downgrade warns. Default: 3.",
    "running_day": "Whether the running day counts as used or as left when a difference is charged. Default: used.",
    "stripe_key": "Stripe's secret or restricted key; better off in CAPACITY_STRIPE_KEY.",
    "stripe_webhook_secret": "Stripe's whsec_… secrets for POST /v1/payments/events, separated by spaces.",
    "stripe_url": "Address of Stripe's API, where it is not Stripe's own.",
    "stripe_return_url": "Where Stripe sends payers back who had to confirm a payment.",
}


class Failed(Exception):
    """Something that was tried and did not work. `str()` is the one line; the exit code is 1."""


def with_flags(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each of the settings, and put what came by flag into the environment.

    Into the environment, because the worker processes of `serve` and the demo read their settings from there.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            for name in names:
                value = arguments.pop(name)
                if value is not None:
                    os.environ[settings.variable_of(name)] = value
            command(**arguments)

        own = inspect.signature(command, eval_str=True).parameters.values()
        flags = [_flag(name) for name in names]
        run.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *flags)}
        return run

    return decorate


def _flag(name: str) -> inspect.Parameter:
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{SETTINGS[name]} ({settings.variable_of(name)})",
        show_default=False,
        rich_help_panel="Settings",
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


def settings_without(*names: str) -> settings.Settings:
    """The settings for a command beside the server, which need not have all of the server's variables in order."""
    hidden = {settings.variable_of(name) for name in names}
    environ: Mapping[str, str] = {name: value for name, value in os.environ.items() if name not in hidden}
    return settings.load(environ, require_token_key=False)
