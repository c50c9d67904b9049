"""The evaluate stage: everything recomputed from ``predictions.csv``."""

from pathlib import Path

import pandas as pd

from genovox.cohort.stage import CLINICAL
from genovox.core.artifacts import Stage, hash_file, read_json, read_table, require_stage, write_json, write_table
from genovox.core.study import Study
from genovox.evaluate.evaluation import Evaluation, evaluate_predictions
from genovox.evaluate.schema import LabelUnit

FORMAT = 2


def open_stage(study: Study, run: Path, device: str) -> Stage:  # noqa: ARG001 - every stage opens alike
    """The evaluate stage of a study whose networks are trained."""
    require_stage(run, "train")
    inputs = {"train/predictions.csv": hash_file(run / "train" / "predictions.csv")}
    upstream = {"cohort": require_stage(run, "cohort")["key"]}
    return Stage("evaluate", run, FORMAT, study.as_dict()["evaluate"], upstream, inputs, study.seed)


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:  # noqa: ARG001 - every stage builds alike
    """Write every figure that the predictions give.

    ``metrics.json``, ``comparison.json``, ``operating_points.json``, ``calibration.json``, ``subgroups.json``,
    ``confusion.csv``, ``calibrated.csv`` and ``curves/``.

    Raises:
        TableError, LeakageError, SingleClassError: If the predictions break a rule.
    """
    evaluation = evaluate_by_study(
        study,
        read_table(stage.run / "train" / "predictions.csv"),
        label_unit=read_json(stage.run / "cohort" / "flow.json")["label_unit"],
        cases=read_facts(stage.run),
        primary=study.train.models[0],
    )
    write_evaluation(stage.folder, evaluation)


def evaluate_by_study(
    study: Study,
    predictions: pd.DataFrame,
    *,
    label_unit: LabelUnit,
    cases: pd.DataFrame | None,
    primary: str | None = None,
) -> Evaluation:
    """``evaluate_predictions`` under a study's seed and ``[evaluate]``."""
    table = study.evaluate
    return evaluate_predictions(
        predictions,
        label_unit=label_unit,
        resamples=table.resamples,
        seed=study.seed,
        primary=primary,
        patient_score=table.patient_score,
        cases=cases,
        subgroups=table.subgroups,
        cost_ratio=table.cost_ratio,
        target_prevalence=table.target_prevalence,
    )


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write all files of the stage into a folder."""
    write_json(folder / "metrics.json", evaluation.metrics)
    write_json(folder / "comparison.json", evaluation.comparison)
    write_json(folder / "operating_points.json", evaluation.operating_points)
    write_json(folder / "calibration.json", evaluation.calibration)
    write_json(folder / "subgroups.json", evaluation.subgroups)
    write_table(folder / "calibrated.csv", evaluation.calibrated)
    write_table(folder / "confusion.csv", evaluation.confusion)
    for name, curve in evaluation.curves.items():
        write_table(folder / "curves" / f"{name}.csv", curve)


def read_facts(run: Path) -> pd.DataFrame:
    """What a run knows of each case: ``cohort/cases.csv`` with the clinic's columns, text."""
    cases = read_table(run / "cohort" / "cases.csv")
    clinical = run / "cohort" / CLINICAL
    return join_facts(cases, read_table(clinical)) if clinical.exists() else cases


def join_facts(cases: pd.DataFrame, clinic: pd.DataFrame) -> pd.DataFrame:
    """Cases with the clinic's columns beside their own; what the clinic does not know of a case is empty."""
    more = clinic[["case_id", *clinic.columns.difference(cases.columns)]]
    return cases.merge(more, on="case_id", how="left").fillna("")
