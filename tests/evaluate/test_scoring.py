import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm
from sklearn.metrics import confusion_matrix, roc_auc_score

from genovox.evaluate.discrimination import GRID
from genovox.evaluate.evaluation import evaluate_predictions
from genovox.evaluate.intervals import Clusters, draw_weights
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.schema import LabelUnit
from genovox.evaluate.scoring import estimate_within_fold_auc, list_folds, within_fold_auc
from tests.evaluate.conftest import MakePredictions


def _test_units(predictions: pd.DataFrame, label_unit: LabelUnit = "patient") -> pd.DataFrame:
    table = validate_predictions(predictions, label_unit=label_unit)
    return gather_units(table, label_unit=label_unit).query("part == 'test'")


def _width(units: pd.DataFrame, resamples: int = 1000) -> float:
    metric = estimate_within_fold_auc(units, resamples=resamples, seed=1)
    assert metric.low is not None
    assert metric.high is not None
    return metric.high - metric.low


def test_headline_is_the_mean_of_within_fold_aucs(make_predictions: MakePredictions) -> None:
    units = _test_units(make_predictions())
    folds = [roc_auc_score(rows["label"], rows["score"]) for _, rows in units.groupby(["repeat", "fold"])]
    assert len(folds) == 15
    assert within_fold_auc(units)[0] == pytest.approx(np.mean(folds))


def test_scores_of_two_folds_are_never_compared(make_predictions: MakePredictions) -> None:
    units = _test_units(make_predictions())
    shifted = units.assign(score=(units["score"] + units["fold"].astype(int) * 10) / 100)
    assert within_fold_auc(shifted)[0] == within_fold_auc(units)[0]


def test_weights_equal_explicit_copies_of_patients(make_predictions: MakePredictions) -> None:
    units = _test_units(make_predictions(positives=20, negatives=20, folds=2)).reset_index(drop=True)
    clusters = Clusters.from_rows(units["cluster"], units["label"])
    weights = draw_weights(clusters, resamples=3, seed=0)[:, clusters.locate(units["cluster"])]
    for row, value in zip(weights, within_fold_auc(units, weights), strict=True):
        copies = units.loc[np.repeat(units.index, row)]
        aucs, pairs = [], []
        for (repeat, name), rows in list_folds(units).items():
            fold = copies[(copies["repeat"] == repeat) & (copies["fold"] == name)]
            aucs.append(roc_auc_score(fold["label"], fold["score"]))
            whole = units.iloc[rows]["label"]
            drawn = fold["label"]
            pairs.append(drawn.sum() * (1 - drawn).sum() / (whole.sum() * (1 - whole).sum()))
        assert value == pytest.approx(np.average(aucs, weights=pairs))


def test_folds_are_listed_in_their_natural_order() -> None:
    table = pd.DataFrame({"repeat": [1, 0, 0, 0], "fold": ["0", "10", "9", "0"]})
    assert list(list_folds(table)) == [(0, "0"), (0, "9"), (0, "10"), (1, "0")]


def test_copies_of_a_scan_do_not_narrow_the_interval(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=20, negatives=40, folds=1, repeats=1)
    table = table[table["part"] == "test"]
    copies = [table.assign(case_id=table["patient_id"] + f"-{number}") for number in range(6)]
    units: tuple[LabelUnit, ...] = ("patient", "case")
    for label_unit in units:
        single = estimate_within_fold_auc(_test_units(table, label_unit), resamples=1000, seed=1)
        many = estimate_within_fold_auc(_test_units(pd.concat(copies), label_unit), resamples=1000, seed=1)
        assert many.low == pytest.approx(single.low)
        assert many.high == pytest.approx(single.high)
    alone = pd.concat([copy.assign(patient_id=copy["case_id"]) for copy in copies])
    assert _width(_test_units(alone)) < 0.6 * _width(_test_units(table))  # what the mistake would have looked like


def test_a_family_counts_once(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=30, negatives=30, folds=1, repeats=1).query("part == 'test'")
    number = table["patient_id"].str[1:].astype(int)
    families = table.assign(family_id="f" + (number // 3).astype(str), score=0.2 + 0.01 * (number // 3 * 7 % 20))
    metric = estimate_within_fold_auc(_test_units(families), resamples=500, seed=0)
    assert metric.low is not None
    clusters = Clusters.from_rows(_test_units(families)["cluster"], _test_units(families)["label"])
    assert (clusters.counts.positive, clusters.counts.negative) == (10, 10)
    assert _width(_test_units(families)) > 1.3 * _width(_test_units(families.assign(family_id="")))


def _cover(auc: float, *, folds: int, repeats: int, studies: int, resamples: int) -> tuple[int, list[float]]:
    """How many simulated studies of 16 + 44 patients cover the true AUC, and their interval widths."""
    random = np.random.default_rng(20)
    labels = np.repeat([1, 0], [16, 44])
    covered, widths = 0, list[float]()
    for study in range(studies):
        scores = random.normal(size=60) + np.sqrt(2) * norm.ppf(auc) * labels
        parts = []
        for repeat in range(repeats):
            fold = np.empty(60, dtype=int)
            for label in (0, 1):
                members = random.permutation(np.flatnonzero(labels == label))
                fold[members] = np.arange(len(members)) % folds
            parts.append(
                pd.DataFrame(
                    {"repeat": repeat, "fold": fold.astype(str), "cluster": range(60), "label": labels, "score": scores}
                )
            )
        metric = estimate_within_fold_auc(pd.concat(parts), resamples=resamples, seed=study)
        assert metric.low is not None
        assert metric.high is not None
        covered += metric.low <= auc <= metric.high
        widths.append(metric.high - metric.low)
    return covered, widths


def test_interval_covers_the_true_auc_of_independent_scores() -> None:
    """300 studies: a true 95% interval covers in 99.9% of such experiments between the binomial bounds below."""
    covered, widths = _cover(0.75, folds=1, repeats=1, studies=300, resamples=500)
    assert binom.ppf(0.0005, 300, 0.95) <= covered <= binom.ppf(0.9995, 300, 0.95)
    # Hanley & McNeil (1982) give a half-width of 0.151 for AUC 0.75, 16 and 44.
    q1, q2 = 0.75 / (2 - 0.75), 2 * 0.75**2 / (1 + 0.75)
    variance = (0.75 * 0.25 + 15 * (q1 - 0.75**2) + 43 * (q2 - 0.75**2)) / (16 * 44)
    assert np.mean(widths) / 2 == pytest.approx(1.96 * np.sqrt(variance), rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize(("folds", "repeats"), [(5, 1), (5, 3), (5, 10)])
def test_interval_covers_over_folds_and_repeats(folds: int, repeats: int) -> None:
    """The same patients in every repeat must not count as new ones: coverage stays at or above 95% less chance."""
    covered, _ = _cover(0.75, folds=folds, repeats=repeats, studies=300, resamples=500)
    assert covered >= binom.ppf(0.0005, 300, 0.95)


def test_more_repeats_of_the_same_patients_do_not_shrink_the_interval_below_one_scoring() -> None:
    _, one = _cover(0.75, folds=1, repeats=1, studies=40, resamples=300)
    _, many = _cover(0.75, folds=5, repeats=6, studies=40, resamples=300)
    assert np.mean(many) > 0.93 * np.mean(one)


def test_curve_area_equals_the_headline(make_predictions: MakePredictions) -> None:
    evaluation = evaluate_predictions(make_predictions(), label_unit="patient", resamples=200, seed=0)
    metrics = evaluation.metrics["models"]["light"]["cross_validation"]["metrics"]
    roc, precision = evaluation.curves["light_roc"], evaluation.curves["light_pr"]
    area = np.trapezoid(roc["sensitivity"], roc["false_positive_rate"])
    assert area == pytest.approx(metrics["roc_auc"]["estimate"], abs=GRID[1])
    area = np.trapezoid(precision["precision"], precision["recall"])
    assert area == pytest.approx(metrics["pr_auc"]["estimate"], abs=0.02)
    assert (roc["low"] <= roc["sensitivity"]).all()
    assert (roc["sensitivity"] <= roc["high"]).all()


def test_decisions_are_counted_fold_by_fold_at_the_fold_threshold(make_predictions: MakePredictions) -> None:
    predictions = make_predictions()
    evaluation = evaluate_predictions(predictions, label_unit="patient", resamples=200, seed=0)
    points = {(point["repeat"], point["fold"]): point for point in evaluation.operating_points["models"]["light"]}
    test = predictions[predictions["part"] == "test"]
    thresholds = [points[key]["threshold"] for key in zip(test["repeat"], test["fold"], strict=True)]
    called = (test["score"] >= thresholds).astype(int)
    recalls = []
    for repeat in range(3):
        rows = test[test["repeat"] == repeat]
        tn, fp, fn, tp = confusion_matrix(rows["label"], called[rows.index]).ravel()
        recalls.append(tp / (tp + fn))
        counted = evaluation.confusion[evaluation.confusion["repeat"] == repeat].iloc[0]
        assert [counted.true_negative, counted.false_positive, counted.false_negative, counted.true_positive] == [
            tn,
            fp,
            fn,
            tp,
        ]
    metrics = evaluation.metrics["models"]["light"]["cross_validation"]["metrics"]
    assert metrics["recall"]["estimate"] == pytest.approx(np.mean(recalls))
    assert metrics["recall"]["low"] < metrics["recall"]["estimate"] < metrics["recall"]["high"]


def test_test_scores_never_move_a_threshold(make_predictions: MakePredictions) -> None:
    predictions = make_predictions(fixed=12)
    changed = predictions.assign(
        score=np.where(predictions["part"] == "test", 1 - predictions["score"], predictions["score"])
    )
    first, second = (
        evaluate_predictions(table, label_unit="patient", resamples=100, seed=0).operating_points
        for table in (predictions, changed)
    )
    assert first["models"] == second["models"]
    for block, rules in first["results"]["light"].items():
        for rule, result in rules.items():
            assert result["points"] == second["results"]["light"][block][rule]["points"]


def test_folds_of_one_class_are_named_and_left_out(make_predictions: MakePredictions) -> None:
    predictions = make_predictions(positives=12, negatives=30, folds=15, repeats=1)
    block = evaluate_predictions(predictions, label_unit="patient", resamples=200, seed=0).metrics["models"]["light"][
        "cross_validation"
    ]
    assert [row["fold"] for row in block["skipped_folds"]] == ["12", "13", "14"]
    assert "repeat 0 fold 12" in block["metrics"]["roc_auc"]["note"]
    aucs = [row["auc"] for row in block["per_fold"]]
    assert aucs[12:] == [None] * 3
    assert block["metrics"]["roc_auc"]["estimate"] == pytest.approx(np.mean(aucs[:12]))
    assert block["metrics"]["recall"]["low"] is not None  # decisions of the skipped folds still count


def test_leaving_one_out_has_no_auc(make_predictions: MakePredictions) -> None:
    predictions = make_predictions(positives=12, negatives=12, folds=12, repeats=1)
    fold = predictions["fold"].astype(int) * 2 + predictions["label"]
    evaluation = evaluate_predictions(
        predictions.assign(fold=fold.astype(str)), label_unit="patient", resamples=100, seed=0
    )
    metric = evaluation.metrics["models"]["light"]["cross_validation"]["metrics"]["roc_auc"]
    assert metric["estimate"] is None
    assert "no fold holds both classes" in metric["note"]
