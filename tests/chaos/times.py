"""The short times of the worlds, in seconds: long enough for two busy cores, short enough that everything that lapses does so in a run."""

from __future__ import annotations

LEASE_SECONDS = 2.0
GRACE_SECONDS = 4.0
PLACE_SECONDS = 8.0
HOLD_SECONDS = 3.0
PING_SECONDS = 2.0

SETTLED_WITHIN_SECONDS = LEASE_SECONDS + GRACE_SECONDS + HOLD_SECONDS + 2
"""After the last fault and the last move of a client: until then the store may still have seats of those who are gone."""
FREED_WITHIN_SECONDS = LEASE_SECONDS + GRACE_SECONDS + 2
"""After the kill of a hub: until then seats of those who did not come back must be free."""
SLACK_SECONDS = 0.5
"""What a message and a timer may take on a machine that others use too."""

SETTINGS = {
    "lease_seconds": LEASE_SECONDS,
    "grace_seconds": GRACE_SECONDS,
    "place_seconds": PLACE_SECONDS,
    "hold_seconds": HOLD_SECONDS,
    "ping_seconds": PING_SECONDS,
    "audit": "on",
}
"""What hubs are started with, as CAPACITY_* variables."""
