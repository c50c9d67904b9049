"""From a table of predictions to every figure of the ``evaluate`` stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from genovox.cohort.splits import FIXED
from genovox.core.errors import UsageError
from genovox.core.names import model_folder
from genovox.evaluate.comparison import METHOD, NOTE, BlockComparison, compare_models
from genovox.evaluate.intervals import Clusters, draw_weights
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.schema import (
    Block,
    Comparison,
    LabelUnit,
    Metrics,
    ModelMetrics,
    OperatingPoint,
    OperatingPoints,
    PatientScore,
)
from genovox.evaluate.scoring import BlockScores, FoldKey, list_folds, score_block
from genovox.evaluate.thresholds import RULE, choose_fixed_threshold, choose_fold_threshold


@dataclass(frozen=True)
class Evaluation:
    """All figures of one table of predictions, ready to be written.

    Attributes:
        metrics: ``metrics.json``, layout ``schema.Metrics``.
        comparison: ``comparison.json``, layout ``schema.Comparison``.
        operating_points: ``operating_points.json``, layout ``schema.OperatingPoints``.
        curves: By file stem: ``<model>_roc``, ``<model>_pr``, and ``<model>_fixed_roc``, ``<model>_fixed_pr``.
        confusion: Columns model, block, repeat, true_positive, false_positive, true_negative, false_negative.
    """

    metrics: dict[str, Any]
    comparison: dict[str, Any]
    operating_points: dict[str, Any]
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
    units = gather_units(table, label_unit=label_unit, patient_score=patient_score)
    points = {model: _choose_points(units[units["model"] == model]) for model in models}
    blocks, compared = {}, {}
    for name, test in _part_tests(units).items():
        blocks[name], clusters = _score_models(test, points, resamples=resamples, seed=seed)
        compared[name] = compare_models(blocks[name], clusters=clusters, resamples=resamples, seed=seed)
    by_case = _score_cases(table, models, resamples=resamples, seed=seed) if (units["cases"] > 1).any() else {}
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
    empty = BlockComparison([], [], None)
    rotating, fixed = compared.get("cross_validation", empty), compared.get("fixed", empty)
    comparison = Comparison(
        primary=primary,
        method=METHOD,
        note=NOTE,
        cross_validation=rotating.primary,
        fixed=fixed.primary,
        pairs_cross_validation=rotating.pairs,
        pairs_fixed=fixed.pairs,
        ranks=rotating.ranks,
    )
    operating_points = OperatingPoints(
        rule=RULE, models={model: list(chosen.values()) for model, chosen in points.items()}
    )
    return Evaluation(
        metrics=metrics.model_dump(mode="json"),
        comparison=comparison.model_dump(mode="json"),
        operating_points=operating_points.model_dump(mode="json"),
        curves=_name_curves(blocks.get("cross_validation", {}), "") | _name_curves(blocks.get("fixed", {}), "_fixed"),
        confusion=pd.DataFrame(
            [
                {"model": model, "block": name} | row.model_dump()
                for name, scores in blocks.items()
                for model, score in scores.items()
                for row in score.block.confusion
            ]
        ),
    )


def _choose_points(units: pd.DataFrame) -> dict[FoldKey, OperatingPoint]:
    """Operating points of one model; only the clusters of the test rows are passed on, never scores or labels."""
    validation, test = units[units["part"] == "val"], units[units["part"] == "test"]
    points = {}
    for (repeat, fold), rows in list_folds(test[test["fold"] != FIXED]).items():
        points[repeat, fold] = choose_fold_threshold(
            validation[validation["repeat"] == repeat],
            repeat=repeat,
            fold=fold,
            test_clusters=test.loc[test["fold"] != FIXED, "cluster"].to_numpy()[rows],
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


def _score_cases(table: pd.DataFrame, models: list[str], *, resamples: int, seed: int) -> dict[str, dict[str, Block]]:
    """Blocks by case where labels belong to patients: the same patients are resampled, with all their cases."""
    units = gather_units(table, label_unit="case")
    points = {model: _choose_points(units[units["model"] == model]) for model in models}
    blocks = {}
    for name, test in _part_tests(units).items():
        scores, _ = _score_models(test, points, resamples=resamples, seed=seed)
        blocks[name] = {model: score.block for model, score in scores.items()}
    return blocks


def _score_models(
    test: pd.DataFrame, points: Mapping[str, Mapping[FoldKey, OperatingPoint]], *, resamples: int, seed: int
) -> tuple[dict[str, BlockScores], Clusters]:
    """Score each model on one block under the same resamples."""
    clusters = Clusters.from_rows(test["cluster"], test["label"])
    weights = draw_weights(clusters, resamples=resamples, seed=seed)
    scores = {}
    for model, chosen in points.items():
        rows = test[test["model"] == model]
        folds = {key: chosen[key] for key in list_folds(rows)}
        scores[model] = score_block(rows, folds, clusters, weights)
    return scores, clusters


def _name_curves(scores: Mapping[str, BlockScores], suffix: str) -> dict[str, pd.DataFrame]:
    curves = {}
    for model, score in scores.items():
        curves[f"{model_folder(model)}{suffix}_roc"] = score.roc
        curves[f"{model_folder(model)}{suffix}_pr"] = score.precision_recall
    return curves
