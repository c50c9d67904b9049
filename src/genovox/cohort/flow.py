"""The flow of inclusions as a drawing: who came in, who was left out and why, who stays."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from genovox.core.log import write_count

_WIDTH = 440
_MAIN = 206
_SIDE_X = 250
_LINE = 17
_PADDING = 13
_GAP = 34
_CHARACTERS = 30
_MARGIN = 12
_STYLE = """<style>
svg { background: #fff; font: 12.5px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
rect { fill: none; stroke: #b9bec6; } rect.stay { fill: #f3f5f7; } rect.leave { stroke-dasharray: 3 3; }
rect.end { stroke: #0b6e75; } text { fill: #4d5663; } .title { font-weight: 600; fill: #14181d; }
.arrow { fill: none; stroke: #4d5663; }
</style>"""


@dataclass(frozen=True)
class Box:
    """A title and the lines below it."""

    title: str
    lines: tuple[str, ...]

    @property
    def height(self) -> float:
        """In pixels."""
        return 2 * _PADDING + _LINE * (len(self.lines) + 1) - 4

    def draw(self, x: float, y: float, width: float, kind: str) -> str:
        """A rectangle with a bold first line."""
        texts = [
            f'<text class="{"line" if number else "title"}" x="{x + 13:g}" '
            f'y="{y + _PADDING + 10 + _LINE * number:g}">{escape(line)}</text>'
            for number, line in enumerate((self.title, *self.lines))
        ]
        box = f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{self.height:g}" rx="5"/>'
        return box + "".join(texts)


@dataclass(frozen=True)
class Drawing:
    """SVG elements without the ``svg`` around them, and their size in pixels."""

    body: str
    width: float
    height: float


def draw_flow(steps: Sequence[tuple[Box, Box | None]], ends: tuple[Box, Box]) -> Drawing:
    """Draw a column of what stays, beside each step what leaves there, and below what it ends in.

    Args:
        steps: What stays and what leaves, from the top.
        ends: The two classes, or two parts.
    """
    parts, y = [], 1.0
    for number, (main, side) in enumerate(steps):
        height = max(main.height, side.height if side else 0)
        parts.append(main.draw(1, y, _MAIN, "stay"))
        if side:
            parts.append(side.draw(_SIDE_X, y, _WIDTH - _SIDE_X - 1, "leave"))
            parts.append(_arrow(_MAIN + 1, y + main.height / 2, _SIDE_X, y + main.height / 2))
        if number < len(steps) - 1:
            parts.append(_arrow(_MAIN / 2, y + main.height, _MAIN / 2, y + height + _GAP))
            y += height + _GAP
        else:
            y += main.height
    left, right = ends
    width = (_WIDTH - 22) / 2
    last = steps[-1][1]
    centre, low = _MAIN / 2, y + max(_GAP, (last.height - steps[-1][0].height + _GAP) if last else 0)
    parts += [
        _arrow(centre, y, centre, low),
        _arrow(centre, y, _WIDTH - width / 2, low, elbow=True),
        left.draw(1, low, width, "end"),
        right.draw(_WIDTH - width - 1, low, width, "end"),
    ]
    return Drawing(f'<g class="flow">{"".join(parts)}</g>', _WIDTH, low + max(left.height, right.height) + 2)


def render_flow(flow: dict[str, Any]) -> str:
    """The cohort's flow as an SVG file of its own.

    Args:
        flow: As ``flow.json`` holds it.
    """
    included = flow["included"]
    ends = [
        Box(title, describe_count(included[key]["cases"], included[key]["patients"]))
        for title, key in (("Positive", "carriers"), ("Negative", "non_carriers"))
    ]
    drawing = draw_flow(
        [begin_flow(flow), (Box("In the cohort", describe_count(included["cases"], included["patients"])), None)],
        (ends[0], ends[1]),
    )
    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    size = f'width="{width:g}" height="{height:g}" viewBox="{-_MARGIN} {-_MARGIN} {width:g} {height:g}"'
    title = f"<title>Flow of inclusions: {included['cases']} of {flow['manifest']['cases']} cases</title>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{title}{_STYLE}{drawing.body}</svg>\n'


def begin_flow(flow: dict[str, Any]) -> tuple[Box, Box]:
    """What came in, and what the cohort stage left out."""
    excluded = flow["excluded"]
    lines = [f"{entry['cases']:,} {entry['text']}" for entry in excluded]
    came = Box(f"In the {flow.get('source', 'manifest')}", describe_count(**flow["manifest"]))
    return came, describe_loss(sum(entry["cases"] for entry in excluded), lines)


def describe_loss(count: int, reasons: list[str]) -> Box:
    """How many left, and why."""
    lines = [line for reason in reasons for line in textwrap.wrap(reason, _CHARACTERS - 4)]
    return Box(f"Left out: {count:,}", tuple(lines) or ("nobody",))


def describe_count(cases: int, patients: int) -> tuple[str, ...]:
    """Two lines: ``12 cases``, ``of 9 patients``."""
    return write_count(cases, "case"), f"of {write_count(patients, 'patient')}"


def _arrow(x1: float, y1: float, x2: float, y2: float, *, elbow: bool = False) -> str:
    middle = (y1 + y2) / 2
    path = f"M{x1:g} {y1:g}V{middle:g}H{x2:g}V{y2:g}" if elbow else f"M{x1:g} {y1:g}L{x2:g} {y2:g}"
    head = (
        f"M{x2 - 6:g} {y2 - 4:g}L{x2:g} {y2:g}L{x2 - 6:g} {y2 + 4:g}"
        if y1 == y2
        else (f"M{x2 - 4:g} {y2 - 6:g}L{x2:g} {y2:g}L{x2 + 4:g} {y2 - 6:g}")
    )
    return f'<path class="arrow" d="{path}{head}"/>'
