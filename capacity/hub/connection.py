"""One WebSocket as the hub sees it: whose it is, and what it was last told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from capacity.errors import LEFT, Close, ErrorCode
from capacity.hub.socket import Socket
from capacity.protocol import codec
from capacity.protocol.messages import (
    AskPass,
    Claim,
    ClientMessage,
    End,
    Error,
    Leave,
    Open,
    RequestUpgrade,
    ServerMessage,
    WaitingReason,
)
from capacity.protocol.tokens import Claims

if TYPE_CHECKING:
    from capacity.hub.room import LiveRoom

State = Literal["joining", "seated", "waiting", "held", "host", "closed"]


class Connection:
    """A lease on a participant's seat or place: HUB.NUMBER. Frees only what still carries that lease."""

    __slots__ = (
        "arrived_at",
        "claims",
        "joined_at",
        "lease",
        "level",
        "limit",
        "position",
        "reason",
        "revision",
        "room",
        "sequence",
        "shown_waiting",
        "socket",
        "state",
    )

    def __init__(self, room: LiveRoom, socket: Socket, claims: Claims, lease: str) -> None:
        self.room = room
        self.socket = socket
        self.claims = claims
        self.lease = lease
        self.state: State = "joining"
        self.arrived_at = 0.0
        """When the room took it in, by the hub's clock."""
        self.revision = -1
        """The room's revision that this connection was last answered at; changes up to it are in the answer."""
        self.limit = 0
        """The seat limit that it was told last."""
        self.level = 0
        """Of a host: the near-full level that it was told last (`Snapshot.told`)."""
        self.joined_at = 0
        """The room's revision when it joined: of two connections of a participant the newer has the higher."""
        self.position = 0
        self.shown_waiting = 0
        self.sequence = 0
        self.reason: WaitingReason = "full"

    @property
    def is_host(self) -> bool:
        """Whether the token is a host's."""
        return self.claims.role == "host"

    def send(self, message: ServerMessage) -> None:
        """Send one message to this connection alone."""
        self.socket.send(codec.frame(message))

    def refuse(self, code: ErrorCode) -> None:
        """Say that something was refused; the connection stays."""
        self.send(Error(code=code, message=code.message))

    def close(self, close: Close) -> None:
        """Close it for good: nothing more is sent, and its end frees nothing any more."""
        if self.state != "closed":
            self.state = "closed"
            self.room.forget(self)
            self.socket.close(close)

    # ---- called by the edge

    def receive(self, message: ClientMessage) -> None:
        """Take what the client said."""
        if self.state == "closed":
            return
        room = self.room
        if isinstance(message, Leave):
            if self.is_host:
                self.close(LEFT)
                room.lane.add("host")
            else:
                room.lane.add("leave", self)
                if not room.hub.usable:
                    self.close(LEFT)  # the store hears of it when it is back; nobody has to wait for that
        elif self.is_host:
            room.hosts.says(self, message)
        elif isinstance(message, Claim):
            room.lane.add("claim", self)
        elif isinstance(message, AskPass):
            room.ask_pass(self)
        else:
            assert isinstance(message, Open | End | RequestUpgrade)
            self.refuse(ErrorCode.NOT_ALLOWED)

    def lost(self) -> None:
        """The connection is gone without a leave: seat and place are kept for their time."""
        if self.state == "closed":
            return
        joined = self.state != "joining" or not self.room.lane.withdraw("join", self)
        self.state = "closed"
        self.room.forget(self)
        if self.is_host:
            self.room.lane.add("host")
        elif joined:
            self.room.lane.add("away", self)
