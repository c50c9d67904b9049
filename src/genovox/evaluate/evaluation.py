"""From a table of predictions to every figure of the ``evaluate`` stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from genovox.cohort.splits import FIXED
from genovox.core.errors import UsageError
from genovox.core.names import model_folder
from genovox.evaluate.comparison import METHOD, NOTE, BlockComparison, compare_models
from genovox.evaluate.intervals import Resampling
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.probabilities import assess_probabilities
from genovox.evaluate.schema import (
    Block,
    Comparison,
    LabelUnit,
    Metrics,
    ModelMetrics,
    OperatingPoint,
    OperatingPoints,
    PatientScore,
    RuleResults,
)
from genovox.evaluate.scoring import BlockScores, FoldKey, list_folds, score_block
from genovox.evaluate.subgroups import compare_subgroups
from genovox.evaluate.thresholds import (
    RULE,
    choose_fixed_threshold,
    choose_fold_threshold,
    list_rules,
    measure_rules,
)


@dataclass(frozen=True)
class Evaluation:
    """All figures of one table of predictions, ready to be written.

    Attributes:
        metrics: ``metrics.json``, layout ``schema.Metrics``.
        comparison: ``comparison.json``, layout ``schema.Comparison``.
        operating_points: ``operating_points.json``, layout ``schema.OperatingPoints``.
        calibration: ``calibration.json``, layout ``schema.Calibration``.
        subgroups: ``subgroups.json``, layout ``schema.Subgroups``.
        calibrated: ``calibrated.csv``, see ``ProbabilityResults``.
        curves: By file stem: ``<model>_roc``, ``<model>_pr``, ``<model>_decision``; ``<model>_fixed_…``.
        confusion: Columns model, block, repeat, true_positive, false_positive, true_negative, false_negative.
    """

    metrics: dict[str, Any]
    comparison: dict[str, Any]
    operating_points: dict[str, Any]
    calibration: dict[str, Any]
    subgroups: dict[str, Any]
    calibrated: pd.DataFrame
    curves: dict[str, pd.DataFrame]
    confusion: pd.DataFrame


def evaluate_predictions(
    predictions: pd.DataFrame,
    *,
    label_unit: LabelUnit,
    resamples: int,
    seed: int,
    primary: str | None = None,
    patient_score: PatientScore = "mean",
    cases: pd.DataFrame | None = None,
    subgroups: Sequence[str] = (),
    cost_ratio: float = 1.0,
    target_prevalence: float = 0.0,
) -> Evaluation:
    """Evaluate every model of a table of predictions.

    Args:
        predictions: See ``validate_predictions``.
        label_unit: "patient": one score a patient, and cases beside it where a patient has several; "case": cases,
            clustered by patient.
        resamples: Number of bootstrap resamples, at least 100.
        seed: Seed of the resamples; the same seed gives the same figures.
        primary: The model declared before the study; default: the first in the table.
        patient_score: How cases make a patient's score, see ``gather_units``.
        cases: What is known of each case, for subgroups: ``case_id``, ``patient_id`` and columns of text; None: the
            columns of the predictions.
        subgroups: Columns to group by; none: the usual ones that are there.
        cost_ratio: Cost of a missed carrier over that of a false alarm, above 0.
        target_prevalence: Prevalence where the model would be used, above 0 and below 1; 0: the study's own.

    Raises:
        UsageError: If ``resamples`` or ``primary`` cannot be used.
        TableError, LeakageError, SingleClassError: As ``validate_predictions``.
    """
    if resamples < 100:
        raise UsageError(f"a 95% interval needs at least 100 resamples, got {resamples}; 2000 is usual")
    table = validate_predictions(predictions, label_unit=label_unit)
    models = table["model"].unique().tolist()
    primary = models[0] if primary is None else primary
    if primary not in models:
        raise UsageError(f"primary must be one of the models {', '.join(models)}, got {primary!r}; name one of them")
    models = [primary, *(model for model in models if model != primary)]
    gathered = gather_units(table, label_unit=label_unit, patient_score=patient_score)
    units = pd.concat([gathered[gathered["model"] == model] for model in models])
    tests = _part_tests(units)
    resamplings = {name: Resampling.of(test, resamples=resamples, seed=seed) for name, test in tests.items()}
    points = {model: _choose_points(units[units["model"] == model]) for model in models}
    blocks = {name: _score_models(test, points, resamplings[name]) for name, test in tests.items()}
    compared = {
        name: compare_models(scores, clusters=resamplings[name].clusters, resamples=resamples, seed=seed)
        for name, scores in blocks.items()
    }
    by_case = _score_cases(table, models, resamplings) if (units["cases"] > 1).any() else {}
    named = {name: {model: score.block for model, score in scores.items()} for name, scores in blocks.items()}
    metrics = Metrics(
        label_unit=label_unit,
        patient_score=patient_score,
        primary=primary,
        resamples=resamples,
        seed=seed,
        models={
            model: ModelMetrics(
                cross_validation=named.get("cross_validation", {}).get(model),
                fixed=named.get("fixed", {}).get(model),
                case_level=by_case.get("cross_validation", {}).get(model),
                fixed_case_level=by_case.get("fixed", {}).get(model),
            )
            for model in models
        },
    )
    # What moves with the prevalence would have too narrow an interval if every resample had as many carriers.
    free = {
        name: Resampling.of(test, resamples=resamples, seed=seed, hold_classes=False) for name, test in tests.items()
    }
    probabilities = assess_probabilities(units, free, label_unit=label_unit, target_prevalence=target_prevalence)
    groups = compare_subgroups(
        units,
        table.drop_duplicates("case_id") if cases is None else cases,
        next(iter(resamplings.values())),
        columns=subgroups,
        label_unit=label_unit,
    )
    return Evaluation(
        metrics=metrics.model_dump(mode="json"),
        comparison=_join_comparisons(primary, compared).model_dump(mode="json"),
        operating_points=_list_operating_points(units, points, resamplings, cost_ratio).model_dump(mode="json"),
        calibration=probabilities.calibration,
        subgroups=groups.model_dump(mode="json"),
        calibrated=probabilities.table,
        curves=_name_curves(blocks.get("cross_validation", {}), "")
        | _name_curves(blocks.get("fixed", {}), "_fixed")
        | probabilities.curves,
        confusion=pd.DataFrame(
            [
                {"model": model, "block": name} | row.model_dump()
                for name, scores in blocks.items()
                for model, score in scores.items()
                for row in score.block.confusion
            ]
        ),
    )


def _join_comparisons(primary: str, compared: Mapping[str, BlockComparison]) -> Comparison:
    empty = BlockComparison([], [], None)
    rotating, fixed = compared.get("cross_validation", empty), compared.get("fixed", empty)
    return Comparison(
        primary=primary,
        method=METHOD,
        note=NOTE,
        cross_validation=rotating.primary,
        fixed=fixed.primary,
        pairs_cross_validation=rotating.pairs,
        pairs_fixed=fixed.pairs,
        ranks=rotating.ranks,
    )


def _list_operating_points(
    units: pd.DataFrame,
    points: Mapping[str, Mapping[FoldKey, OperatingPoint]],
    resamplings: Mapping[str, Resampling],
    cost_ratio: float,
) -> OperatingPoints:
    """The thresholds behind the decisions, and what those of every other rule give on the test rows."""
    results = {}
    for model in points:
        rows = units[units["model"] == model]
        tests, validation = _part_tests(rows), rows[rows["part"] == "val"]
        results[model] = RuleResults(
            **{
                name: measure_rules(validation, test, resamplings[name], cost_ratio=cost_ratio)
                for name, test in tests.items()
            }
        )
    return OperatingPoints(
        rule=RULE,
        models={model: list(chosen.values()) for model, chosen in points.items()},
        rules={name: words for name, (_, words) in list_rules(cost_ratio).items()},
        results=results,
    )


def _choose_points(units: pd.DataFrame) -> dict[FoldKey, OperatingPoint]:
    """Operating points of one model; only the clusters of the test rows are passed on, never scores or labels."""
    validation, test = units[units["part"] == "val"], units[units["part"] == "test"]
    rotating = test[test["fold"] != FIXED]
    points = {}
    for (repeat, fold), rows in list_folds(rotating).items():
        points[repeat, fold] = choose_fold_threshold(
            validation[validation["repeat"] == repeat],
            repeat=repeat,
            fold=fold,
            test_clusters=rotating["cluster"].to_numpy()[rows],
        )
    for repeat, fold in list_folds(test[test["fold"] == FIXED]):
        points[repeat, fold] = choose_fixed_threshold(validation, repeat=repeat)
    return points


def _part_tests(units: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Test rows of the folds and of the fixed part, where there are any."""
    test = units[units["part"] == "test"]
    fixed = test["fold"] == FIXED
    parts = {"cross_validation": test[~fixed], "fixed": test[fixed]}
    return {name: rows for name, rows in parts.items() if not rows.empty}


def _score_cases(
    table: pd.DataFrame, models: list[str], resamplings: Mapping[str, Resampling]
) -> dict[str, dict[str, Block]]:
    """Blocks by case where labels belong to patients: the same patients are resampled, with all their cases."""
    units = gather_units(table, label_unit="case")
    points = {model: _choose_points(units[units["model"] == model]) for model in models}
    blocks = {}
    for name, test in _part_tests(units).items():
        scores = _score_models(test, points, resamplings[name])
        blocks[name] = {model: score.block for model, score in scores.items()}
    return blocks


def _score_models(
    test: pd.DataFrame, points: Mapping[str, Mapping[FoldKey, OperatingPoint]], resampling: Resampling
) -> dict[str, BlockScores]:
    """Score each model on one block under the same resamples."""
    scores = {}
    for model, chosen in points.items():
        rows = test[test["model"] == model]
        folds = {key: chosen[key] for key in list_folds(rows)}
        scores[model] = score_block(rows, folds, resampling)
    return scores


def _name_curves(scores: Mapping[str, BlockScores], suffix: str) -> dict[str, pd.DataFrame]:
    curves = {}
    for model, score in scores.items():
        curves[f"{model_folder(model)}{suffix}_roc"] = score.roc
        curves[f"{model_folder(model)}{suffix}_pr"] = score.precision_recall
    return curves
