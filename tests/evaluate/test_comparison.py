import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from genovox.evaluate.evaluation import evaluate_predictions
from tests.evaluate.conftest import MakePredictions


def _second_model(predictions: pd.DataFrame, scores: "pd.Series[float]") -> pd.DataFrame:
    return pd.concat([predictions, predictions.assign(model="other", score=scores)], ignore_index=True)


def test_identical_models_are_not_distinguishable(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    evaluation = evaluate_predictions(_second_model(table, table["score"]), label_unit="patient", resamples=200, seed=0)
    (row,) = evaluation.comparison["cross_validation"]
    assert row["conclusion"] == "not distinguishable"
    assert (row["difference"], row["low"], row["high"], row["p_value"]) == (0, 0, 0, 1)


def test_an_inverted_model_is_lower_and_the_pairing_is_exact(make_predictions: MakePredictions) -> None:
    table = make_predictions(auc=0.85)
    evaluation = evaluate_predictions(
        _second_model(table, 1 - table["score"]), label_unit="patient", resamples=499, seed=0
    )
    (row,) = evaluation.comparison["cross_validation"]
    auc = evaluation.metrics["models"]["light"]["cross_validation"]["metrics"]["roc_auc"]
    assert row["conclusion"] == "lower than the primary"
    # Under the same resamples the inverted model's AUC is 1 - AUC: the difference is 1 - 2 AUC draw by draw.
    assert row["difference"] == pytest.approx(1 - 2 * auc["estimate"])
    assert row["low"] == pytest.approx(1 - 2 * auc["high"])
    assert row["high"] == pytest.approx(1 - 2 * auc["low"])
    assert row["p_value"] == pytest.approx(2 / 500)


def test_the_primary_is_the_first_or_the_one_declared(make_predictions: MakePredictions) -> None:
    table = make_predictions(models=("resnet18", "clinical", "light"))
    first = evaluate_predictions(table, label_unit="patient", resamples=100, seed=0)
    assert first.comparison["primary"] == "resnet18"
    assert [row["model"] for row in first.comparison["cross_validation"]] == ["clinical", "light"]
    declared = evaluate_predictions(table, label_unit="patient", resamples=100, seed=0, primary="light")
    assert list(declared.metrics["models"]) == ["light", "resnet18", "clinical"]
    assert "best" not in str(first.comparison) + str(first.metrics)


def test_few_patients_are_not_assessed(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=9, models=("light", "other"), folds=3)
    (row,) = evaluate_predictions(table, label_unit="patient", resamples=100, seed=0).comparison["cross_validation"]
    assert row["conclusion"] == "not assessed"
    assert row["p_value"] is None
    assert row["difference"] is not None


def test_equal_models_are_called_different_about_as_often_as_stated(make_predictions: MakePredictions) -> None:
    """Two models of the same true AUC: 'higher' or 'lower' in at most 5% of 100 studies, within chance (99.9%)."""
    called = 0
    for seed in range(100):
        table = make_predictions(folds=2, repeats=1, models=("light", "other"), seed=seed)
        evaluation = evaluate_predictions(table, label_unit="patient", resamples=200, seed=seed)
        called += evaluation.comparison["cross_validation"][0]["conclusion"] != "not distinguishable"
    assert called <= binom.ppf(0.999, 100, 0.05)


def test_intervals_and_p_agree(make_predictions: MakePredictions) -> None:
    for seed in range(10):
        table = make_predictions(folds=2, repeats=1, models=("light", "other"), seed=seed)
        table["score"] = np.where(table["model"] == "other", (table["score"] + table["label"]) / 2, table["score"])
        (row,) = evaluate_predictions(table, label_unit="patient", resamples=999, seed=seed).comparison[
            "cross_validation"
        ]
        assert (row["p_value"] < 0.05) == (row["conclusion"] != "not distinguishable")
