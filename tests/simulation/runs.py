"""Which seeds a test runs, what it says of one that fails, and how often each fault bit."""

from __future__ import annotations

import os
from collections import Counter

from tests.simulation.world import World

PARTS = 10
"""Of the seeds of each of the two files: none of them takes longer than a test may, with 2,000 seeds."""
SHOWN_MAX = 12
BITES_EXPECTED = (
    # what was done to the store and to the way there
    "request_lost", "reply_lost", "late", "message_lost", "timeout", "refused", "after_giving_up",
    "NoScriptError", "OutOfMemoryError", "writes_lost",
    # what the product noticed, and came back from
    "fenced", "overtaken", "feed_gap", "feed_behind", "feed_lost", "feed_silent", "room_resynced", "hub_dead", "hub_reaped",
    "hub_forgotten", "store_unavailable", "store_usable", "event_taken_over", "draining", "put_out",
    # what became of webhooks on their way
    "webhook_taken", "webhook_refused", "webhook_answer_lost", "webhook_slow", "webhook_silent", "webhook_away",
    "killed_with_a_hook",
)  # fmt: skip
"""What must have happened at least once: a fault that changes nothing tests nothing."""

bites: Counter[str] = Counter()
"""Of all runs of this process."""


def seeds(of: int) -> list[str]:
    """Return the seeds of one half (0 or 1) of all: CAPACITY_TEST_SEEDS of them, or the one in CAPACITY_TEST_SEED."""
    if (only := os.environ.get("CAPACITY_TEST_SEED")) is not None:
        return [only] if of == 0 else []
    return [str(seed) for seed in range(of, int(os.environ.get("CAPACITY_TEST_SEEDS", "200")), 2)]


def check(seeds: list[str], url: str) -> None:
    """Run each seed, and fail with what the first bad one violated."""
    for seed in seeds:
        world = World(seed, url)
        outcome = world.run()
        bites.update(outcome.bites)
        if outcome.violations:
            lines = "\n  ".join(outcome.violations[:SHOWN_MAX])
            raise AssertionError(
                f"seed {seed} ({', '.join(world.scenario.faults) or 'no faults'}): "
                f"{len(outcome.violations)} violations\n  {lines}\n"
                f"again: CAPACITY_TEST_SEED={seed} pytest tests/simulation   (with CAPACITY_TEST_TRACE=1 and -s: all that happened)"
            )


def check_bites(seeds: list[str]) -> None:
    """Fail if a fault never bit in so many runs; print how often each did."""
    print("\n" + "  ".join(f"{what} {count}" for what, count in sorted(bites.items())))
    if len(seeds) >= 100:
        missing = [what for what in BITES_EXPECTED if not bites[what]]
        assert not missing, f"never seen in {len(seeds)} runs: {missing}"
