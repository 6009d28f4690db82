"""Telling systemd how the service does: one datagram to the socket that NOTIFY_SOCKET names, and nothing without it.

The protocol is that of sd_notify(3), for units of `Type=notify` and `Type=notify-reload`. Only the main process speaks:
the supervisor keeps NOTIFY_SOCKET from its workers.
"""

from __future__ import annotations

import os
import socket
import time

import structlog

VARIABLE = "NOTIFY_SOCKET"

_log = structlog.get_logger(__name__)


def waiting(status: str) -> None:
    """Say what a start still waits for: what `systemctl status` shows until `ready`."""
    _notify(f"STATUS={status}")


def ready(status: str = "ready") -> None:
    """Say that the service runs, at first or again after `reloading`. `status` is what `systemctl status` shows."""
    _notify("READY=1", f"STATUS={status}")


def reloading() -> None:
    """Say that a reload has begun; `ready` ends it."""
    # The kernel's monotonic clock, which is time.monotonic() on Linux: `Type=notify-reload` compares it with its own.
    _notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=rolling")


def stopping() -> None:
    """Say that the service ends."""
    _notify("STOPPING=1", "STATUS=draining")


def _notify(*lines: str) -> None:
    address = os.environ.get(VARIABLE, "")
    if not address:
        return
    if address.startswith("@"):  # a name in Linux's abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        _log.warning("systemd_not_told", error=os.strerror(error.errno or 0).lower())
