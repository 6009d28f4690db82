"""The demo's stage: the service itself, with throw-away secrets and a store of its own."""

from __future__ import annotations

import base64
import contextlib
import math
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path

import msgspec

from capacity import app, serve
from capacity.demo.api import Api
from capacity.demo.audience import SECRET_VARIABLE
from capacity.demo.scene import Scene
from capacity.domain import plans
from capacity.domain.plans import Catalogue, Plan
from capacity.errors import SettingError
from capacity.server import Server
from capacity.settings import Settings, load
from capacity.store.embedded import EmbeddedValkey

RATE_VARIABLE = "CAPACITY_DEMO_RATE"
RATE = 1.5  # the smallest shipped plan is full after a quarter of a minute: time to open the host page and watch


def run(environ: Mapping[str, str], *, host: str, port: int, audience: bool, data_dir: Path | None) -> int:
    """Run the demo as `capacity.demo.run` says."""
    settings = demo_settings(environ)
    rate = arrivals(environ)
    plan = smallest_paid(plans.load(settings.plans))
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(serve.listen(host, port))
        api = Api(host, listener.getsockname()[1])
        if settings.redis_url is None:
            valkey = stack.enter_context(EmbeddedValkey((data_dir or settings.data_dir) / "demo"))
            settings = msgspec.structs.replace(settings, redis_url=valkey.url)
        server = Server(app.build(settings), address=api.url)
        scene = Scene(
            api,
            plan,
            settings.token_key,
            rate=rate if audience else None,
            give_up=lambda: server.handle_exit(signal.SIGTERM, None),
        )
        with scene:
            server.run(sockets=[listener])
        return scene.status if server.started else 1


def demo_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings with throw-away secrets where none are set, and the test card: nobody pays for a demo.

    Raises SettingError, also for a key file.
    """
    made = {
        SECRET_VARIABLE: secrets.token_urlsafe(32),
        "CAPACITY_WEBHOOK_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii"),
    }
    settings = load({**made, **{name: value for name, value in environ.items() if value.strip() or name not in made}})
    if settings.token_key.startswith("file:"):
        raise SettingError(
            f"{SECRET_VARIABLE}: expected a secret, because the demo signs its own tokens, got a public key; unset it."
        )
    return msgspec.structs.replace(settings, desk="on", payments="test")


def arrivals(environ: Mapping[str, str]) -> float:
    """Return how many of the audience arrive a second. Raises SettingError for what is no positive number."""
    text = environ.get(RATE_VARIABLE, "").strip()
    try:
        rate = float(text) if text else RATE
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 1000:
        raise SettingError(f"{RATE_VARIABLE}: expected arrivals a second, above 0 and at most 1000, got {text!a}.")
    return rate


def smallest_paid(catalogue: Catalogue) -> Plan:
    """Return the paid plan on sale with the fewest seats, monthly if possible. Raises SettingError if there is none."""
    for plan in catalogue.on_sale():  # monthly plans first, the smallest first
        if not plan.trial:
            return plan
    raise SettingError("CAPACITY_PLANS: expected a paid plan on sale for the demo account, got none.")
