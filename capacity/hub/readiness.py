"""Whether a hub should get new connections, and why not; the log hears of it when that changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from capacity import __version__

if TYPE_CHECKING:
    from capacity.hub.hub import Hub
    from capacity.hub.pulse import Pulse

UNANSWERED_MAX = 20_000
"""How many may wait for an answer in all rooms before those who come are sent away: some seconds of the store's work."""
LOOK_SECONDS = 0.05
DRAINING = "draining"

log = structlog.get_logger(__name__)


class Readiness:
    """Looks at one hub."""

    def __init__(self, hub: Hub, pulse: Pulse) -> None:
        self._hub = hub
        self._pulse = pulse
        self._told = ["starting"]

    def problems(self) -> list[str]:
        """Return why the hub should get no new connections; nothing if it is ready."""
        hub = self._hub
        found = {
            DRAINING: hub.draining,
            "store_unavailable": not hub.usable,
            "store_too_old": hub.clients.too_old is not None,
            "schema_unknown": hub.clients.schema.unknown is not None,
            "feed_lost": not hub.feed.live,
            "stood_still": self._pulse.late,
        }
        return [problem for problem, stands in found.items() if stands]

    async def ready(self, within_seconds: float) -> None:
        """Return when the hub is ready, or after so long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_seconds
        while self.problems() and loop.time() < deadline:  # noqa: ASYNC110 (there are several; none tells when it is over)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """See what changed; called twice a second."""
        hub, problems = self._hub, self.problems()
        if problems != self._told and not hub.draining:
            self._told = problems
            if problems:
                log.warning("hub_not_ready", problems=problems)
            else:
                log.info("hub_ready", version=__version__)
        unanswered = hub.unanswered
        if hub.overloaded != (unanswered > UNANSWERED_MAX):
            hub.overloaded = not hub.overloaded
            if hub.overloaded:
                log.warning("hub_overloaded", unanswered=unanswered)
            else:
                log.info("hub_keeps_up", unanswered=unanswered)
