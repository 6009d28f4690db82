"""The settings: what is allowed and unwise, and how strong the keys are. Secrets come in; only their measures go out."""

from __future__ import annotations

import base64
import math
import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from capacity.doctor.findings import Finding, ok, problem, warning
from capacity.settings import Settings
from capacity.web.token_keys import FILE_PREFIX, file_keys

GUESSABLE_BITS, WEAK_BITS = 64, 100
HOLD_SECONDS_MIN, LEASE_SECONDS_MIN, PING_SECONDS_MAX = 10.0, 3.0, 60.0
SECRETS_AT_ONCE = 2
_GIVEAWAYS = (b"secret", b"password", b"change", b"example", b"capacity")
"""What stands in secrets that people write; a random one has a word of six letters once in a billion."""
_MAKE_ONE = "make one with: openssl rand -base64 32"


def unknown(misspelled: Iterable[tuple[str, str]]) -> list[Finding]:
    """Judge variables that nobody reads."""
    return [
        warning("settings", f"{variable} is no setting, and is not read", f"was {meant} meant? Else take it away")
        for variable, meant in misspelled
    ]


def judge(settings: Settings) -> list[Finding]:
    """Judge everything that stands in the settings themselves. Raises SettingError for a key file that cannot be used."""
    return [*_relations(settings), _token_key(settings.token_key), *_webhook_secrets(settings), *_payments(settings)]


def _relations(settings: Settings) -> Iterable[Finding]:
    s = settings
    unwise = (
        (
            s.grace_seconds < s.lease_seconds,
            f"CAPACITY_GRACE_SECONDS ({s.grace_seconds:g}) is shorter than CAPACITY_LEASE_SECONDS ({s.lease_seconds:g}): "
            "a lost connection costs the seat sooner than a lost process is noticed",
            "make the grace the longer one",
        ),
        (
            s.place_seconds < s.grace_seconds,
            f"CAPACITY_PLACE_SECONDS ({s.place_seconds:g}) is shorter than CAPACITY_GRACE_SECONDS ({s.grace_seconds:g}): "
            "who waits is forgotten sooner than who sits",
            "make the place at least as long as the grace",
        ),
        (
            s.hold_seconds < HOLD_SECONDS_MIN,
            f"CAPACITY_HOLD_SECONDS is {s.hold_seconds:g}: a page on a slow phone does not reload in that time",
            f"give at least {HOLD_SECONDS_MIN:g} seconds",
        ),
        (
            s.lease_seconds < LEASE_SECONDS_MIN,
            f"CAPACITY_LEASE_SECONDS is {s.lease_seconds:g}: a process that pauses for a moment is taken for dead",
            f"give at least {LEASE_SECONDS_MIN:g} seconds",
        ),
        (
            s.ping_seconds > PING_SECONDS_MAX,
            f"CAPACITY_PING_SECONDS is {s.ping_seconds:g}: proxies cut connections that say nothing for a minute",
            f"give at most {PING_SECONDS_MAX:g}",
        ),
        (
            s.near_full_clear == s.near_full,
            f"CAPACITY_NEAR_FULL_CLEAR is CAPACITY_NEAR_FULL ({s.near_full}): one seat to and fro tells the host each time",
            "leave some room between them, such as 0.8 and 0.9",
        ),
    )
    found = [warning("settings", what, mend) for holds, what, mend in unwise if holds]
    return found or [ok("settings", "can work, and go together")]


def _token_key(key: str) -> Finding:
    if not key.startswith(FILE_PREFIX):
        return _strength("token key", "the HS256 secret", key.encode("utf-8", "surrogateescape"))
    path = Path(key.removeprefix(FILE_PREFIX))
    keys = [key.key for key in file_keys(path).values()]
    kinds = sorted(
        f"RSA of {key.key_size} bits" if isinstance(key, RSAPublicKey) else type(key).__name__.strip("_")
        for key in keys
    )
    said = f"{len(keys)} public: {', '.join(kinds)}"
    writable = [str(place) for place in (path, path.resolve().parent) if _writable_by_others(place)]
    if writable:
        return problem(
            "token key",
            f"{said}; others may write to {writable[0]}",
            f"chmod go-w {writable[0]}: whoever writes there, lets in",
        )
    return ok("token key", said)


def _writable_by_others(path: Path) -> bool:
    """Whether others may change it; in a sticky directory such as /tmp they may not."""
    mode = os.stat(path).st_mode
    return bool(mode & (stat.S_IWGRP | stat.S_IWOTH)) and not mode & stat.S_ISVTX


def _webhook_secrets(settings: Settings) -> Iterable[Finding]:
    secrets = settings.webhook_secrets
    if not secrets:
        return [ok("webhook secret", "none: POST /v1/events answers 404, events come by the stream or the desk")]
    found = [
        _strength("webhook secret", f"number {number} of {len(secrets)}", _decoded(secret))
        for number, secret in enumerate(secrets, 1)
    ]
    if len(secrets) > SECRETS_AT_ONCE:
        found.append(
            warning(
                "webhook secret",
                f"{len(secrets)} are accepted at once",
                "end the rotation: keep the one that the billing system signs with",
            )
        )
    return found


def _decoded(secret: str) -> bytes:
    encoded = secret.removeprefix("whsec_").rstrip("=")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4))


def _strength(check: str, what: str, secret: bytes) -> Finding:
    """Judge a secret by how hard its characters make it to guess. Nobody can see that a random one was copied from a web page."""
    bits = _bits(secret)
    said = f"{what} has {len(secret)} bytes"
    if bits <= GUESSABLE_BITS:
        return problem(check, f"{said}, and is easily guessed: it repeats itself", _MAKE_ONE)
    if bits < WEAK_BITS or any(word in secret.lower() for word in _GIVEAWAYS):
        return warning(check, f"{said}, and looks as if somebody had made it up", _MAKE_ONE)
    return ok(check, said)


def _bits(secret: bytes) -> float:
    """Estimate from above: of what it repeats, the entropy of its bytes by how often each comes."""
    unit = secret[: (secret + secret).find(secret, 1)]
    counts = Counter(unit)
    return -sum(count * math.log2(count / len(unit)) for count in counts.values())


def _payments(settings: Settings) -> Iterable[Finding]:
    if settings.desk == "off":
        return
    if settings.payments == "test":
        yield warning(
            "payments", "CAPACITY_PAYMENTS is test: nobody pays", "use stripe or invoice where it is for real"
        )
    elif settings.payments == "stripe" and "_test_" in settings.stripe_key:
        yield warning("payments", "CAPACITY_STRIPE_KEY is of Stripe's test mode: nobody pays", "use the live key")
    elif settings.payments == "stripe" and not settings.stripe_webhook_secrets:
        yield warning(
            "payments",
            "CAPACITY_STRIPE_WEBHOOK_SECRET is not set: a payment that is confirmed later is only seen when it is asked for",
            "set it to the endpoint's whsec_… secret",
        )
    else:
        yield ok("payments", settings.payments)
