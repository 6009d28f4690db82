"""Tokens for the people of the demo. A real platform signs its own; here the demo knows the secret."""

from __future__ import annotations

import time
from typing import Literal

import jwt

AUDIENCE = "capacity"
TTL_SECONDS = 12 * 3600


def mint(
    secret: str,
    participant: str,
    *,
    account: str,
    room: str | None,
    role: Literal["host", "attendee", "service"],
    name: str | None = None,
    billing: bool = False,
) -> str:
    """Return a token that is valid for 12 hours (contract, "Tokens")."""
    claims: dict[str, object] = {
        "aud": AUDIENCE,
        "exp": int(time.time()) + TTL_SECONDS,
        "sub": participant,
        "account": account,
        "role": role,
    }
    if room is not None:
        claims["room"] = room
    if name is not None:
        claims["name"] = name
    if billing:
        claims["billing"] = True
    return jwt.encode(claims, secret, algorithm="HS256")
