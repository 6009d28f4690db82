"""docs/scale.md, written from a template beside this file and from the figures: no number of it is typed in."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.scale.audience import PING_SECONDS, Audience, Deployment, asked, smallest
from benchmarks.scale.costs import HERE, REALITY, RESULTS, SIZE, Costs

DOCUMENT = HERE.parent.parent / "docs" / "scale.md"
TEMPLATE = "scale.md.jinja"
SAFE = 0.5
"""The share of a core that is counted on."""
HOLD_SPREAD_SECONDS = 30.0
"""Half of the default hold: within it those come back who are told to refresh (contract)."""
EXAMPLE = Audience(people=60_000, rooms=300, accounts=60, fill_seconds=300.0)
EXAMPLE_AT = Deployment(8, 2, hubs_an_account=4)
VERBS = {
    "join, seated": "join/seated",
    "join, to the line": "join/waiting",
    "connection lost, seated": "away/seated",
    "come back, seated": "back/seated",
    "come back, in the line": "back/waiting",
    "leave, seated": "leave/seated",
}


def render() -> str:
    """Return the document."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {"n": number, "us": us, "ms": ms, "percent": percent, "short": short}
    text = environment.get_template(TEMPLATE).render(figures(Costs.read(), _read(RESULTS), _read(REALITY)))
    return re.sub(r"\n{3,}", "\n\n", text)


def write(path: Path = DOCUMENT) -> None:
    """Write the document."""
    path.write_text(render(), "utf-8")


def figures(costs: Costs, results: dict[str, Any], reality: dict[str, Any]) -> dict[str, Any]:
    """Return what the template names."""
    doors, raises, million = results["doors"], results["raise"], results["million"]
    fast = min(row["seconds"] for row in doors)
    assumptions = results["assumptions"]
    audience = Audience()
    ratios = {
        kind: [row["simulated"] / row["measured"] for row in reality["rows"] if re.search(pattern, row["figure"])]
        for kind, pattern in (("cpu", "CPU"), ("wait", "p50|p99"))
    }
    one_room = min((row for row in results["one_room"] if row["hub_core"] <= SAFE / 2), key=lambda row: row["hubs"])
    return {
        **_of_costs(costs),
        **{name: results[name] for name in ("one_room", "fastest", "doors", "raise", "million", "assumptions")},
        **{name: assumptions[name] for name in ("crowd", "line", "seated", "in_line")},
        "measured": costs.measured,
        "turns": costs.measured["turns"],
        "reality": reality,
        "waits_compare": reality["others"] < reality["cores"],
        "reality_turns": costs.measured["turns"],
        "safe": SAFE,
        "audience": audience,
        "one_room_hubs": one_room["hubs"],
        "one_room_shard": one_room["shard_core"],
        "doors_fast": fast,
        "doors_best": min((row for row in doors if row["seconds"] == fast), key=lambda row: row["join_p99_ms"]),
        "raise_one": raises[0],
        "raise_best": next(row for row in raises if row["told_last_ms"] <= raises[0]["told_last_ms"] / 2),
        "shard_wall": next((row for row in results["fastest"] if row["shard_core"] > 0.95), results["fastest"][-1]),
        "million_any": million[0],
        "million_two": next(row for row in million if row["hubs_an_account"] == 2),
        "million_quiet": next(row for row in million if row["quiet_sweep_seconds"] > 1),
        "smallest": [(spread, smallest(costs, audience, spread, SAFE)) for spread in (1, 2, 4, 0)],
        "return_seconds": HOLD_SPREAD_SECONDS,
        "return_rate": assumptions["line"] / HOLD_SPREAD_SECONDS,
        "example": EXAMPLE,
        "example_at": EXAMPLE_AT,
        "example_asked": asked(costs, EXAMPLE_AT, EXAMPLE),
        "example_any": asked(costs, Deployment(EXAMPLE_AT.hubs, EXAMPLE_AT.shards), EXAMPLE),
        "cpu_low": min(ratios["cpu"]),
        "cpu_high": max(ratios["cpu"]),
        "wait_low": min(ratios["wait"]),
        "wait_high": max(ratios["wait"]),
    }


def _of_costs(costs: Costs) -> dict[str, Any]:
    """Return what follows from the costs alone."""
    store, hub = costs.store, costs.hub
    sizes = sorted({int(name.split("/")[1]) for name in store if name.startswith("sweep/")})
    batches = sorted({int(name.split("/")[3]) for name in store if name.startswith("join/seated/")})
    largest = batches[-1]
    crowd = max(float(value) for name, value in hub.items() if name.startswith("joins_a_call/"))
    in_a_crowd = costs.joins_call(crowd) / crowd
    hub_joins, hub_places = SAFE / in_a_crowd, SAFE / costs.of_hub("place")
    shard_sweeps, shard_places = SAFE / costs.sweep, SAFE / costs.inspect(500) * 500
    hub_rooms = SAFE / costs.of_hub("room_second")
    room_joins = SAFE / costs.script("join", largest) * largest
    return {
        "sizes": sizes,
        "batches": batches,
        "scripts": [(verb, [us(store[f"{name}/{SIZE}/{batch}"]) for batch in batches]) for verb, name in VERBS.items()],
        "join_at": [store[f"join/seated/{size}/{largest}"] for size in sizes],
        "store_rows": [
            f"{us(store[f'sweep/{SIZE}'])} for a sweep of a room in which nothing is due",
            f"{us(store[f'inspect/{SIZE}/500'])} for asking where 500 stand, {us(store[f'inspect/{SIZE}/1'])} for one",
            f"{us(store[f'piece/{SIZE}'])} for a piece of a raise: 500 who are held a seat",
            f"{short(store['publish_to_one'])} µs for each hub that a change is told to",
        ],
        "hub_rows": [
            f"{us(costs.joins_call(1) * 1e6)} for a join alone, {us(in_a_crowd * 1e6)} for one of {crowd:.0f} that go together",
            f"{us(hub['lost_us'])} for a lost connection, of many",
            f"{us(hub['message_us'])} for a message that is told to all, {us(hub['place_us'])} for telling one who waits another place",
            f"{us(hub['heard_us'])} for a change that happened on another hub, {us(hub['heard_piece_us'])} for a piece of a raise there",
            f"{us(hub['ping_us'])} for a ping and its answer",
            f"{us(hub['room_second_us'])} a second for each room on it, whether or not anything happens there",
        ],
        "call_in_joins": costs.call / costs.join,
        "script_in_joins": costs.script("join", 1)
        / ((costs.script("join", largest) - costs.script("join", 1)) / (largest - 1)),
        "carries": [
            (
                "one hub",
                f"{number(hub_joins)} joins a second in a crowd, {number(SAFE / costs.joins_call(1))} one by one",
                "its core",
            ),
            ("", f"{number(hub_rooms)} rooms", "its core: each is swept once a second"),
            ("", f"{number(SAFE / costs.of_hub('message'))} messages a second", "its core"),
            (
                "",
                f"{number(SAFE * PING_SECONDS / costs.of_hub('ping'))} idle connections by its core; "
                f"{gib(100_000 * hub['connection_bytes'])} GiB for 100,000",
                "memory, open files and ports",
            ),
            (
                "one shard",
                f"{number(room_joins)} joins a second in calls for {largest}, {number(SAFE / costs.script('join', 1))} one by one",
                "its core",
            ),
            ("", f"{number(shard_sweeps)} rooms × hubs that have them", "its core: each is swept once a second"),
            (
                "",
                f"{gib(1e6 * store['bytes_a_seated'])} GiB for a million who are seated, "
                f"{gib(1e6 * store['bytes_a_waiting'])} GiB for as many who wait",
                "memory",
            ),
            ("one room", f"{number(SIZE)} people were measured; what grows is memory", "no wall was found"),
            ("", f"{number(room_joins)} joins a second", "its shard's core"),
            (
                "",
                f"{number(shard_places)} who wait and move every second; {number(hub_places)} on each hub",
                "the shard's core; a hub's",
            ),
            ("one account", "what one shard carries, all of its rooms together", "it is in one slot"),
        ],
        "recipe": [
            ("room × hub that has it", us(hub["room_second_us"]), us(store[f"sweep/{SIZE}"])),
            ("connection", short(hub["ping_us"] / PING_SECONDS), "0"),
            (
                "join a second, in a small room",
                us(costs.joins_call(1) * 1e6),
                us(store[f"join/seated/{SIZE}/1"]),
            ),
            ("join a second, in a crowd", us(in_a_crowd * 1e6), us(store[f"join/seated/{SIZE}/{largest}"] / largest)),
            (
                "lost connection a second",
                us((costs.call + costs.of_hub("lost")) * 1e6),
                us(store[f"away/seated/{SIZE}/1"]),
            ),
            (
                "of those three, for each other hub that has the room",
                us(hub["heard_us"]),
                short(store["publish_to_one"]),
            ),
            ("who waits in a line that moves", us(hub["place_us"]), short(costs.inspect(500) / 500 * 1e6)),
        ],
        "hub_joins": hub_joins,
        "hub_places": hub_places,
        "hub_rooms": hub_rooms,
        "shard_places": shard_places,
        "shard_rooms": shard_sweeps,
        "shard_sweeps": 1 / costs.sweep,
        "sweep_us": store[f"sweep/{SIZE}"],
        "conn_gib": gib(100_000 * hub["connection_bytes"]),
        "conn_kib": short(hub["connection_bytes"] / 1024),
        "room_kib": short(hub["room_bytes"] / 1024),
        "hub_mib": short(hub["hub_bytes"] / 2**20),
        "seated_bytes": short(store["bytes_a_seated"]),
        "waiting_bytes": short(store["bytes_a_waiting"]),
        "store_room_kib": short(store["bytes_a_room"] / 1024),
    }


def number(value: float) -> str:
    """Show a number of things to two digits: 12,345 is 12,000."""
    if value == 0 or (float(value).is_integer() and abs(value) < 1000):
        return f"{value:.0f}"
    digits = 1 - math.floor(math.log10(abs(value)))
    if float(value).is_integer() and value % 1000 == 0:
        return f"{value:,.0f}"
    return f"{round(value, digits):,.0f}" if digits <= 0 else f"{round(value, digits):g}"


def us(value: float) -> str:
    """Show microseconds."""
    return f"{value:,.0f} µs" if value < 9_950 else f"{value / 1000:,.0f} ms"


def ms(value: float) -> str:
    """Show milliseconds; from a second on, seconds."""
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms" if value < 999.5 else f"{value / 1000:.1f} s"


def percent(value: float) -> str:
    """Show a share."""
    return f"{value * 100:.0f} %"


def short(value: float) -> str:
    """Show three digits at most, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def gib(value: float) -> str:
    """Show bytes as GiB."""
    return f"{value / 2**30:.2g}"


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
