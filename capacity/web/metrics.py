"""What `/metrics` shows, in the Prometheus text format. No metric carries an account, a room or a participant.

| metric | labels | meaning |
|---|---|---|
| `capacity_build_info` | `version` | always 1 |
| `capacity_ready` | | 1 while this process takes new connections, else 0 |
| `capacity_connections` | | participants' connections that the hub has |
| `capacity_sockets` | | WebSockets open, closing ones included |
| `capacity_handshakes_total` | | WebSocket handshakes with a good token |
| `capacity_edge_refusals_total` | `reason` | requests and handshakes that the edge refused |
| `capacity_messages_total` | | messages received from clients |
| `capacity_drops_total` | `why` | connections dropped: `slow` did not read, `silent` did not answer pings |
| `capacity_joins_total` | `answer` | joins by what they were answered |
| `capacity_refreshes_total` | | attendees told to refresh |
| `capacity_plan_changes_total` | `verdict` | plan changes taken from the stream, by what became of them |
| `capacity_store_outages_total` | | times the store became unusable |
| `capacity_seats_over` | | seats beyond the limit, in the rooms that this process watches, given back after a loss of data |
| `capacity_fenced_total` | | calls that a room refused since it did not know this process: taken for dead, or the room was lost |
| `capacity_feed_gaps_total` | | messages of the feed that showed that others before them were lost |
| `capacity_resyncs_total` | | rooms in which this process said anew who is connected to it |
| `capacity_reaped_total` | | rooms in which this process made the participants of a dead one away |
| `capacity_taken_over_total` | | plan changes that another process had begun and not finished |
| `capacity_payments_total` | `outcome` | payments of the billing desk: `paid`, `declined`, `awaiting` their owner, `unavailable` gateway |
| `capacity_http_requests_total` | `route`, `method`, `status` | HTTP requests answered |
| `capacity_http_request_seconds` | `route` | how long answering took, a histogram |
| `capacity_http_refusals_total` | `code` | refused HTTP requests by the `code` of their problem |
| `capacity_webhook_events_total` | `outcome` | events at the webhook: `accepted`, or the code of the refusal |
| `process_*`, `python_info` | | the process itself, from the client library |

`route` is a template of the table of routes, `page` for the built-in pages and scripts, `none` for addresses that lead
nowhere; `method` is `other` for methods that nobody knows. With several workers each answers for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from capacity import __version__
from capacity.web.ports import RoomHub
from capacity.web.watch import Stats

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PAGE, NO_ROUTE, OTHER_METHOD = "page", "none", "other"

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "PATCH"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The metrics of one process, in a registry of their own: two services in one process do not mix.

    `edge` is what the edge counts in; `protocol_class` needs it.
    """

    def __init__(self) -> None:
        self.edge = Stats()
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
        self._count("handshakes", "WebSocket handshakes with a good token.", lambda: edge.accepted)
        self._count("edge_refusals", "What the edge refused, by reason.", lambda: edge.refused, "reason")
        self._count("messages", "Messages received from clients.", lambda: edge.messages)
        self._count("drops", "Connections dropped.", lambda: {"slow": edge.slow, "silent": edge.silent}, "why")
        self._count("joins", "Joins by what they were answered.", lambda: stats.joins, "answer")
        self._count("refreshes", "Attendees told to refresh.", lambda: stats.refreshes)
        self._count("plan_changes", "Plan changes from the stream by verdict.", lambda: stats.events, "verdict")
        self._count("store_outages", "Times the store became unusable.", lambda: stats.store_outages)
        seats_over = Gauge(
            "capacity_seats_over", "Seats beyond the limit after a loss of data.", registry=self.registry
        )
        seats_over.set_function(lambda: hub.seats_over)
        self._count("fenced", "Calls that a room refused since it did not know this process.", lambda: stats.fenced)
        self._count("feed_gaps", "Messages of the feed that showed that others were lost.", lambda: stats.gaps)
        self._count("resyncs", "Rooms in which this process said anew who is here.", lambda: stats.resyncs)
        self._count("reaped", "Rooms in which a dead process's participants were made away.", lambda: stats.reaped)
        self._count("taken_over", "Plan changes that another process left unfinished.", lambda: stats.taken_over)
        self._count("payments", "Payments of the billing desk by outcome.", lambda: payments, "outcome")

    def _count(self, name: str, help: str, read: Callable[[], int | Mapping[str, int]], label: str = "") -> None:
        self.registry.register(_Kept(f"capacity_{name}", help, read, label))

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
    """A counter that somebody else keeps as a plain number, or as numbers by the value of one label."""

    def __init__(self, name: str, help: str, read: Callable[[], int | Mapping[str, int]], label: str) -> None:
        self._name = name
        self._help = help
        self._read = read
        self._label = label

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Name the metric, which the registry asks for on registering."""
        return [CounterMetricFamily(self._name, self._help)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return the count of the moment."""
        value = self._read()
        if isinstance(value, int):
            return [CounterMetricFamily(self._name, self._help, value=value)]
        family = CounterMetricFamily(self._name, self._help, labels=[self._label])
        for word, count in sorted(value.items()):
            family.add_metric([word], count)
        return [family]
