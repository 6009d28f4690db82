"""The demo's stage: the service itself, with throw-away secrets, a store of its own, and a route that upgrades."""

from __future__ import annotations

import base64
import contextlib
import http.client
import math
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path

import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from capacity import app, serve
from capacity.demo.api import Api, NoAnswer
from capacity.demo.audience import SECRET_VARIABLE
from capacity.demo.billing import Billing
from capacity.demo.scene import Scene
from capacity.domain import plans
from capacity.errors import ErrorCode, Refused, SettingError, Unavailable
from capacity.settings import Settings, load
from capacity.store.embedded import EmbeddedValkey
from capacity.web.auth import KeyRing, bearer

RATE_VARIABLE = "CAPACITY_DEMO_RATE"
RATE = 1.5  # the smallest shipped plan is full after a quarter of a minute: time to open the host page and watch
UPGRADE_PATH = "/demo/upgrade"
UPGRADE_BYTES_MAX = 4096


class UpgradeWish(msgspec.Struct, frozen=True):
    """The body of `POST /demo/upgrade`: the plan that was offered; none is the next larger one."""

    plan: str | None = None


def run(environ: Mapping[str, str], *, host: str, port: int, audience: bool, data_dir: Path | None) -> int:
    """Run the demo as `capacity.demo.run` says."""
    settings = demo_settings(environ)
    rate = arrivals(environ)
    catalogue = plans.load(settings.plans)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(serve.listen(host, port))
        api = Api(host, listener.getsockname()[1])
        billing = Billing(api, catalogue=catalogue, secret=settings.token_key)
        if settings.redis_url is None:
            valkey = stack.enter_context(EmbeddedValkey((data_dir or settings.data_dir) / "demo"))
            settings = msgspec.structs.replace(settings, redis_url=valkey.url)
        upgrade = upgrade_route(billing, KeyRing(settings.token_key))
        application = app.build(settings, extra_routes=[upgrade], upgrade_url=UPGRADE_PATH)
        server = serve.Server(application, address=api.url)
        scene = Scene(
            api,
            billing,
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


def upgrade_route(billing: Billing, keyring: KeyRing) -> Route:
    """Return the route by which the host page's upgrade button changes the demo account's plan."""

    async def upgrade(request: Request) -> Response:
        claims = bearer(request, keyring)
        if claims.account != billing.account or not claims.billing:
            raise Refused(ErrorCode.FORBIDDEN, "Only a host of the demo account who may buy, may do this.")
        try:
            wish = msgspec.json.decode(await request.body() or b"{}", type=UpgradeWish)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(ErrorCode.MALFORMED, f"The request could not be read: {error}.") from None
        try:
            plan = await anyio.to_thread.run_sync(billing.upgrade, wish.plan)
        except (NoAnswer, OSError, http.client.HTTPException) as error:
            raise Unavailable(str(error)) from None
        if plan is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such plan on sale that is larger than the present one.")
        return JSONResponse({"plan": plan.id, "seats": plan.seats}, status_code=202)

    return Route(UPGRADE_PATH, upgrade, methods=["POST"], max_body_size=UPGRADE_BYTES_MAX)
