"""An attendee with a script: comes, waits, takes the seat when told to, stays, leaves or vanishes, and comes again."""

from __future__ import annotations

import time
from typing import Any

from tests.chaos import times
from tests.chaos.visitor import Visitor

STAY_SECONDS = (2.5, 7.0)
ABSENT_SECONDS = (0.3, 2.5)
RETURN_SECONDS = (0.1, times.GRACE_SECONDS * 0.6)
GONE_SECONDS = (times.GRACE_SECONDS + 0.5, times.GRACE_SECONDS + 3)
PATIENCE_SECONDS = (6.0, 30.0)
IGNORE_SHARE, CLAIM_SHARE, OVERLAP_SHARE = 0.04, 0.5, 0.3
DEPARTURES = (("leave", 0.55), ("blink", 0.2), ("tab", 0.1), ("vanish", 0.15))
"""leave: says so. blink: vanishes and is back within the grace. tab: closes the tab, and is back. vanish: is not back in time."""


class Attendee(Visitor):
    """`state`: absent, joining, waiting, held or seated, as this client believes."""

    state = "absent"
    seat_until = 0.0
    """The seat was not given up: until when, at least, it is still kept (monotonic)."""
    hold_until = 0.0
    """Until when, at least, a seat is held (monotonic)."""
    loss: dict[str, float]
    """When the last connection ended, and on which hub: lost_at, lost_by."""
    stays = False
    """Whether this one neither leaves nor comes any more, only keeps what it has."""
    doomed = False
    """Whether this one does not come back when its connection is lost."""

    # ---- coming and going

    def arrive(self) -> None:
        """Begin a visit."""
        if not self.wanted and not self.stays and not self.doomed:
            self.state = "joining"
            self.note("arrives")
            self.connect()

    def depart(self) -> None:
        """End the visit in one of the ways in which visits end."""
        if self.stays or self.wire is None or not self.answered:
            return
        way = self.chance.choices([name for name, _ in DEPARTURES], [share for _, share in DEPARTURES])[0]
        self.audience.departs(self)
        wire, self.wanted, self.answered = self.wire, False, False
        self.loss = {"lost_at": time.monotonic(), "lost_by": wire.hub}
        if self.state == "seated" and way != "leave":
            self.seat_until = time.monotonic() + self.audience.grace_seconds
        self._stand_up(way)
        self.hold_until = 0.0
        self.state = "absent"
        self.note("departs", way=way)
        if way == "leave":
            self.wanted = True  # until the server has said goodbye
            self.state = "leaving"
            wire.say("leave")
            self.after(times.HOLD_SECONDS, wire.abort)
            return
        self.wire = None
        if way == "tab":
            wire.close()
        else:
            wire.drop()
        self.after(self.chance.uniform(*(GONE_SECONDS if way == "vanish" else RETURN_SECONDS)), self.arrive)

    def settle(self) -> None:
        """Stay as you are from now on: who is absent stays away, who is here keeps what is theirs."""
        self.stays = True
        if not self.wanted or self.state == "seated":
            self.cancel()

    def reload(self) -> None:
        """Load the page anew: the old connection ends shortly before the new one begins, or shortly after."""
        old = self.wire
        if self.state != "held" or old is None:
            return
        self.note("reloads")
        self.loss = {"lost_at": time.monotonic(), "lost_by": old.hub}
        self.state = "joining"
        self.connect()
        if self.chance.random() < OVERLAP_SHARE:
            self.after(0.2, old.drop)
        else:
            old.close()

    def claim(self) -> None:
        """Take the held seat over this connection."""
        if self.state == "held" and self.wire is not None:
            self.wire.say("claim")

    # ---- what it is told

    def told(self, kind: str, message: dict[str, Any]) -> None:
        if self.state == "leaving":
            return
        if kind == "seated":
            self._sit_down()
        elif kind == "waiting":
            self._wait(message)
        elif kind == "refresh":
            self._refresh(message)
        elif kind == "error":
            self._refused(message["code"])

    def _sit_down(self) -> None:
        self.seat_until, self.hold_until = 0.0, 0.0
        if self.state != "seated":
            self.state = "seated"
            self.note("seated")
            self.audience.departs(self)
            if not self.stays and not self.audience.calm:
                self.after(self.chance.uniform(*STAY_SECONDS), self.depart)

    def _wait(self, message: dict[str, Any]) -> None:
        reason = message["reason"]
        if self.state == "seated":
            self._stand_up(reason)
        elif self.state == "joining":
            if self.seat_until > time.monotonic() + self.audience.slack_seconds:
                left_seconds = self.seat_until - time.monotonic()
                self.note("seat_not_kept", reason=reason, left_seconds=left_seconds, **self.loss)
            if self.hold_until > time.monotonic() + self.audience.slack_seconds:
                self.note("hold_not_kept", reason=reason, **self.loss)
        if self.state != "waiting" or reason == "seat_lost":
            self.note("waiting", reason=reason, position=message["position"])
            if not self.stays and not self.audience.calm:
                self.after(self.chance.uniform(*PATIENCE_SECONDS), self.depart)
        self.seat_until, self.hold_until = 0.0, 0.0
        self.state = "waiting"

    def _refresh(self, message: dict[str, Any]) -> None:
        self.note("refresh", reason=message["reason"], seat_limit=message["seat_limit"])
        self.audience.refreshed(self, message)
        self.state = "held"
        left_seconds = min(message["held_until"] / 1000 - time.time(), times.HOLD_SECONDS)
        self.hold_until = time.monotonic() + left_seconds
        draw = self.chance.random()
        if draw < IGNORE_SHARE and not self.stays:
            self.cancel()
            return
        delay_seconds = self.chance.uniform(0, message["spread_ms"] / 1000)
        self.after(delay_seconds, self.claim if draw < IGNORE_SHARE + CLAIM_SHARE else self.reload)

    def _refused(self, code: str) -> None:
        in_time = self.hold_until > time.monotonic() + self.audience.slack_seconds
        expected = code == "unavailable" or (code == "nothing_held" and not in_time)
        self.note("told_no" if expected else "refused", code=code)

    def lost(self, code: int, hub: int) -> None:
        self.cancel()
        if self.state in ("seated", "held"):
            self.loss = {"lost_at": time.monotonic(), "lost_by": hub}
        if self.state == "leaving":
            self.wanted, self.state = False, "absent"
            if not self.stays:
                self.after(self.chance.uniform(*ABSENT_SECONDS), self.arrive)
            return
        if self.state == "seated":
            self.seat_until = time.monotonic() + self.audience.grace_seconds
            self._stand_up(f"closed {code}")
        self.state = "joining"
        if self.doomed:
            self.wanted, self.state = False, "absent"
            self.audience.departs(self)

    def _stand_up(self, why: str) -> None:
        if self.state == "seated":
            self.note("unseated", why=why)
