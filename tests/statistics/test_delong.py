import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import brunnermunzel, norm
from scipy.stats import t as student

from genovox.core.errors import SingleClassError
from genovox.statistics.delong import (
    compare_delong,
    covariance_of_influence,
    delong_interval,
    doubt_of_influence,
    estimate_delong,
    judge_difference,
    place_scores,
    swap_coefficients,
)

Floats = NDArray[np.float64]
Rows = tuple[NDArray[np.int64], Floats]


@st.composite
def scored_rows(draw: st.DrawFn) -> Rows:
    """Three models on up to 30 rows, scores from a few values, so that most tie."""
    n = draw(st.integers(4, 30))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    scores = np.array(draw(st.lists(st.integers(0, 6), min_size=3 * n, max_size=3 * n))).reshape(3, n) / 6
    assume(2 <= labels.sum() <= n - 2)
    return labels, scores


def _pairwise(labels: NDArray[np.int64], scores: Floats) -> Floats:
    """The kernel over all pairs, the definition: (models, positives, negatives)."""
    ups, downs = scores[:, labels == 1, None], scores[:, None, labels == 0]
    return np.asarray((ups > downs) + 0.5 * (ups == downs))


@settings(max_examples=30, deadline=None)
@given(scored_rows())
def test_covariance_equals_the_quadratic_definition(rows: Rows) -> None:
    """DeLong, DeLong & Clarke-Pearson (1988), eq. 4-6, with the sample covariance that NumPy has."""
    labels, scores = rows
    kernel = _pairwise(labels, scores)
    above, below = kernel.mean(axis=2), kernel.mean(axis=1)
    expected = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    estimate = estimate_delong(labels, scores)
    np.testing.assert_allclose(estimate.auc, kernel.mean(axis=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(estimate.covariance, expected, atol=1e-12)
    placed = place_scores(labels, scores)
    np.testing.assert_allclose(placed.positive, above, atol=1e-12)
    np.testing.assert_allclose(placed.negative, below, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(scored_rows(), st.integers(0, 99))
def test_clusters_equal_obuchowski_written_out(rows: Rows, seed: int) -> None:
    """Obuchowski (1997), sec. 2: sums over clusters, and the covariance of clusters that hold both classes."""
    labels, scores = rows
    clusters = np.random.default_rng(seed).integers(0, 8, len(labels))
    ups, downs = np.unique(clusters[labels == 1]), np.unique(clusters[labels == 0])
    estimate = estimate_delong(labels, scores, clusters)
    if min(len(ups), len(downs)) < 2:
        assert np.isnan(estimate.covariance).all()
        return
    kernel = _pairwise(labels, scores)
    m, n = kernel.shape[1:]
    above = kernel.mean(axis=2) - kernel.mean(axis=(1, 2))[:, None]
    below = kernel.mean(axis=1) - kernel.mean(axis=(1, 2))[:, None]
    s10, s01, s11 = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
    number = len(np.unique(clusters))
    for cluster in range(8):
        up = above[:, clusters[labels == 1] == cluster].sum(axis=1)
        down = below[:, clusters[labels == 0] == cluster].sum(axis=1)
        s10 += np.outer(up, up) * len(ups) / ((len(ups) - 1) * m)
        s01 += np.outer(down, down) * len(downs) / ((len(downs) - 1) * n)
        s11 += np.outer(up, down) * number / max(number - 1, 1)
    np.testing.assert_allclose(estimate.covariance, s10 / m + s01 / n + (s11 + s11.T) / (m * n), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(scored_rows())
def test_influence_gives_the_same_variance(rows: Rows) -> None:
    labels, scores = rows
    placed, estimate = place_scores(labels, scores), estimate_delong(labels, scores)
    influence = np.empty_like(scores)
    influence[:, labels == 1] = (placed.positive - estimate.auc[:, None]) / (labels == 1).sum()
    influence[:, labels == 0] = (placed.negative - estimate.auc[:, None]) / (labels == 0).sum()
    np.testing.assert_allclose(covariance_of_influence(influence, labels), estimate.covariance, atol=1e-12)
    for one, covariance, freedom in zip(influence, estimate.covariance.diagonal(), estimate.freedom, strict=True):
        doubt = doubt_of_influence(one, labels)
        assert doubt.variance == pytest.approx(covariance, abs=1e-12)
        if doubt.variance > 1e-12:
            assert doubt.freedom == pytest.approx(freedom)


@settings(max_examples=50, deadline=None)
@given(scored_rows())
def test_variance_and_freedom_are_those_of_brunner_and_munzel(rows: Rows) -> None:
    """SciPy's test that the AUC is 0.5 has the same variance (in its statistic) and degrees of freedom (in its p)."""
    labels, scores = rows
    estimate = estimate_delong(labels, scores)
    for score, auc, variance, freedom in zip(
        scores, estimate.auc, estimate.covariance.diagonal(), estimate.freedom, strict=True
    ):
        if variance < 1e-12:
            assert np.isnan(freedom) or not variance
            continue
        theirs = brunnermunzel(score[labels == 0], score[labels == 1])
        statistic = (auc - 0.5) / np.sqrt(variance)
        assert statistic == pytest.approx(theirs.statistic)
        assert 2 * student.sf(abs(statistic), freedom) == pytest.approx(theirs.pvalue)


@settings(max_examples=50, deadline=None)
@given(scored_rows())
def test_interval_mirrors_when_scores_turn_or_classes_swap(rows: Rows) -> None:
    labels, scores = rows

    def bound(labels: NDArray[np.int64], scores: Floats) -> tuple[float, float]:
        one = estimate_delong(labels, scores[0])
        return delong_interval(float(one.auc[0]), float(one.covariance[0, 0]), float(one.freedom[0]))

    low, high = bound(labels, scores)
    for turned in (bound(labels, -scores), bound(1 - labels, scores)):
        assert turned == pytest.approx((1 - high, 1 - low), nan_ok=True)
    assert np.isnan(low) or 0 <= low <= high <= 1


@settings(max_examples=30, deadline=None)
@given(scored_rows(), st.integers(0, 99))
def test_signs_of_the_coefficients_are_swaps_of_ranks(rows: Rows, seed: int) -> None:
    labels, scores = rows
    ranks = np.argsort(np.argsort(scores[:2] + np.arange(len(labels)) * 1e-6, axis=1), axis=1).astype(float)
    coefficients = swap_coefficients(labels, *ranks)
    swapped = np.random.default_rng(seed).random(len(labels)) < 0.5
    mixed = np.where(swapped, ranks[::-1], ranks)
    auc = _pairwise(labels, mixed).mean(axis=(1, 2))
    assert np.where(swapped, -1, 1) @ coefficients == pytest.approx(auc[0] - auc[1], abs=1e-12)


def test_interval_is_the_delta_method_on_the_logit_scale() -> None:
    logit = np.log(0.8 / 0.2)
    for freedom, quantile in ((np.inf, 1.95996), (12.0, 2.17881)):  # of tables of the normal and of t
        low, high = delong_interval(0.8, 0.05**2, freedom)
        assert np.log(low / (1 - low)) == pytest.approx(logit - quantile * 0.05 / 0.16, abs=1e-5)
        assert np.log(high / (1 - high)) == pytest.approx(logit + quantile * 0.05 / 0.16, abs=1e-5)
    for auc, variance in ((1.0, 0.0), (0.5, 0.0), (0.5, 1e-33), (0.7, np.nan)):
        assert np.isnan(delong_interval(auc, variance, 20.0)).all()


def test_width_is_near_hanley_and_mcneil() -> None:
    """Half-widths of Hanley & McNeil (1982) at AUC 0.70: 0.073 with 82 + 149 patients, 0.128 with 24 + 76.

    Theirs assume exponential scores, ours here are normal: within 10%.
    """
    random = np.random.default_rng(0)
    for positives, negatives, half in ((82, 149, 0.073), (24, 76, 0.128)):
        labels = np.repeat([1, 0], [positives, negatives])
        scores = random.normal(size=(100, len(labels))) + np.sqrt(2) * norm.ppf(0.7) * labels
        deviation = np.sqrt([estimate_delong(labels, one).covariance[0, 0] for one in scores])
        assert norm.ppf(0.975) * deviation.mean() == pytest.approx(half, rel=0.1)


def test_paired_test_is_sharper_than_an_unpaired_one_and_holds_its_level() -> None:
    random = np.random.default_rng(1)
    labels, called, paired = np.repeat([1, 0], [60, 90]), 0, []
    for _ in range(400):
        shared = random.normal(size=150) + 0.8 * labels
        estimate = estimate_delong(labels, shared + 0.5 * random.normal(size=(2, 150)))
        test = compare_delong(estimate, 0, 1)
        called += test.p_value < 0.05
        paired.append(test.difference / test.statistic / np.sqrt(np.trace(estimate.covariance)))
    assert 8 <= called <= 34  # 99.9% of binomial(400, 0.05)
    assert np.mean(paired) < 0.6


def test_equal_and_degenerate_models() -> None:
    labels, scores = np.repeat([1, 0], 20), np.random.default_rng(2).random(40)
    assert compare_delong(estimate_delong(labels, np.stack([scores, scores])), 0, 1).p_value == 1
    assert np.isnan(judge_difference(0.1, np.nan).p_value)
    assert np.isnan(judge_difference(0.1, 0.0).p_value)
    assert np.isnan(covariance_of_influence(np.ones((1, 3)), np.array([0, 0, 1]))).all()
    assert np.isnan(doubt_of_influence(np.ones(3), np.array([0, 0, 1]))).all()
    still = doubt_of_influence(np.zeros(4), np.array([0, 0, 1, 1]))
    assert still.variance == 0
    assert np.isnan(still.freedom)
    with pytest.raises(SingleClassError, match="got 3 positive and 0 negative"):
        estimate_delong([1, 1, 1], [0.1, 0.2, 0.3])


def test_a_hundred_thousand_patients_and_five_models_take_seconds() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 100_000)
    begun = time.perf_counter()
    estimate = estimate_delong(labels, random.random((5, 100_000)))
    assert time.perf_counter() - begun < 5
    np.testing.assert_allclose(np.diag(estimate.covariance), 1 / 12 * 4 / 100_000, rtol=0.05)
