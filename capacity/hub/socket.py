"""What the hub may do with a WebSocket; `web.websocket` implements it."""

from __future__ import annotations

from typing import Protocol

from capacity.errors import Close


class Socket(Protocol):
    """One end of a WebSocket. Neither method blocks or raises; both do nothing once it is closed."""

    def send(self, frame: bytes) -> None:
        """Write an encoded frame (`codec.frame`)."""

    def close(self, close: Close) -> None:
        """Send the close frame; the transport is dropped after the closing deadline at the latest."""
