"""Outbound webhooks put together: an outbox that the rooms' calls write to, a relay, and a courier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from capacity.hooks.courier import Courier
from capacity.hooks.endpoint import Endpoint
from capacity.hooks.relay import Relay
from capacity.store.hook_queue import HookQueue
from capacity.store.outbox import Outbox
from capacity.store.tasks import end


class Webhooks:
    """The outbound webhooks of one process. Its rooms need its `outbox`."""

    def __init__(
        self,
        client: Any,
        urls: Sequence[str],
        secrets: Sequence[str],
        *,
        outbox: Outbox | None = None,
        endpoint: Callable[[str, Sequence[str]], Endpoint] = Endpoint,
        **courier: Any,
    ) -> None:
        """`outbox`, `endpoint` and what is for the courier are given by tests."""
        self.outbox = outbox or Outbox(client)
        queue = HookQueue(client)
        endpoints = [endpoint(url, secrets) for url in urls]
        self._courier = Courier(queue, endpoints, **courier)
        self._relay = Relay(self.outbox, queue, [endpoint.id for endpoint in endpoints], self._courier.call)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Tries of this process by what became of them: delivered, failed, dead."""
        return self._courier.outcomes

    @property
    def waiting(self) -> int:
        """Deliveries that wait in the store, as last seen; the same for every process."""
        return self._courier.waiting

    def start(self) -> None:
        """Begin; returns at once."""
        self._tasks = [asyncio.create_task(self._relay.run()), asyncio.create_task(self._courier.run())]

    async def stop(self) -> None:
        """End. What was not delivered is for the others, or for the next start."""
        relaying, delivering = self._tasks
        await end([relaying])
        self._courier.stop()
        await asyncio.wait([delivering])
