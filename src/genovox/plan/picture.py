"""The picture of a plan: what the interval would be with more patients, and the learning curve."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genovox.core.artifacts import atomic_path
from genovox.plan.outlook import CurveResult
from genovox.plan.prospect import Prospect, Question
from genovox.statistics.sample_size import MINIMUM, Counts, auc_half_width

_INK, _MUTED, _ACCENT, _LIGHT = "#1c1e21", "#6b7280", "#0b6e8f", "#cfe3ea"
_PIXELS_PER_INCH = 130


def draw_plan(path: Path, prospect: Prospect, curve: CurveResult | None = None) -> None:
    """Draw the expected interval of the AUC against the number of patients, and the learning curve beside it.

    Args:
        path: PNG to write.
        prospect: From ``foresee``.
        curve: Of the run, where one was drawn.
    """
    figure = Figure((9.0 if curve else 5.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2 if curve else 1, squeeze=False)[0]
    _draw_width(panels[0], prospect)
    if curve:
        _draw_learning(panels[1], curve)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_MUTED)
        axes.title.set_color(_INK)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None})


def _draw_width(axes: Axes, prospect: Prospect) -> None:
    question = prospect.question
    sizes = _list_sizes(question, prospect)
    half = np.array([auc_half_width(question.auc, Counts.split(size, question.prevalence)) for size in sizes])
    low, high = np.clip([question.auc - half, question.auc + half], 0, 1)
    axes.fill_between(sizes, low, high, color=_LIGHT, linewidth=0)
    axes.axhline(question.auc, color=_ACCENT, linewidth=1.6)
    axes.axhline(0.5, color=_MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    now = prospect.now
    if now and now.half_width is not None:
        axes.errorbar([now.patients], [question.auc], [now.half_width], color=_INK, capsize=3, fmt="o", markersize=4)
    axes.set_title(f"95% interval of an AUC of {question.auc:.2f}", fontsize=10, loc="left")
    axes.set_xlabel(f"patients, {question.prevalence:.0%} carriers", color=_MUTED)
    axes.set_ylim(0.3, 1)


def _list_sizes(question: Question, prospect: Prospect) -> list[int]:
    first = int(np.ceil((MINIMUM + 1) / min(question.prevalence, 1 - question.prevalence)))
    last = max(prospect.later[-1].patients, 4 * first)
    return sorted({round(size) for size in np.geomspace(first, last, 60)})


def _draw_learning(axes: Axes, curve: CurveResult) -> None:
    for kind, colour, marker in (("measured", _INK, "o"), ("expected", _ACCENT, "D")):
        points = [point for point in curve.points if point.kind == kind]
        if points:
            middle = np.array([point.auc for point in points])
            reach = np.abs([[point.low for point in points], [point.high for point in points]] - middle)
            places = [point.cohort for point in points]
            axes.errorbar(places, middle, reach, color=colour, fmt=marker, capsize=3, markersize=4, label=kind)
    if curve.conclusion == "rises":
        line = np.geomspace(curve.points[0].cohort, curve.points[-1].cohort, 80)
        last = max(point.cohort for point in curve.points if point.kind == "measured")
        asymptote, scale, exponent = curve.law
        axes.plot(line, asymptote - scale * (line / last) ** -exponent, color=_ACCENT, linewidth=1)
    axes.axhline(0.5, color=_MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    says = "rises" if curve.conclusion == "rises" else "does not say whether more patients help"
    axes.set_title(f"{curve.model}: {says}", fontsize=10, loc="left")
    axes.set_xlabel("patients of the cohort", color=_MUTED)
    axes.legend(frameon=False, fontsize=9)
