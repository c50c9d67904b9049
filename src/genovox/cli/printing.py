"""An evaluation and an audit on a terminal of 80 columns."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genovox.audit.checks import GROUPS, MARKS
from genovox.evaluate.evaluation import Evaluation

WIDTH = 80
_FIGURES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "recall": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "balanced_accuracy": "Balanced accuracy",
    "brier": "Brier score",
}
_NAME = 22


def describe_evaluation(evaluation: Evaluation, notes: Sequence[str]) -> Iterator[str]:
    """Lines: the primary model's figures, calibration, then the other models beside it."""
    metrics = evaluation.metrics
    primary = metrics["primary"]
    figures = metrics["models"][primary]
    name = "cross_validation" if figures["cross_validation"] else "fixed"
    block = figures[name]
    unit = "patients" if metrics["label_unit"] == "patient" else "cases"
    where = "fixed test part" if name == "fixed" else f"{len(block['per_fold'])} test folds"
    yield from _wrap(
        f"{primary}: {block['n_positive']} positive and {block['n_negative']} negative {unit} "
        f"({block['prevalence']:.0%} positive), {where}"
    )
    yield ""
    yield f"  {'Figure':<20}{'Estimate':>8}  {'95% interval':<16}  By"
    for key, title in _FIGURES.items():
        metric = block["metrics"][key]
        note = f"; chance {block['prevalence']:.2f}" if key == "pr_auc" else ""
        yield f"  {title:<20}{_number(metric['estimate']):>8}  {_interval(metric):<16}  {_method(metric)}{note}"
    folds = block["per_fold"]
    fallen = sum(fold["threshold_source"] == "default" for fold in folds)
    if fallen:
        yield from _wrap(f"  Decisions at 0.50 in {fallen} of {len(folds)} folds, for want of validation rows.", "", 2)
    yield ""
    yield from _wrap(f"Calibration: {_judge_calibration(evaluation.calibration, primary, name)}")
    compared = {row["model"]: row for row in evaluation.comparison[name]}
    for model, row in compared.items():
        auc = metrics["models"][model][name]["metrics"]["roc_auc"]
        said = f"{model}: AUC {_number(auc['estimate'])} ({_interval(auc) or 'no interval'}), {row['conclusion']}"
        yield from _wrap(said)
    for note in notes:
        yield from _wrap(f"Note: {note}.")


def describe_audit(content: Mapping[str, Any], notes: Sequence[str]) -> Iterator[str]:
    """Lines: the verdict in words, the checks by group, and what to do next."""
    yield from _wrap(f"Verdict: {content['verdict']}. {content['paragraph']}")
    yield ""
    yield from _wrap(content["headline"])
    checks = {check["name"]: check for check in content["checks"]}
    for group, names in GROUPS.items():
        found = [checks[name] for name in names if name in checks]
        looked = [check for check in found if check["status"] != "not-assessed"]
        blind = [check["name"] for check in found if check["status"] == "not-assessed"]
        if not found:
            continue
        yield ""
        yield group
        for check in looked:
            lead = f"  {MARKS[check['status']]} {check['name']:<{_NAME - 4}}"
            yield from _wrap(f"{check['finding']}.", lead if len(lead) <= _NAME else f"{lead} ", _NAME)
        if blind:
            yield from _wrap(", ".join(blind), f"  {MARKS['not-assessed']} {'not assessed':<{_NAME - 4}}", _NAME)
    yield ""
    yield "Next steps"
    for number, step in enumerate(content["next_steps"], 1):
        yield from _wrap(step, f"  {number}. ", 5)
    for note in notes:
        yield from _wrap(f"Note: {note}.")


def _judge_calibration(calibration: Mapping[str, Any], model: str, block: str) -> str:
    """Whether raw scores can be read as probabilities, in one sentence."""
    found = calibration["models"][model][block]
    raw = found["figures"].get("raw") if found else None
    if raw is None or raw["slope"]["low"] is None or raw["in_the_large"]["low"] is None:
        reason = (found["not_assessed"].get("raw") if found else "") or "too few patients"
        return f"not assessed: {reason}."
    slope, large = raw["slope"], raw["in_the_large"]
    faults = []
    if slope["high"] < 1 or slope["low"] > 1:
        faults.append("too extreme" if slope["high"] < 1 else "too timid")
    if large["low"] > 0 or large["high"] < 0:
        faults.append(f"too {'low' if large['low'] > 0 else 'high'} on the whole")
    verdict = f"scores are no probabilities, {' and '.join(faults)}" if faults else "not shown to be off"
    ece = raw["ece"]
    return (
        f"{verdict} (slope {slope['estimate']:.2f}, {_interval(slope)}; expected calibration error "
        f"{_number(ece['estimate'])}, of perfect probabilities {_number(raw['ece_if_calibrated'])})."
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(metric: Mapping[str, Any]) -> str:
    return "" if metric["low"] is None else f"{metric['low']:.2f} to {metric['high']:.2f}"


def _method(metric: Mapping[str, Any]) -> str:
    if metric["estimate"] is None:
        return "not defined"
    if metric["low"] is None:
        return "too few patients"
    method = str(metric["method"])
    return "bootstrap" if "bootstrap" in method else method.split(",", maxsplit=1)[0].split(" (", maxsplit=1)[0][:24]


def _wrap(text: str, lead: str = "", indent: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
