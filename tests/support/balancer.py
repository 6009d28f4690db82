"""nginx and HAProxy as docs/operations.md configures them, started on the loopback in front of hubs under test."""

from __future__ import annotations

import os
import pwd
import signal
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import httpx

from tests.docs.documents import ROOT, blocks
from tests.support.certificates import certificates
from tests.support.installed import installed
from tests.support.servers import free_port
from tests.support.service import Client, Hub
from tests.support.waiting import wait_until

IDLE_SECONDS = 3.0
"""What the minutes of the proxies' timeouts are here."""
HUBS = ("10.0.0.11:8000", "10.0.0.12:8000", "10.0.0.13:8000")
"""The hubs of the documented configurations."""


class Balancer(Hub):
    """A proxy process, and what its clients see: a `Hub` at an https address, its certificate made for the test."""

    def __init__(self, directory: Path, hubs: Sequence[Hub]) -> None:
        """Start it; the test is skipped where the program is missing. Fewer than three hubs take the places of the others."""
        self.port, self.plain_port = free_port(), free_port()
        super().__init__(f"https://127.0.0.1:{self.port}")
        self.directory = directory / type(self).__name__.lower()
        self.directory.mkdir()
        self.tls = certificates(self.directory)
        self.trust = ssl.create_default_context(cafile=self.tls.authority)
        self.http = httpx.AsyncClient(base_url=self.address, verify=self.trust, timeout=10)
        self._addresses = {
            place: hub.address.removeprefix("http://") for place, hub in zip(HUBS, cycle(hubs), strict=False)
        }
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        raise AssertionError("a Balancer is nginx or HAProxy")

    def configured(self, language: str, heading: str, changes: Mapping[str, str]) -> str:
        """Return the documented configuration with the hubs' addresses and these texts replaced, each of which must be there."""
        (text,) = blocks(ROOT / "docs" / "operations.md", language, heading)
        for old, new in {**self._addresses, **changes}.items():
            assert old in text, f"docs/operations.md, {heading}: no {old!r}"
            text = text.replace(old, new)
        return text

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """Start the program; what it prints is kept in a file."""
        with (self.directory / "output").open("ab") as output:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    async def connect(self, text: str, **options: Any) -> Client:
        """Connect with a token as browsers do, over TLS."""
        return await super().connect(text, ssl=self.trust, **options)

    def reload(self) -> None:
        """Have it read its configuration again, as `systemctl reload` does."""
        raise AssertionError("a Balancer is nginx or HAProxy")

    def said(self) -> str:
        """Everything that it logged or printed."""
        return "\n".join(
            (self.directory / name).read_text()
            for name in ("output", "access.log", "error.log")
            if (self.directory / name).exists()
        )

    async def __aenter__(self) -> Self:
        async def answers() -> bool:
            assert self.process.poll() is None, self.said()
            try:
                return (await self.http.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await wait_until(answers, within_seconds=20, what="the proxy to answer")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        self.process.terminate()
        self.process.wait(10)


class Nginx(Balancer):
    """nginx, from the block under "nginx"."""

    def _start(self) -> subprocess.Popen[bytes]:
        program, here = installed("nginx", "nginx"), self.directory
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        changes = {
            "user www-data;": f"user {pwd.getpwuid(os.getuid()).pw_name};",
            "/run/nginx.pid": f"{here}/pid",
            "/var/log/nginx/": f"{here}/",
            "/etc/ssl/webinars.example.crt": str(self.tls.certificate),
            "/etc/ssl/private/webinars.example.key": str(self.tls.key),
            "listen 80 ": f"listen 127.0.0.1:{self.plain_port} ",
            "listen 443 ": f"listen 127.0.0.1:{self.port} ",
            # Where Debian's build keeps what it cannot hold in memory, under /var otherwise.
            "http {": "http { " + "".join(f"{kind}_temp_path {here}/{kind}; " for kind in kinds),
            "worker_rlimit_nofile 131072;": "",
            "worker_connections 65536;": "worker_connections 1000;",
            "75s": f"{IDLE_SECONDS:g}s",
        }
        (here / "conf").write_text(self.configured("nginx", "nginx", changes), "utf-8")
        return self.run(program, "-e", f"{here}/error.log", "-p", str(here), "-c", f"{here}/conf", "-g", "daemon off;")

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


class HAProxy(Balancer):
    """HAProxy, from the block under "HAProxy", as a master with a worker, as Debian's unit runs it."""

    def _start(self) -> subprocess.Popen[bytes]:
        program, here = installed("haproxy", "haproxy"), self.directory
        both = here / "pem"
        both.write_bytes(self.tls.certificate.read_bytes() + self.tls.key.read_bytes())
        changes = {
            "    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n": "",
            "log /dev/log local0": "log stdout format raw local0",
            "bind :80\n": f"bind 127.0.0.1:{self.plain_port}\n",
            "bind :443 ssl crt /etc/haproxy/webinars.example.pem": f"bind 127.0.0.1:{self.port} ssl crt {both}",
            "maxconn 60000": "maxconn 400",
            "75s": f"{IDLE_SECONDS:g}s",
            "inter 2s": "inter 200ms",
        }
        (here / "conf").write_text(self.configured("haproxy", "HAProxy", changes), "utf-8")
        return self.run(program, "-W", "-db", "-f", f"{here}/conf")

    def reload(self) -> None:
        self.process.send_signal(signal.SIGUSR2)
