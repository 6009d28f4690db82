"""Stripe as localstripe plays it: a real server, a process of its own, on loopback.

`python -m tests.support.stripe_server PORT` is that process. It is localstripe's own application; but localstripe's own
start listens on every interface, and writes all it knows to a file in /tmp whenever something changes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.servers import free_port

API_KEY = "sk_test_of_the_tests"
READY_WITHIN_SECONDS = 20.0
ROOT = Path(__file__).parents[2]


class StripeServer:
    """One localstripe; it may be killed, frozen, and started again on the same port, with nothing of what it knew."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {API_KEY}"}, trust_env=False)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.stripe_server", str(self.port)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"localstripe did not become ready; its log ends: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def freeze(self) -> None:
        """Keep it from answering, as an outage does that cuts no connection."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        self._http.close()

    # ---- what the platform's page, its backend and the bank do

    def card(self, number: str) -> str:
        """Return a new payment method."""
        card = {"number": number, "exp_month": "12", "exp_year": "2030", "cvc": "123"}
        return self._id("/v1/payment_methods", {"type": "card", "card": card})

    def sepa_debit(self, iban: str) -> str:
        return self._id("/v1/payment_methods", {"type": "sepa_debit", "sepa_debit": {"iban": iban}})

    def customer(self, method: str | None = None) -> str:
        """Return a new customer, and save the payment method as the default one."""
        customer = self._id("/v1/customers", {"name": "A platform's customer"})
        if method is not None:
            self._id(f"/v1/payment_methods/{method}/attach", {"customer": customer})
            self._id(f"/v1/customers/{customer}", {"invoice_settings": {"default_payment_method": method}})
        return customer

    def intent(self, id: str) -> dict[str, Any]:
        return self._json("GET", f"/v1/payment_intents/{id}")

    def charges(self, intent: str | None = None) -> list[dict[str, Any]]:
        """Return the charges that were made, for one payment or all, also those that failed."""
        charges: list[dict[str, Any]] = self._json("GET", "/v1/charges?limit=1000")["data"]
        return [charge for charge in charges if intent in (None, charge["payment_intent"])]

    def authenticate(self, intent: str, *, success: bool) -> None:
        """Do what the page of the bank does. The charge that follows may be declined."""
        secret = self.intent(intent)["client_secret"]
        answer = self._http.post(
            f"/v1/payment_intents/{intent}/_authenticate", json={"client_secret": secret, "success": success}
        )
        assert answer.status_code in (200, 402), answer.text

    def tell(self, url: str, secret: str) -> None:
        """Send signed events to an address from now on."""
        self._http.post("/_config/webhooks/tests", json={"url": url, "secret": secret}).raise_for_status()

    def _id(self, path: str, fields: dict[str, Any]) -> str:
        return str(self._json("POST", path, fields)["id"])

    def _json(self, method: str, path: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=fields)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _answers(self) -> bool:
        try:
            return self._http.get("/v1/charges").status_code == 200
        except httpx.TransportError:
            return False

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def stripe_server(directory: Path) -> Iterator[StripeServer]:
    """Run a server; yields it."""
    server = StripeServer(directory / "localstripe.log")
    try:
        server.start()
        yield server
    finally:
        server.close()


def main() -> None:
    from aiohttp import web
    from localstripe.resources import Store
    from localstripe.server import app

    Store.dump_to_disk = lambda _: None
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)


if __name__ == "__main__":
    main()
