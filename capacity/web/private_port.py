"""The port of `--metrics-port`: metrics, health and readiness for those who run the service, and no WebSocket.

It is the same HTTP as on the public port, with the same limits and deadlines.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from capacity.web.edge import Door, Gate
from capacity.web.handshake import Head
from capacity.web.refusals import NO_SOCKET_HERE, Parting, Refusal

METRICS: Final = "/metrics"
PATHS: Final = frozenset({METRICS, "/healthz", "/readyz"})
"""What is served there. METRICS is then served there alone."""


class PrivateEdge:
    """The edge of the private port, beside that of the public one; it leads nobody to the hub."""

    def __init__(self, public: Door) -> None:
        self.watch = public.watch
        self.connections_max = public.connections_max

    def refusal(self, head: Head) -> Refusal:
        """Answer 404 to the socket's path, as to all others that are not here."""
        return NO_SOCKET_HERE

    def receive_handshake(
        self, transport: asyncio.Transport, connections: set[Any], head: Head, rest: bytes = b""
    ) -> None:
        """Answer 404 to a handshake, whatever it offers."""
        self.watch.stats.refuse(NO_SOCKET_HERE.counted)
        Parting(transport, connections, self.watch, NO_SOCKET_HERE.response(body=head.method != b"HEAD"))


def protocol_class(public: type[Gate]) -> type[Gate]:
    """Return the class for connections to the private port of a process whose public one has `public`."""
    return type("PrivateProtocol", (Gate,), {"__slots__": (), "edge": PrivateEdge(public.edge)})
