"""Everything a finished run holds, read once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from genovox.audit.provenance import read_starts
from genovox.cohort.splits import FIXED
from genovox.core.artifacts import STAGES, read_json, read_table, require_stage
from genovox.core.names import model_folder
from genovox.core.sections import find_blends, is_network
from genovox.core.study import Study
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.schema import Block, Calibration, Comparison, Metrics, OperatingPoints, Subgroups

BLOCKS = ("cross_validation", "fixed")


@dataclass(frozen=True)
class Results:
    """The artifacts of a run, as tables and plain content.

    Attributes:
        study: Every table of the study file.
        run: Folder of the run.
        flow: ``cohort/flow.json``.
        cases: ``cohort/cases.csv`` of the cases that were preprocessed, label as integer.
        prepared: ``preprocess/cases.csv``.
        exclusions: Cases left out, rows of both ``exclusions.csv``, cohort first.
        unused_series: Series of a DICOM archive that are no phase of an exam.
        balance: ``cohort/balance.csv``: two groups of patients side by side.
        folds: ``cohort/folds.csv`` of the cases that were preprocessed.
        units: The scored test rows (patients or cases) of every model.
        metrics: ``evaluate/metrics.json``.
        comparison: ``evaluate/comparison.json``.
        operating_points: ``evaluate/operating_points.json``.
        calibration: ``evaluate/calibration.json``.
        subgroups: ``evaluate/subgroups.json``.
        audit: ``audit/audit.json``.
        associations: ``audit/associations.csv``, text.
        explained: ``explain/summary.json``.
        resolved: ``train/resolved.json``.
        stages: The record of every stage before this one.
    """

    study: dict[str, Any]
    run: Path
    flow: dict[str, Any]
    cases: pd.DataFrame
    prepared: pd.DataFrame
    exclusions: pd.DataFrame
    unused_series: pd.DataFrame
    balance: pd.DataFrame
    folds: pd.DataFrame
    units: pd.DataFrame
    metrics: Metrics
    comparison: Comparison
    operating_points: OperatingPoints
    calibration: Calibration
    subgroups: Subgroups
    audit: dict[str, Any]
    associations: pd.DataFrame
    explained: dict[str, Any]
    resolved: dict[str, Any]
    stages: dict[str, dict[str, Any]]

    @property
    def unit(self) -> str:
        """What is scored: ``patients`` or ``cases``."""
        return "patients" if self.metrics.label_unit == "patient" else "cases"

    @property
    def source(self) -> str:
        """Where the cases come from: ``manifest`` or ``archive``."""
        return str(self.flow["source"])

    @property
    def models(self) -> list[str]:
        """The models in their declared order."""
        return list(self.metrics.models)

    @property
    def networks(self) -> list[str]:
        """The models whose training can be drawn."""
        return [model for model in self.models if is_network(model, self.models)]

    @property
    def blends(self) -> dict[str, tuple[str, ...]]:
        """The members of each model that blends others."""
        return find_blends(self.models)

    @property
    def weights(self) -> dict[str, dict[str, Any]]:
        """What is on record of the weights each network started from; networks that started from none are left out."""
        return read_starts(self.run, self.networks)

    @property
    def stopped(self) -> dict[str, str]:
        """By fold: the fault that ended a network's training before its time."""
        folders = [self.run / "train" / name for name in read_json(self.run / "train" / "networks.json")]
        faults = {str(folder.relative_to(self.run / "train")): read_json(folder / "fold.json") for folder in folders}
        return {name: str(fold["stopped"]) for name, fold in faults.items() if fold.get("stopped")}

    def blocks(self, name: str) -> dict[str, Block]:
        """Each model's figures on one of ``BLOCKS``; empty where the study has no such part."""
        found = {model: getattr(figures, name) for model, figures in self.metrics.models.items()}
        return {model: block for model, block in found.items() if block is not None}

    def read_curve(self, model: str, kind: str, block: str) -> pd.DataFrame:
        """A mean curve, ``kind`` being ``roc`` or ``pr``: columns x, y, low, high; NaN where there is no band."""
        infix = "_fixed" if block == "fixed" else ""
        table = pd.read_csv(self.run / "evaluate" / "curves" / f"{model_folder(model)}{infix}_{kind}.csv")
        table.columns = ["x", "y", "low", "high"]
        return table

    def read_decisions(self, model: str, block: str) -> pd.DataFrame:
        """The decision curve of one model: ``threshold, net_benefit, low, high, treat_all, treat_none``."""
        infix = "_fixed" if block == "fixed" else ""
        return pd.read_csv(self.run / "evaluate" / "curves" / f"{model_folder(model)}{infix}_decision.csv")

    def test_scores(self, model: str, block: str) -> pd.DataFrame:
        """Scored test rows of one model on one block."""
        fixed = self.units["fold"] == FIXED
        return self.units[(self.units["model"] == model) & (fixed if block == "fixed" else ~fixed)]

    def read_histories(self, model: str) -> dict[tuple[int, str], pd.DataFrame]:
        """``history.csv`` of each (repeat, fold) of a model."""
        rotating = self.folds[self.folds["fold"] != FIXED]
        keys = rotating[["repeat", "fold"]].drop_duplicates().itertuples(index=False)
        folder = self.run / "train" / model_folder(model)
        return {
            (int(repeat), str(fold)): pd.read_csv(folder / f"repeat-{repeat}" / f"fold-{fold}" / "history.csv")
            for repeat, fold in keys
        }


def read_results(study: Study, run: Path) -> Results:
    """Read a run whose stages before the report are finished.

    Raises:
        UsageError: If a stage is missing.
    """
    stages = {name: require_stage(run, name) for name in STAGES[:-1]}
    metrics = Metrics.model_validate(read_json(run / "evaluate" / "metrics.json"))
    prepared = read_table(run / "preprocess" / "cases.csv")
    cases = read_table(run / "cohort" / "cases.csv").astype({"label": int})
    folds = read_table(run / "cohort" / "folds.csv")
    made = set(prepared["case_id"])
    predictions = validate_predictions(read_table(run / "train" / "predictions.csv"), label_unit=metrics.label_unit)
    tested = predictions[predictions["part"] == "test"]
    left_out = [read_table(run / stage / "exclusions.csv") for stage in ("cohort", "preprocess")]
    exclusions = pd.concat(left_out, ignore_index=True)
    balance = read_table(run / "cohort" / "balance.csv")
    of_case = exclusions["level"] == "case"
    return Results(
        study=study.as_dict(),
        run=run,
        flow=read_json(run / "cohort" / "flow.json"),
        cases=cases[cases["case_id"].isin(made)].reset_index(drop=True),
        prepared=prepared,
        exclusions=exclusions[of_case].reset_index(drop=True),
        unused_series=exclusions[~of_case].reset_index(drop=True),
        balance=balance.assign(difference=pd.to_numeric(balance["difference"])),
        folds=folds[folds["case_id"].isin(made)].reset_index(drop=True),
        units=gather_units(tested, label_unit=metrics.label_unit, patient_score=metrics.patient_score),
        metrics=metrics,
        comparison=Comparison.model_validate(read_json(run / "evaluate" / "comparison.json")),
        operating_points=OperatingPoints.model_validate(read_json(run / "evaluate" / "operating_points.json")),
        calibration=Calibration.model_validate(read_json(run / "evaluate" / "calibration.json")),
        subgroups=Subgroups.model_validate(read_json(run / "evaluate" / "subgroups.json")),
        audit=read_json(run / "audit" / "audit.json"),
        associations=read_table(run / "audit" / "associations.csv"),
        explained=read_json(run / "explain" / "summary.json"),
        resolved=read_json(run / "train" / "resolved.json"),
        stages=stages,
    )
