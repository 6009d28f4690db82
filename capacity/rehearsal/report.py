"""The report: one HTML file that needs nothing else, with the verdict, the pictures, and every figure as a table."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime
from importlib.resources import files

import jinja2
import msgspec
from markupsafe import Markup

from capacity import __version__
from capacity.protocol.messages import Occupancy
from capacity.rehearsal.course import Evening, answer_seconds, evening_of, raise_seconds, seat_seconds
from capacity.rehearsal.journal import Journal
from capacity.rehearsal.pictures import Line, chart, histogram
from capacity.rehearsal.verdict import Figures, Verdict, duration

NARROWEST_SECONDS = 0.1


class Picture(msgspec.Struct, frozen=True):
    """A picture and what stands with it: `legend` has (name, style) of its lines; no `svg` where nothing was seen."""

    title: str
    about: str
    legend: list[tuple[str, str]]
    svg: Markup | None


def page_of(journal: Journal, verdict: Verdict, url: str, at: datetime) -> str:
    """Return the report as HTML; `at` is when the rehearsal was."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["time"] = duration
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text("utf-8"))
    figures = verdict.figures
    return template.render(
        script=journal.script,
        verdict=verdict,
        figures=figures,
        spreads=[
            ("First answer after dialling", figures.connect),
            ("The raise, until the last word of it", figures.raised),
            ("From arrival to the seat, after waiting", figures.seat),
            ("How late this machine was itself", figures.lag),
        ],
        broken=sum(not promise.held for promise in verdict.promises),
        pictures=_pictures(journal, evening_of(journal), figures),
        url=url,
        at=at,
        version=__version__,
    )


def _pictures(journal: Journal, evening: Evening, figures: Figures) -> list[Picture]:
    script, told, end = journal.script, evening.occupancies, evening.over_at
    came = sorted(course.came_at for course in evening.courses)
    seated = sorted(course.seated_at for course in evening.courses if course.seated_at is not None)

    def as_told(name: str, style: str, number: Callable[[Occupancy], int]) -> Line:
        """A line of what the host was told, up to the end."""
        points = [(at, number(occupancy)) for at, occupancy in told]
        return Line(name, style, [*points, (end, points[-1][1])] if points else [], True)

    def over_time(id: str, title: str, about: str, *lines: Line) -> Picture:
        mark = None if evening.raised_at is None else (evening.raised_at, "plan raised")
        svg = chart(id, title, about, lines, until=script.duration_seconds, mark=mark)
        seen = any(line.points for line in lines)
        return Picture(title, about, [(line.name, line.style) for line in lines], Markup(svg) if seen else None)

    def spread(id: str, title: str, about: str, values: list[float], unit: str, style: str) -> Picture:
        svg = histogram(id, title, about, values, unit, style)
        return Picture(title, about, [], Markup(svg) if values else None)

    return [
        over_time(
            "arrival",
            "Arrival",
            f"{len(came):,} came, {len(seated):,} had a seat by the end.",
            Line("arrived", "arrived", _risen(came, end)),
            Line("seated", "occupied", _risen(seated, end)),
        ),
        over_time(
            "seats",
            "Seats",
            f"What the host was told: at most {figures.occupied_max:,} occupied; the limit rose from {script.seats:,} "
            f"to {script.raise_to:,}.",
            as_told("occupied", "occupied", lambda occupancy: occupancy.occupied),
            as_told("seat limit", "limit", lambda occupancy: occupancy.seat_limit),
        ),
        over_time(
            "line",
            "The line",
            f"What the host was told: at most {figures.waiting_max:,} waited at once.",
            as_told("waiting", "waiting", lambda occupancy: occupancy.waiting),
        ),
        spread(
            "seat",
            "Time to the seat",
            f"From arrival, for those who had to wait: half of them up to {duration(figures.seat.p50)}, "
            f"99 of 100 up to {duration(figures.seat.p99)}.",
            seat_seconds(evening),
            "seconds",
            "waiting",
        ),
        spread(
            "raise",
            "The raise",
            "From the publishing of the plan change until each had heard all of it: half of them within "
            f"{duration(figures.raised.p50)}, 99 of 100 within {duration(figures.raised.p99)}.",
            [seconds * 1000 for seconds in raise_seconds(evening)],
            "milliseconds",
            "limit",
        ),
        spread(
            "answer",
            "First answer",
            f"From dialling: half of them within {duration(figures.connect.p50)}, "
            f"99 of 100 within {duration(figures.connect.p99)}.",
            [seconds * 1000 for seconds in answer_seconds(evening)],
            "milliseconds",
            "arrived",
        ),
    ]


def _risen(instants: list[float], end: float) -> list[tuple[float, float]]:
    """How many there were by when, at the distance of what can be seen."""
    steps = max(1, min(320, int(end / NARROWEST_SECONDS)))
    return [(at, bisect_right(instants, at)) for at in (number * end / steps for number in range(steps + 1))]
