"""What can be rehearsed, and when attendees arrive."""

from __future__ import annotations

import statistics
from typing import Any, get_args

import pytest

from capacity.errors import SettingError
from capacity.rehearsal.curves import LAST, Curve, arrivals
from capacity.rehearsal.pictures import Line, chart, histogram
from capacity.rehearsal.script import ATTENDEES_MAX, Script, script_of

SECONDS = 40.0


@pytest.mark.parametrize("curve", get_args(Curve))
@pytest.mark.parametrize("attendees", [1, 2, 999])
@pytest.mark.parametrize("seconds", [5.0, SECONDS, 3600.0])
def test_arrivals_rise_and_leave_time_at_the_end(curve: Curve, attendees: int, seconds: float) -> None:
    times = arrivals(curve, attendees, seconds)
    assert len(times) == attendees and times == sorted(times)
    assert times[0] >= 0 and times[-1] <= LAST * seconds + 1e-6
    assert times == arrivals(curve, attendees, seconds) != arrivals(curve, attendees, seconds, seed=1)


@pytest.mark.parametrize(("curve", "median"), [("doors", 0.25), ("late", 0.5), ("even", LAST / 2)])
def test_half_have_come_when_the_curve_says(curve: Curve, median: float) -> None:
    assert statistics.median(arrivals(curve, 2000, SECONDS)) / SECONDS == pytest.approx(median, rel=0.05)


def test_a_stampede_comes_all_at_once() -> None:
    times = arrivals("stampede", 2000, SECONDS)
    assert times[0] == pytest.approx(4.0, abs=0.01) and times[-1] == pytest.approx(6.0, abs=0.01)


def asked(**changes: Any) -> Script:
    """Return the script of what is asked for by default, but for some of it."""
    values: dict[str, Any] = {
        "account": None, "room": None, "attendees": 100, "duration_seconds": 30.0, "curve": "doors", "seats": None,
        "raise_to": None, "raise_at": 0.6, "suffix": "x",
    }  # fmt: skip
    return script_of(**values | changes)


def test_what_is_not_said_follows_from_the_attendees() -> None:
    script = asked()
    assert (script.seats, script.raise_to, script.account, script.room) == (70, 100, "rehearsal-x", "rehearsal-x")
    assert asked(attendees=1).raise_to == 2
    assert asked(raise_to=80).raise_to == 80
    assert asked(account="acme").account_given and not script.account_given


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"attendees": 0}, "--attendees"),
        ({"attendees": ATTENDEES_MAX + 1}, "--attendees"),
        ({"duration_seconds": 1.0}, "--duration"),
        ({"duration_seconds": float("nan")}, "--duration"),
        ({"seats": 0}, "--seats"),
        ({"seats": 50, "raise_to": 50}, "--raise-to"),
        ({"raise_at": 0.95}, "--raise-at"),
        ({"account": "no account"}, "--account"),
        ({"room": ".."}, "--room"),
    ],
)
def test_what_cannot_be_rehearsed(changes: dict[str, Any], option: str) -> None:
    with pytest.raises(SettingError, match=f"^{option}: expected"):
        asked(**changes)


@pytest.mark.parametrize("most", [0.001, 1, 7, 999, 1_000_000])
def test_pictures_hold_what_is_drawn(most: float) -> None:
    drawn = chart("a", "A & B", "<about>", [Line("a", "a", [(0, 0), (10, most)], True)], until=10, mark=(5, "m"))
    assert "A &amp; B" in drawn and "&lt;about&gt;" in drawn
    assert "nan" not in drawn + histogram("b", "B", "b", [0.0, most], "s", "a")
