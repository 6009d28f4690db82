"""How long things took: the histogram that is exported, and what the last ten seconds are said to have been like."""

from __future__ import annotations

import pytest

from capacity.hub.pulse import PULSE_SECONDS, Pulse
from capacity.hub.timings import BOUNDS_SECONDS, RECENT_TURNS, CallTimes, Recent, Spread, Timings


def test_a_duration_is_counted_under_the_first_bound_that_it_does_not_exceed() -> None:
    timings = Timings()
    for seconds in (-0.001, 0.0, 0.0001, 0.00011, 0.001, 5.0, 5.1):
        timings.add(seconds)
    assert timings.counts[BOUNDS_SECONDS.index(0.0001)] == 3
    assert timings.counts[BOUNDS_SECONDS.index(0.0002)] == 1
    assert timings.counts[BOUNDS_SECONDS.index(0.001)] == 1
    assert timings.counts[-2:] == [1, 1]
    assert round(timings.sum, 6) == 10.10121


def test_the_spread_is_of_the_last_turns_alone() -> None:
    timings = Timings()
    recent = Recent(lambda: [timings])
    assert recent.turn() == Spread()
    timings.add(4.0)
    first = recent.turn()
    assert (first.count, first.mean_ms, first.max_ms) == (1, 4000.0, 4000.0)
    for _ in range(RECENT_TURNS - 1):
        timings.add(0.004)
        assert recent.turn().max_ms == 4000.0
    timings.add(0.004)
    last = recent.turn()
    assert (last.count, last.mean_ms, last.max_ms) == (RECENT_TURNS, 4.0, 4.0)
    for _ in range(RECENT_TURNS):
        last = recent.turn()
    assert last == Spread()


def test_percentiles_lie_in_the_bucket_of_the_true_ones() -> None:
    timings = Timings()
    for thousandths in range(1, 101):
        timings.add(thousandths / 1000)
    spread = Recent(lambda: [timings]).turn()
    assert spread.count == 100 and spread.mean_ms == 50.5 and spread.max_ms == 100.0
    assert spread.p50_ms is not None and 20 < spread.p50_ms <= 50
    assert spread.p99_ms is not None and 50 < spread.p99_ms <= 100


def test_no_percentile_is_above_the_longest() -> None:
    timings = Timings()
    timings.add(60.0)
    spread = Recent(lambda: [timings]).turn()
    assert spread.p50_ms == spread.p99_ms == spread.max_ms == 60_000.0


def test_verbs_that_come_later_count_too() -> None:
    now = 10.0
    calls = CallTimes(lambda: now)
    recent = Recent(lambda: calls.by_verb.values())
    assert recent.turn().count == 0
    began = calls.began()
    now = 10.003
    calls.ended("join", began)
    assert recent.turn().count == 1
    calls.ended("beat", calls.began())
    spread = recent.turn()
    assert spread.count == 2 and spread.max_ms == 3.0 and spread.mean_ms == 1.5
    assert list(calls.by_verb) == ["join", "beat"]


@pytest.mark.anyio
async def test_a_pulse_measures_how_late_it_strikes() -> None:
    at, lag, beats = 100.0, Timings(), []
    pulse = Pulse(lambda: at, lambda _: None, lambda: beats.append(at), lag)
    pulse.start()
    try:
        at += PULSE_SECONDS + 0.25
        pulse._strike()
        at += PULSE_SECONDS
        pulse._strike()
    finally:
        pulse.stop()
    assert len(beats) == sum(lag.counts) == 2
    assert round(lag.take_peak(), 6) == 0.25 == round(lag.sum, 6)
