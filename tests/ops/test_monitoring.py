"""What those who run the service see: metrics of a hub at work, and a dashboard and alerts that name nothing else.

`promtool` judges metrics, rules and configuration where it is installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import typing
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from capacity import __version__, errors
from capacity.errors import Close
from capacity.hub import gauges
from capacity.store import scripts
from capacity.web import metrics, problems, refusals
from capacity.web.refusals import Refusal
from tests.docs.documents import ROOT, anchors, section
from tests.support.installed import installed
from tests.support.service import ACCOUNT, ROOM, Billing, serving, settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

OPERATIONS = ROOT / "docs" / "operations.md"
DASHBOARD = ROOT / "docs" / "operations" / "grafana-dashboard.json"
ALERTS = ROOT / "docs" / "operations" / "alerts.yml"
WORDS = {
    "absent",
    "and",
    "by",
    "changes",
    "count",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "on",
    "or",
    "rate",
    "sum",
}
"""The words of PromQL that are used."""
NOBODY = ("hanna-who-hosts", "ada-who-came", "bob-who-waits", "mallory")
SCRIPTS = {*scripts.ROOM, *(value.name for value in vars(scripts).values() if isinstance(value, scripts.Script))}
CODES = {str(code) for code in problems.STATUS}
REFUSED = {value.counted for value in vars(refusals).values() if isinstance(value, Refusal)}
CLOSED = {value.reason for value in vars(errors).values() if isinstance(value, Close)}

BOUNDS: dict[str, set[str]] = {
    "version": {__version__},
    "state": set(gauges.STATES),
    "level": set(gauges.LEVELS),
    "answer": set(metrics.ANSWERS),
    "verdict": set(metrics.VERDICTS),
    "verb": SCRIPTS,
    "why": {"slow", "silent"},
    "reason": REFUSED | CLOSED | {refusals.flooded(1).counted, refusals.malformed("").counted},
    "outcome": {*metrics.PAYMENTS, *metrics.DELIVERIES, "accepted", *CODES},
    "code": CODES,
    "method": {"GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "PATCH", metrics.OTHER_METHOD},
    "status": {str(number) for number in range(200, 600)},
}
"""Every label of ours, and the values that it may have; `route` is a template, and looked at by itself."""


class Exposition(NamedTuple):
    """What `/metrics` of a hub at work said."""

    text: str
    labels: dict[str, set[str]]
    """By name of a sample (`…_bucket`, `…_total`)."""
    values: dict[str, set[str]]
    """By label."""


@pytest.fixture
async def exposition(redis_url: str) -> AsyncIterator[Exposition]:
    """The metrics after one of everything that is counted by a word."""
    billing = Billing(redis_url)
    async with serving(settings(redis_url)) as hub:
        await billing.account(1)
        await hub.host("hanna-who-hosts")
        await (await hub.join("ada-who-came")).first()
        bob = await hub.join("bob-who-waits")
        await bob.first()
        await billing.publish(2)
        await bob.told("refresh")
        assert hub.application is not None
        inside = hub.application.hub
        await inside.accept_event(b"no event")
        await wait_until(lambda: inside.stats.events["malformed"], what="the entry to be rejected")
        async with httpx.AsyncClient(base_url=hub.address) as anybody:
            for path in (hub.room_path(room="mallory"), "/mallory", "/v1/plans?mallory=1", "/v1/ws"):
                await anybody.get(path)
            await anybody.request("MALLORY", hub.room_path())
            await anybody.post("/v1/events", content=b'{"mallory": 1}')
        await wait_until(lambda: inside.stats.backlog[0] is not None, what="the stream to be looked at")
        text = (await hub.http.get("/metrics")).text
    await billing.close()
    labels: defaultdict[str, set[str]] = defaultdict(set)
    values: defaultdict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue  # when the client library began to count
            labels[sample.name] |= sample.labels.keys()
            for label, value in sample.labels.items():
                values[label].add(value)
    yield Exposition(text, labels, values)


async def test_labels_have_values_from_short_lists(exposition: Exposition) -> None:
    found = {label: values for label, values in exposition.values.items() if label != "le"}
    python = {"implementation", "major", "minor", "patchlevel", "version"}
    for label, values in found.items():
        if label == "route":
            table = (ROOT / "docs" / "protocol.md").read_text("utf-8")
            assert all(f" {value}`" in table or value in (metrics.PAGE, metrics.NO_ROUTE) for value in values), values
        elif label not in python:
            assert label in BOUNDS, f"{label}: name the values that it may have"
            assert values <= BOUNDS[label], f"{label}: {values - BOUNDS[label]}"
    assert {"verb", "verdict", "state", "level", "reason", "outcome", "code", "route"} <= found.keys()
    assert not any(name in exposition.text for name in (*NOBODY, ACCOUNT, f'"{ROOM}"'))


async def test_what_there_is_adds_up(exposition: Exposition) -> None:
    families = {family.name: family for family in text_string_to_metric_families(exposition.text)}

    def value(name: str, sample: str = "", **labels: str) -> float:
        (found,) = (s.value for s in families[name].samples if s.name == (sample or name) and s.labels == labels)
        return found

    where = {s.labels["state"]: s.value for s in families["capacity_participants"].samples}
    assert where == {"joining": 0, "seated": 1, "waiting": 0, "held": 1, "host": 1}
    assert sum(where.values()) == value("capacity_connections")
    assert {s.labels["level"]: s.value for s in families["capacity_rooms"].samples} == {
        "below": 0, "near_full": 0, "full": 1,
    }  # fmt: skip
    assert (value("capacity_hubs"), value("capacity_store_usable")) == (1, 1)
    assert value("capacity_join_seconds", "capacity_join_seconds_count") == 2
    assert value("capacity_raise_seconds", "capacity_raise_seconds_count") == 1, "the first limit raised nothing"
    assert 0 < value("capacity_join_seconds", "capacity_join_seconds_sum") < 5
    assert value("capacity_store_call_seconds", "capacity_store_call_seconds_count", verb="join") == 2
    buckets = [s.value for s in families["capacity_join_seconds"].samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] == 2


async def test_dashboard_and_alerts_name_what_there_is(exposition: Exposition) -> None:
    for place, expression in expressions():
        labels = {"instance", "job", "le"}  # added by Prometheus, and of every histogram
        names = {"up"}
        for name, selectors in re.findall(r"\b((?:capacity|process|python)_\w+)(?:\{([^}]*)\})?", expression):
            assert name in exposition.labels, f"{place}: there is no {name}"
            chosen = set(re.findall(r"(\w+)\s*[=!]", selectors))
            assert chosen <= exposition.labels[name] | labels, f"{place}: {name} has no {chosen}"
            labels |= exposition.labels[name]
            names.add(name)
        grouped = {word for words in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for word in words.split(", ")}
        assert grouped <= labels, f"{place}: nothing has {grouped - labels}"
        words = set(re.findall(r"[a-z_]{2,}", re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)))
        assert words <= names | labels | WORDS, f"{place}: what is {words - names - labels - WORDS}?"


async def test_the_dashboard_shows_every_metric(exposition: Exposition) -> None:
    shown = " ".join(expression for place, expression in expressions() if place.startswith("panel"))
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposition.labels if name.startswith("capacity_")}
    assert not [name for name in bases if not re.search(rf"\b{name}(_bucket|_count)?\b", shown)]


async def test_promtool_likes_the_metrics(exposition: Exposition) -> None:
    run("check", "metrics", given=exposition.text)


# ---- the dashboard


def panels() -> list[dict[str, Any]]:
    return typing.cast(list[dict[str, Any]], json.loads(DASHBOARD.read_text("utf-8"))["panels"])


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every PromQL expression, and where it stands."""
    for panel in panels():
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    for alert in alerts():
        yield f"alert {alert['alert']}", alert["expr"]


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    assert "id" not in board, "an id is of one Grafana"
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert variables["instance"]["datasource"] == source
    identities = [panel["id"] for panel in panels()]
    assert len(set(identities)) == len(identities)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, f"{panel['title']} lies over another"
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["type"] in ("stat", "timeseries") and panel["description"] and panel["targets"]
        assert panel["datasource"] == source and all(target["datasource"] == source for target in panel["targets"])
        assert [target["refId"] for target in panel["targets"]] == ["A", "B", "C"][: len(panel["targets"])]
    rows = [panel["title"] for panel in panels() if panel["type"] == "row"]
    assert rows == ["Overview", "The promise", "The store", "Processes", "The edge", "Billing"]


# ---- the alerts


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return typing.cast(list[dict[str, Any]], group["rules"])


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    address, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert ROOT / address == OPERATIONS and anchor in anchors(OPERATIONS)
    assert len(section(OPERATIONS, alert["alert"]).split()) > 15


def test_every_section_of_the_runbook_has_its_alert() -> None:
    headings = re.findall(r"^### (Capacity\w+)$", OPERATIONS.read_text("utf-8"), re.MULTILINE)
    assert headings == [alert["alert"] for alert in alerts()]


class Case(NamedTuple):
    """Series, as promtool writes them: with `bad` an alert fires after twelve minutes, with `good` it does not."""

    bad: dict[str, str]
    good: dict[str, str]


HUB = 'instance="h1:9100", job="capacity"'
LATE = {"1.0": "0x60", "2.0": "0+1x60", "+Inf": "0+1x60"}
SOON = {"0.05": "0+1x60", **LATE, "1.0": "0+1x60"}
BUILD = {f"capacity_build_info{{{HUB}}}": "1x60"}


def one(name: str, bad: str, good: str, label: str = "", **beside: str) -> Case:
    """One series, and others that are the same in both."""
    series = f"{name}{{{label and label + ', '}{HUB}}}"
    return Case({series: bad, **beside}, {series: good, **beside})


def histogram(name: str) -> Case:
    """Everything takes between one second and two, or less than a twentieth."""
    late, soon = ({f'{name}_bucket{{le="{le}", {HUB}}}': values for le, values in of.items()} for of in (LATE, SOON))
    return Case(late, soon)


CASES = {
    "CapacityUnreachable": one("up", "1 0x60", "1 0 0 1x60"),
    "CapacityNobodyReady": one("capacity_ready", "0x60", "0 0 1x60"),
    "CapacityNotReady": one("capacity_ready", "0x60", "0 0 1x60"),
    "CapacityStoreUnusable": one("capacity_store_usable", "0x60", "1x60"),
    "CapacityStoreSlow": histogram("capacity_store_call_seconds"),
    "CapacityRaiseSlow": histogram("capacity_raise_seconds"),
    "CapacityPlanChangesStuck": one("capacity_plan_changes_pending", "0 1x60", "0 1 0 1 0x60"),
    "CapacityPlanChangeRejected": one(
        "capacity_plan_changes_total", "0 0 1x60", "5x60", 'verdict="malformed"',
        **{f'capacity_plan_changes_total{{verdict="stale", {HUB}}}': "0+1x60"},
    ),
    "CapacityJoinsSlow": histogram("capacity_join_seconds"),
    "CapacityOverloaded": one(
        "capacity_edge_refusals_total", "0+1x60", "7x60", 'reason="hub_overloaded"',
        **{f'capacity_edge_refusals_total{{reason="foreign_origin", {HUB}}}': "0+1x60"},
    ),
    "CapacityLoopLag": histogram("capacity_loop_lag_seconds"),
    "CapacityFileDescriptors": one(
        "process_open_fds", "900x60", "100x60", **BUILD, **{f"process_max_fds{{{HUB}}}": "1000x60"}
    ),
    "CapacityHubDied": one("capacity_hub_deaths_total", "0x20 1x40", "1x60"),
    "CapacityRestarts": one("process_start_time_seconds", "0+60x60", "100x20 200x40", **BUILD),
    "CapacityFeedGaps": one("capacity_feed_gaps_total", "0+1x60", "0x20 3x40"),
    "CapacityFenced": one("capacity_fenced_total", "0+1x60", "0x20 3x40"),
    "CapacitySeatsOver": one("capacity_seats_over", "2x60", "2x20 0x40"),
    "CapacityPaymentsUnavailable": one("capacity_payments_total", "0+1x60", "2x60", 'outcome="unavailable"'),
    "CapacityWebhooksDead": one("capacity_hook_deliveries_total", "0 0 1x60", "1x60", 'outcome="dead"'),
}  # fmt: skip


def test_every_alert_fires_when_it_should_and_not_otherwise(tmp_path: Path) -> None:
    """All in one Prometheus: samples are 15 s apart, and no alert may look at what is another's."""
    assert CASES.keys() == {alert["alert"] for alert in alerts()}
    trials = []
    for kind, fire in (("bad", sorted(CASES)), ("good", [])):
        series: dict[str, str] = {}
        for case in CASES.values():
            given = case.bad if kind == "bad" else case.good
            assert all(series.get(key, values) == values for key, values in given.items())
            series |= given
        firing = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in fire]
        look = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "12m", "exp_samples": firing}
        given_series = [{"series": key, "values": values} for key, values in series.items()]
        trials.append({"name": kind, "interval": "15s", "input_series": given_series, "promql_expr_test": [look]})
    (tmp_path / "alerts_test.yml").write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": trials}), "utf-8"
    )
    run("test", "rules", str(tmp_path / "alerts_test.yml"))


def test_promtool_likes_the_rules_and_the_configuration(tmp_path: Path) -> None:
    run("check", "rules", str(ALERTS))
    blocks = re.findall(r"^```yaml\n(.*?)^```$", OPERATIONS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (configuration,) = [block for block in blocks if "scrape_configs:" in block]
    (tmp_path / "prometheus.yml").write_text(configuration, "utf-8")
    (tmp_path / ALERTS.name).write_bytes(ALERTS.read_bytes())
    run("check", "config", str(tmp_path / "prometheus.yml"))
    (job,) = yaml.safe_load(configuration)["scrape_configs"]
    assert job["job_name"] == "capacity", "alerts look for it"


def run(*arguments: str, given: str = "") -> None:
    """Run promtool; what it says is why the test fails."""
    done = subprocess.run(
        [installed("promtool", "prometheus"), *arguments], input=given, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
