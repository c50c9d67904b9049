"""The flow of inclusions: who came in, who was left out and why, who was scored."""

import textwrap
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from genovox.report.axes import wrap_svg
from genovox.report.results import Results
from genovox.report.wording import write_count

_WIDTH = 440
_MAIN = 206
_SIDE_X = 250
_LINE = 17
_PADDING = 13
_GAP = 34
_CHARACTERS = 30


@dataclass(frozen=True)
class _Box:
    title: str
    lines: tuple[str, ...]

    @property
    def height(self) -> float:
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


def draw_flow(results: Results) -> Markup:
    """The flow as an SVG element: a column of what stays, beside it what leaves."""
    manifest, cohort = results.flow["manifest"], results.flow["included"]
    lost = results.exclusions[results.exclusions["stage"] == "preprocess"]
    cases, patients = len(results.cases), results.cases["patient_id"].nunique()
    steps = [
        (
            _Box(f"In the {results.source}", _count(manifest["cases"], manifest["patients"])),
            _describe_excluded(results),
        ),
        (
            _Box("In the cohort", _count(cohort["cases"], cohort["patients"])),
            _left_out(len(lost), [f"{len(lost)} could not be preprocessed"] if len(lost) else []),
        ),
        (_Box("Scored", _count(cases, patients)), None),
    ]
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
    left, right = _split(results)
    width = (_WIDTH - 22) / 2
    centre, low = _MAIN / 2, y + _GAP
    parts += [
        _arrow(centre, y, centre, low),
        _arrow(centre, y, _WIDTH - width / 2, low, elbow=True),
        left.draw(1, low, width, "end"),
        right.draw(_WIDTH - width - 1, low, width, "end"),
    ]
    summary = f"{manifest['cases']} cases in the {results.source}, {cohort['cases']} in the cohort, {cases} scored"
    height = low + max(left.height, right.height) + 2
    return wrap_svg(f'<g class="flow">{"".join(parts)}</g>', _WIDTH, height, f"Flow of inclusions: {summary}")


def _count(cases: int, patients: int) -> tuple[str, ...]:
    return write_count(cases, "case"), f"of {write_count(patients, 'patient')}"


def _describe_excluded(results: Results) -> _Box:
    excluded = results.flow["excluded"]
    lines = [f"{entry['cases']:,} {entry['text']}" for entry in excluded]
    return _left_out(sum(entry["cases"] for entry in excluded), lines)


def _left_out(count: int, reasons: list[str]) -> _Box:
    lines = [line for reason in reasons for line in textwrap.wrap(reason, _CHARACTERS - 4)]
    return _Box(f"Left out: {count:,}", tuple(lines) or ("nobody",))


def _split(results: Results) -> tuple[_Box, _Box]:
    """By class; with a fixed test part by part."""
    cases = results.cases
    if results.blocks("fixed"):
        held = cases["part"] == "test"
        return _part_box("Cross-validation", results, ~held), _part_box("Fixed test part", results, held)
    boxes = [
        _Box(name, _count(len(rows), rows["patient_id"].nunique()))
        for name, rows in (("Positive", cases[cases["label"] == 1]), ("Negative", cases[cases["label"] == 0]))
    ]
    return boxes[0], boxes[1]


def _part_box(title: str, results: Results, chosen: object) -> _Box:
    rows = results.cases[chosen]
    positive = int((rows["label"] == 1).sum())
    return _Box(title, (f"{positive:,} positive cases", f"{len(rows) - positive:,} negative cases"))


def _arrow(x1: float, y1: float, x2: float, y2: float, *, elbow: bool = False) -> str:
    middle = (y1 + y2) / 2
    path = f"M{x1:g} {y1:g}V{middle:g}H{x2:g}V{y2:g}" if elbow else f"M{x1:g} {y1:g}L{x2:g} {y2:g}"
    head = (
        f"M{x2 - 6:g} {y2 - 4:g}L{x2:g} {y2:g}L{x2 - 6:g} {y2 + 4:g}"
        if y1 == y2
        else (f"M{x2 - 4:g} {y2 - 6:g}L{x2:g} {y2:g}L{x2 + 4:g} {y2 - 6:g}")
    )
    return f'<path class="arrow" d="{path}{head}"/>'
