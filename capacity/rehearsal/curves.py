"""When attendees arrive. Pure: the same numbers give the same evening.

| curve | who comes when, in shares of the rehearsal |
|---|---|
| `doors` | log-normal, half of them until 0.25, most around the start: a webinar whose doors open some time before |
| `even` | one after the other, until 0.85 |
| `late` | log-normal, half of them until 0.5: many come after the start |
| `stampede` | all within 0.05, or 2 s if that is longer, from 0.1 on: a link that went out to everybody at once |

Arrivals are the quantiles of the curve, so that N people follow it as closely as N people can.
"""

from __future__ import annotations

import math
import random
from statistics import NormalDist
from typing import Literal

Curve = Literal["doors", "even", "late", "stampede"]
LAST = 0.85
"""Nobody arrives after this share of the time: the rest shows what becomes of the last."""
STAMPEDE_AT, STAMPEDE_SHARE, STAMPEDE_SECONDS = 0.1, 0.05, 2.0
_LOG_NORMAL = {"doors": (0.25, 0.45), "late": (0.5, 0.3)}
"""The median in shares of the time, and the deviation of the logarithm."""


def arrivals(curve: Curve, attendees: int, duration_seconds: float, seed: int = 0) -> list[float]:
    """Return when each attendee arrives, in seconds from the beginning, in rising order.

    `seed` moves each a little within their own quantile, so that arrivals are not a comb.
    """
    chance = random.Random(seed)
    shares = [(number + chance.random()) / attendees for number in range(attendees)]
    return [_quantile(curve, share, duration_seconds) for share in shares]


def _quantile(curve: Curve, share: float, duration_seconds: float) -> float:
    if curve == "even":
        return share * LAST * duration_seconds
    if curve == "stampede":
        length = min(max(STAMPEDE_SHARE * duration_seconds, STAMPEDE_SECONDS), (LAST - STAMPEDE_AT) * duration_seconds)
        return STAMPEDE_AT * duration_seconds + share * length
    median, deviation = _LOG_NORMAL[curve]
    normal = NormalDist(math.log(median), deviation)
    among = normal.cdf(math.log(LAST))  # cut off at LAST, and the rest is the whole
    return math.exp(normal.inv_cdf(max(share * among, 1e-9))) * duration_seconds
