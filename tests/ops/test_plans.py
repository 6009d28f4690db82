"""The plan catalogue: the shipped one, what is wrong with others and on which line, and the next plan up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity.domain.money import Money
from capacity.domain.plans import Catalogue, Plan, load
from capacity.errors import SettingError
from tests.docs.documents import PACKAGE

SHIPPED = load(None)


def test_the_shipped_catalogue_is_as_the_contract_says() -> None:
    on_sale = SHIPPED.on_sale()
    monthly = [plan for plan in on_sale if plan.cycle_days == 30 and not plan.trial]
    assert [plan.price.amount for plan in on_sale if plan.trial] == [0]
    assert len(monthly) >= 4
    assert monthly[0].seats <= 50
    assert len({plan.price.currency for plan in on_sale}) == 1
    for cycle_days in (30, 365):
        plans = [plan for plan in on_sale if plan.cycle_days == cycle_days and not plan.trial]
        assert [plan.seats for plan in plans] == sorted({plan.seats for plan in plans})
        assert [plan.price.amount for plan in plans] == sorted({plan.price.amount for plan in plans})
    assert sum(plan.cycle_days == 365 for plan in on_sale) >= 2


def test_a_yearly_plan_is_cheaper_than_twelve_months() -> None:
    for yearly in (plan for plan in SHIPPED.plans if plan.cycle_days == 365):
        monthly = SHIPPED.get(yearly.id.removesuffix("-yearly"))
        assert monthly is not None and monthly.seats == yearly.seats
        assert yearly.price.amount < 12 * monthly.price.amount


@pytest.mark.parametrize(
    ("plan", "seats", "wanted", "expected"),
    [
        ("starter", 25, 23, "growth"),  # near full: the next one up
        ("starter", 25, 50, "growth"),
        ("starter", 25, 51, "business"),
        ("starter", 25, 5_000, "scale"),  # none is large enough: the largest
        ("scale", 1000, 5_000, None),  # already on the largest
        ("trial", 10, 10, "starter"),
        ("starter", 120, 60, "premium"),  # what counts is what the account has, not what its plan says
        ("growth-yearly", 50, 45, "business-yearly"),
        ("business-yearly", 100, 200, None),
        ("of another catalogue", 30, 31, "growth"),
    ],
)
def test_upgrade_for(plan: str, seats: int, wanted: int, expected: str | None) -> None:
    offered = SHIPPED.upgrade_for(SHIPPED.get(plan), seats, wanted)
    assert (offered and offered.id) == expected


def plan_of(number: int, seats: int, cycle_days: int, currency: str, kind: str) -> Plan:
    money = Money(0 if kind == "trial" else seats * 10, currency)
    return Plan(
        id=f"plan-{number}",
        name="A plan",
        seats=seats,
        cycle_days=cycle_days,
        price=money,
        concurrent_session_price=money,
        trial=kind == "trial",
        on_sale=kind != "old",
    )


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(1, 30),
                st.sampled_from([30, 365]),
                st.sampled_from(["USD", "EUR"]),
                st.sampled_from(["paid", "paid", "trial", "old"]),
            ),
            max_size=8,
        )
    )
    return Catalogue(plan_of(number, *row) for number, row in enumerate(rows))


@given(catalogues(), st.integers(0, 8), st.integers(0, 35), st.integers(0, 70))
def test_what_is_offered_is_the_smallest_that_fits(catalogue: Catalogue, number: int, seats: int, wanted: int) -> None:
    current = catalogue.get(f"plan-{number}")
    offered = catalogue.upgrade_for(current, seats, wanted)
    paid = [plan for plan in catalogue.on_sale() if not plan.trial]
    if current is not None:
        kind = (current.cycle_days, current.price.currency)
    else:
        kind = (30, paid[0].price.currency if paid else "")
    choice = {plan.seats for plan in paid if (plan.cycle_days, plan.price.currency) == kind and plan.seats > seats}
    fitting = {size for size in choice if size >= wanted}
    if offered is None:
        assert not choice
        return
    assert offered in paid and (offered.cycle_days, offered.price.currency) == kind
    assert offered.seats == (min(fitting) if fitting else max(choice))


ONE = """\
currency = "EUR"

[[plans]]
id = "one"
name = "One"
seats = 10
cycle_days = 30
price = 100
"""


def test_a_catalogue_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "plans.toml").write_text(ONE)
    (plan,) = load(tmp_path / "plans.toml").plans
    assert plan.price == Money(100, "EUR") and plan.concurrent_session_price == Money(0, "EUR")
    assert plan.on_sale and not plan.trial


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (ONE.replace('"One"', '"One'), 5, "TOML"),
        (ONE.replace("seats = 10", "seats = 0"), 6, "seats"),
        (ONE.replace("seats = 10", "seats = 1000001"), 6, "seats"),
        (ONE.replace("seats = 10", 'seats = "10"'), 6, "seats"),
        (ONE.replace("seats = 10\n", ""), 3, "seats"),
        (ONE.replace("cycle_days = 30", "cycle_days = 31"), 7, "cycle_days"),
        (ONE.replace("price = 100", "price = -1"), 8, "price"),
        (ONE.replace("price = 100", "price = 1.5"), 8, "price"),
        (ONE.replace("price = 100", "price = 0"), 8, "costs nothing"),
        (ONE + "trial = true\n", 8, "price of a trial"),
        (ONE + "sale = true\n", 9, "sale"),
        (ONE + 'currency = "euro"\n', 9, "currency"),
        (ONE + 'currency = "ABC"\n', 9, "currency"),
        (ONE + 'currency = "XAU"\n', 9, "currency"),
        (ONE + 'currency = ""\n', 9, "currency"),
        (ONE.replace('id = "one"', 'id = "no id"'), 4, "id must be"),
        (ONE.replace('id = "one"', 'id = ".."'), 4, "id must be"),
        (ONE.replace('"EUR"', '"eur"'), 1, "currency"),
        (ONE.replace('"EUR"', '"ABC"'), 1, "currency"),
        (ONE.replace('"EUR"', '["EUR"]'), 1, "currency"),
        (ONE.replace('currency = "EUR"', ""), 3, "no currency"),
        (ONE + ONE[ONE.index("[[") :], 10, "second plan is called 'one'"),
        ('colour = "red"\n' + ONE, 1, "colour"),
        ('currency = "EUR"\n', 1, r"\[\[plans\]\]"),
        ('currency = "EUR"\nplans = 3\n', 2, r"\[\[plans\]\]"),
        (ONE.replace("[[plans]]", "[plans]"), 3, r"\[\[plans\]\]"),
        ("", 1, r"\[\[plans\]\]"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, content: str, line: int, says: str) -> None:
    path = tmp_path / "plans.toml"
    path.write_text(content)
    with pytest.raises(SettingError, match=says) as refused:
        load(path)
    message = str(refused.value)
    assert message.startswith("CAPACITY_PLANS: ") and str(path) in message and "\n" not in message
    assert f"line {line}" in message, message


def test_two_trials_are_refused(tmp_path: Path) -> None:
    trial = ONE.replace("price = 100", "price = 0\ntrial = true")
    path = tmp_path / "plans.toml"
    path.write_text(trial + trial[trial.index("[[") :].replace("one", "two"))
    with pytest.raises(SettingError, match="line 16: a second plan is a trial"):
        load(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b'currency = "EUR"\n# \xe9\n')
    (tmp_path / "huge").write_bytes(b"#" * 2_000_000)
    for path, says in [
        (tmp_path, "cannot be read"),
        (tmp_path / "missing", "cannot be read"),
        (tmp_path / "latin", "line 2: not UTF-8"),
        (tmp_path / "huge", "larger"),
    ]:
        with pytest.raises(SettingError, match=says) as refused:
            load(path)
        assert "\n" not in str(refused.value)


# ---- promo codes

CODE = """
[[promo_codes]]
code = "LAUNCH-20"
percent_off = 20
ends_at = 2027-07-01T02:00:00+02:00
"""
ENDS_AT_MS = 1_814_400_000_000


def test_promo_codes_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "plans.toml"
    path.write_text(CODE + ONE.partition("\n")[2] + CODE.replace("LAUNCH-20", "always").partition("ends_at")[0])
    path.write_text('currency = "EUR"\n' + path.read_text())
    percent_off = load(path).percent_off
    assert percent_off(["LAUNCH-20"], ENDS_AT_MS - 1) == 20
    assert percent_off(["LAUNCH-20"], ENDS_AT_MS) == 0, "a code ends at its instant, whatever the time zone it is in"
    assert percent_off(["always"], 2 * ENDS_AT_MS) == 20
    assert percent_off(["launch-20", ""], 0) == 0, "upper and lower case are two"


def test_the_shipped_catalogue_has_no_promo_code_but_an_example_that_works(tmp_path: Path) -> None:
    shipped = (PACKAGE / "plans.toml").read_text("utf-8")
    assert SHIPPED.percent_off(["LAUNCH-20"], 0) == 0
    example = re.search(r"^# \[\[promo_codes\]\]\n(# \w+ = .*\n)+", shipped, re.MULTILINE)
    assert example is not None
    (tmp_path / "plans.toml").write_text(shipped + "\n" + example[0].replace("# ", ""))
    assert load(tmp_path / "plans.toml").percent_off(["LAUNCH-20"], ENDS_AT_MS - 1) == 20


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (CODE.replace("LAUNCH-20", ""), 11, "code"),
        (CODE.replace("LAUNCH-20", "two words"), 11, "code"),
        (CODE.replace("LAUNCH-20", "x" * 65), 11, "code"),
        (CODE.replace("LAUNCH-20", "line\\n"), 11, "code"),
        (CODE.replace("LAUNCH-20", "Ärger"), 11, "code"),
        (CODE.replace('"LAUNCH-20"', "20"), 11, "code"),
        (CODE.replace('code = "LAUNCH-20"\n', ""), 10, "code"),
        (CODE.replace("= 20\n", "= 0\n"), 12, "percent_off"),
        (CODE.replace("= 20\n", "= 101\n"), 12, "percent_off"),
        (CODE.replace("= 20\n", "= 12.5\n"), 12, "percent_off"),
        (CODE.replace("= 20\n", "= true\n"), 12, "percent_off"),
        (CODE.replace("percent_off = 20\n", ""), 10, "percent_off"),
        (CODE.replace("T02:00:00+02:00", "T02:00:00"), 13, "ends_at"),
        (CODE.replace("T02:00:00+02:00", ""), 13, "ends_at"),
        (CODE.replace("= 2027-07-01T02:00:00+02:00", "= 1814400000"), 13, "ends_at"),
        (CODE + "amount_off = 500\n", 14, "amount_off"),
        (CODE + CODE, 16, "second promo code is called 'LAUNCH-20'"),
        (CODE.replace("[[promo_codes]]", "[promo_codes]"), 10, r"\[\[promo_codes\]\]"),
    ],
)
def test_what_is_wrong_with_a_promo_code_is_named_with_its_line(
    tmp_path: Path, content: str, line: int, says: str
) -> None:
    path = tmp_path / "plans.toml"
    path.write_text(ONE + content, "utf-8")
    with pytest.raises(SettingError, match=says) as refused:
        load(path)
    message = str(refused.value)
    assert f"line {line}:" in message and "\n" not in message, message


def test_promo_codes_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plans.toml"
    path.write_text('promo_codes = "LAUNCH-20"\n' + ONE)
    with pytest.raises(SettingError, match=r"line 1: promo_codes must be written as \[\[promo_codes\]\]"):
        load(path)
