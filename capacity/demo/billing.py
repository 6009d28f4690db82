"""What the demo's platform does about money: it brings its account to the billing desk, and buys there with the test card."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from capacity.demo.api import Answer, Api, NoAnswer
from capacity.demo.tokens import mint
from capacity.domain.plans import Catalogue, Plan
from capacity.errors import SettingError

OK, ACCEPTED, CONFLICT = 200, 202, 409
UPGRADE_TRIES = 5


class Billing:
    """The account of one run of the demo, by the public interface. Any thread may call.

    Each run has an account of its own: what an account has bought cannot be undone, and a demo begins small.
    Everything raises NoAnswer when the service does not answer as it should, and OSError or http.client.HTTPException
    when it does not answer.
    """

    def __init__(self, api: Api, *, catalogue: Catalogue, secret: str) -> None:
        """`secret` signs the demo's tokens. Raises SettingError for a catalogue without a paid plan on sale."""
        self.account = f"demo-{secrets.token_hex(3)}"
        self.plan = smallest_paid(catalogue)
        self._api = api
        self._catalogue = catalogue
        self._token = mint(secret, "demo-platform", account=self.account, room=None, role="service")

    def open(self) -> None:
        """Bring the account to the desk, on the smallest plan. It is in force when this returns."""
        self._done(self._ask("PUT", "", {"plan": self.plan.id}))

    def upgrade(self, plan_id: str | None) -> Plan | None:
        """Buy the named plan, or the next larger one.

        Returns the new plan, or None when there is no such plan on sale that is larger than the present one. Who asks
        for the present one asks a second time, or is a second host: it is returned, and nothing is bought.
        """
        for _ in range(UPGRADE_TRIES):
            now = self._done(self._ask("GET", ""))
            present = self._catalogue.get(now["plan"])
            larger = self._catalogue.upgrade_for(present, now["seats"], now["seats"] + 1)
            wanted = larger if plan_id is None else self._catalogue.get(plan_id)
            if present is not None and wanted is not None and wanted.id == present.id:
                return present
            if wanted is None or wanted.trial or not wanted.on_sale or wanted.seats <= now["seats"]:
                return None
            quote = self._done(self._ask("POST", "/quotes", {"plan": wanted.id}))
            key = {"Idempotency-Key": secrets.token_hex(8)}
            bought = self._ask("POST", "/purchases", {"quote": quote["id"]}, key)
            if bought.status != CONFLICT:  # another host was faster: look again
                self._done(bought)
                return wanted
        raise NoAnswer("The account changes too fast.")

    def _ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        raw = b"" if body is None else msgspec.json.encode(body)
        return self._api.request(
            method, f"/v1/accounts/{self.account}{path}", token=self._token, body=raw, headers=headers
        )

    @staticmethod
    def _done(answer: Answer) -> Any:
        if answer.status not in (OK, ACCEPTED):
            raise NoAnswer(f"The billing desk answered {answer.status} {answer.body}.")
        return answer.body


def smallest_paid(catalogue: Catalogue) -> Plan:
    """Return the paid plan on sale with the fewest seats, monthly if possible. Raises SettingError if there is none."""
    for plan in catalogue.on_sale():  # monthly plans first, the smallest first
        if not plan.trial:
            return plan
    raise SettingError("CAPACITY_PLANS: expected a paid plan on sale for the demo account, got none.")
