"""The demo's stand-in for a platform's billing system: it holds the account's plan, and says so by signed webhook."""

from __future__ import annotations

import secrets
import threading
import time

from capacity.demo.api import Api, NoAnswer
from capacity.domain.plans import Catalogue, Plan
from capacity.errors import SettingError
from capacity.protocol import events, signatures

SOURCE = "capacity-demo"
ACCEPTED = 202


class Billing:
    """The plan of one account. Any thread may call."""

    def __init__(self, api: Api, *, account: str, catalogue: Catalogue, secret: str) -> None:
        self._api = api
        self._account = account
        self._catalogue = catalogue
        self._secret = secret
        self._version = 0
        self._lock = threading.Lock()
        self.plan = smallest_paid(catalogue)

    def publish(self) -> None:
        """Tell the service the present plan.

        Raises NoAnswer when it does not take the event, OSError or http.client.HTTPException when it does not answer.
        """
        with self._lock:
            self._publish(self.plan)

    def upgrade(self, plan_id: str | None) -> Plan | None:
        """Change to the named plan, or to the next larger one, and tell the service.

        Returns the new plan, or None when there is no such plan on sale that is larger than the present one. Who asks
        for the present one asks a second time, or is a second host: it is returned, and nothing is sent.
        Raises as `publish`; then the plan stays as it was.
        """
        with self._lock:
            now = self.plan
            new = self._catalogue.upgrade_for(now.id, now.seats, now.seats + 1)
            if plan_id is not None:
                new = next((plan for plan in self._catalogue.on_sale() if plan.id == plan_id and not plan.trial), None)
            if new is not None and new.id == now.id:
                return now
            if new is None or new.seats <= now.seats:
                return None
            self._publish(new)
            self.plan = new
            return new

    def _publish(self, plan: Plan) -> None:
        now = time.time()
        # Milliseconds: the version of a later demo on the same data is larger, too.
        self._version = max(self._version + 1, int(now * 1000))
        id = f"{SOURCE}-{secrets.token_hex(8)}"
        event = events.build(
            self._account,
            plan.id,
            plan.seats,
            source=SOURCE,
            id=id,
            time_ms=int(now * 1000),
            concurrent_sessions=1,
            version=self._version,
        )
        answer = self._api.request(
            "POST", "/v1/events", body=event, headers=signatures.sign(self._secret, id, int(now), event)
        )
        if answer.status != ACCEPTED:
            raise NoAnswer(f"The plan-changed event was answered {answer.status} {answer.body}.")


def smallest_paid(catalogue: Catalogue) -> Plan:
    """Return the paid plan on sale with the fewest seats, monthly if possible. Raises SettingError if there is none."""
    for plan in catalogue.on_sale():  # monthly plans first, the smallest first
        if not plan.trial:
            return plan
    raise SettingError("CAPACITY_PLANS: expected a paid plan on sale for the demo account, got none.")
