"""What `/metrics` shows, in the Prometheus text format. No metric carries an account, a room or a participant.

| metric | labels | meaning |
|---|---|---|
| `capacity_build_info` | `version` | always 1 |
| `capacity_ready` | | 1 while this process takes new connections, else 0 |
| `capacity_connections` | | participants' connections that the hub has |
| `capacity_participants` | `state` | the same by where they stand: `joining`, `seated`, `waiting`, `held`, and `host` |
| `capacity_rooms` | `level` | open rooms that this process watches: `below`, `near_full`, `full`; each counts wherever it is watched |
| `capacity_hubs` | | processes that live, as this one sees it |
| `capacity_sockets` | | WebSockets open, closing ones included |
| `capacity_handshakes_total` | | WebSocket handshakes with a good token |
| `capacity_edge_refusals_total` | `reason` | requests and handshakes that the edge refused |
| `capacity_messages_total` | | messages received from clients |
| `capacity_drops_total` | `why` | connections dropped: `slow` did not read, `silent` did not answer pings |
| `capacity_joins_total` | `answer` | joins by what they were answered |
| `capacity_join_seconds` | | from an attendee's arrival to the first answer, a histogram |
| `capacity_unanswered` | | what was asked of the store and has not been answered yet |
| `capacity_refreshes_total` | | attendees told to refresh |
| `capacity_plan_changes_total` | `verdict` | plan changes taken from the stream, by what became of them |
| `capacity_raise_seconds` | | from the entry of a raise in the stream to the last of a room who was told here, a histogram |
| `capacity_plan_changes_lag` | | entries of the stream that no process has been given yet; the same from every process |
| `capacity_plan_changes_pending` | | entries that a process was given and has not settled; the same from every process |
| `capacity_store_usable` | | 1 while the store can be used, else 0 |
| `capacity_store_call_seconds` | `verb` | how long the scripts of the store took, with the way there and back, a histogram |
| `capacity_feed_silent_seconds` | | for how long this process has not heard its own beacon; from 3 s on it is deaf |
| `capacity_loop_lag_seconds` | | how late the event loop came, twice a second, a histogram |
| `capacity_store_outages_total` | | times the store became unusable |
| `capacity_seats_over` | | seats beyond the limit, in the rooms that this process watches, given back after a loss of data |
| `capacity_fenced_total` | | calls that a room refused since it did not know this process: taken for dead, or the room was lost |
| `capacity_feed_gaps_total` | | messages of the feed that showed that others before them were lost |
| `capacity_resyncs_total` | | rooms in which this process said anew who is connected to it |
| `capacity_hub_deaths_total` | | processes that died, and did not end in order, whose rooms this one began to take over |
| `capacity_reaped_total` | | rooms in which this process made the participants of one that died or ended away |
| `capacity_taken_over_total` | | plan changes that another process had begun and not finished |
| `capacity_payments_total` | `outcome` | payments of the billing desk: `paid`, `declined`, `awaiting` their owner, `unavailable` gateway |
| `capacity_hook_deliveries_total` | `outcome` | tries to deliver an outbound webhook: `delivered`, `failed` and tried again later, `dead` |
| `capacity_hook_waiting` | | outbound webhooks that wait in the store, due or not; the same from every process |
| `capacity_http_requests_total` | `route`, `method`, `status` | HTTP requests answered |
| `capacity_http_request_seconds` | `route` | how long answering took, a histogram |
| `capacity_http_refusals_total` | `code` | refused HTTP requests by the `code` of their problem |
| `capacity_webhook_events_total` | `outcome` | events at the webhook: `accepted`, or the code of the refusal |
| `process_*`, `python_info` | | the process itself, from the client library |

`route` is a template of the table of routes, `page` for the built-in pages and scripts, `none` for addresses that lead
nowhere; `method` is `other` for methods that nobody knows. With several workers each answers for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from capacity import __version__
from capacity.errors import ErrorCode
from capacity.hub.timings import BOUNDS_SECONDS, Timings
from capacity.protocol.events import Reason
from capacity.store.verdicts import NOT_REJECTED
from capacity.web.ports import HookCounts, RoomHub
from capacity.web.watch import Stats

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PAGE, NO_ROUTE, OTHER_METHOD = "page", "none", "other"
ANSWERS = ("seated", "waiting", "held", "put_out")
VERDICTS = (*NOT_REJECTED, *get_args(Reason), "managed_by_desk", ErrorCode.INTERNAL_ERROR.value)
PAYMENTS = ("paid", "declined", "awaiting", "unavailable")
DELIVERIES = ("delivered", "failed", "dead")

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "PATCH"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The metrics of one process, in a registry of their own: two services in one process do not mix.

    `edge` is what the edge counts in; `protocol_class` needs it.
    """

    def __init__(self) -> None:
        self.edge = Stats()
        self.hooks: HookCounts | None = None
        """The outbound webhooks, where there are any."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        build = Gauge("capacity_build_info", "The release that runs.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        self._ready = Gauge(
            "capacity_ready", "1 while this process takes new connections, else 0.", registry=self.registry
        )
        self._connections = Gauge("capacity_connections", "Connections that the hub has.", registry=self.registry)
        self._sockets = Gauge("capacity_sockets", "WebSockets open, closing ones included.", registry=self.registry)
        self._requests = Counter(
            "capacity_http_requests", "HTTP requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "capacity_http_request_seconds",
            "How long answering an HTTP request took.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._refusals = Counter(
            "capacity_http_refusals", "Refused HTTP requests by code.", ["code"], registry=self.registry
        )
        self._events = Counter(
            "capacity_webhook_events",
            "Plan-changed events at the webhook by outcome.",
            ["outcome"],
            registry=self.registry,
        )

    def watch(self, hub: RoomHub, payments: Mapping[str, int] = MappingProxyType({})) -> None:
        """Show this hub, the edge and the desk's payments by outcome, as they are whenever somebody looks."""
        self._connections.set_function(lambda: hub.connections)
        self._ready.set_function(lambda: not hub.problems())
        self._sockets.set_function(lambda: self.edge.sockets)
        edge, stats = self.edge, hub.stats
        self.registry.register(_Gauges(hub))
        self._time("join", "From an attendee's arrival to the first answer.", lambda: stats.answers)
        self._time("raise", "From a raise in the stream to the last of a room who was told here.", lambda: stats.raises)
        self._time("loop_lag", "How late the event loop came.", lambda: stats.loop_lag)
        self._time("store_call", "How long scripts of the store took.", lambda: stats.calls.by_verb, "verb")
        self._count("handshakes", "WebSocket handshakes with a good token.", lambda: edge.accepted)
        self._count("edge_refusals", "What the edge refused, by reason.", lambda: edge.refused, "reason")
        self._count("messages", "Messages received from clients.", lambda: edge.messages)
        self._count("drops", "Connections dropped.", lambda: {"slow": edge.slow, "silent": edge.silent}, "why")
        self._count("joins", "Joins by what they were answered.", lambda: stats.joins, "answer", ANSWERS)
        self._count("refreshes", "Attendees told to refresh.", lambda: stats.refreshes)
        self._count(
            "plan_changes", "Plan changes from the stream by verdict.", lambda: stats.events, "verdict", VERDICTS
        )
        self._count("store_outages", "Times the store became unusable.", lambda: stats.store_outages)
        self._count("fenced", "Calls that a room refused since it did not know this process.", lambda: stats.fenced)
        self._count("feed_gaps", "Messages of the feed that showed that others were lost.", lambda: stats.gaps)
        self._count("resyncs", "Rooms in which this process said anew who is here.", lambda: stats.resyncs)
        self._count("hub_deaths", "Processes that died, taken over by this one.", lambda: stats.hub_deaths)
        self._count("reaped", "Rooms in which a lost process's participants were made away.", lambda: stats.reaped)
        self._count("taken_over", "Plan changes that another process left unfinished.", lambda: stats.taken_over)
        self._count("payments", "Payments of the billing desk by outcome.", lambda: payments, "outcome", PAYMENTS)
        hook_waiting = Gauge("capacity_hook_waiting", "Outbound webhooks that wait.", registry=self.registry)
        hook_waiting.set_function(lambda: self.hooks.waiting if self.hooks is not None else 0)
        self._count(
            "hook_deliveries",
            "Tries to deliver an outbound webhook by outcome.",
            lambda: self.hooks.outcomes if self.hooks is not None else {},
            "outcome",
            DELIVERIES,
        )

    def _count(
        self,
        name: str,
        help: str,
        read: Callable[[], int | Mapping[str, int]],
        label: str = "",
        words: Sequence[str] = (),
    ) -> None:
        self.registry.register(_Kept(f"capacity_{name}", help, read, label, words))

    def _time(self, name: str, help: str, read: Callable[[], Timings | Mapping[str, Timings]], label: str = "") -> None:
        self.registry.register(_Timed(f"capacity_{name}_seconds", help, read, label))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, method if method in _METHODS else OTHER_METHOD, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, code: str) -> None:
        """Count a refused request; `code` is one of `problems.STATUS`."""
        self._refusals.labels(code).inc()

    def event(self, outcome: str) -> None:
        """Count an event at the webhook; `outcome` is `accepted` or the code of the refusal."""
        self._events.labels(outcome).inc()

    def text(self) -> bytes:
        """Return everything in the text format."""
        return generate_latest(self.registry)


class _Kept(Collector):
    """A counter that somebody else keeps as a plain number, or as numbers by the value of one label.

    `words`: values that are shown from the start, as 0. A series that begins at 1 has not increased, as Prometheus sees it.
    """

    def __init__(
        self, name: str, help: str, read: Callable[[], int | Mapping[str, int]], label: str, words: Sequence[str]
    ) -> None:
        self._name = name
        self._help = help
        self._read = read
        self._label = label
        self._words = dict.fromkeys(words, 0)

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Name the metric, which the registry asks for on registering."""
        return [CounterMetricFamily(self._name, self._help)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return the count of the moment."""
        value = self._read()
        if isinstance(value, int):
            return [CounterMetricFamily(self._name, self._help, value=value)]
        family = CounterMetricFamily(self._name, self._help, labels=[self._label])
        for word, count in sorted({**self._words, **value}.items()):
            family.add_metric([word], count)
        return [family]


class _Timed(Collector):
    """Durations that somebody else keeps, or such by the value of one label."""

    def __init__(self, name: str, help: str, read: Callable[[], Timings | Mapping[str, Timings]], label: str) -> None:
        self._name = name
        self._help = help
        self._read = read
        self._label = label

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Name the metric, which the registry asks for on registering."""
        return [HistogramMetricFamily(self._name, self._help)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the counts of the moment, added up as Prometheus has them."""
        value = self._read()
        if isinstance(value, Timings):
            family = HistogramMetricFamily(self._name, self._help)
            family.add_metric([], *_histogram(value))
            return [family]
        family = HistogramMetricFamily(self._name, self._help, labels=[self._label])
        for word, timings in sorted(value.items()):
            family.add_metric([word], *_histogram(timings))
        return [family]


def _histogram(timings: Timings) -> tuple[list[tuple[str, float]], float]:
    """Return buckets and sum as the client library wants them."""
    bounds = [*map(str, BOUNDS_SECONDS), "+Inf"]
    return list(zip(bounds, accumulate(timings.counts), strict=True)), timings.sum


class _Gauges(Collector):
    """What there is in a hub at the moment; looked for once, whatever it is shown as."""

    def __init__(self, hub: RoomHub) -> None:
        self._hub = hub

    def describe(self) -> Iterable[Metric]:
        """Name none: the registry looks at names on registering to find doubles, when the hub does not run yet."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return the numbers of the moment."""
        now = self._hub.gauges()
        participants = GaugeMetricFamily("capacity_participants", "Connections by where they stand.", labels=["state"])
        for state, count in now.participants.items():
            participants.add_metric([state], count)
        rooms = GaugeMetricFamily("capacity_rooms", "Open rooms watched, by how full they are.", labels=["level"])
        for level, count in now.rooms.items():
            rooms.add_metric([level], count)
        single: list[tuple[str, str, float | None]] = [
            ("hubs", "Processes that live, as this one sees it.", now.hubs),
            ("seats_over", "Seats beyond the limit after a loss of data.", now.seats_over),
            ("unanswered", "What was asked of the store and not answered yet.", now.unanswered),
            ("store_usable", "1 while the store can be used, else 0.", int(now.store_usable)),
            ("feed_silent_seconds", "For how long the own beacon was not heard.", now.feed_silent_seconds),
            ("plan_changes_lag", "Entries of the stream that no process has been given yet.", now.lag),
            ("plan_changes_pending", "Entries that a process was given and has not settled.", now.pending),
        ]
        return [
            participants,
            rooms,
            *(GaugeMetricFamily(f"capacity_{name}", help, value) for name, help, value in single if value is not None),
        ]
