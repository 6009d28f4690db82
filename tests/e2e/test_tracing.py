"""Traces: what a join and a plan change look like to who collects them, on one hub and on two, and by whom they are sent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from structlog.testing import capture_logs

from capacity import tracing
from capacity.errors import SettingError
from capacity.store.plan_changes import Entry
from capacity.tracing import Tracing, cause_of, ids_of
from tests.docs.documents import ROOT, blocks
from tests.ops.programs import SECRET
from tests.support.recording_server import Answer, recording_server
from tests.support.service import ACCOUNT, ROOM, Billing, Hub, serving, settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"  # the example of the W3C's recommendation


class Spans:
    """What a hub has told so far."""

    def __init__(self, hub: Hub) -> None:
        assert hub.application is not None
        inside = hub.application.hub
        self._exporter = InMemorySpanExporter()
        self.hub = inside
        inside.traces = Tracing(inside.id, inside.clock, SimpleSpanProcessor(self._exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the ended spans of a name, oldest first."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    async def some(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """Wait for so many spans of a name."""
        await wait_until(lambda: len(self.named(name)) >= count, what=f"{count} spans named {name}")
        return self.named(name)


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def times(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None and span.end_time is not None
    return span.start_time, span.end_time


async def test_a_join_is_traced_from_arrival_to_answer_and_from_there_to_the_seat(hub: Hub, billing: Billing) -> None:
    spans = Spans(hub)
    await billing.account(1)
    await hub.host()
    began = time.time_ns()
    await (await hub.join("ada")).told("seated")
    bob = await hub.join("bob")
    await bob.told("waiting")
    seated, waiting = await spans.some("join", 2)
    for span, answer in ((seated, "seated"), (waiting, "waiting")):
        assert span.attributes is not None
        assert span.attributes == {
            "capacity.account": ACCOUNT, "capacity.room": ROOM, "capacity.answer": answer, "capacity.batch": 1,
        }  # fmt: skip
        lane, script = (
            next(child for child in spans.named(name) if child.parent == span.context) for name in ("lane", "script")
        )
        points = [times(span)[0], *times(lane), *times(script), times(span)[1]]
        assert points == sorted(points) and points[0] >= began and points[3] < points[4], "the call takes some time"
    assert not spans.named("seat"), "bob still waits"

    await billing.publish(2)
    await bob.told("refresh")
    await bob.say("claim")
    await bob.told("seated")
    (seat,) = await spans.some("seat")
    assert [event.name for event in seat.events] == ["held", "seated"]
    assert [link.context for link in seat.links] == [waiting.context], (
        "the seat is linked to the join that waited for it"
    )
    assert ids(seat)[0] != ids(waiting)[0], "and is no part of it: it may take an hour"


async def test_a_wait_ends_with_its_connection(hub: Hub, billing: Billing) -> None:
    spans = Spans(hub)
    await billing.account(0)
    await hub.host()
    ada = await hub.join("ada")
    await ada.told("waiting")
    await ada.drop()
    (seat,) = await spans.some("seat")
    assert seat.attributes is not None and seat.attributes["capacity.outcome"] == "closed"


async def test_a_plan_change_is_one_trace_over_all_hubs(redis_url: str, hub: Hub, billing: Billing) -> None:
    async with serving(settings(redis_url)) as other:
        here, there = Spans(hub), Spans(other)
        await billing.account(1)
        await hub.host()
        for place, names in ((hub, ("ada", "bob")), (other, ("cem", "dora"))):
            for name in names:
                await (await place.join(name)).first()
        event = json.loads(billing.event(3)) | {"traceparent": TRACEPARENT}
        before = time.time_ns() // 1_000_000
        assert other.application is not None
        entry = await other.application.hub.stream.append(json.dumps(event).encode())
        for spans in (here, there):
            await spans.some("tell_limit")
        await wait_until(lambda: any(root(s, entry) for s in (here, there)), what="the entry to be settled")
        handled = here if root(here, entry) else there
        plan_change = root(handled, entry)
        assert plan_change is not None and plan_change.attributes is not None
        assert ids(plan_change) == ids_of(entry)
        assert plan_change.attributes["capacity.verdict"] == "applied"
        assert plan_change.attributes["capacity.account"] == ACCOUNT
        assert times(plan_change)[0] // 1_000_000 == int(entry.partition("-")[0]) >= before
        (link,) = plan_change.links
        assert f"{link.context.trace_id:032x}" in TRACEPARENT and f"{link.context.span_id:016x}" in TRACEPARENT
        steps = {s.name: s for s in handled._exporter.get_finished_spans() if s.parent == plan_change.context}
        assert {"apply", "sweep", "settle"} <= steps.keys()
        assert times(steps["apply"])[1] <= times(steps["sweep"])[0] <= times(steps["settle"])[0]
        told = 0
        for spans in (here, there):
            (tell,) = spans.named("tell_limit")
            assert ids(tell)[0] == ids_of(entry)[0], "every hub's part is in the trace of the entry"
            assert tell.parent is not None and tell.parent.span_id == ids_of(entry)[1]
            assert tell.attributes is not None and tell.attributes["capacity.seat_limit"] == 3
            told += int(str(tell.attributes["capacity.refreshed"]))
        assert told == 2, "two of those who waited got the two new seats"


def root(spans: Spans, entry: str) -> ReadableSpan | None:
    """Return the span of an entry's handling, once it has ended."""
    return next(
        (s for s in spans.named("plan_change") if s.attributes and s.attributes["capacity.entry"] == entry), None
    )


async def test_a_rejected_event_is_traced_as_such(hub: Hub, billing: Billing) -> None:
    spans = Spans(hub)
    entry = await spans.hub.stream.append(b"no event")
    await wait_until(lambda: root(spans, entry), what="the entry to be settled")
    span = root(spans, entry)
    assert span is not None and span.attributes is not None
    assert span.attributes == {"capacity.entry": entry, "capacity.verdict": "malformed"}
    assert [s.status.status_code for s in spans.named("settle")] == [StatusCode.UNSET]


async def test_no_span_names_a_participant(hub: Hub, billing: Billing) -> None:
    spans = Spans(hub)
    await billing.account(1)
    await hub.host("hanna-the-host")
    for name in ("ada-who-came", "bob-who-waits"):
        await (await hub.join(name)).first()
    await billing.publish(2)
    await spans.some("tell_limit")
    told = "".join(span.to_json() for span in spans._exporter.get_finished_spans())
    assert ACCOUNT in told and ROOM in told
    assert not any(word in told for word in ("hanna", "ada-who", "bob-who", "eyJ"))


def test_the_ids_of_an_entry_are_a_digest_of_it() -> None:
    digest = hashlib.sha256(b"capacity plan change 1795428760000-3").hexdigest()
    trace_id, span_id = ids_of("1795428760000-3")
    assert (f"{trace_id:032x}", f"{span_id:016x}") == (digest[:32], digest[32:48])


@pytest.mark.parametrize(
    "event",
    [
        None, b"", b"[]", b"nothing", b"\xff", b"{}", b'{"traceparent": 7}', b'{"traceparent": "00-1-2-3"}',
        b'{"traceparent": "00-00000000000000000000000000000000-0000000000000000-01"}', b"[" * 10_000,
    ],
)  # fmt: skip
def test_whatever_stands_in_an_event_names_no_cause(event: bytes | None) -> None:
    assert cause_of(event) is None


# ---- who sends them


async def test_spans_go_to_the_collector_that_the_environment_names(
    redis_url: str, billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is the document's, but for the collector's address and the share of the traces."""
    with recording_server(Answer(200, b"")) as collector:
        (commands,) = blocks(ROOT / "docs" / "operations.md", "sh", "Traces")
        for name, value in re.findall(r"^export (\w+)=(.+)$", commands, re.MULTILINE):
            value = value.replace("http://localhost:4318", collector.url)
            monkeypatch.setenv(name, "1.0" if name == "OTEL_TRACES_SAMPLER_ARG" else value)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        async with serving(settings(redis_url, traces=os.environ["CAPACITY_TRACES"])) as hub:
            await billing.account(1)
            await hub.host()
            await (await hub.join("ada")).told("seated")
        found: dict[str, Any] = {}
        for request in collector.requests:
            assert request.line == "POST /v1/traces" and request.headers["content-type"] == "application/x-protobuf"
            for of in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                said = {pair.key: pair.value.string_value for pair in of.resource.attributes}
                assert hub.application is not None
                assert said["service.name"] == "capacity" and said["deployment.environment.name"] == "test"
                assert said["service.instance.id"] == hub.application.hub.id
                found |= {span.name: span for scope in of.scope_spans for span in scope.spans}
        assert {"join", "lane", "script", "plan_change", "apply", "settle"} <= found.keys(), (
            "what was left came at the end"
        )
        assert found["lane"].parent_span_id == found["join"].span_id


def test_a_collector_that_refuses_costs_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    with recording_server(Answer(400, b"no")) as collector, capture_logs() as lines:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        exporter = tracing.exporter()
        for _ in range(3):
            exporter.export([])
        collector.otherwise = Answer(200, b"")
        exporter.export([])
        exporter.shutdown()
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("traces_not_exported", "warning"),
        ("traces_exported_again", "info"),
    ]


async def test_a_collector_that_says_nothing_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "CLOSE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, capture_logs() as lines:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        inside = Tracing("h1", time.monotonic)
        with inside.plan_change(Entry("1795428760000-0", None)) as trace:
            trace.settled("malformed", None)
        began = time.monotonic()
        await inside.close()
        assert 0.1 <= time.monotonic() - began < 0.9
        await wait_until(lambda: [line["event"] for line in lines] == ["traces_not_exported"])


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "expected http/protobuf or nothing, got 'grpc'"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "expected an http or https address"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1", "OTEL_\\* environment cannot work"),
    ],
)
def test_an_environment_that_cannot_work_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError, match=words):
        Tracing("h1", time.monotonic)


def test_without_the_libraries_the_start_says_what_to_install(tmp_path: Path) -> None:
    """Off, what needs them is not imported; on and not installed is one line and exit code 2."""
    hidden = "import sys; sys.modules['opentelemetry'] = None; from capacity.__main__ import main; main()"
    environ = {"CAPACITY_TOKEN_KEY": SECRET, "CAPACITY_DATA_DIR": str(tmp_path / "data"), "CAPACITY_TRACES": "on"}
    done = subprocess.run(
        [sys.executable, "-c", hidden, "serve", "--port", "0"],
        env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = "capacity: CAPACITY_TRACES: on needs the libraries of OpenTelemetry; pip install 'capacity[traces]'.\n"
    assert (done.returncode, done.stderr) == (2, said)
    look = "import sys, capacity.cli, capacity.app, capacity.serve; print('capacity.tracing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
