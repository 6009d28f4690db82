"""The plan catalogue: what there is to buy, in which order, and which plan is the next one up.

Prices are integers in minor units of an ISO 4217 currency. A catalogue is a TOML file; `capacity/plans.toml` is the
shipped example and describes the fields.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from capacity.domain.ids import is_account
from capacity.errors import SettingError

SEATS_MAX = 1_000_000
MINOR_UNITS_MAX = 1_000_000_000_000
CATALOGUE_BYTES_MAX = 1_000_000

MinorUnits = Annotated[int, msgspec.Meta(ge=0, le=MINOR_UNITS_MAX)]


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units: 4900 USD is $49.00."""

    amount: int
    currency: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One plan. `cycle_days` is 30 or 365; both prices are per cycle and in the same currency."""

    id: str
    name: str
    seats: int
    cycle_days: int
    price: Money
    concurrent_session_price: Money
    trial: bool = False
    on_sale: bool = True


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One [[plans]] of the file."""

    id: str
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    seats: Annotated[int, msgspec.Meta(ge=1, le=SEATS_MAX)]
    cycle_days: Literal[30, 365]
    price: MinorUnits
    concurrent_session_price: MinorUnits = 0
    currency: str | None = None
    trial: bool = False
    on_sale: bool = True


class Catalogue:
    """All plans, smallest first. Ids are unique; at most one is a trial, and its price is 0."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self.plans = tuple(sorted(plans, key=lambda plan: (plan.cycle_days, plan.seats, plan.price.amount, plan.id)))
        self._by_id = {plan.id: plan for plan in self.plans}

    def get(self, plan_id: str) -> Plan | None:
        return self._by_id.get(plan_id)

    def on_sale(self) -> tuple[Plan, ...]:
        """The plans that anybody may choose, the trial included."""
        return tuple(plan for plan in self.plans if plan.on_sale)

    def upgrade_for(self, plan_id: str, seats: int, wanted: int) -> Plan | None:
        """Return the plan to offer to an account that has `seats` and could fill `wanted` (occupied + waiting).

        It is the smallest plan on sale of the account's cycle and currency with more seats than now and at least
        `wanted`; the largest if none has as many; None if none has more than now. Never the trial. An account on a
        plan that the catalogue does not know is offered the monthly plans in the currency of the first paid one.
        """
        paid = [plan for plan in self.on_sale() if not plan.trial]
        current = self.get(plan_id)
        if current is not None:
            cycle_days, currency = current.cycle_days, current.price.currency
        elif paid:
            cycle_days, currency = 30, paid[0].price.currency
        else:
            return None
        larger = [
            plan
            for plan in paid
            if plan.cycle_days == cycle_days and plan.price.currency == currency and plan.seats > seats
        ]
        return next((plan for plan in larger if plan.seats >= wanted), larger[-1] if larger else None)


def load(path: Path | None) -> Catalogue:
    """Read a catalogue, the shipped one for None. Raises SettingError: the file, the line and what is wrong."""
    source = resources.files("capacity") / "plans.toml" if path is None else path
    try:
        with source.open("rb") as file:
            content = file.read(CATALOGUE_BYTES_MAX + 1)
        if len(content) > CATALOGUE_BYTES_MAX:
            raise SettingError(f"CAPACITY_PLANS: {source} is larger than {CATALOGUE_BYTES_MAX} bytes.")
        text = content.decode("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise SettingError(f"CAPACITY_PLANS: {source} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingError(f"CAPACITY_PLANS: {source}, line {line}: not UTF-8.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingError(f"CAPACITY_PLANS: {source}: no TOML: {' '.join(str(error).split())}.") from None
    try:
        return Catalogue(_plans(document, text))
    except _Wrong as wrong:
        raise SettingError(f"CAPACITY_PLANS: {source}, line {wrong.line}: {wrong}.") from None


class _Wrong(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _plans(document: dict[str, Any], text: str) -> list[Plan]:
    """Return the plans of the document. Raises _Wrong for the first thing that is wrong with it."""
    if unknown := sorted(document.keys() - {"currency", "plans"}):
        raise _Wrong(_line(text, unknown[0]), f"unknown setting {unknown[0]!r}; there are currency and [[plans]]")
    common = document.get("currency")
    if common is not None and not _is_currency(common):
        raise _Wrong(_line(text, "currency"), "currency is not a code of three letters such as USD")
    entries = document.get("plans")
    if not isinstance(entries, list) or not entries:
        raise _Wrong(_line(text, "plans"), "there are no [[plans]]")
    found: dict[str, Plan] = {}
    for number, raw in enumerate(entries):
        plan = _plan(raw, common, text, number)
        if plan.id in found:
            raise _Wrong(_line(text, "id", number), f"a second plan is called {plan.id!r}")
        if plan.trial and any(other.trial for other in found.values()):
            raise _Wrong(_line(text, "trial", number), "a second plan is a trial")
        found[plan.id] = plan
    return list(found.values())


def _plan(raw: object, common: str | None, text: str, number: int) -> Plan:
    try:
        entry = msgspec.convert(raw, _Entry)
    except msgspec.ValidationError as error:
        field = re.search(r"\$\.(\w+)|field `(\w+)`", str(error))
        reason = str(error).replace("`$.", "`").replace("`", "'")
        raise _Wrong(_line(text, field[1] or field[2] if field else "", number), reason.rstrip(".")) from None
    if not is_account(entry.id):
        raise _Wrong(_line(text, "id", number), "id must be 1 to 128 of A-Z a-z 0-9 _ . : @ -")
    currency = entry.currency or common
    if currency is None or not _is_currency(currency):
        raise _Wrong(_line(text, "currency", number), f"plan {entry.id!r} has no currency such as USD")
    if entry.trial and entry.price:
        raise _Wrong(_line(text, "price", number), "the price of a trial must be 0")
    if not entry.trial and not entry.price:
        raise _Wrong(_line(text, "price", number), f"plan {entry.id!r} costs nothing but is no trial")
    return Plan(
        id=entry.id,
        name=entry.name,
        seats=entry.seats,
        cycle_days=entry.cycle_days,
        price=Money(entry.price, currency),
        concurrent_session_price=Money(entry.concurrent_session_price, currency),
        trial=entry.trial,
        on_sale=entry.on_sale,
    )


def _is_currency(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[A-Z]{3}", text) is not None


def _line(text: str, key: str, entry: int | None = None) -> int:
    """Return the line of a key in the numbered [[plans]], or in the head of the file; else where that begins."""
    current: int | None = None
    begins = 1
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[\[\s*plans\s*\]\]", line):
            current = 0 if current is None else current + 1
            if current == entry:
                begins = number
        elif current == entry and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return begins
