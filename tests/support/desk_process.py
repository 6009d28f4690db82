"""A process of the desk that is killed in one of the gaps between two steps: python -m tests.support.desk_process

    REDIS_URL GAP buy ACCOUNT QUOTE KEY
    REDIS_URL GAP renew ACCOUNT

A step is whatever can be seen from outside: a script that writes, or a call of the gateway. In gap 0 nothing has been done
yet, in the last one everything has. The process ends by SIGKILL in its gap, or prints how many steps there were (no such gap).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from capacity.billing.stripe_gateway import StripeGateway
from capacity.store import scripts
from capacity.store.redis import Clients
from tests.support.desk import BY, desk_on
from tests.support.stripe_server import API_KEY

LEASE_MS = 200
STRIPE_URL_VARIABLE = "CAPACITY_TEST_STRIPE_URL"
"""Where localstripe is, for a desk that is paid by it instead of the test card."""


class Gaps:
    """Counts steps, and kills the process in its gap."""

    def __init__(self, gap: int) -> None:
        self.steps = 0
        self._gap = gap

    def before(self, owner: object, name: str) -> None:
        """Put a gap before a step, which is a method of an object."""
        step: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def counted(*arguments: Any, **options: Any) -> Any:
            self.pass_by()
            answer = await step(*arguments, **options)
            self.steps += 1
            return answer

        setattr(owner, name, counted)

    def pass_by(self) -> None:
        """Die here if this is the gap."""
        if self.steps == self._gap:
            os.kill(os.getpid(), signal.SIGKILL)


async def run(url: str, gap: int, what: str, account: str, *purchase: str) -> None:
    """Buy, or do what is due, and die in the gap."""
    clients, gaps = Clients(url), Gaps(gap)
    stripe_url = os.environ.get(STRIPE_URL_VARIABLE)
    desk = desk_on(clients, StripeGateway(API_KEY, base_url=stripe_url) if stripe_url else None, lease_ms=LEASE_MS)
    gaps.before(scripts.COMMIT, "run")
    gaps.before(desk.gateway, "prepare")
    gaps.before(desk.gateway, "proceed")
    if what == "buy":
        quote, key = purchase
        await desk.purchase(account, quote, key, None, BY)
    else:
        await desk.clerk.serve(account)
    gaps.pass_by()
    print(gaps.steps)
    await clients.aclose()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
