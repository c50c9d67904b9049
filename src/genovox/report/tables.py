"""The tables of the report, as rows of text ready to be set."""

import re
import string
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from genovox.audit.checks import GROUPS
from genovox.cohort.splits import FIXED
from genovox.core.case import SCAN_PREFIX
from genovox.core.log import write_count
from genovox.evaluate.schema import Block, Metric
from genovox.report.evaluation import name_column
from genovox.report.results import Results
from genovox.report.wording import (
    METRIC_NAMES,
    explain_metric,
    write_duration,
    write_interval,
    write_number,
    write_p,
    write_share,
    write_signed,
)

MOST_VALUES = 7
SHOWN_EXCLUSIONS = 300
_PLACE = re.compile(r" in \S+ rows? \d+(, \d+)*| for (patient|case) [^\s;]+")
_SCAN_NAMES = {
    "scan_spacing_mm": "voxel spacing (mm)",
    "phase_times_s": "phase times (s)",
    "scan_format": "file format",
}
_GRAVEST = ("fail", "warn", "pass", "not-assessed")
_HIDDEN = {"fingerprint", "images", "case_id", "patient_id", "family_id", "label"}


@dataclass(frozen=True)
class Cell:
    """A figure with what stands under it."""

    figure: str
    interval: str = ""
    note: str = ""


@dataclass(frozen=True)
class Characteristic:
    """One trait of the cohort.

    Attributes:
        name: What it is.
        rows: ``(value, all, positive, negative)``.
    """

    name: str
    rows: tuple[tuple[str, str, str, str], ...]


def describe_cohort(results: Results) -> tuple[list[Characteristic], list[tuple[str, str]]]:
    """The scored cases by class: what varies, and what is the same for every case."""
    cases = results.cases
    varying, constant = [_count_people(cases)], []
    for column in ("site", "laterality", "part", "phase_times_s", *_scan_columns(cases)):
        values = cases[column]
        name = _SCAN_NAMES.get(column, name_column(column))
        if set(values) == {""}:
            continue
        if len(set(values)) == 1:
            constant.append((name, _tidy(values.iloc[0])))
        else:
            varying.append(Characteristic(name, _rows_of_values(values, cases["label"])))
    return varying, constant


def list_folds(results: Results) -> list[dict[str, str]]:
    """Sizes of every part of every fold."""
    labels = results.cases.set_index("case_id")["label"]
    table = results.folds.assign(label=results.folds["case_id"].map(labels))
    rows = []
    for (repeat, fold), plan in table[table["fold"] != FIXED].groupby(["repeat", "fold"], sort=False):
        row = {"repeat": str(repeat), "fold": str(fold)}
        for part in ("train", "val", "test"):
            chosen = plan[plan["part"] == part]
            row[part] = f"{chosen['patient_id'].nunique():,}"
            row[f"{part}_cases"] = f"{int(chosen['label'].sum())} + {int((chosen['label'] == 0).sum())}"
        rows.append(row)
    return rows


def tabulate_metrics(blocks: dict[str, Block]) -> list[tuple[str, str, list[Cell]]]:
    """A row a metric: its name, what it means, and a cell a model."""
    chance = f", here {write_number(next(iter(blocks.values())).prevalence)}"
    return [
        (
            title,
            meaning + (chance if name == "pr_auc" else ""),
            [_metric_cell(name, getattr(block.metrics, name), block) for block in blocks.values()],
        )
        for name, (title, meaning) in METRIC_NAMES.items()
    ]


def mark_notes(rows: list[tuple[str, str, list[Cell]]]) -> dict[str, str]:
    """Each distinct note of a table of metrics with its letter, in reading order."""
    notes = dict.fromkeys(cell.note for _, _, cells in rows for cell in cells if cell.note)
    return dict(zip(notes, string.ascii_lowercase, strict=False))


def tabulate_comparison(results: Results, block: str) -> list[dict[str, str]]:
    """Every other model against the primary."""
    return [
        {
            "model": entry.model,
            "difference": write_signed(entry.difference),
            "interval": write_interval(entry.low, entry.high, signed=True) or "–",
            "p": write_p(entry.p_value),
            "conclusion": entry.conclusion,
            "note": entry.note or "",
        }
        for entry in getattr(results.comparison, block)
    ]


def tabulate_checks(results: Results) -> list[dict[str, str]]:
    """Every check with its figure set for reading."""
    return [
        {
            **{name: check[name] for name in ("name", "question", "status", "finding", "threshold", "advice")},
            "figure": _write_figure(check["figure"]),
            "interval": write_interval(check["low"], check["high"]),
        }
        for check in results.audit["checks"]
    ]


def group_checks(results: Results) -> list[tuple[str, list[dict[str, str]]]]:
    """The checks by what they are about, the gravest first."""
    checks = {check["name"]: check for check in tabulate_checks(results)}
    groups = [(title, [checks[name] for name in names if name in checks]) for title, names in GROUPS.items()]
    return [(title, sorted(found, key=lambda check: _GRAVEST.index(check["status"]))) for title, found in groups]


def count_exclusions(results: Results) -> list[tuple[str, str, str]]:
    """``(stage, reason, cases)``, the most frequent first within a stage."""
    # Rows and ids would make every reason one of its own.
    reasons = results.exclusions["reason"].str.replace(_PLACE, "", regex=True)
    counts = Counter(zip(results.exclusions["stage"], reasons, strict=True))
    ordered = sorted(counts.items(), key=lambda entry: (entry[0][0], -entry[1], entry[0][1]))
    return [(stage, reason, f"{count:,}") for (stage, reason), count in ordered]


def count_series(results: Results) -> list[tuple[str, str]]:
    """``(reason, series)`` for the series that are no phase of an exam, the most frequent first."""
    return [(str(reason), f"{count:,}") for reason, count in results.unused_series["reason"].value_counts().items()]


def list_exclusions(results: Results) -> list[dict[str, str]]:
    """The first rows of the exclusions."""
    rows = results.exclusions.head(SHOWN_EXCLUSIONS).to_dict("records")
    return [{str(name): str(value) for name, value in row.items()} for row in rows]


def list_stages(results: Results) -> list[tuple[str, str, str]]:
    """``(stage, wall time, key)`` of every stage before the report."""
    return [(name, write_duration(record["wall_s"]), record["key"]) for name, record in results.stages.items()]


def list_settings(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """The study file's tables; of a path outside the study only the name is shown."""
    return [
        (table, [(key, _write_setting(value)) for key, value in _flatten(values)])
        for table, values in results.study.items()
    ]


def _scan_columns(cases: pd.DataFrame) -> list[str]:
    return [name for name in cases.columns if name.startswith(SCAN_PREFIX) and name not in _HIDDEN]


def _count_people(cases: pd.DataFrame) -> Characteristic:
    classes = (cases, cases[cases["label"] == 1], cases[cases["label"] == 0])
    counts = {"cases": [len(rows) for rows in classes], "patients": [rows["patient_id"].nunique() for rows in classes]}
    if (cases["family_id"] != "").any():
        counts["families"] = [rows.loc[rows["family_id"] != "", "family_id"].nunique() for rows in classes]
    return Characteristic("Size", tuple((name, f"{a:,}", f"{p:,}", f"{n:,}") for name, (a, p, n) in counts.items()))


def _rows_of_values(values: "pd.Series[str]", labels: "pd.Series[int]") -> tuple[tuple[str, str, str, str], ...]:
    numbers = pd.to_numeric(values.replace("", None), errors="coerce")
    if values.nunique() > MOST_VALUES and numbers.notna().sum() == (values != "").sum():
        everyone, positive, negative = (_write_range(numbers[chosen]) for chosen in _classes(labels))
        return (("median (range)", everyone, positive, negative),)
    counts = values.value_counts()
    order = sorted(counts.index, key=lambda value: (-counts[value], value))
    kept = order[:MOST_VALUES]
    rows = [(_tidy(value) or "not given", *_count_by_class(values == value, labels)) for value in kept]
    if len(order) > MOST_VALUES:
        rest = ~values.isin(kept)
        rows.append((f"{len(order) - MOST_VALUES} other values", *_count_by_class(rest, labels)))
    return tuple(rows)


def _classes(labels: "pd.Series[int]") -> tuple["pd.Series[bool]", "pd.Series[bool]", "pd.Series[bool]"]:
    return labels.notna(), labels == 1, labels == 0


def _count_by_class(chosen: "pd.Series[bool]", labels: "pd.Series[int]") -> tuple[str, str, str]:
    everyone, positive, negative = (
        f"{int((chosen & rows).sum()):,}\N{NO-BREAK SPACE}({write_share(int((chosen & rows).sum()), int(rows.sum()))})"
        for rows in _classes(labels)
    )
    return everyone, positive, negative


def _write_range(numbers: "pd.Series[float]") -> str:
    known = numbers.dropna()
    if known.empty:
        return "–"
    middle, low, high = (f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}" for x in known.quantile([0.5, 0, 1]))
    return f"{middle} ({low} to {high})"


def _tidy(value: str) -> str:
    """``3.000x3.000x4.000`` as ``3 × 3 × 4``; anything else as it is."""
    parts = value.split("x")
    try:
        return " × ".join(f"{float(part):.4g}" for part in parts) if len(parts) > 1 else value
    except ValueError:
        return value


def _metric_cell(name: str, metric: Metric, block: Block) -> Cell:
    note = explain_metric(metric)
    if metric.estimate is None:
        return Cell("not defined", note=note)
    interval = write_interval(metric.low, metric.high)
    if not interval and metric.counts is not None:
        interval = _exact_counts(name, block)
    return Cell(write_number(metric.estimate), interval, note)


def _exact_counts(name: str, block: Block) -> str:
    """Successes of trials, where one repeat makes them whole numbers."""
    if len(block.confusion) != 1:
        return ""
    row = block.confusion[0]
    right = row.true_positive + row.true_negative
    fractions = {
        "recall": (row.true_positive, row.true_positive + row.false_negative),
        "specificity": (row.true_negative, row.true_negative + row.false_positive),
        "precision": (row.true_positive, row.true_positive + row.false_positive),
        "accuracy": (right, right + row.false_positive + row.false_negative),
    }
    return "{} of {}".format(*fractions[name]) if name in fractions else ""


def _write_figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2g}" if value == 0 or abs(value) < 0.01 else f"{value:.3g}"


def _flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        flat += _flatten(value, f"{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return flat


def _write_setting(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_write_setting(entry) for entry in value) or "none"
    if isinstance(value, str):
        path = PurePath(value)
        return (f"…/{path.name}" if path.is_absolute() or ".." in path.parts else value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def list_fold_figures(block: Block) -> list[tuple[str, str, str, str, str]]:
    """``(repeat, fold, positive of all, AUC, threshold)`` of every test fold."""
    return [
        (str(fold.repeat), fold.fold, f"{fold.positives} of {fold.n}", write_number(fold.auc), f"{fold.threshold:.3g}")
        for fold in block.per_fold
    ]


def describe_folds(results: Results) -> str:
    """Repeats, folds and what keeps them apart, in one sentence."""
    rotating = results.folds[results.folds["fold"] != FIXED]
    repeats, folds = rotating["repeat"].nunique(), rotating["fold"].nunique()
    groups = results.study["cohort"]["splits"]["group_by"]
    apart = " or ".join(name.removesuffix("_id") for name in groups)
    networks = write_count(int(np.prod([repeats, folds])), "network")
    return (
        f"{write_count(repeats, 'repeat')} of {write_count(folds, 'fold')}: {networks} a model, each tested on those "
        f"it has not seen. No {apart} stands in two parts of a fold."
    )
