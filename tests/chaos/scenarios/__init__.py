"""The scenarios, by what their faults are done to; `ALL` has them in the order in which they run."""

from __future__ import annotations

from tests.chaos.outcome import Scenario
from tests.chaos.scenarios import clients, ensembles, hubs, mixed, network, platform, stores

ALL: tuple[Scenario, ...] = (
    *hubs.SCENARIOS,
    *stores.SCENARIOS,
    *network.SCENARIOS,
    *clients.SCENARIOS,
    *platform.SCENARIOS,
    *ensembles.SCENARIOS,
    *mixed.SCENARIOS,
)
