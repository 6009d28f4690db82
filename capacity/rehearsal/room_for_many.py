"""Whether this machine can hold so many connections from one process: descriptors and ports."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

from capacity.errors import SettingError

SPARE_FILES = 100
PORTS_A_PERSON = 2
"""A reload leaves the port of the connection before in TIME_WAIT for a minute."""
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def make_room(attendees: int) -> None:
    """Raise the limit of open files as far as is needed. Raises SettingError for more attendees than can be here."""
    needed = attendees + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise SettingError(
                f"--attendees: expected at most {max(0, hard - SPARE_FILES):,} with {hard:,} open files allowed here, "
                f"got {attendees:,}; raise the limit (ulimit -Hn), or rehearse with fewer."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    ports = _ports()
    if ports is not None and attendees * PORTS_A_PERSON > ports:
        raise SettingError(
            f"--attendees: expected at most {ports // PORTS_A_PERSON:,} with the {ports:,} local ports of this machine, "
            f"got {attendees:,}; widen net.ipv4.ip_local_port_range, or rehearse from several machines."
        )


def _ports() -> int | None:
    """How many ports outgoing connections can have to one server; None where that cannot be known."""
    with contextlib.suppress(OSError, ValueError):
        first, last = _PORTS.read_text("ascii").split()
        return int(last) - int(first) + 1
    return None
