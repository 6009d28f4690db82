"""The measured costs, as a file keeps them and as the simulation asks for them."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COSTS = HERE / "costs.json"
REALITY = HERE / "reality.json"
RESULTS = HERE / "results.json"
SIZE = 100_000
"""Of the rooms that were measured, the one whose costs are taken: the largest."""
Verb = str
"""join, away, back, leave."""


@dataclass(frozen=True)
class Costs:
    """Prices in seconds of one core. `store` and `hub` are what `measure` wrote, in µs and bytes."""

    measured: dict[str, Any]
    """Date, machine, versions, and by how much the turns of a figure went apart."""
    store: dict[str, float]
    hub: dict[str, float]

    @classmethod
    def read(cls, path: Path = COSTS) -> Costs:
        """Read what `python -m benchmarks.scale measure` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))

    def write(self, path: Path = COSTS) -> None:
        """Write it down."""
        text = json.dumps(
            {"measured": self.measured, "store": self.store, "hub": self.hub}, indent=1, ensure_ascii=False
        )
        path.write_text(text + "\n", "utf-8")

    def script(self, verb: Verb, people: float, *, waiting: bool = False) -> float:
        """Return the store's seconds for a call of a verb for so many, in a room where they have seats, or wait."""
        one, each = self._line[verb, waiting]
        return (one + each * max(0.0, people - 1)) / 1e6

    def inspect(self, people: int) -> float:
        """Return the store's seconds for asking where so many stand."""
        asked = {
            int(name.rpartition("/")[2]): us for name, us in self.store.items() if name.startswith(f"inspect/{SIZE}/")
        }
        low, high = min(asked), max(asked)
        each = (asked[high] - asked[low]) / (high - low)
        return (asked[low] + each * (people - low)) / 1e6

    @property
    def sweep(self) -> float:
        """Seconds of the store for a sweep of a room where nothing is due."""
        return self.store[f"sweep/{SIZE}"] / 1e6

    @property
    def piece(self) -> float:
        """Seconds of the store for one piece of an allotment: 500 who are held a seat."""
        return self.store[f"piece/{SIZE}"] / 1e6

    @property
    def publish(self) -> float:
        """Seconds of the store for each hub that a change goes to."""
        return self.store["publish_to_one"] / 1e6

    def joins_call(self, people: float) -> float:
        """Return the hub's seconds for a call of a join for so many, all that these joins cost it included.

        Between the crowds that were measured the price is on a straight line, and beyond the largest it goes on as before it.
        """
        points = self._joins_calls
        for (low, low_us), (high, high_us) in itertools.pairwise(points):
            if people <= high or high == points[-1][0]:
                return (low_us + (people - low) * (high_us - low_us) / (high - low)) / 1e6
        raise ValueError("a price needs two crowds that were measured")

    @cached_property
    def join(self) -> float:
        """Seconds of a hub for one join more where many go together: what cannot be shared."""
        (low, low_us), (high, high_us) = self._joins_calls[-2:]
        return (high_us - low_us) / (high - low) / 1e6

    @property
    def call(self) -> float:
        """Seconds of a hub for a call, besides what each participant in it costs."""
        return self.joins_call(1) - self.join

    @cached_property
    def _joins_calls(self) -> list[tuple[float, float]]:
        """(joins a call, µs a call) of the crowds that were measured, the smallest first."""
        crowds = [name.partition("/")[2] for name in self.hub if name.startswith("joins_a_call/")]
        return sorted((self.hub[f"joins_a_call/{crowd}"], self.hub[f"call/{crowd}_us"]) for crowd in crowds)

    def of_hub(self, name: str) -> float:
        """Return a price of the hub in seconds: «message» is `message_us`."""
        return self.hub[f"{name}_us"] / 1e6

    @cached_property
    def _line(self) -> dict[tuple[Verb, bool], tuple[float, float]]:
        """(verb, waiting) → µs for a call of one, µs for each more: the straight line through the smallest and the largest call."""
        found = {}
        for waiting in (False, True):
            kind = "waiting" if waiting else "seated"
            for verb in ("join", "away", "back", "leave"):
                calls = {
                    int(name.rpartition("/")[2]): us
                    for name, us in self.store.items()
                    if name.startswith(f"{verb}/{kind}/{SIZE}/")
                }
                low, high = min(calls), max(calls)
                found[verb, waiting] = (calls[low], (calls[high] - calls[low]) / (high - low))
        return found
