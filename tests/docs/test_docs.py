"""The documents say everything: each setting, message, code, metric, command and address, with examples that are true."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path

import msgspec
import pytest
import typer

from capacity import cli, errors, flags, settings
from capacity.billing.card import CARDS
from capacity.billing.ledger import EntryKind
from capacity.domain.proposals import WarningCode
from capacity.domain.subscription import LineKind, Status
from capacity.errors import Close, ErrorCode
from capacity.hooks import courier
from capacity.hub.gauges import Gauges
from capacity.protocol import events, hooks, messages, notices
from capacity.protocol.answers import (
    Accepted,
    HandledEvents,
    ParticipantState,
    Plans,
    Problem,
    Replayed,
    RoomReport,
    Word,
)
from capacity.protocol.desk_bodies import (
    Account,
    AccountWish,
    PurchaseAnswer,
    PurchaseStatus,
    PurchaseWish,
    QuoteAnswer,
    QuoteWish,
)
from capacity.protocol.messages import Message
from capacity.protocol.passes import PassKey
from capacity.store.verdicts import PIECE, PIECES_MAX
from capacity.web import problems, refusals
from capacity.web.account_answers import Ledger, Taken
from capacity.web.accounts import AccountApi
from capacity.web.console import ConsoleApi
from capacity.web.metrics import Metrics
from capacity.web.operations import Operation
from capacity.web.payments import Decision, PaymentApi
from capacity.web.refusals import Refusal
from capacity.web.rooms import RoomApi
from capacity.web.service import ServiceApi
from capacity.web.webhook import Webhook
from tests.docs.documents import DOCUMENTS, PROTOCOL, README, ROOT, addresses, anchors, examples, rows, section, words

CLOSES = [value for value in vars(errors).values() if isinstance(value, Close)]
EDGE_REFUSALS = {value.reason: value for value in vars(refusals).values() if isinstance(value, Refusal)}
SIDES = {"Server to client": messages.ServerMessage, "Client to server": messages.ClientMessage}
MESSAGES = [(side, kind) for side, union in SIDES.items() for kind in typing.get_args(union)]


def tag(kind: type[Message]) -> str:
    """Return the `type` of a message on the wire."""
    return str(kind.__struct_config__.tag)


def heading_of(side: str, kind: type[Message]) -> str:
    """Return the section of a message; both sides have a `pass`."""
    text = section(PROTOCOL, side)
    parts = re.split(r"^### `(\w+)`$", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert tag(kind) in sections, f"docs/protocol.md, {side}: no section on {tag(kind)}"
    return sections[tag(kind)]


# ---- README.md


def test_every_setting_and_no_other_stands_in_the_readme() -> None:
    table = [row[0].strip("`") for row in rows(section(README, "Settings"))[1:]]
    assert sorted(table) == sorted(settings.variable_of(flag) for flag in settings.FLAGS)
    assert all(flag in flags.SETTINGS for flag in settings.FLAGS)


@pytest.mark.parametrize(
    "field", [f for f in msgspec.structs.fields(settings.Settings) if isinstance(f.default, float)]
)
def test_defaults_in_the_readme_are_those_of_the_code(field: msgspec.structs.FieldInfo) -> None:
    defaults = {row[0].strip("`"): row[2] for row in rows(section(README, "Settings"))}
    assert defaults[settings.variable_of(field.name)] == f"{field.default:g}"


def test_the_default_shares_are_those_of_the_code() -> None:
    defaults = {row[0].strip("`"): row[2] for row in rows(section(README, "Settings"))}
    assert defaults["CAPACITY_NEAR_FULL"] == str(settings.NEAR_FULL)
    assert defaults["CAPACITY_NEAR_FULL_CLEAR"].startswith(f"{settings.NEAR_FULL_CLEAR},")


def test_every_command_and_option_stands_in_the_readme() -> None:
    text = section(README, "Commands")
    group: typing.Any = typer.main.get_command(cli.app)
    table = {row[0].split("`")[1].split()[1]: row for row in rows(text)[1:]}
    assert table.keys() == group.commands.keys()
    shared = {f"--{flag.replace('_', '-')}" for flag in settings.FLAGS} | {"--help"}
    for name, command in group.commands.items():
        shown = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
        options = {word for p in shown for word in (*p.opts, *p.secondary_opts)} - shared
        assert set(re.findall(r"--[a-z-]+", table[name][1])) == options, name


# ---- the WebSocket


@pytest.mark.parametrize(("side", "kind"), MESSAGES, ids=lambda value: value if isinstance(value, str) else tag(value))
def test_every_message_has_an_example_with_all_of_its_fields(side: str, kind: type[Message]) -> None:
    (example,) = examples(heading_of(side, kind))
    msgspec.json.decode(example, type=kind)
    fields = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert json.loads(example).keys() == {"type", *fields}


@pytest.mark.parametrize(("side", "kind"), MESSAGES, ids=lambda value: value if isinstance(value, str) else tag(value))
def test_every_word_that_a_field_may_have_is_named(side: str, kind: type[Message]) -> None:
    text = heading_of(side, kind)
    for field in msgspec.structs.fields(kind):
        if typing.get_origin(field.type) is typing.Literal:
            for word in typing.get_args(field.type):
                assert f"`{word}`" in text or f"`{word}`" in section(PROTOCOL, "Words"), f"{field.encode_name}: {word}"


def test_the_example_of_near_full_has_all_fields_of_an_upgrade() -> None:
    (example,) = examples(heading_of("Server to client", messages.NearFull))
    assert json.loads(example)["upgrade"].keys() == {f.name for f in msgspec.structs.fields(messages.Upgrade)}


@pytest.mark.parametrize("side", SIDES)
def test_no_message_is_documented_that_there_is_not(side: str) -> None:
    documented = re.findall(r"^### `(\w+)`$", section(PROTOCOL, side), re.MULTILINE)
    assert sorted(documented) == sorted(tag(kind) for kind in typing.get_args(SIDES[side]))


def test_every_close_code_and_reason_is_documented() -> None:
    table = [(int(row[0]), row[1].strip("`")) for row in rows(section(PROTOCOL, "Close codes"))[1:]]
    assert sorted(table) == sorted((close.code, close.reason) for close in CLOSES)


def test_the_browser_client_knows_every_close_code() -> None:
    text = (ROOT / "static" / "client.js").read_text("utf-8")
    (table,) = re.findall(r"CLOSE_CODES = Object\.freeze\(\{(.*?)\}\)", text, re.DOTALL)
    known = {int(code): action for code, action in re.findall(r'(\d{4}): "(\w+)"', table)}
    should = {int(row[0]): row[3] for row in rows(section(PROTOCOL, "Close codes"))[1:]}
    assert should.keys() <= known.keys()
    for code, advice in should.items():
        reconnects = {"soon": "short", "growing": "growing"}.get(known[code])
        assert ("reconnect" in advice) == (reconnects is not None) and (reconnects or "") in advice, code


# ---- codes and HTTP


def test_every_code_and_its_status_is_documented() -> None:
    table = {row[0].strip("`"): int(row[1]) for row in rows(section(PROTOCOL, "Codes"))[1:]}
    known = {str(code): status for code, status in problems.STATUS.items()}
    assert {code.value for code in ErrorCode} <= known.keys()
    assert table == known | {code: refusal.status for code, refusal in EDGE_REFUSALS.items()}


def test_every_rejection_of_an_event_is_documented() -> None:
    documented = words(section(PROTOCOL, "Plan-changed events"))
    assert documented >= {*typing.get_args(events.Reason), "managed_by_desk", "internal_error"}


def test_the_example_of_an_event_is_one() -> None:
    (example,) = examples(section(PROTOCOL, "Plan-changed events"))
    event = events.parse(example)
    assert event.concurrent_sessions is not None and event.version is not None
    text = section(PROTOCOL, "Plan-changed events")
    assert f"{events.SEATS_MAX:,}" in text and f"{events.TEXT_CHARACTERS_MAX}" in text


def operations() -> list[Operation]:
    """Return the table of the HTTP surface; no handler is called."""
    nothing: typing.Any = None
    return [
        *ServiceApi(nothing, nothing, nothing, Plans([], None), lambda: None).operations(),
        *RoomApi(nothing, nothing).operations(),
        *Webhook(nothing, ()).operations(),
        *ConsoleApi(nothing, nothing).operations(),
        *AccountApi(nothing, nothing).operations(),
        *PaymentApi(nothing).operations(),
    ]


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.name)
def test_every_address_is_documented_with_its_refusals(operation: Operation) -> None:
    text = section(PROTOCOL, f"`{operation.method} {operation.path}`")
    room = section(PROTOCOL, "`GET /v1/accounts/{account}/rooms/{room}`")
    above = room if re.search(r"[Rr]efusals as", text) else ""
    if operation.access == "token" and operation.method == "DELETE":
        above = room
    for code in operation.refusals:
        assert code in words(text + above) or str(problems.STATUS[code]) in text + above, code


@pytest.mark.parametrize("operation", [o for o in operations() if o.query], ids=lambda operation: operation.name)
def test_every_parameter_of_a_query_is_documented(operation: Operation) -> None:
    assert operation.query is not None
    text = section(PROTOCOL, f"`{operation.method} {operation.path}`")
    table = {row[0].strip("`"): row[-1] for row in rows(text)[1:]}
    assert table.keys() == {field.encode_name for field in msgspec.structs.fields(operation.query)}
    for field in msgspec.structs.fields(operation.query):
        if field.default is not None and not field.required:
            assert str(field.default) == table[field.encode_name], field.encode_name


def test_every_verdict_is_documented() -> None:
    text = section(PROTOCOL, "`GET /v1/events`")
    assert words(text) >= {*typing.get_args(Word)}
    assert f"{PIECE * PIECES_MAX} entries" in " ".join(text.split())


@pytest.mark.parametrize(
    ("heading", "asked", "answered"),
    [
        ("PUT /v1/accounts/{account}", AccountWish, None),
        ("POST /v1/accounts/{account}/quotes", QuoteWish, QuoteAnswer),
        ("POST /v1/accounts/{account}/purchases", PurchaseWish, PurchaseAnswer),
        ("POST /v1/payments/card", Decision, None),
    ],
)
def test_the_examples_of_bodies_are_bodies(
    heading: str, asked: type[msgspec.Struct], answered: type[msgspec.Struct] | None
) -> None:
    wish, *answers = examples(section(PROTOCOL, f"`{heading}`"))
    decoded = msgspec.to_builtins(msgspec.json.decode(wish, type=asked))
    assert json.loads(wish).keys() == {name for name, value in decoded.items() if value is not None}
    for answer in answers:
        assert answered is not None
        again = msgspec.json.encode(msgspec.json.decode(answer, type=answered))
        assert json.loads(again) == json.loads(answer)


def test_everything_that_a_ledger_says_is_documented() -> None:
    text = section(PROTOCOL, "`GET /v1/accounts/{account}/ledger`")
    assert words(text) >= {*typing.get_args(EntryKind)}
    assert words(section(PROTOCOL, "`POST /v1/accounts/{account}/quotes`")) >= {
        *typing.get_args(WarningCode),
        *typing.get_args(LineKind),
    }
    statuses = {*typing.get_args(PurchaseStatus)} - {"payment_declined"}  # that one is answered as a problem
    assert words(section(PROTOCOL, "`POST /v1/accounts/{account}/purchases`")) >= statuses - {"completed"}
    assert words(section(PROTOCOL, "`GET /v1/accounts/{account}`")) >= {*typing.get_args(Status)}
    assert words(section(PROTOCOL, "Payments")) >= set(CARDS)


def test_the_example_of_a_notice_is_one() -> None:
    text = section(PROTOCOL, "Notices")
    (example,) = examples(text)
    notice = msgspec.json.decode(example, type=notices.Notice)
    assert json.loads(msgspec.json.encode(notice)) == json.loads(example)
    assert words(text) >= {notices.PAYMENT_DECLINED, notices.ACCOUNT_SUSPENDED, notice.type}


@pytest.mark.parametrize("kind", typing.get_args(hooks.Event), ids=lambda kind: str(kind.__struct_config__.tag))
def test_the_example_of_an_outbound_webhook_is_one(kind: type[hooks.Event]) -> None:
    text = section(PROTOCOL, f"`{kind.__struct_config__.tag}`")
    (example,) = examples(text)
    event = hooks.decode(example)
    assert isinstance(event, kind) and json.loads(hooks.encode(event)) == json.loads(example)
    for field in msgspec.structs.fields(type(event.data)):
        if typing.get_origin(field.type) is typing.Literal:
            assert words(text) >= set(typing.get_args(field.type)), field.name


def test_the_tries_of_an_outbound_webhook_are_documented() -> None:
    text = section(ROOT / "docs" / "operations.md", "What is not taken is sent again")
    names, after = rows(text)
    units = {"s": 1, "min": 60, "h": 3600}
    seconds = [float(number) * units[unit] for number, unit in (cell.split() for cell in after[2:])]
    assert tuple(seconds) == courier.AGAIN_SECONDS and len(names) - 1 == len(courier.AGAIN_SECONDS) + 1


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("GET /v1/accounts/{account}", Account),
        ("GET /v1/accounts/{account}/ledger", Ledger),
        ("POST /v1/payments/events", Taken),
        ("GET /v1/accounts/{account}/rooms/{room}/report", RoomReport),
        ("GET /v1/accounts/{account}/rooms/{room}/participants/{participant}", ParticipantState),
        ("POST /v1/events", Accepted),
        ("GET /v1/events", HandledEvents),
        ("POST /v1/events/{entry}/replay", Replayed),
        ("GET /v1/plans", Plans),
    ],
)
def test_the_examples_of_answers_are_answers(heading: str, kind: type[msgspec.Struct]) -> None:
    (example,) = examples(section(PROTOCOL, f"`{heading}`"))
    decoded = msgspec.json.decode(example, type=kind)
    assert json.loads(msgspec.json.encode(decoded)) == json.loads(example)


def test_the_example_of_a_problem_is_one() -> None:
    example = examples(section(PROTOCOL, "HTTP"))[0]
    problem = msgspec.json.decode(example, type=Problem)
    assert problem.type == problems.TYPE_PREFIX + problem.code
    assert (problem.status, problem.title) == (problems.STATUS[problem.code], problems.title(problem.code))


# ---- metrics


class QuietHub:
    """What the metrics look at."""

    def __init__(self) -> None:
        from capacity.hub.stats import Stats

        self.connections = 0
        self.stats = Stats()

    def gauges(self) -> Gauges:
        return Gauges({}, {}, 0, 0, True, 0.0, 1, 0, 0)

    def problems(self) -> list[str]:
        return []


def test_every_metric_is_documented() -> None:
    metrics = Metrics()
    metrics.watch(typing.cast(typing.Any, QuietHub()))
    shown = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in metrics.registry.collect()
        if family.name.startswith("capacity_")
    }
    documented = {row[0].strip("`") for row in rows(section(PROTOCOL, "Metrics"))[1:]}
    assert {name for name in documented if name.startswith("capacity_")} == shown


# ---- what leads where


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for address in addresses(path):
        if address.startswith("https://"):
            continue
        name, _, anchor = address.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{path.name}: {address}"
        assert not anchor or anchor in anchors(target), f"{path.name}: {address}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_document_names_are_there(path: Path) -> None:
    inside = r"(?:capacity|static|tests|docs)/[\w./-]+|[A-Z]\w+\.md|requirements[\w-]*\.lock"
    for word in words(path.read_text("utf-8")):
        if re.fullmatch(inside, word) and "VERB" not in word:
            assert (ROOT / word).exists(), f"{path.name}: {word}"


def test_tests_that_the_guarantees_name_are_there() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    promises = re.findall(r"^## \d\. (.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert len(promises) == 6
    for promise in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", promise)
        assert named, f"nothing holds the promise {promise.splitlines()[0]}"
        for path, name in named:
            assert f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{path}::{name}"


def test_decisions_are_numbered_and_named_where_the_code_names_them() -> None:
    numbers = sorted(path.name[:4] for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    for source in sorted((ROOT / "capacity").rglob("*.py")):
        for number in re.findall(r"docs/decisions/(\d{4})", source.read_text("utf-8")):
            assert number in numbers, f"{source.relative_to(ROOT)} names decision {number}"


def test_the_public_keys_are_as_described() -> None:
    (key,) = PassKey.generate().jwks().keys
    assert key.alg == "EdDSA" and "EdDSA" in heading_of("Server to client", messages.Pass)
