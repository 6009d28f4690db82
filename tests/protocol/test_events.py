"""Plan-changed events: whatever stands in the stream or comes to the webhook is read, or rejected with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity.protocol.events import Glimpse, PlanChanged, Rejected, build, glance, parse

NOON_MS = 1_795_348_800_000  # 2026-11-22T12:00:00Z

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
paths = st.sampled_from(
    [
        ("specversion",),
        ("id",),
        ("source",),
        ("type",),
        ("subject",),
        ("time",),
        ("data",),
        ("data", "account"),
        ("data", "plan"),
        ("data", "seats"),
        ("data", "concurrent_sessions"),
        ("data", "version"),
    ]
)


def event(**data: Any) -> dict[str, Any]:
    """A valid event; `data` replaces fields of its data."""
    return {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "/billing",
        "type": "capacity.plan.changed",
        "subject": "acme",
        "time": "2026-11-22T12:00:00Z",
        "data": {"account": "acme", "plan": "pro", "seats": 120, **data},
    }


def replaced(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    found = event()
    inner = found
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return found


def reason(raw: bytes | str | dict[str, Any]) -> str:
    with pytest.raises(Rejected) as caught:
        parse(json.dumps(raw) if isinstance(raw, dict) else raw)
    assert str(caught.value)
    return caught.value.reason


def test_a_whole_event() -> None:
    raw = json.dumps(event(concurrent_sessions=2, version=7) | {"datacontenttype": "application/json", "more": [1]})
    expected = PlanChanged("evt-1", "/billing", "acme", NOON_MS, "pro", 120, 2, 7)
    assert parse(raw) == parse(raw.encode()) == expected


def test_what_may_be_missing_is_none() -> None:
    for raw in (event(), event(concurrent_sessions=None, version=None)):
        found = parse(json.dumps(raw))
        assert (found.concurrent_sessions, found.version) == (None, None)


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        ("2026-11-22T12:00:00Z", NOON_MS),
        ("2026-11-22T12:00:00.5Z", NOON_MS + 500),
        ("2026-11-22T12:00:00.123999Z", NOON_MS + 123),
        ("2026-11-22T13:30:00+01:30", NOON_MS),
        ("2026-11-22T12:00:00-00:00", NOON_MS),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_times_become_utc(time: str, ms: int) -> None:
    assert parse(json.dumps(event() | {"time": time})).time_ms == ms


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seats", 0),
        ("seats", 1_000_000),
        ("concurrent_sessions", 1),
        ("concurrent_sessions", 1_000_000),
        ("version", 0),
        ("version", 2**53 - 1),
        ("plan", "p"),
        ("plan", "é" * 128),
    ],
)
def test_the_largest_and_smallest_values(field: str, value: object) -> None:
    assert getattr(parse(json.dumps(event(**{field: value}))), field) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("specversion",), "0.3"),
        (("specversion",), 1.0),
        (("id",), ""),
        (("id",), "x" * 1025),
        (("id",), 7),
        (("source",), ""),
        (("source",), "x" * 1025),
        (("source",), None),
        (("type",), None),
        (("subject",), None),
        (("time",), "yesterday"),
        (("time",), "2026-11-22T12:00:00"),
        (("time",), "2026-11-22"),
        (("time",), "0001-01-01T00:00:00Z"),
        (("time",), "0001-01-01T00:00:00+23:59"),
        (("time",), "1969-12-31T23:59:59Z"),
        (("time",), 1_795_521_600),
        (("data",), []),
        (("data",), None),
        (("data", "account"), None),
        (("data", "plan"), ""),
        (("data", "plan"), "p" * 129),
        (("data", "plan"), 3),
        (("data", "seats"), -1),
        (("data", "seats"), 1_000_001),
        (("data", "seats"), True),
        (("data", "seats"), 12.0),
        (("data", "seats"), 12.5),
        (("data", "seats"), "12"),
        (("data", "seats"), None),
        (("data", "seats"), 10**400),
        (("data", "concurrent_sessions"), 0),
        (("data", "concurrent_sessions"), 1_000_001),
        (("data", "concurrent_sessions"), False),
        (("data", "version"), -1),
        (("data", "version"), 2**53),
        (("data", "version"), True),
        (("data", "version"), "7"),
    ],
)
def test_wrong_values_are_malformed(path: tuple[str, ...], value: object) -> None:
    assert reason(replaced(path, value)) == "malformed"


@pytest.mark.parametrize(
    "path",
    [("specversion",), ("id",), ("source",), ("type",), ("subject",), ("time",), ("data",)]
    + [("data", name) for name in ("account", "plan", "seats")],
)
def test_missing_fields_are_malformed(path: tuple[str, ...]) -> None:
    raw = event()
    inner = raw if len(path) == 1 else raw["data"]
    del inner[path[-1]]
    assert reason(raw) == "malformed"


def test_another_type_is_unknown_whatever_its_data() -> None:
    assert reason(event() | {"type": "capacity.plan.deleted"}) == "unknown_type"
    assert reason({"specversion": "1.0", "type": "com.example.invoice", "data": [1, 2]}) == "unknown_type"


def test_the_subject_must_be_the_account() -> None:
    assert reason(event() | {"subject": "other"}) == "subject_mismatch"
    assert reason(event(account="other")) == "subject_mismatch"
    assert reason(event() | {"subject": "ACME"}) == "subject_mismatch"


@pytest.mark.parametrize("account", ["", ".", "..", "a b", "a/b", "a}b", "x" * 129, "a\n", "ä", "a|b", "*"])
def test_the_account_must_be_an_id(account: str) -> None:
    assert reason(event(account=account) | {"subject": account}) == "invalid_id"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"specversion":"1.0","type":' + b"[" * 100_000,
        b'{"specversion":"1.0","type":"x","data":' + b'{"a":' * 100_000,
        b'{"specversion":"1.0","type":"capacity.plan.changed","data":{"seats":NaN}}',
        b'{"specversion":"1.0","type":"capacity.plan.changed","data":{"seats":' + b"9" * 50_000 + b"}}",
        b'{"specversion":"1.0","type":"\\ud800"}',
        '{"specversion":"1.0","type":"\ud800"}',
        json.dumps([event()]).encode(),
        json.dumps(event()).encode() + b"x",
        json.dumps(event()).encode("utf-16"),
    ],
)
def test_what_is_no_event_is_malformed(raw: bytes | str) -> None:
    assert reason(raw) == "malformed"


@given(st.binary(max_size=300) | st.text(st.characters(), max_size=300))
def test_no_input_raises_anything_but_rejected(raw: bytes | str) -> None:
    with pytest.raises(Rejected):
        parse(raw)


@given(paths, anything)
def test_no_field_raises_anything_but_rejected(path: tuple[str, ...], value: object) -> None:
    raw = json.dumps(replaced(path, value))
    try:
        found = parse(raw)
    except Rejected as error:
        assert error.reason in {"malformed", "unknown_type", "subject_mismatch", "invalid_id"}
    else:
        assert found.account == "acme"
        assert type(found.seats) is int


@given(
    account=st.from_regex(r"[A-Za-z0-9_:@-]{1,20}", fullmatch=True),
    plan=st.text(min_size=1, max_size=128),
    seats=st.integers(0, 1_000_000),
    source=st.text(min_size=1, max_size=50),
    id=st.text(min_size=1, max_size=50),
    time_ms=st.integers(0, 253_402_300_799_999),
    concurrent_sessions=st.none() | st.integers(1, 1_000_000),
    version=st.none() | st.integers(0, 2**53 - 1),
)
def test_what_is_built_is_read_back(account: str, plan: str, seats: int, **rest: Any) -> None:
    found = parse(build(account, plan, seats, **rest))
    assert found == PlanChanged(account=account, plan=plan, seats=seats, **rest)


def test_absent_fields_are_not_written() -> None:
    raw = json.loads(build("acme", "pro", 120, source="/cli", id="1", time_ms=NOON_MS))
    assert raw["time"] == "2026-11-22T12:00:00Z"
    assert raw["data"] == {"account": "acme", "plan": "pro", "seats": 120}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"account": "a b"}, "invalid_id"),
        ({"plan": ""}, "malformed"),
        ({"plan": "\ud800"}, "malformed"),
        ({"seats": -1}, "malformed"),
        ({"seats": True}, "malformed"),
        ({"id": ""}, "malformed"),
        ({"time_ms": -1}, "malformed"),
        ({"time_ms": 10**15}, "malformed"),
        ({"time_ms": 10**30}, "malformed"),
        ({"version": 2**53}, "malformed"),
    ],
)
def test_no_wrong_event_is_built(change: dict[str, Any], expected: str) -> None:
    arguments: dict[str, Any] = {
        "account": "acme",
        "plan": "pro",
        "seats": 1,
        "source": "/cli",
        "id": "1",
        "time_ms": 0,
    }
    with pytest.raises(Rejected) as caught:
        build(**(arguments | change))
    assert caught.value.reason == expected


@given(raw=st.binary(max_size=40))
def test_a_glance_at_any_bytes(raw: bytes) -> None:
    assert isinstance(glance(raw), Glimpse)


@given(path=paths, value=anything)
def test_a_glance_sees_what_parsing_sees_and_else_nothing_that_does_not_stand_there(
    path: tuple[str, ...], value: Any
) -> None:
    given_event = replaced(path, value)
    raw = json.dumps(given_event)
    seen = glance(raw)
    try:
        parsed = parse(raw)
    except Rejected:
        data = given_event["data"] if isinstance(given_event["data"], dict) else {}
        assert seen.id in (None, given_event["id"]) and seen.source in (None, given_event["source"])
        assert seen.account in (None, given_event["subject"], data.get("account"))
        for name in ("plan", "seats", "concurrent_sessions", "version"):
            assert getattr(seen, name) in (None, data.get(name))
        assert seen.time_ms in (None, NOON_MS)
    else:
        assert all(getattr(seen, name) == getattr(parsed, name) for name in seen.__struct_fields__)


@pytest.mark.parametrize(
    ("subject", "account", "seen"),
    [
        ("acme", "acme", "acme"),
        ("acme", None, "acme"),
        (7, "acme", "acme"),
        ("acme", "beta", None),
        ("..", "a b", None),
    ],
)
def test_a_glance_takes_no_side_between_two_accounts(subject: Any, account: Any, seen: str | None) -> None:
    assert glance(json.dumps(event(account=account) | {"subject": subject})).account == seen


@pytest.mark.parametrize(
    "raw", [b"", b"[" * 60_000, b"\xff", b"[]", b'{"data": []}', b'{"time": "1969-12-31T00:00:00Z"}']
)
def test_a_glance_at_nothing(raw: bytes) -> None:
    assert glance(raw) == Glimpse()
