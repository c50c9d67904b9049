import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.evaluate.intervals import Resampling
from genovox.evaluate.thresholds import (
    choose_cheapest_threshold,
    choose_fixed_threshold,
    choose_fold_threshold,
    choose_rule_thresholds,
    choose_sensitive_threshold,
    choose_youden_threshold,
    list_rules,
    measure_rules,
)
from tests.evaluate.conftest import MakePredictions


def _rows(fold: list[str], cluster: list[int], label: list[int], score: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"fold": fold, "cluster": cluster, "label": label, "score": score})


def test_threshold_lies_midway_between_two_scores() -> None:
    assert choose_youden_threshold([0, 0, 1, 1], [0.1, 0.3, 0.5, 0.9]) == pytest.approx(0.4)


def test_equal_cuts_give_the_lowest() -> None:
    # J is 0.5 above 0.2 (recall 1, specificity 0.5) and above 0.6 (recall 0.5, specificity 1).
    assert choose_youden_threshold([0, 1, 0, 1], [0.2, 0.4, 0.6, 0.8]) == pytest.approx(0.3)


@pytest.mark.parametrize(("labels", "scores"), [([1, 1], [0.1, 0.9]), ([0, 1], [0.5, 0.5]), ([], [])])
def test_nothing_to_cut_gives_no_threshold(labels: list[int], scores: list[float]) -> None:
    assert choose_youden_threshold(labels, scores) is None


def test_adjacent_floats_are_still_separated() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    threshold = choose_youden_threshold([0, 1], [low, high])
    assert threshold is not None
    assert low < threshold <= high


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=2, max_size=30), st.randoms())
def test_threshold_is_the_best_cut_in_any_row_order(rows: list[tuple[int, int]], random: object) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows]) / 10
    threshold = choose_youden_threshold(labels, scores)
    assert threshold == choose_youden_threshold(labels[::-1], scores[::-1])
    values = np.unique(scores)
    if labels.min() == labels.max() or len(values) == 1:
        assert threshold is None
        return
    cuts = (values[1:] + values[:-1]) / 2
    youden = [(scores[labels == 1] >= cut).mean() - (scores[labels == 0] >= cut).mean() for cut in cuts]
    best = next(cut for cut, value in zip(cuts, youden, strict=True) if value >= max(youden) - 1e-9)
    assert threshold == pytest.approx(best)


def test_own_validation_rows_decide() -> None:
    table = _rows(["0", "0", "1", "1"], [1, 2, 3, 4], [0, 1, 0, 1], [0.2, 0.4, 0.7, 0.9])
    point = choose_fold_threshold(table, repeat=0, fold="0", test_clusters=np.array([5, 6]))
    assert point.threshold == pytest.approx(0.3)
    assert (point.source, point.note) == ("own", None)
    assert (point.validation_sensitivity, point.validation_specificity) == (1.0, 1.0)


def test_one_class_is_pooled_without_the_patients_under_test() -> None:
    table = _rows(["0", "1", "1", "1", "1"], [1, 2, 3, 8, 9], [0, 0, 1, 1, 0], [0.2, 0.4, 0.8, 0.3, 0.9])
    point = choose_fold_threshold(table, repeat=0, fold="0", test_clusters=np.array([8, 9]))
    assert point.source == "pooled"
    assert point.threshold == pytest.approx(0.6)
    assert point.validation_n == 3
    assert "only label 0" in str(point.note)
    # Whatever the labels and scores of the patients under test are, the threshold stays.
    flipped = table.assign(label=[0, 0, 1, 0, 1], score=[0.2, 0.4, 0.8, 0.99, 0.01])
    again = choose_fold_threshold(flipped, repeat=0, fold="0", test_clusters=np.array([8, 9]))
    assert again.threshold == point.threshold


def test_without_any_cut_the_default_says_so() -> None:
    table = _rows(["0"], [1], [0], [0.2])
    point = choose_fold_threshold(table, repeat=0, fold="0", test_clusters=np.array([9]))
    assert (point.threshold, point.source) == (0.5, "default")
    empty = choose_fixed_threshold(table.iloc[:0], repeat=0)
    assert (empty.threshold, empty.source) == (0.5, "default")
    assert "no validation rows" in str(empty.note)


def test_fixed_part_uses_validation_rows_of_all_folds() -> None:
    table = _rows(["0", "0", "1", "1"], [1, 2, 3, 4], [0, 0, 1, 1], [0.2, 0.4, 0.7, 0.9])
    point = choose_fixed_threshold(table, repeat=0)
    assert point.threshold == pytest.approx(0.55)
    assert (point.source, point.fold) == ("all-folds", "fixed")


@pytest.mark.parametrize(("wanted", "cut"), [(0.5, 0.65), (0.75, 0.45), (0.76, 0.2)])
def test_fixed_sensitivity_is_the_highest_cut_that_keeps_it(wanted: float, cut: float) -> None:
    labels, scores = [1, 0, 1, 1, 0, 1, 0], [0.2, 0.25, 0.5, 0.7, 0.6, 0.9, 0.4]
    threshold = choose_sensitive_threshold(labels, scores, wanted)
    assert threshold == pytest.approx(cut)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=2, max_size=30), st.sampled_from([0.9, 0.95]))
def test_fixed_sensitivity_is_reached_and_no_higher_cut_reaches_it(rows: list[tuple[int, int]], wanted: float) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows]) / 10
    threshold = choose_sensitive_threshold(labels, scores, wanted)
    if labels.min() == labels.max():
        assert threshold is None
        return
    assert threshold is not None
    carriers = scores[labels == 1]
    assert (carriers >= threshold).mean() >= wanted
    higher = carriers[carriers >= threshold].min()
    assert (carriers > higher).mean() < wanted


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=2, max_size=30), st.floats(0.05, 20))
def test_no_cut_costs_less_than_the_cheapest(rows: list[tuple[int, int]], ratio: float) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows]) / 10

    def cost(cut: float) -> float:
        called = scores >= cut
        return float(ratio * ((labels == 1) & ~called).sum() + ((labels == 0) & called).sum())

    threshold = choose_cheapest_threshold(labels, scores, ratio)
    if labels.min() == labels.max():
        assert threshold is None
        return
    assert threshold is not None
    assert cost(threshold) <= min(cost(cut) for cut in [*scores, 0.0, 2.0]) + 1e-6


def test_calling_everybody_or_nobody_can_be_cheapest() -> None:
    labels, scores = [0, 1, 0, 1], [0.8, 0.6, 0.4, 0.2]
    assert choose_cheapest_threshold(labels, scores, 10) == 0.0
    nobody = choose_cheapest_threshold(labels, scores, 0.1)
    assert nobody is not None
    assert nobody > 1


def test_rules_pool_the_repeat_and_never_see_who_is_tested(make_predictions: MakePredictions) -> None:
    table = make_predictions(repeats=2)
    table = table.assign(cluster=table["patient_id"].astype("category").cat.codes)
    validation, test = table[table["part"] == "val"], table[table["part"] == "test"]
    rule = list_rules(1.0)["sensitivity-0.90"][0]
    points = choose_rule_thresholds(rule, validation, test)
    assert len(points) == 10
    tested = test.loc[(test["repeat"] == 1) & (test["fold"] == "3"), "cluster"]
    pool = validation[(validation["repeat"] == 1) & ~validation["cluster"].isin(tested)]
    point = points[8]
    assert (point.repeat, point.fold, point.source, point.validation_n) == (1, "3", "pooled", len(pool))
    assert point.threshold == rule(pool["label"], pool["score"])
    assert point.validation_sensitivity is not None
    assert point.validation_sensitivity >= 0.90


def test_rules_are_measured_on_test_rows(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=60, negatives=90, repeats=2)
    table = table.assign(cluster=table["patient_id"].astype("category").cat.codes)
    validation, test = table[table["part"] == "val"], table[table["part"] == "test"]
    results = measure_rules(validation, test, Resampling.of(test, resamples=200, seed=0), cost_ratio=4.0)
    assert list(results) == ["youden", "sensitivity-0.90", "sensitivity-0.95", "cost"]
    for result in results.values():
        cut = {(point.repeat, point.fold): point.threshold for point in result.points}
        called = test["score"] >= [cut[key] for key in zip(test["repeat"], test["fold"], strict=True)]
        assert result.sensitivity.estimate == pytest.approx(called[test["label"] == 1].mean())
        assert result.specificity.estimate == pytest.approx((~called[test["label"] == 0]).mean())
        assert result.sensitivity.low is not None
        assert result.spread.low <= result.spread.median <= result.spread.high
        assert result.spread.standard_deviation == pytest.approx(np.std(list(cut.values()), ddof=1))
    assert 0.8 < (results["sensitivity-0.90"].sensitivity.estimate or 0) < 1


def test_rules_without_an_answer_say_so(make_predictions: MakePredictions) -> None:
    test = make_predictions(positives=10, negatives=10, folds=2, repeats=1)
    test = test[test["part"] == "test"].assign(cluster=lambda rows: range(len(rows)))
    results = measure_rules(test.iloc[:0], test, Resampling.of(test, resamples=100, seed=0), cost_ratio=1.0)
    assert results["cost"].sensitivity.note == "2 of 2 thresholds are 0.5 by default"
    assert "no validation rows" in str(results["cost"].points[0].note)
