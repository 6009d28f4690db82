"""The plan catalogue: what there is to buy, in which order, which plan is the next one up, and what promo codes give.

Prices are integers in minor units of an ISO 4217 currency. A catalogue is a TOML file; `capacity/plans.toml` is the
shipped example and describes the fields.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from capacity.domain.ids import is_account
from capacity.domain.instants import ms_of
from capacity.domain.money import MinorUnits, Money, is_currency
from capacity.errors import SettingError

SEATS_MAX = 1_000_000
CATALOGUE_BYTES_MAX = 1_000_000
PROMO_CODE = r"[\x21-\x7e]{1,64}(?!\n)"

_T = TypeVar("_T")


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


class PromoCode(msgspec.Struct, frozen=True, kw_only=True):
    """What a promo code gives: so many percent off plan and add-on, at any charge before `ends_at_ms` (None: always)."""

    code: str
    percent_off: int
    ends_at_ms: int | None = None


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


class _PromoEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One [[promo_codes]] of the file."""

    code: Annotated[str, msgspec.Meta(pattern=rf"^{PROMO_CODE}\Z")]
    percent_off: Annotated[int, msgspec.Meta(ge=1, le=100)]
    ends_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Catalogue:
    """All plans, smallest first. Ids are unique; at most one is a trial, and its price is 0."""

    def __init__(self, plans: Iterable[Plan], promo_codes: Iterable[PromoCode] = ()) -> None:
        self.plans = tuple(sorted(plans, key=lambda plan: (plan.cycle_days, plan.seats, plan.price.amount, plan.id)))
        self._by_id = {plan.id: plan for plan in self.plans}
        self._promo_codes = {promo.code: promo for promo in promo_codes}

    def get(self, plan_id: str) -> Plan | None:
        return self._by_id.get(plan_id)

    def on_sale(self) -> tuple[Plan, ...]:
        """The plans that anybody may choose, the trial included."""
        return tuple(plan for plan in self.plans if plan.on_sale)

    def percent_off(self, codes: Collection[str], at_ms: int) -> int:
        """Return what the best of an account's promo codes takes off a charge at an instant, 0 to 100 percent.

        Codes do not add up. One that the catalogue does not know, or whose time is over, takes nothing off.
        """
        found = (self._promo_codes.get(code) for code in codes)
        return max(
            (promo.percent_off for promo in found if promo and (promo.ends_at_ms is None or at_ms < promo.ends_at_ms)),
            default=0,
        )

    def upgrade_for(self, current: Plan | None, seats: int, wanted: int) -> Plan | None:
        """Return the plan to offer to an account that has `seats` and could fill `wanted` (occupied + waiting).

        It is the smallest plan on sale of the account's cycle and currency with more seats than now and at least
        `wanted`; the largest if none has as many; None if none has more than now. Never the trial. An account whose
        `current` plan nobody knows is offered the monthly plans in the currency of the first paid one.
        """
        paid = [plan for plan in self.on_sale() if not plan.trial]
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
        return Catalogue(_plans(document, text), _promo_codes(document, text))
    except _Wrong as wrong:
        raise SettingError(f"CAPACITY_PLANS: {source}, line {wrong.line}: {wrong}.") from None


class _Wrong(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _plans(document: dict[str, Any], text: str) -> list[Plan]:
    """Return the plans of the document. Raises _Wrong for the first thing that is wrong with it."""
    if unknown := sorted(document.keys() - {"currency", "plans", "promo_codes"}):
        raise _Wrong(
            _line(text, unknown[0]),
            f"unknown setting {unknown[0]!r}; there are currency, [[plans]] and [[promo_codes]]",
        )
    common = document.get("currency")
    if common is not None and not is_currency(common):
        raise _Wrong(_line(text, "currency"), "currency is not a code of ISO 4217 such as USD")
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
    entry = _entry(raw, _Entry, text, number, "plans")
    if not is_account(entry.id):
        raise _Wrong(_line(text, "id", number), "id must be 1 to 128 of A-Z a-z 0-9 _ . : @ -")
    currency = common if entry.currency is None else entry.currency
    if currency is None or not is_currency(currency):
        raise _Wrong(_line(text, "currency", number), f"plan {entry.id!r} has no currency of ISO 4217 such as USD")
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


def _promo_codes(document: dict[str, Any], text: str) -> list[PromoCode]:
    """Return the promo codes of the document. Raises _Wrong for the first thing that is wrong with them."""
    entries = document.get("promo_codes", [])
    if not isinstance(entries, list):
        raise _Wrong(_line(text, "promo_codes"), "promo_codes must be written as [[promo_codes]]")
    found: dict[str, PromoCode] = {}
    for number, raw in enumerate(entries):
        entry = _entry(raw, _PromoEntry, text, number, "promo_codes")
        if entry.code in found:
            raise _Wrong(_line(text, "code", number, "promo_codes"), f"a second promo code is called {entry.code!r}")
        ends_at_ms = None if entry.ends_at is None else ms_of(entry.ends_at)
        found[entry.code] = PromoCode(code=entry.code, percent_off=entry.percent_off, ends_at_ms=ends_at_ms)
    return list(found.values())


def _entry(raw: object, kind: type[_T], text: str, number: int, table: str) -> _T:
    """Return the numbered entry of a table of tables. Raises _Wrong with the line of the field that is wrong."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        field = re.search(r"\$\.(\w+)|field `(\w+)`", str(error))
        reason = str(error).replace("`$.", "`").replace("`", "'")
        raise _Wrong(_line(text, field[1] or field[2] if field else "", number, table), reason.rstrip(".")) from None


def _line(text: str, key: str, entry: int | None = None, table: str = "plans") -> int:
    """Return the line of a key in the numbered [[table]], or in the head of the file; else where that begins."""
    current: int | None = None
    begins = 1
    inside = True
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[\s*(\w+)\s*\]\]", line):
            inside = header[1] == table
            if inside:
                current = 0 if current is None else current + 1
                if current == entry:
                    begins = number
        elif entry is None and key and re.match(rf"\s*\[\s*{re.escape(key)}\s*\]", line):
            return number  # a table where a table of tables belongs
        elif inside and current == entry and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return begins
