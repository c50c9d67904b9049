import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.evaluate.thresholds import choose_fixed_threshold, choose_fold_threshold, choose_youden_threshold


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
