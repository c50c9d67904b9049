"""The plots of the report, each an SVG element."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from genovox.core.log import write_count
from genovox.evaluate.schema import Block, CalibrationFigures, Metric, Ranks, Subgroup
from genovox.report.axes import (
    ACCENT,
    INK,
    LINE,
    MUTED,
    OTHER,
    PAPER,
    page_style,
    render_svg,
    start_axes,
    start_figure,
)
from genovox.report.evaluation import MAPS, name_column
from genovox.report.wording import write_interval, write_number

BAND = 0.16
_ROW_PX = 34
_HISTORY_COLUMNS = 6
_MOST_ROWS = 15
_MOST_APART = 2.0


def draw_fold_scores(blocks: Mapping[str, Block], name: str) -> Markup:
    """AUC of every test fold, a dot each, and their mean."""
    with page_style():
        figure, axes = _start_rows(list(blocks))
        for row, block in enumerate(blocks.values()):
            scored = [(fold.repeat, fold.auc) for fold in block.per_fold if fold.auc is not None]
            spread = np.linspace(-0.17, 0.17, block.repeats) if block.repeats > 1 else np.zeros(1)
            heights = [row + spread[repeat % len(spread)] for repeat, _ in scored]
            axes.scatter([auc for _, auc in scored], heights, s=34, color=ACCENT, alpha=0.55, linewidths=0)
            mean = block.metrics.roc_auc.estimate
            if mean is not None:
                axes.plot([mean, mean], [row - 0.3, row + 0.3], color=INK, linewidth=1.6)
        _finish_rows(axes, [fold.auc for block in blocks.values() for fold in block.per_fold], "AUC of a test fold")
        means = ", ".join(f"{model} {write_number(b.metrics.roc_auc.estimate)}" for model, b in blocks.items())
        return render_svg(figure, name, f"AUC of every test fold by model; means: {means}")


def draw_forest(blocks: Mapping[str, Block], name: str) -> Markup:
    """AUC and its interval, a row a model."""
    with page_style():
        figure, axes = _start_rows(list(blocks))
        words, shown = [], []
        for row, (model, block) in enumerate(blocks.items()):
            auc = block.metrics.roc_auc
            said = _mark_interval(axes, row, auc, size=52)
            if said:
                words.append(f"{model} {said}")
            shown += [auc.low, auc.estimate, auc.high]
        _finish_rows(axes, shown, "AUC with 95% interval")
        return render_svg(figure, name, "AUC with 95% interval by model: " + ", ".join(words))


def draw_balance(balance: pd.DataFrame, name: str) -> Markup:
    """Standardised differences between the classes, a row a variable, before and after the study's design (Love plot).

    Args:
        balance: ``balance.csv``; of a variable with levels the level that differs most is shown.
        name: Unique on the page.
    """
    sizes = balance.assign(size=balance["difference"].abs().clip(upper=_MOST_APART)).dropna(subset="size")
    table = sizes.pivot_table(index="variable", columns="comparison", values="size", aggfunc="max")
    table = table.reindex(columns=["carriers", "chosen"]).dropna(subset="carriers")
    table = table.sort_values("carriers", ascending=False).head(_MOST_ROWS)
    with page_style():
        labels = [name_column(str(variable)) for variable in table.index]
        figure, axes = _start_rows(labels, 430)
        rows = np.arange(len(table))
        matched = bool(table["chosen"].notna().any())
        axes.scatter(
            table["carriers"], rows, s=40, facecolors="none" if matched else ACCENT, edgecolors=ACCENT, label="before"
        )
        if matched:
            axes.scatter(table["chosen"], rows, s=40, color=ACCENT, label="after")
            axes.legend(loc="lower right")
        axes.axvline(0.1, color=MUTED, linewidth=1, dashes=(3, 3), zorder=0)
        axes.set_xlim(-0.02, max(0.3, float(np.nanmax(table.to_numpy())) * 1.06))
        axes.set_xlabel("standardised difference, carriers and non-carriers")
        most = f"{labels[0]} {table['carriers'].iloc[0]:.2f}"
        return render_svg(figure, name, f"Standardised differences between the classes; the largest: {most}")


def draw_roc(curve: pd.DataFrame, block: Block, name: str) -> Markup:
    """The mean ROC curve, its pointwise band and the diagonal of chance."""
    with page_style():
        figure, axes = start_axes(330, 310)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, dashes=(3, 3))
        axes.text(0.62, 0.565, "chance", color=MUTED, rotation=42, ha="center", va="top", fontsize=9.5)
        _draw_curve(axes, curve, "False-positive rate (1 − specificity)", "Sensitivity")
        return render_svg(figure, name, f"ROC curve, AUC {write_number(block.metrics.roc_auc.estimate)}")


def draw_precision_recall(curve: pd.DataFrame, block: Block, name: str) -> Markup:
    """The mean precision-recall curve, its band and the prevalence."""
    with page_style():
        figure, axes = start_axes(330, 310)
        axes.axhline(block.prevalence, color=MUTED, linewidth=1, dashes=(3, 3))
        axes.text(0.02, block.prevalence - 0.015, "share of positives", color=MUTED, va="top", fontsize=9.5)
        _draw_curve(axes, curve, "Sensitivity (recall)", "Precision")
        return render_svg(
            figure, name, f"Precision-recall curve, average precision {write_number(block.metrics.pr_auc.estimate)}"
        )


def draw_confusion(block: Block, unit: str, name: str) -> Markup:
    """Decisions at the folds' own thresholds against the labels; the mean over repeats."""
    means = [
        float(np.mean([getattr(row, cell) for row in block.confusion]))
        for cell in ("true_positive", "false_negative", "false_positive", "true_negative")
    ]
    counts = np.array(means).reshape(2, 2)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    words = [["found", "missed"], ["false alarm", "left alone"]]
    with page_style():
        figure, axes = start_axes(330, 310)
        for row in range(2):
            for column in range(2):
                colour = ACCENT if row == column else OTHER
                opacity = 0.08 + 0.34 * float(shares[row, column])
                axes.fill_between(
                    [column + 0.03, column + 0.97], row + 0.03, row + 0.97, color=colour, alpha=opacity, linewidth=0
                )
                count = counts[row, column]
                figures = f"{count:.0f}" if count == round(count) else f"{count:.1f}"
                axes.text(column + 0.5, row + 0.42, figures, ha="center", va="center", fontsize=19)
                caption = f"{words[row][column]} · {shares[row, column]:.0%}"
                axes.text(column + 0.5, row + 0.68, caption, ha="center", va="center", fontsize=10)
        axes.set(xlim=(0, 2), ylim=(2, 0), xticks=[0.5, 1.5], yticks=[0.5, 1.5])
        axes.set_xticklabels(["called positive", "called negative"])
        axes.set_yticklabels(["positive", "negative"], rotation=90, va="center")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        found = f"{means[0]:g} found, {means[1]:g} missed, {means[2]:g} false alarms, {means[3]:g} left alone"
        return render_svg(figure, name, f"Confusion matrix of {unit}: {found}")


def draw_scores(scores: pd.DataFrame, block: Block, unit: str, name: str) -> Markup:
    """Test scores of both classes, back to back, and the folds' thresholds."""
    bins = np.linspace(0, 1, 26)
    with page_style():
        figure, axes = start_axes(330, 310)
        peak = 0.0
        for label, colour, sign in ((1, ACCENT, 1), (0, OTHER, -1)):
            values = scores.loc[scores["label"] == label, "score"]
            heights = np.histogram(values, bins)[0] / max(len(values), 1)
            axes.bar(bins[:-1], sign * heights, np.diff(bins) * 0.9, align="edge", color=colour, alpha=0.8, linewidth=0)
            peak = max(peak, float(heights.max()))
        limit = peak * 1.3
        thresholds = [fold.threshold for fold in block.per_fold]
        axes.vlines(thresholds, -limit, limit, color=INK, linewidth=0.7, alpha=0.45)
        axes.axhline(0, color=PAPER, linewidth=1.5)
        axes.text(0.0, limit * 0.98, "positive", color=ACCENT, va="top", fontweight="bold")
        axes.text(0.0, -limit * 0.98, "negative", color=MUTED, va="bottom", fontweight="bold")
        axes.set(xlim=(-0.01, 1.01), ylim=(-limit, limit), xlabel="Score (raw, 0 to 1)")
        axes.yaxis.set_major_locator(MaxNLocator(5, symmetric=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0%}")
        axes.set_ylabel(f"Share of the {unit} of a class")
        middle = scores.groupby("label")["score"].median()
        said = f"median {middle[1]:.2f} of positives, {middle[0]:.2f} of negatives"
        return render_svg(figure, name, f"Distribution of test scores by label; {said}")


def draw_histories(histories: Mapping[tuple[int, str], pd.DataFrame], name: str) -> Markup:
    """Training and validation loss of every network, small multiples on common axes."""
    columns = min(_HISTORY_COLUMNS, len({fold for _, fold in histories}))
    rows = -(-len(histories) // columns)
    with page_style():
        figure = start_figure(36 + 610 * columns / max(columns, 5), 26 + 112 * rows)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel in panels:
            panel.patch.set_visible(False)
        for panel in panels[len(histories) :]:
            panel.set_axis_off()
        for panel, ((repeat, fold), history) in zip(panels, histories.items(), strict=False):
            panel.plot(history["epoch"], history["training_loss"], color=OTHER, linewidth=1.2)
            panel.plot(history["epoch"], history["validation_loss"], color=ACCENT, linewidth=1.4)
            best = history[history["best"].astype(str) == "True"].tail(1)
            panel.scatter(best["epoch"], best["validation_loss"], s=22, color=ACCENT, linewidths=0, zorder=3)
            panel.set_title(f"repeat {repeat}, fold {fold}", loc="left", fontsize=9.5, color=MUTED)
            panel.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            panel.yaxis.set_major_locator(MaxNLocator(3))
            panel.grid(axis="y", color=LINE, linewidth=0.5)
            panel.set_axisbelow(True)
        return render_svg(
            figure, name, f"Training and validation loss of {write_count(len(histories), 'network')} by epoch"
        )


def draw_headline(block: Block, minimum_auc: float) -> Markup:
    """The headline AUC and its interval on the line from 0 to 1, with chance and what would be useful."""
    auc = block.metrics.roc_auc
    with page_style():
        figure, axes = start_axes(440, 76)
        axes.plot([0, 1], [0, 0], color=LINE, linewidth=1)
        for place, word in ((0.5, "chance"), (minimum_auc, "useful")):
            axes.plot([place, place], [-0.55, 0.55], color=MUTED, linewidth=1)
            side = "right" if place == 0.5 else "left"
            axes.text(place, 0.75, f"{word} {place:.2f}", ha=side, va="bottom", color=MUTED, fontsize=9.5)
        if auc.low is not None and auc.high is not None:
            axes.plot([auc.low, auc.high], [0, 0], color=ACCENT, linewidth=5, alpha=0.45)
        if auc.estimate is not None:
            axes.scatter([auc.estimate], [0], s=70, color=ACCENT, linewidths=0, zorder=3)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.9, 1.9), yticks=[], xticks=[0, 0.25, 0.5, 0.75, 1])
        axes.set_xticklabels(["0", "", "0.5", "", "1"])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        said = f"AUC {write_number(auc.estimate)}, interval {write_interval(auc.low, auc.high) or 'none'}"
        return render_svg(figure, "headline", f"{said}; chance 0.50, useful from {minimum_auc:.2f}")


def draw_ranks(ranks: Ranks, name: str) -> Markup:
    """Mean ranks of the models on a line, those that cannot be told apart joined (a critical-difference picture)."""
    ordered = sorted(ranks.mean_ranks.items(), key=lambda entry: entry[1])
    with page_style():
        figure, axes = start_axes(430, 74 + 24 * len(ordered) + 14 * len(ranks.not_distinguishable))
        top = -0.5 * len(ranks.not_distinguishable)
        for row, (model, rank) in enumerate(ordered, 1):
            axes.plot([rank, rank], [top, row], color=LINE, linewidth=1)
            axes.scatter([rank], [top], s=42, color=ACCENT, linewidths=0, zorder=3)
            axes.text(rank, row + 0.05, f"{model}  {rank:.2f}", ha="center", va="top", fontsize=10)
        for row, run in enumerate(ranks.not_distinguishable, 1):
            ends = [ranks.mean_ranks[model] for model in run]
            axes.plot([min(ends), max(ends)], [top + 0.5 * row] * 2, color=INK, linewidth=3.5)
        axes.set(xlim=(0.7, len(ordered) + 0.3), ylim=(len(ordered) + 1.0, top - 0.6), yticks=[])
        axes.set_xticks(range(1, len(ordered) + 1))
        axes.set_xlabel("mean rank by AUC over test folds; 1 is the highest")
        axes.spines["left"].set_visible(False)
        said = ", ".join(f"{model} {rank:.2f}" for model, rank in ordered)
        apart = f"; closer than {ranks.critical_difference:.2f} is not distinguishable"
        return render_svg(figure, name, f"Mean ranks of the models: {said}{apart}")


def draw_reliability(kinds: Mapping[str, CalibrationFigures], name: str) -> Markup:
    """Observed share against stated probability, before and after calibration, and the diagonal of truth."""
    with page_style():
        figure, axes = start_axes(330, 310)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, dashes=(3, 3))
        said = []
        for kind, figures in kinds.items():
            colour, marker = (OTHER, "s") if kind == MAPS["raw"] else (ACCENT, "o")
            points = figures.reliability
            stated, observed = [point.stated for point in points], [point.observed for point in points]
            for point in points:
                if point.low is not None and point.high is not None:
                    axes.plot([point.stated] * 2, [point.low, point.high], color=colour, linewidth=1, alpha=0.6)
            axes.plot(stated, observed, color=colour, linewidth=1.6, marker=marker, markersize=5)
            said.append(f"{kind}: slope {write_number(figures.slope.estimate)}")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="Probability stated", ylabel="Share observed")
        axes.set_aspect("equal")
        return render_svg(figure, name, f"Reliability curves, observed against stated; {', '.join(said)}")


def draw_decisions(curve: pd.DataFrame, name: str) -> Markup:
    """Net benefit of the model, of treating everybody and of treating nobody, by threshold."""
    with page_style():
        figure, axes = start_axes(330, 310)
        axes.plot(curve["threshold"], curve["treat_all"], color=OTHER, linewidth=1.4)
        axes.axhline(0, color=MUTED, linewidth=1, dashes=(3, 3))
        if curve["low"].notna().any():
            axes.fill_between(curve["threshold"], curve["low"], curve["high"], color=ACCENT, alpha=BAND, linewidth=0)
        axes.plot(curve["threshold"], curve["net_benefit"], color=ACCENT, linewidth=2)
        highest = float(np.nanmax(curve[["net_benefit", "treat_all"]].to_numpy()))
        axes.set(xlim=(0, 1), ylim=(-0.35 * highest, 1.15 * highest))
        axes.set(xlabel="Threshold probability", ylabel="Net benefit")
        above = curve["threshold"][curve["net_benefit"] > np.maximum(curve["treat_all"], 0) + 1e-12]
        said = f"above both from {above.min():.2f} to {above.max():.2f}" if len(above) else "nowhere above both"
        return render_svg(figure, name, f"Decision curve: net benefit of the model is {said} of treating all and none")


def draw_subgroups(groups: list[Subgroup], block: Block, name: str) -> Markup:
    """The AUC in each level of each column with its interval, and that of everybody."""
    rows = [(group.column, level) for group in groups for level in group.levels]
    labels = [f"{name_column(column)}: {level.level} ({level.positives} of {level.n})" for column, level in rows]
    with page_style():
        figure, axes = _start_rows(labels, 560)
        shown, words = [], []
        whole = block.metrics.roc_auc.estimate
        if whole is not None:
            axes.axvline(whole, color=ACCENT, linewidth=1, alpha=0.6, zorder=0)
        for row, (_, level) in enumerate(rows):
            auc = level.auc
            said = _mark_interval(axes, row, auc, size=44)
            if said:
                words.append(f"{labels[row]} {said}")
            else:
                axes.text(0.51, row, "too few patients", va="center", color=MUTED, fontsize=9.5)
            shown += [auc.low, auc.estimate, auc.high]
        _finish_rows(axes, shown, "AUC with 95% interval")
        return render_svg(figure, name, "AUC by subgroup: " + "; ".join(words))


def _draw_curve(axes: Axes, curve: pd.DataFrame, x: str, y: str) -> None:
    if curve["low"].notna().any():
        axes.fill_between(curve["x"], curve["low"], curve["high"], color=ACCENT, alpha=BAND, linewidth=0, step=None)
    axes.plot(curve["x"], curve["y"], color=ACCENT, linewidth=2)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y, aspect="equal")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])


def _start_rows(models: list[str], width_px: float = 330) -> tuple[Figure, Axes]:
    figure, axes = start_axes(width_px, 58 + _ROW_PX * max(len(models), 1))
    axes.set_yticks(range(len(models)), labels=models)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    return figure, axes


def _mark_interval(axes: Axes, row: int, figure: Metric, *, size: float) -> str:
    """Mark an estimate and its interval on a row, and say them; nothing where there is no estimate."""
    if figure.estimate is None:
        return ""
    if figure.low is not None and figure.high is not None:
        axes.plot([figure.low, figure.high], [row, row], color=ACCENT, linewidth=2)
    axes.scatter([figure.estimate], [row], s=size, marker="s", color=ACCENT, linewidths=0, zorder=3)
    return f"{write_number(figure.estimate)} ({write_interval(figure.low, figure.high) or 'no interval'})"


def _finish_rows(axes: Axes, shown: list[float | None], label: str) -> None:
    lowest = min([0.5, *(value for value in shown if value is not None)])
    axes.set_xlim(max(-0.02, np.floor(lowest * 10 - 0.5) / 10), 1.01)
    axes.axvline(0.5, color=MUTED, linewidth=1, dashes=(3, 3), zorder=0)
    axes.set_xlabel(label)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.1f}")
