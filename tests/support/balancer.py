"""nginx and HAProxy as docs/operations.md configures them, started on the loopback in front of hubs under test."""

from __future__ import annotations

import datetime
import ipaddress
import os
import pwd
import signal
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.docs.documents import ROOT, blocks
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
        self._certify()
        self.trust = ssl.create_default_context(cafile=self.directory / "crt")
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

    def _certify(self) -> None:
        """Write a certificate for 127.0.0.1 and its key, apart and in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "capacity tests")])
        now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for file, content in (("crt", certificate), ("key", private), ("pem", certificate + private)):
            (self.directory / file).write_bytes(content)


class Nginx(Balancer):
    """nginx, from the block under "nginx"."""

    def _start(self) -> subprocess.Popen[bytes]:
        program, here = installed("nginx", "nginx"), self.directory
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        changes = {
            "user www-data;": f"user {pwd.getpwuid(os.getuid()).pw_name};",
            "/run/nginx.pid": f"{here}/pid",
            "/var/log/nginx/": f"{here}/",
            "/etc/ssl/webinars.example.crt": f"{here}/crt",
            "/etc/ssl/private/webinars.example.key": f"{here}/key",
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
        changes = {
            "    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n": "",
            "log /dev/log local0": "log stdout format raw local0",
            "bind :80\n": f"bind 127.0.0.1:{self.plain_port}\n",
            "bind :443 ssl crt /etc/haproxy/webinars.example.pem": f"bind 127.0.0.1:{self.port} ssl crt {here}/pem",
            "maxconn 60000": "maxconn 400",
            "75s": f"{IDLE_SECONDS:g}s",
            "inter 2s": "inter 200ms",
        }
        (here / "conf").write_text(self.configured("haproxy", "HAProxy", changes), "utf-8")
        return self.run(program, "-W", "-db", "-f", f"{here}/conf")

    def reload(self) -> None:
        self.process.send_signal(signal.SIGUSR2)
