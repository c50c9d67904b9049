import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from genovox.evaluate.comparison import _conclude, _Judged
from genovox.evaluate.evaluation import evaluate_predictions
from genovox.evaluate.schema import ComparisonTest
from genovox.statistics.delong import compare_delong, estimate_delong
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


def test_the_benchmark_is_adjusted_and_all_pairs_are_listed(make_predictions: MakePredictions) -> None:
    table = make_predictions(models=("a", "b", "c", "d"), positives=30, negatives=50, fixed=20)
    comparison = evaluate_predictions(table, label_unit="patient", resamples=199, seed=0).comparison
    for block, rival in (("cross_validation", "corrected resampled t"), ("fixed", "DeLong")):
        rows, pairs = comparison[block], comparison[f"pairs_{block}"]
        assert (len(rows), len(pairs)) == (3, 6)
        for family in (rows, pairs):
            for number, method in enumerate(("bootstrap", "permutation", rival)):
                tests = [row["tests"][number] for row in family]
                assert {test["method"] for test in tests} == {method}
                expected = multipletests([test["p_value"] for test in tests], method="holm")[1]
                assert [test["p_holm"] for test in tests] == pytest.approx(expected)
        first = next(pair for pair in pairs if (pair["first"], pair["second"]) == ("a", "b"))
        assert rows[0]["difference"] == -first["difference"]
        assert (rows[0]["low"], rows[0]["high"]) == (-first["high"], -first["low"])
    ranks = comparison["ranks"]
    assert sum(ranks["mean_ranks"].values()) == pytest.approx(10)
    assert (ranks["folds"], ranks["independent_folds"]) == (15, 5)
    assert ranks["not_distinguishable"] == [sorted(ranks["mean_ranks"], key=ranks["mean_ranks"].get)]


def test_delong_of_the_fixed_part_is_the_published_one(make_predictions: MakePredictions) -> None:
    table = make_predictions(models=("a", "b"), fixed=25)
    comparison = evaluate_predictions(table, label_unit="patient", resamples=100, seed=0).comparison
    fixed = table[table["fold"] == "fixed"].pivot_table(index=["patient_id", "label"], columns="model", values="score")
    scores = fixed.to_numpy().T
    expected = compare_delong(estimate_delong(fixed.index.get_level_values("label"), scores), 1, 0)
    test = comparison["fixed"][0]["tests"][2]
    assert (test["statistic"], test["p_value"]) == pytest.approx(expected[1:])


def test_a_difference_that_holm_takes_back_is_not_distinguishable() -> None:
    tests = [ComparisonTest(method="bootstrap", p_value=0.03, p_holm=0.12)]
    row = _conclude(_Judged(0.1, 0.01, 0.19, tuple(tests)), tests, "higher", "lower")
    assert row["conclusion"] == "not distinguishable"
    assert "by chance" in str(row["note"])
