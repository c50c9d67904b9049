"""The evaluate stage on a finished run."""

from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genovox.core.artifacts import read_json, read_table, write_table
from genovox.evaluate.schema import Calibration, Metrics, OperatingPoints, Subgroups
from genovox.evaluate.stage import read_facts
from tests.conftest import FinishedRun


def test_headline_is_the_mean_of_within_fold_aucs(finished_run: FinishedRun) -> None:
    predictions = read_table(finished_run.run / "train" / "predictions.csv").astype({"label": int, "score": float})
    tested = predictions[predictions["part"] == "test"]
    aucs = [roc_auc_score(rows["label"], rows["score"]) for _, rows in tested.groupby("fold")]
    metrics = read_json(finished_run.run / "evaluate" / "metrics.json")
    Metrics.model_validate(metrics)
    block = metrics["models"]["light"]["cross_validation"]
    assert metrics["label_unit"] == "patient"
    assert block["metrics"]["roc_auc"]["estimate"] == pytest.approx(sum(aucs) / len(aucs))
    assert block["n_patients"] == 24


def test_curves_and_decisions_are_written(finished_run: FinishedRun) -> None:
    folder = finished_run.run / "evaluate"
    for name in ("light_roc.csv", "light_pr.csv"):
        assert len(read_table(folder / "curves" / name)) > 50
    confusion = read_table(folder / "confusion.csv").astype({"true_positive": int, "false_negative": int})
    assert (confusion["true_positive"] + confusion["false_negative"]).tolist() == [12]


def test_calibration_operating_points_and_subgroups_are_written(finished_run: FinishedRun) -> None:
    folder = finished_run.run / "evaluate"
    Calibration.model_validate(read_json(folder / "calibration.json"))
    Subgroups.model_validate(read_json(folder / "subgroups.json"))
    points = OperatingPoints.model_validate(read_json(folder / "operating_points.json"))
    assert set(points.results["light"].cross_validation) == set(points.rules)
    calibrated = read_table(folder / "calibrated.csv")
    assert len(calibrated) == 24
    assert calibrated["probability"].astype(float).between(0, 1).all()
    assert len(read_table(folder / "curves" / "light_decision.csv")) == 99


def test_facts_join_the_clinical_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "cohort" / "cases.csv", pd.DataFrame({"case_id": ["a", "b"], "site": ["x", "y"]}))
    assert list(read_facts(tmp_path).columns) == ["case_id", "site"]
    clinic = pd.DataFrame({"case_id": ["a"], "age": ["50"], "site": ["other"]})
    write_table(tmp_path / "cohort" / "clinical.csv", clinic)
    facts = read_facts(tmp_path)
    assert facts["site"].tolist() == ["x", "y"]
    assert facts["age"].tolist() == ["50", ""]
