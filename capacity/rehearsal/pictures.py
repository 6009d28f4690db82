"""The pictures of a report, as SVG that stands inside a page: its colours are the page's, light and dark. Pure.

Each has a title and a description for those who do not see it; the figures stand in the page's tables as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 30, 52
BINS = 24
Point = tuple[float, float]


class Line(NamedTuple):
    """A line of a chart; `style` is its class in the page's style sheet."""

    name: str
    style: str
    points: Sequence[Point]
    steps: bool = False


def _nice(most: float) -> tuple[float, float]:
    """The end of an axis that holds `most`, and the distance of its ticks."""
    most = max(most, 1e-9)
    rough = most / 4
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.999)
    return step * math.ceil(most / step - 1e-9), step


class _Frame:
    """The axes of a picture, and what lies where in it."""

    def __init__(self, x_most: float, y_most: float, x_name: str, y_whole: bool) -> None:
        self.x_end, x_step = _nice(x_most)
        self.y_end, y_step = _nice(y_most)
        if y_whole:
            y_step = max(1.0, y_step)
            self.y_end = max(self.y_end, y_step)
        self.parts: list[str] = []
        for number in range(round(self.y_end / y_step) + 1):
            value = number * y_step
            y = self.y(value)
            self.parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.parts.append(
                f'<text class="tick" x="{LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{value:,.10g}</text>'
            )
        for number in range(round(self.x_end / x_step) + 1):
            value = number * x_step
            x = self.x(value)
            self.parts.append(
                f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 22}" text-anchor="middle">{value:,.4g}</text>'
            )
        self.parts.append(
            f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>'
        )

    def x(self, value: float) -> float:
        return LEFT + value / self.x_end * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.y_end * (HEIGHT - TOP - BOTTOM)

    def svg(self, id: str, title: str, description: str) -> str:
        """Return the picture."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{id}-title {id}-description">'
            f'<title id="{id}-title">{escape(title)}</title><desc id="{id}-description">{escape(description)}</desc>'
            f"{''.join(self.parts)}</svg>"
        )


def chart(
    id: str, title: str, description: str, lines: Sequence[Line], *, until: float, mark: tuple[float, str] | None = None
) -> str:
    """Return lines over the seconds of the rehearsal; `mark` is an instant with a name."""
    frame = _Frame(until, max((y for line in lines for _, y in line.points), default=1.0), "seconds", True)
    if mark is not None:
        x = frame.x(mark[0])
        frame.parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{HEIGHT - BOTTOM}"/>')
        frame.parts.append(
            f'<text class="note" x="{x:.1f}" y="{TOP - 13}" text-anchor="middle">{escape(mark[1])}</text>'
        )
    for line in lines:
        if line.points:
            frame.parts.append(f'<path class="line {line.style}" d="{_path(line, frame.x, frame.y)}"/>')
    return frame.svg(id, title, description)


def _path(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """The path of a line, with no more points than can be seen."""
    points = _thinned(line.points, WIDTH)
    (first_x, first_y), *rest = points
    drawn = [f"M{x(first_x):.1f} {y(first_y):.1f}"]
    for at, value in rest:
        drawn.append(f"H{x(at):.1f}V{y(value):.1f}" if line.steps else f"L{x(at):.1f} {y(value):.1f}")
    return "".join(drawn)


def _thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most about so many of the points, evenly, the last one among them."""
    every = max(1, len(points) // most)
    return [*points[:-1:every], points[-1]]


def histogram(id: str, title: str, description: str, values: Sequence[float], unit: str, style: str) -> str:
    """Return how many of the values lie where."""
    end, _ = _nice(max(values, default=1.0))
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(value / end * BINS))] += 1
    frame = _Frame(end, max(counts), unit, True)
    for number, count in enumerate(counts):
        if count:
            left, right = frame.x(number * end / BINS) + 1, frame.x((number + 1) * end / BINS) - 1
            top = min(frame.y(count), HEIGHT - BOTTOM - 1.5)
            frame.parts.append(
                f'<rect class="bar {style}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
                f'height="{HEIGHT - BOTTOM - top:.1f}" rx="1.5"/>'
            )
    return frame.svg(id, title, description)
