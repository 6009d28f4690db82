"""A hub for the tests of HTTP: rooms in a dictionary, every call written down, and a switch for each way to fail."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from capacity.errors import ErrorCode, Refused, Unavailable
from capacity.hub.gauges import LEVELS, STATES, Gauges
from capacity.hub.stats import Stats
from capacity.protocol.answers import ParticipantState
from capacity.protocol.messages import Occupancy
from capacity.protocol.reports import Report, Waited
from capacity.protocol.tokens import Claims
from capacity.web.websocket import Connection, WebSocket

NOT_STARTED = Occupancy(
    room="", state="not_started", seat_limit=100, occupied=0, seated=0, away=0, held=0, waiting=0, free=100, peak=0
)
REPORT = Report(
    account="acme",
    room="launch",
    opened_at=1_795_521_600_000,
    ended_at=None,
    peak=97,
    joined=112,
    waited=Waited(count=12, p50_seconds=3.5, p90_seconds=None),
    turned_away=4,
    limit_changes=1,
)


@dataclass
class RecordingHub:
    """Knows the accounts `acme` and `other`, two sessions each, and the participant `ada`, held in every room."""

    sessions: dict[str, int] = field(default_factory=lambda: {"acme": 2, "other": 2})
    calls: list[tuple[str, ...]] = field(default_factory=list)
    rooms: dict[tuple[str, str], Occupancy] = field(default_factory=dict)
    reports: dict[tuple[str, str], Report] = field(default_factory=dict)
    events: list[bytes] = field(default_factory=list)
    connections: int = 0
    overloaded: bool = False
    stats: Stats = field(default_factory=Stats)
    reasons: list[str] = field(default_factory=list)
    failure: Exception | None = None

    def reset(self) -> None:
        """Forget everything but the counts, which the metrics have taken hold of."""
        fresh = RecordingHub(stats=self.stats)
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(fresh, name))

    def break_down(self) -> None:
        """From now on every call fails as without a store."""
        self.failure = Unavailable("connection refused")

    def connect(self, socket: WebSocket, claims: Claims) -> Connection:
        """No test here opens a WebSocket."""
        raise AssertionError(f"{claims.participant} connected")

    def gauges(self) -> Gauges:
        """Return other numbers for each, so that none is taken for another."""
        participants = {state: number for number, state in enumerate(STATES, 1)}
        rooms = {level: 10 + number for number, level in enumerate(LEVELS)}
        return Gauges(participants, rooms, 15, 20, not self.reasons, 0.5, 3, 30, 40)

    def problems(self) -> list[str]:
        return self.reasons

    async def occupancy(self, account: str, room: str) -> Occupancy:
        self._called("occupancy", account, room)
        return self.rooms.get((account, room), msgspec.structs.replace(NOT_STARTED, room=room))

    async def open(self, account: str, room: str) -> Occupancy:
        self._called("open", account, room)
        others = [name for name, found in self.rooms.items() if name != (account, room) and found.state == "open"]
        if len(others) >= self.sessions[account]:
            raise Refused(ErrorCode.CONCURRENT_SESSIONS_REACHED)
        return self._become(account, room, "open")

    async def end(self, account: str, room: str) -> Occupancy:
        self._called("end", account, room)
        return self._become(account, room, "ended")

    async def report(self, account: str, room: str) -> Report:
        self._called("report", account, room)
        if (account, room) not in self.reports:
            raise Refused(ErrorCode.NO_REPORT)
        return self.reports[account, room]

    async def participant(self, account: str, room: str, participant: str) -> ParticipantState:
        self._called("participant", account, room, participant)
        if participant != "ada":
            raise Refused(ErrorCode.UNKNOWN_PARTICIPANT)
        return ParticipantState("ada", "held", None, 1_795_521_660_000)

    async def put_out(self, account: str, room: str, participant: str) -> ParticipantState:
        self._called("put_out", account, room, participant)
        if participant != "ada":
            raise Refused(ErrorCode.UNKNOWN_PARTICIPANT)
        return ParticipantState("ada", "put_out", None, None)

    async def accept_event(self, event: bytes) -> None:
        if self.failure:
            raise self.failure
        self.events.append(event)

    def _called(self, *call: str) -> None:
        if self.failure:
            raise self.failure
        self.calls.append(call)
        if call[1] not in self.sessions:
            raise Refused(ErrorCode.UNKNOWN_ACCOUNT)

    def _become(self, account: str, room: str, state: str) -> Occupancy:
        found = msgspec.convert(msgspec.to_builtins(NOT_STARTED) | {"room": room, "state": state}, Occupancy)
        self.rooms[account, room] = found
        return found
