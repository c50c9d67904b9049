import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from genovox.evaluate.discrimination import (
    GRID,
    PARTIAL_AUC_TO,
    Confusion,
    average_precision,
    cells_of_decisions,
    losses_of_scores,
    partial_auc,
    rank_rows,
    rates_of_confusion,
    roc_auc,
    sum_columns,
    trace_roc,
)

Rows = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


@st.composite
def weighted_rows(draw: st.DrawFn) -> Rows:
    """Labels of both classes, scores from a few values (so most tie), whole weights with zeros."""
    n = draw(st.integers(2, 40))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    scores = np.array(draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))) / 8
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    assume(weights[labels == 1].sum() > 0)
    assume(weights[labels == 0].sum() > 0)
    return labels, scores, weights


@given(weighted_rows())
def test_areas_equal_scikit_learn_with_ties_and_weights(rows: Rows) -> None:
    labels, scores, weights = rows
    ours = roc_auc(labels, scores, weights)[0]
    assert ours == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)
    in_bytes = roc_auc(labels, scores, weights.astype(np.uint8))[0]  # from all pairs, not from sorted sums
    assert in_bytes == ours
    theirs = roc_auc_score(labels, scores, sample_weight=weights, max_fpr=PARTIAL_AUC_TO)
    assert partial_auc(labels, scores, weights)[0] == pytest.approx(theirs, abs=1e-12)
    ours = average_precision(labels, scores, weights)[0]
    assert ours == pytest.approx(average_precision_score(labels, scores, sample_weight=weights), abs=1e-12)


@given(weighted_rows())
def test_whole_weights_equal_explicit_resampling(rows: Rows) -> None:
    labels, scores, weights = rows
    drawn = np.repeat(np.arange(len(labels)), weights)
    assert roc_auc(labels, scores, weights)[0] == pytest.approx(roc_auc(labels[drawn], scores[drawn])[0], abs=1e-12)


@given(weighted_rows())
def test_flipped_labels_mirror_the_auc(rows: Rows) -> None:
    labels, scores, weights = rows
    total = roc_auc(labels, scores, weights) + roc_auc(1 - labels, scores, weights)
    assert total[0] == pytest.approx(1, abs=1e-12)


def _count(labels: ArrayLike, calls: ArrayLike, weights: ArrayLike) -> Confusion:
    return Confusion(*sum_columns(cells_of_decisions(labels, calls), np.atleast_2d(np.asarray(weights, dtype=float))).T)


@given(weighted_rows(), st.floats(0.05, 0.95))
def test_decisions_equal_scikit_learn(rows: Rows, threshold: float) -> None:
    labels, scores, weights = rows
    calls = scores >= threshold
    rates = {name: value[0] for name, value in rates_of_confusion(_count(labels, calls, weights)).items()}
    assert rates["accuracy"] == pytest.approx(accuracy_score(labels, calls, sample_weight=weights))
    assert rates["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, calls, sample_weight=weights))
    assert rates["recall"] == pytest.approx(recall_score(labels, calls, sample_weight=weights))
    assert rates["specificity"] == pytest.approx(recall_score(labels, calls, sample_weight=weights, pos_label=0))
    assert rates["f1"] == pytest.approx(f1_score(labels, calls, sample_weight=weights, zero_division=0))
    expected = precision_score(labels, calls, sample_weight=weights, zero_division=math.nan)
    assert rates["precision"] == pytest.approx(expected, nan_ok=True)


@given(weighted_rows(), st.floats(0.05, 0.95))
def test_correlation_and_losses_equal_scikit_learn(rows: Rows, threshold: float) -> None:
    labels, scores, weights = rows
    calls = scores >= threshold
    ours = rates_of_confusion(_count(labels, calls, weights))["mcc"][0]
    if np.isnan(ours):  # where scikit-learn says 0
        assert matthews_corrcoef(labels, calls, sample_weight=weights) == 0
    else:
        assert ours == pytest.approx(matthews_corrcoef(labels, calls, sample_weight=weights), abs=1e-9)
    losses = losses_of_scores(labels, scores)
    assert losses["brier"] @ weights / weights.sum() == pytest.approx(
        brier_score_loss(labels, scores, sample_weight=weights)
    )
    assert losses["log_loss"] @ weights / weights.sum() == pytest.approx(
        log_loss(labels, scores, sample_weight=weights)
    )


def test_auc_is_the_mann_whitney_statistic() -> None:
    random = np.random.default_rng(1)
    scores, labels = np.round(random.random(80), 1), np.repeat([1, 0], [25, 55])
    statistic = mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
    assert roc_auc(labels, scores)[0] == pytest.approx(statistic / (25 * 55))


def test_auc_of_hanley_and_mcneil_1982() -> None:
    """Table I: 58 normal and 51 abnormal CT images in five rating classes; the area is 0.893."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    scores = np.r_[np.repeat(range(1, 6), normal), np.repeat(range(1, 6), abnormal)]
    labels = np.repeat([0, 1], [58, 51])
    assert roc_auc(labels, scores)[0] == pytest.approx(0.893, abs=5e-4)


@pytest.mark.parametrize(
    ("scores", "area"), [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5] * 4, 0.5)]
)
def test_perfect_inverted_and_constant_scores(scores: list[float], area: float) -> None:
    assert roc_auc([0, 0, 1, 1], scores)[0] == area


def test_a_class_without_weight_has_no_area() -> None:
    weights = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]]
    ranking = rank_rows([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], weights)
    for values in ranking:
        assert not np.isnan(values[0]).any()
        assert np.isnan(values[1:]).all()


def test_no_positive_call_leaves_precision_undefined() -> None:
    rates = rates_of_confusion(_count([0, 1], [False, False], [1, 1]))
    assert np.isnan(rates["precision"][0])
    assert rates["recall"][0] == 0
    assert rates["f1"][0] == 0


@given(weighted_rows())
def test_curves_follow_their_points(rows: Rows) -> None:
    labels, scores, weights = rows
    ranking = rank_rows(labels, scores, weights)
    assert ranking.roc_auc[0] == roc_auc(labels, scores, weights)[0]
    false, sensitivity, reached = trace_roc(labels, scores, weights)
    assert np.trapezoid(sensitivity, false) == pytest.approx(ranking.roc_auc[0])
    assert len(reached) == len(false)
    assert np.trapezoid(ranking.sensitivity[0], GRID) == pytest.approx(ranking.roc_auc[0], abs=GRID[1])
    # A grid of steps is off by at most one cell a change of precision, which falls and rises within [0, 1].
    moves = np.abs(np.diff(ranking.precision[0])).sum()
    mean = np.trapezoid(ranking.precision[0], GRID)
    assert mean == pytest.approx(ranking.average_precision[0], abs=GRID[1] * (1 + moves))


def test_roc_points_equal_scikit_learn() -> None:
    random = np.random.default_rng(2)
    scores, labels = np.round(random.random(60), 1), random.integers(0, 2, 60)
    theirs = roc_curve(labels, scores, drop_intermediate=False)
    for ours, expected in zip(trace_roc(labels, scores), theirs, strict=True):
        np.testing.assert_allclose(ours, expected)


@settings(max_examples=10, deadline=None)
@given(weighted_rows())
def test_rows_of_weights_are_independent(rows: Rows) -> None:
    labels, scores, weights = rows
    together = rank_rows(labels, scores, np.stack([weights, np.ones_like(weights)]))
    for both, alone in zip(together, rank_rows(labels, scores, weights), strict=True):
        np.testing.assert_allclose(both[0], alone[0], rtol=1e-12)


def test_a_hundred_thousand_rows_stay_within_memory() -> None:
    random = np.random.default_rng(3)
    scores, labels = random.random(100_000), random.integers(0, 2, 100_000)
    weights = random.integers(0, 3, (100, 100_000), dtype=np.uint8)
    tracemalloc.start()
    areas = roc_auc(labels, scores, weights)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250e6  # all weights as float64 alone would take 80 MB, their cumulative sums 160 MB more
    assert areas[7] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights[7]))
