"""What a hub says of itself with every beat, for whoever looks at all hubs at once: `capacity top`.

It goes along with the beat, so it costs the store no call of its own. It names no account, room or participant.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from capacity import __version__
from capacity.hub.timings import RECENT_TURNS, Recent, Spread
from capacity.store import keys

if TYPE_CHECKING:
    from capacity.hub.hub import Hub


class HubStatus(msgspec.Struct, frozen=True):
    """What a hub says of itself. Every field may be missing: the hub may be of another release."""

    version: str = ""
    """The release that it runs."""
    schema: int = 0
    """The number of the data's schema that it knows; 0 if it does not say."""
    host: str = ""
    """The name of its machine."""
    pid: int = 0
    address: str = ""
    """Where it listens, a URL; '' if it does not know."""
    started_at: int = 0
    """In ms since the epoch, by its own clock."""
    connections: int = 0
    rooms: int = 0
    """How many it watches."""
    unanswered: int = 0
    """What it was asked and has not yet answered."""
    joins_per_second: float = 0.0
    """Joins answered in about ten seconds."""
    problems: list[str] = []
    """Why it takes no new connections, as `/readyz` says; empty when it does."""
    loop_lag: Spread = Spread()
    """How late its event loop was."""
    store_calls: Spread = Spread()
    """How long the store's scripts took, with the way there and back."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(HubStatus).decode


def read_status(said: bytes | None) -> HubStatus | None:
    """Return what a hub said of itself; None for nothing, or when it is of a release that says it in another way."""
    try:
        return _decode(said) if said is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Status:
    """The status of one hub. `address` is set by the server that listens for it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.address = ""
        self._host = socket.gethostname()
        self._started_at = 0
        self._lag = Recent(lambda: [hub.stats.loop_lag])
        self._calls = Recent(lambda: hub.stats.calls.by_verb.values())
        self._joins: deque[tuple[float, int]] = deque([(hub.clock(), 0)], RECENT_TURNS)

    def say(self) -> bytes:
        """Return the HubStatus of now as JSON; called with each beat."""
        hub = self._hub
        self._started_at = self._started_at or hub.now_ms()
        return _encode(
            HubStatus(
                version=__version__,
                schema=keys.SCHEMA,
                host=self._host,
                pid=os.getpid(),
                address=self.address,
                started_at=self._started_at,
                connections=hub.connections,
                rooms=len(hub.live_rooms()),
                unanswered=hub.unanswered,
                joins_per_second=self._join_rate(),
                problems=hub.problems(),
                loop_lag=self._lag.turn(),
                store_calls=self._calls.turn(),
            )
        )

    def _join_rate(self) -> float:
        now, joins = self._hub.clock(), self._hub.stats.joins.total()
        since, before = self._joins[0]
        self._joins.append((now, joins))
        return round((joins - before) / (now - since), 1) if now > since else 0.0
