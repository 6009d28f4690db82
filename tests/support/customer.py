"""An account of the billing desk as a platform has it: over HTTP alone, with secrets that a log can be searched for."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.support.service import Hub, service_token, token
from tests.support.waiting import wait_until

MARK = "s3cret"
"""Stands in every payment method, customer and Idempotency-Key that is made up here."""
SECRETS = (MARK, "eyJ")
"""What no log line may have: those, and the beginning of every JWT."""

_numbers = itertools.count(1)


class Customer:
    """One account at a hub. Each gets a name of its own, so that tests may share a service."""

    def __init__(self, hub: Hub, name: str | None = None) -> None:
        self.hub = hub
        self.name = name or f"customer-{next(_numbers)}"
        self.path = f"/v1/accounts/{self.name}"

    @property
    def buyer(self) -> str:
        """The token of a host who may buy."""
        return token("hanna", role="host", account=self.name, billing=True)

    async def put(self, plan: str = "starter", **fields: Any) -> httpx.Response:
        """Create the account, or change what may be changed."""
        return await self.hub.call("PUT", self.path, service_token(self.name), json={"plan": plan, **fields})

    async def created(self, plan: str = "starter", **fields: Any) -> dict[str, Any]:
        """Create the account, and return it."""
        return _body(await self.put(plan, **fields))

    async def quoted(self, **wish: Any) -> str:
        """Ask for a quote, and return its id."""
        return str(_body(await self.hub.call("POST", f"{self.path}/quotes", self.buyer, json=wish))["id"])

    async def buy(self, quote: str, key: str | None = None, card: str | None = None) -> httpx.Response:
        """Buy a quote."""
        wish = {"quote": quote} | ({"payment_method": card} if card else {})
        headers = {"Idempotency-Key": key or new_key()}
        return await self.hub.call("POST", f"{self.path}/purchases", self.buyer, json=wish, headers=headers)

    async def bought(self, card: str | None = None, **wish: Any) -> dict[str, Any]:
        """Ask for a quote and buy it; returns the purchase."""
        answer = await self.buy(await self.quoted(**wish), card=card)
        assert answer.status_code in (200, 202), answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def must_confirm(self) -> str:
        """Begin an upgrade to `growth` that waits for its owner; returns the payment's reference."""
        return str((await self.bought("confirm", plan="growth"))["action_url"]).partition("#")[2]

    async def state(self) -> dict[str, Any]:
        """Return the account."""
        return _body(await self.hub.call("GET", self.path, self.buyer))

    async def becomes(self, status: str) -> None:
        """Wait until the account has a status."""

        async def reached() -> bool:
            return bool((await self.state())["status"] == status)

        await wait_until(reached, within_seconds=8, what=f"{self.name} to be {status}")


def new_key() -> str:
    """Return an Idempotency-Key that nobody had."""
    return f"key-{MARK}-{next(_numbers)}"


def days_ago(days: float) -> str:
    """Return an instant as it stands in bodies."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def _body(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
