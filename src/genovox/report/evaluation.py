"""Rows of text of what the evaluation says beside its headline: intervals, pairs, probabilities, thresholds, groups."""

from dataclasses import dataclass

from genovox.core.case import SCAN_PREFIX
from genovox.evaluate.schema import Block, CalibrationBlock, Metric, Subgroup
from genovox.report.results import Results
from genovox.report.wording import write_interval, write_number, write_p, write_share, write_signed

MAPS = {
    "raw": "raw score",
    "platt": "Platt",
    "isotonic": "isotonic",
    "beta": "beta",
    "temperature": "temperature",
}
RULES = {
    "youden": "Youden’s index",
    "sensitivity-0.90": "sensitivity of 0.90",
    "sensitivity-0.95": "sensitivity of 0.95",
    "cost": "lowest cost",
}
_CALIBRATION = {
    "slope": ("Slope", "1 is right; below 1 the scores are too extreme"),
    "intercept": ("Intercept", "0 is right, at the slope above"),
    "in_the_large": ("Calibration in the large", "0 is right; above 0 the scores are too low on the whole"),
    "ece": ("Expected calibration error", "mean distance of stated and observed, over bins of equal size"),
    "brier": ("Brier score", "mean squared error; lower is better"),
}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: What it is of.
        meaning: In small print under the name; may be empty.
        cells: Figures.
        note: In small print under the last cell; may be empty.
        marked: Whether it is the one the page goes by.
    """

    name: str
    meaning: str
    cells: tuple[str, ...]
    note: str = ""
    marked: bool = False


def list_intervals(block: Block) -> list[Row]:
    """Every interval of the headline AUC, the one it carries first, each with its reason."""
    return [
        Row(
            interval.method,
            "",
            (write_interval(interval.low, interval.high) or "not given",),
            interval.note or (block.metrics.roc_auc.method if interval.headline else ""),
            interval.headline,
        )
        for interval in block.intervals
        if interval.figure == "roc_auc"
    ]


def list_pairs(results: Results, block: str) -> list[Row]:
    """Every pair of models, Holm-adjusted; empty for two models, which are compared with the primary already."""
    pairs = getattr(results.comparison, f"pairs_{block}")
    return [
        Row(
            f"{pair.first} − {pair.second}",
            "",
            (
                write_signed(pair.difference),
                write_interval(pair.low, pair.high, signed=True) or "–",
                write_p(pair.p_holm),
                pair.conclusion.replace("first", pair.first).replace("second", pair.second),
            ),
        )
        for pair in pairs
        if len(pairs) > 1
    ]


def list_calibration(block: CalibrationBlock, kinds: list[str]) -> list[Row]:
    """Figures of calibration, a cell a kind of probability, its interval beneath."""
    rows = []
    for name, (title, meaning) in _CALIBRATION.items():
        metrics = [getattr(block.figures[kind], name) for kind in kinds]
        rows.append(Row(title, meaning, tuple(_write(metric) for metric in metrics)))
        if name == "ece":
            expected = tuple(write_number(block.figures[kind].ece_if_calibrated) for kind in kinds)
            rows.append(Row("The same of perfect probabilities", "what chance alone leaves of it", expected))
    return rows


def list_operating_points(results: Results, model: str, block: str) -> list[Row]:
    """What each rule of choosing a threshold gives on test patients, and how far its thresholds lie apart."""
    found = getattr(results.operating_points.results[model], block) if results.operating_points.results else {}
    return [
        Row(
            RULES.get(rule, rule),
            results.operating_points.rules[rule],
            (
                _write(result.sensitivity),
                _write(result.specificity),
                f"{result.spread.median:.3g}",
                f"{result.spread.low:.3g} to {result.spread.high:.3g}",
            ),
        )
        for rule, result in found.items()
    ]


def list_conformal(block: CalibrationBlock) -> tuple[list[Row], str]:
    """What was found of the sets at each level; and, where there are none, why."""
    looked = [sets for sets in block.conformal if sets.assessed]
    why = next((sets.coverage_positive.note or "" for sets in block.conformal if not sets.assessed), "")
    return [
        Row(
            f"{sets.level:.0%}",
            f"{sets.assessed:,} scores" + (f", {sets.left_out:,} left out" if sets.left_out else ""),
            (
                _write(sets.coverage_positive),
                _write(sets.coverage_negative),
                _percent(sets.abstained),
                _percent(sets.empty),
                _write(sets.accuracy_of_single),
            ),
        )
        for sets in looked
    ], "" if looked else why.removeprefix("not-assessed: ")


def list_subgroups(groups: list[Subgroup]) -> list[Row]:
    """A row a column: whether its levels differ, and why that was not asked where it was not."""
    return [
        Row(
            name_column(group.column),
            f"{group.missing} without a value" if group.missing else "",
            (write_p(group.holm_p_value), group.conclusion.replace("-", " ")),
            (group.note or "").removeprefix("not-assessed: "),
        )
        for group in groups
    ]


def name_column(column: str) -> str:
    """A column of a table as a reader says it."""
    return column.removeprefix(SCAN_PREFIX).replace("_", " ")


def list_associations(results: Results) -> list[tuple[str, ...]]:
    """``(column, test, effect, p, adjusted p, patients)`` of each column of the metadata, the clearest first."""
    return [
        (
            name_column(row["column"]),
            row["test"],
            write_number(float(row["effect"])) if row["effect"] else "–",
            write_p(float(row["p_value"])) if row["p_value"] else "–",
            write_p(float(row["adjusted"])) if row["adjusted"] else "–",
            row["patients"],
        )
        for row in results.associations.to_dict("records")
    ]


def _write(metric: Metric) -> str:
    if metric.estimate is None:
        return "–"
    interval = write_interval(metric.low, metric.high)
    return write_number(metric.estimate) + (f" ({interval})" if interval else "")


def _percent(metric: Metric) -> str:
    return "–" if metric.estimate is None else write_share(metric.estimate, 1.0)
