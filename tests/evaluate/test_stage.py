"""The evaluate stage on a finished run."""

import pytest
from sklearn.metrics import roc_auc_score

from genovox.core.artifacts import read_json, read_table
from genovox.evaluate.schema import Metrics
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
