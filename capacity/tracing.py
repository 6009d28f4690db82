"""Traces by OpenTelemetry, sent by OTLP over HTTP. The library is the extra `traces`; where to send is its OTEL_* environment.

    join          from an attendee's arrival at the hub to the first answer: `lane` (waiting for the call), `script` (the call)
    seat          from the answer «waiting» or «held» to the seat, or to the end of the connection; linked to its join
    plan_change   from an event's entry in the stream to its settling: `apply`, `sweep` a room, `settle`
    tell_limit    on every hub that has the room: telling the new limit and who a seat is held for

A plan change goes through the hands of one hub and is told by many. Nothing is carried from one to the other: all of them know the
entry, and the ids of its trace are a digest of it.

Accounts and rooms are attributes, as in the log. Participants are not: a trace is for how long things take, not for who came.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import structlog

from capacity import __version__
from capacity.errors import SettingError
from capacity.hub.connection import Connection
from capacity.hub.limit_watch import LimitChange, entry_ms
from capacity.hub.room import LiveRoom
from capacity.hub.traces import PlanChangeTrace
from capacity.store.plan_changes import Entry

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import Decision
    from opentelemetry.trace import (
        Link,
        NonRecordingSpan,
        Span,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )
except ImportError:
    raise SettingError(
        "CAPACITY_TRACES: on needs the libraries of OpenTelemetry; pip install 'capacity[traces]'."
    ) from None

CLOSE_SECONDS = 2.0
"""How long the end of the process waits for the last spans to be sent; the contract gives it ten seconds in all."""
PROTOCOL = "http/protobuf"
ROOT = Context()
"""A span in it has no parent."""
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

log = structlog.get_logger(__name__)


def exporter() -> SpanExporter:
    """Return what sends spans, as the OTEL_* environment says. Raises SettingError for an environment that cannot work."""
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if (protocol := os.environ.get(variable, "").strip()) not in ("", PROTOCOL):
            raise SettingError(
                f"{variable}: expected {PROTOCOL} or nothing, got {protocol!a}; spans are sent so alone."
            )
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if not os.environ.get(variable, "http:").startswith(("http:", "https:")):
            raise SettingError(f"{variable}: expected an http or https address of a collector; its port is often 4318.")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what matters of it is logged here, once
    try:
        return _Exporter(OTLPSpanExporter())
    except ValueError as error:
        raise SettingError(f"CAPACITY_TRACES: on, and the OTEL_* environment cannot work: {error}.") from None


class Tracing:
    """The traces of one process. `clock` is the hub's. `processor` takes the spans instead of the exporter (tests)."""

    def __init__(self, hub: str, clock: Callable[[], float], processor: SpanProcessor | None = None) -> None:
        """Raises SettingError for an environment that cannot work."""
        self._clock = clock
        self._ids = _Ids()
        try:
            self._provider = TracerProvider(resource=_resource(hub), id_generator=self._ids, shutdown_on_exit=False)
            self._provider.add_span_processor(processor or BatchSpanProcessor(exporter()))
        except ValueError as error:
            raise SettingError(f"CAPACITY_TRACES: on, and the OTEL_* environment cannot work: {error}.") from None
        self._tracer = self._provider.get_tracer("capacity", __version__)
        self._seats: dict[Connection, Span] = {}

    async def close(self) -> None:
        """Send what is left, for CLOSE_SECONDS at the most. A collector that does not answer holds nobody up."""
        for span in self._seats.values():
            span.end()
        self._seats.clear()
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, CLOSE_SECONDS)

    # ---- joins

    def answered(self, connections: Sequence[Connection], called_at: float, replied_at: float | None) -> None:
        """See `Traces`."""
        now, now_ns = self._clock(), time.time_ns()
        called = now_ns - _ns(now - called_at)
        replied = now_ns if replied_at is None else now_ns - _ns(now - replied_at)
        for connection in connections:
            arrived = now_ns - _ns(now - connection.arrived_at)
            name = connection.room.name
            of_room = {"capacity.account": name.account, "capacity.room": name.room}
            span = self._tracer.start_span(
                "join",
                ROOT,
                SpanKind.SERVER,
                {**of_room, "capacity.answer": connection.state, "capacity.batch": len(connections)},
                start_time=arrived,
            )
            if span.is_recording():
                inside = set_span_in_context(span)
                self._tracer.start_span("lane", inside, start_time=arrived).end(called)
                self._tracer.start_span("script", inside, SpanKind.CLIENT, start_time=called).end(replied)
                if replied_at is None:
                    span.set_status(Status(StatusCode.ERROR, "the store did not answer"))
                elif connection.state in ("waiting", "held"):
                    self._seats[connection] = self._tracer.start_span(
                        "seat",
                        ROOT,
                        attributes=of_room,
                        links=[Link(span.get_span_context())],
                        start_time=now_ns,
                    )
            span.end(now_ns)
        for connection in connections:
            if connection.state == "held":
                self.moved(connection)

    def moved(self, connection: Connection) -> None:
        """See `Traces`."""
        span = self._seats.get(connection)
        if span is None:
            return
        span.add_event(connection.state)
        if connection.state in ("seated", "closed"):
            span.set_attribute("capacity.outcome", connection.state)
            span.end()
            del self._seats[connection]

    # ---- plan changes

    @contextmanager
    def plan_change(self, entry: Entry) -> Iterator[PlanChangeTrace]:
        """See `Traces`."""
        with self._ids.given(*ids_of(entry.id)):
            root = self._tracer.start_span(
                "plan_change",
                ROOT,
                SpanKind.CONSUMER,
                {"capacity.entry": entry.id},
                links=[Link(cause)] if (cause := cause_of(entry.event)) is not None else None,
                start_time=entry_ms(entry.id) * 1_000_000,
            )
        try:
            yield _PlanChange(self._tracer, root)
        finally:
            root.end()

    def limit_told(self, room: LiveRoom, change: LimitChange) -> None:
        """See `Traces`."""
        inside = self._context_of(change.entry) if change.entry is not None else ROOT
        span = self._tracer.start_span(
            "tell_limit",
            inside,
            attributes={
                "capacity.account": room.name.account,
                "capacity.room": room.name.room,
                "capacity.previous": change.previous,
                "capacity.seat_limit": change.seat_limit,
                "capacity.refreshed": change.refreshed,
            },
            start_time=change.began_at_ms * 1_000_000,
        )
        span.end(max(change.told_at_ms, change.began_at_ms) * 1_000_000)

    def _context_of(self, entry: str) -> Any:
        """Return the context of an entry's root span, which may be another hub's. Whether it was sampled the sampler says
        again: by the trace's id, it says the same everywhere.
        """
        trace_id, span_id = ids_of(entry)
        decision = self._provider.sampler.should_sample(None, trace_id, "plan_change").decision
        sampled = decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return set_span_in_context(NonRecordingSpan(SpanContext(trace_id, span_id, True, flags)))


class _PlanChange:
    """See `PlanChangeTrace`."""

    def __init__(self, tracer: trace.Tracer, root: Span) -> None:
        self._tracer = tracer
        self._root = root
        self._inside = set_span_in_context(root)

    @contextmanager
    def step(self, name: str, room: str = "") -> Iterator[None]:
        """See `PlanChangeTrace`."""
        span = self._tracer.start_span(name, self._inside, SpanKind.CLIENT, {"capacity.room": room} if room else None)
        try:
            yield
        except Exception as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            span.end()

    def settled(self, verdict: str, account: str | None) -> None:
        """See `PlanChangeTrace`."""
        self._root.set_attribute("capacity.verdict", verdict)
        if account is not None:
            self._root.set_attribute("capacity.account", account)


class _Ids(RandomIdGenerator):
    """Random ids, but for a span that is given its own."""

    def __init__(self) -> None:
        self._given: tuple[int, int] | None = None

    @contextmanager
    def given(self, trace_id: int, span_id: int) -> Iterator[None]:
        """The root span that is started meanwhile has these ids. Spans are started by one thread alone."""
        self._given = (trace_id, span_id)
        try:
            yield
        finally:
            self._given = None

    def generate_trace_id(self) -> int:
        return self._given[0] if self._given is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self._given[1] if self._given is not None else super().generate_span_id()


class _Exporter(SpanExporter):
    """Sends spans by another exporter, in a thread of its own; says so once when that begins to fail, and when it goes again."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._failing = False
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        self._lost += len(spans) if failing else 0
        if failing and not self._failing:
            log.warning("traces_not_exported", spans=len(spans))
        elif self._failing and not failing:
            log.info("traces_exported_again", lost=self._lost)
            self._lost = 0
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class _Distributed(msgspec.Struct):
    """The extension of CloudEvents that names the trace of who made the event."""

    traceparent: str = ""


_decode = msgspec.json.Decoder(_Distributed).decode


def ids_of(entry: str) -> tuple[int, int]:
    """Return trace id and span id of the root of an entry's trace: the same on every hub, and never 0."""
    digest = hashlib.sha256(f"capacity plan change {entry}".encode()).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1


def cause_of(event: bytes | None) -> SpanContext | None:
    """Return what the event's `traceparent` names (https://www.w3.org/TR/trace-context/), or None."""
    try:
        matched = _TRACEPARENT.fullmatch(_decode(event or b"").traceparent)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if matched is None:
        return None
    context = SpanContext(int(matched[1], 16), int(matched[2], 16), True, TraceFlags(int(matched[3], 16)))
    return context if context.is_valid else None


def _resource(hub: str) -> Resource:
    """Return what is said of the process in every span; the environment wins."""
    mine = {"service.name": "capacity", "service.version": __version__, "service.instance.id": hub}
    return Resource.create({**mine, **OTELResourceDetector().detect().attributes})


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
