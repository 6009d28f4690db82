"""The settings of the service: every CAPACITY_* variable of the contract, checked once at start.

`load` either returns Settings that can work or raises SettingError with one line: the variable, what was expected, what
came, what to do. Values of secrets and passwords never stand in that line, nor in the repr of Settings.
An empty variable counts as not set.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import platformdirs

from capacity import setting_readers as readers

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "text"]
NEAR_FULL, NEAR_FULL_CLEAR = Decimal("0.9"), Decimal("0.8")
Payments = Literal["invoice", "stripe", "test"]
"""How purchases are paid. Each word is a gateway (`gateway_of` in `capacity/app.py`)."""
_PREFIX = "CAPACITY_"
ALIKE = 0.8
"""How alike two names are of which one is the other misspelled, by difflib: GRACE_SECOND and GRACE_SECONDS are 0.96."""
SECRETS = frozenset(
    {"token_key", "webhook_secrets", "hook_urls", "hook_secrets", "redis_url", "stripe_key", "stripe_webhook_secrets"}
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the service runs with. Durations are in seconds, shares are exact."""

    data_dir: Path
    redis_url: str | None = None  # None: the embedded Valkey in data_dir
    token_key: str = ""  # the HS256 secret, or file:PATH; empty only after load(require_token_key=False)
    webhook_secrets: tuple[str, ...] = ()
    hook_urls: tuple[str, ...] = ()
    hook_secrets: tuple[str, ...] = ()
    plans: Path | None = None
    allowed_origins: tuple[str, ...] = ()  # scheme://host[:port], lower case, default ports left out
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    frame_ancestors: tuple[str, ...] = ()
    near_full: Decimal = NEAR_FULL
    near_full_clear: Decimal = NEAR_FULL_CLEAR
    grace_seconds: float = 30.0
    place_seconds: float = 120.0
    hold_seconds: float = 60.0
    lease_seconds: float = 10.0
    ping_seconds: float = 25.0
    idle_seconds: float = 900.0
    ended_seconds: float = 3600.0
    audit: Literal["on", "off"] = "off"
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"
    traces: Literal["on", "off"] = "off"
    upgrade_url: str | None = None
    support_url: str | None = None
    desk: Literal["on", "off"] = "on"
    payments: Payments = "invoice"
    payment_grace_seconds: float = 604800.0
    payment_retry_seconds: tuple[float, ...] = (86400.0, 259200.0, 432000.0)
    downgrade_warning_days: int = 3
    running_day: Literal["used", "left"] = "used"
    stripe_key: str = ""
    stripe_webhook_secrets: tuple[str, ...] = ()
    stripe_url: str | None = None
    stripe_return_url: str | None = None

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in SECRETS)
        return f"Settings({', '.join(shown)})"

    def __rich_repr__(self) -> Any:
        for name in self.__struct_fields__:
            if name not in SECRETS:
                yield name, getattr(self, name)


def load(environ: Mapping[str, str], *, require_token_key: bool = True, **flags: str | None) -> Settings:
    """Return the settings of `environ`, each overridden by the flag of the same name that is not None.

    A flag is named like its variable without CAPACITY_, in lower case (`webhook_secret`, `redis_url`, …).
    Raises SettingError for the first setting that cannot work.
    """
    if unknown := flags.keys() - _READERS.keys():
        raise TypeError(f"load() knows no setting called {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {}
    for name, (field, read) in _READERS.items():
        variable = variable_of(name)
        flag = flags.get(name)
        text = environ.get(variable, "") if flag is None else flag
        if text.strip():
            found[field] = read(variable, text)
    found.setdefault("data_dir", platformdirs.user_data_path("capacity", appauthor=False))
    if require_token_key and not found.get("token_key"):
        readers.refuse(
            "CAPACITY_TOKEN_KEY",
            f"an HS256 secret of at least {readers.SECRET_BYTES_MIN} bytes, or file:PATH of a public key",
            "nothing",
            "set it to what your platform signs its tokens with",
        )
    _relate_shares(found)
    settings = Settings(**found)
    _check_payments(settings)
    if require_token_key:
        _check_hooks(settings)
    return settings


def misspelled(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the variables that are no settings and are nearly called like one, each with the one that was meant.

    Others are left alone: Kubernetes, for one, sets CAPACITY_SERVICE_HOST and more for a service called capacity.
    """
    ours = {variable_of(name) for name in _READERS}
    names = sorted(name.removeprefix(_PREFIX) for name in environ.keys() - ours if name.startswith(_PREFIX))
    meant = (difflib.get_close_matches(name.lower(), _READERS, 1, ALIKE) for name in names)
    return [(f"{_PREFIX}{name}", variable_of(found[0])) for name, found in zip(names, meant, strict=True) if found]


def variable_of(flag: str) -> str:
    """Return the environment variable of a flag: `near_full` → `CAPACITY_NEAR_FULL`."""
    return f"{_PREFIX}{flag.upper()}"


def _relate_shares(found: dict[str, Any]) -> None:
    """Hold 0 < clear ≤ near full. A clear share that was not set follows a near-full share set below it."""
    near_full: Decimal = found.get("near_full", NEAR_FULL)
    clear: Decimal = found.setdefault("near_full_clear", min(NEAR_FULL_CLEAR, near_full))
    if clear > near_full:
        readers.refuse(
            "CAPACITY_NEAR_FULL_CLEAR", f"a share of at most CAPACITY_NEAR_FULL, which is {near_full}", f"{clear}"
        )


def _check_payments(settings: Settings) -> None:
    """Hold that Stripe has its key."""
    if settings.payments == "stripe" and not settings.stripe_key:
        readers.refuse(
            "CAPACITY_STRIPE_KEY", "the secret or restricted key of CAPACITY_PAYMENTS=stripe", "nothing", "set it"
        )


def _check_hooks(settings: Settings) -> None:
    """Hold that what is sent is signed."""
    if settings.hook_urls and not settings.hook_secrets:
        readers.refuse(
            "CAPACITY_HOOK_SECRET",
            "the secret that signs what CAPACITY_HOOK_URLS are sent",
            "nothing",
            readers.NEW_SECRET,
        )


# flag → (field of Settings, how its text is read)
_READERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "redis_url": ("redis_url", readers.redis_url),
    "data_dir": ("data_dir", readers.directory),
    "token_key": ("token_key", readers.token_key),
    "webhook_secret": ("webhook_secrets", readers.webhook_secrets),
    "hook_urls": ("hook_urls", readers.hook_urls),
    "hook_secret": ("hook_secrets", readers.hook_secrets),
    "plans": ("plans", readers.readable_file),
    "allowed_origins": ("allowed_origins", readers.origins),
    "trusted_proxies": ("trusted_proxies", readers.networks),
    "frame_ancestors": ("frame_ancestors", readers.frame_ancestors),
    "near_full": ("near_full", readers.share),
    "near_full_clear": ("near_full_clear", readers.share),
    **{
        name: (name, readers.seconds)
        for name in (
            "grace_seconds",
            "place_seconds",
            "hold_seconds",
            "lease_seconds",
            "ping_seconds",
            "idle_seconds",
            "ended_seconds",
        )
    },
    "audit": ("audit", readers.word("on", "off")),
    "log_level": ("log_level", readers.word(*get_args(LogLevel))),
    "log_format": ("log_format", readers.word(*get_args(LogFormat))),
    "traces": ("traces", readers.word("on", "off")),
    "upgrade_url": ("upgrade_url", readers.link("https", "http")),
    "support_url": ("support_url", readers.link("https", "http", "mailto")),
    "desk": ("desk", readers.word("on", "off")),
    "payments": ("payments", readers.word(*get_args(Payments))),
    "payment_grace_seconds": ("payment_grace_seconds", readers.seconds),
    "payment_retry_seconds": ("payment_retry_seconds", readers.rising_seconds),
    "downgrade_warning_days": ("downgrade_warning_days", readers.days),
    "running_day": ("running_day", readers.word("used", "left")),
    "stripe_key": ("stripe_key", readers.secret),
    "stripe_webhook_secret": ("stripe_webhook_secrets", readers.secrets),
    "stripe_url": ("stripe_url", readers.link("https", "http")),
    "stripe_return_url": ("stripe_return_url", readers.link("https", "http")),
}
FLAGS = tuple(_READERS)
