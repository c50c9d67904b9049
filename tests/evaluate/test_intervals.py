import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap, norm

from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import (
    DELONG,
    Clusters,
    Resampling,
    cluster_patients,
    draw_weights,
    prefer_delong,
    summarise_draws,
)


def _clusters(positive: int, negative: int) -> Clusters:
    return Clusters.from_rows(np.arange(positive + negative), np.repeat([1, 0], [positive, negative]))


def test_families_join_patients_across_rows() -> None:
    patients = pd.Series(["a", "b", "c", "d", "e", "b"])
    families = pd.Series(["f1", "f1", None, "", "f2", "f2"])
    clusters = cluster_patients(patients, families)
    # a and b share f1, b and e share f2; unknown families join nobody.
    assert clusters.tolist() == [0, 0, 1, 2, 0, 0]
    assert cluster_patients(patients).tolist() == [0, 1, 2, 3, 4, 1]


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30), st.integers(0, 99))
def test_resamples_keep_every_class_and_stratum(classes: list[tuple[int, int]], seed: int) -> None:
    """Each cluster has two rows: both positive, both negative, or one of each."""
    labels = np.array(classes).ravel()
    clusters = Clusters.from_rows(np.repeat(np.arange(len(classes)), 2), labels)
    weights = draw_weights(clusters, resamples=20, seed=seed)
    assert (weights.sum(axis=1) == len(classes)).all()
    for stratum in (0, 1, 2):
        members = clusters.strata == stratum
        if (np.bincount(clusters.strata) != 1).all():  # a lone stratum joins another
            assert (weights[:, members].sum(axis=1) == members.sum()).all()
    holds_positive, holds_negative = clusters.strata != 0, clusters.strata != 1
    if clusters.too_few:  # no interval is made of these
        return
    assert (weights[:, holds_positive].sum(axis=1) > 0).all()
    assert (weights[:, holds_negative].sum(axis=1) > 0).all()


def test_a_lone_mixed_cluster_still_varies() -> None:
    labels = np.r_[np.repeat([1, 0], 12), 1, 0]
    clusters = Clusters.from_rows(np.r_[np.arange(24), 24, 24], labels)
    assert (clusters.counts.positive, clusters.counts.negative) == (13, 13)
    assert draw_weights(clusters, resamples=50, seed=0)[:, 24].std() > 0


def test_weights_are_those_of_explicit_draws_and_do_not_depend_on_the_number_of_resamples() -> None:
    clusters = _clusters(3, 5)
    weights = draw_weights(clusters, resamples=4, seed=11)
    random = np.random.default_rng(11)
    for row in weights:
        negatives = np.flatnonzero(clusters.strata == 0)[random.integers(5, size=5)]
        positives = np.flatnonzero(clusters.strata == 1)[random.integers(3, size=3)]
        drawn = np.concatenate([negatives, positives])
        assert row.tolist() == np.bincount(drawn, minlength=8).tolist()
    np.testing.assert_array_equal(draw_weights(clusters, resamples=9, seed=11)[:4], weights)


def test_interval_agrees_with_scipy() -> None:
    random = np.random.default_rng(5)
    positives, negatives = random.normal(1, 1, 30), random.normal(0, 1, 70)
    labels, scores = np.repeat([1, 0], [30, 70]), np.r_[positives, negatives]
    clusters = _clusters(30, 70)
    draws = roc_auc(labels, scores, draw_weights(clusters, resamples=6000, seed=0))
    ours = summarise_draws(float(roc_auc(labels, scores)[0]), draws, clusters)

    def area(first: np.ndarray, second: np.ndarray) -> float:
        return float((first[:, None] > second[None]).mean())

    theirs = bootstrap(
        (positives, negatives), area, vectorized=False, method="percentile", n_resamples=6000, rng=1
    ).confidence_interval
    # Two 2.5% quantiles of 6000 draws differ by a standard error of about 0.0025.
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


@pytest.mark.parametrize(("positive", "negative", "given_interval"), [(9, 40, False), (40, 9, False), (10, 10, True)])
def test_fewer_than_ten_patients_in_a_class_give_counts(positive: int, negative: int, given_interval: bool) -> None:
    metric = summarise_draws(0.7, np.linspace(0.5, 0.9, 101), _clusters(positive, negative))
    assert (metric.low is not None) is given_interval
    if not given_interval:
        assert metric.counts is not None
        assert (metric.counts.positive, metric.counts.negative) == (positive, negative)
        assert f"got {positive} positive and {negative} negative" in str(metric.note)


@pytest.mark.parametrize("estimate", [0.0, 1.0])
def test_perfect_figures_get_the_exact_binomial_interval(estimate: float) -> None:
    metric = summarise_draws(estimate, np.full(500, estimate), _clusters(16, 44))
    exact = binomtest(int(16 * estimate), 16).proportion_ci(method="exact")
    assert metric.low == pytest.approx(exact.low)
    assert metric.high == pytest.approx(exact.high)
    assert "exact" in metric.method


def test_scores_without_variance_keep_an_exact_interval() -> None:
    """AUC 1: all disjoint pairs are right. AUC 0.5 by ties alone: all tie, and the rest might rank either way."""
    clusters, still = _clusters(16, 44), np.zeros(60)
    exact = binomtest(16, 16).proportion_ci(method="exact")
    perfect = prefer_delong(summarise_draws(1.0, np.ones(9), clusters), still, clusters)
    assert (perfect.low, perfect.high) == pytest.approx((exact.low, 1.0))
    tied = prefer_delong(summarise_draws(0.5, np.full(9, 0.5), clusters, note="told"), still, clusters)
    assert (tied.low, tied.high) == pytest.approx((exact.low / 2, 1 - exact.low / 2))
    assert (tied.method, tied.note) == ("exact binomial, 16 independent patients", "told; every pair of patients ties")
    varied = summarise_draws(0.6, np.linspace(0.4, 0.8, 9), clusters)
    assert prefer_delong(varied, still, clusters) == varied
    pull = np.r_[np.linspace(-1, 1, 16), np.linspace(-1, 1, 44)] / 200
    assert prefer_delong(varied, pull, clusters).method == DELONG
    few = summarise_draws(0.6, np.ones(9), _clusters(9, 44))
    assert prefer_delong(few, still, _clusters(9, 44)) == few


def test_undefined_figures_say_so() -> None:
    metric = summarise_draws(np.nan, np.full(100, np.nan), _clusters(20, 20), note="no positive call")
    assert (metric.estimate, metric.low, metric.note) == (None, None, "no positive call")
    partly = summarise_draws(0.5, np.r_[np.nan, np.linspace(0, 1, 99)], _clusters(20, 20))
    assert "1 of 100" in str(partly.note)


def test_interval_of_a_mean_has_the_textbook_width() -> None:
    """Bootstrap SD of a share in n patients: sqrt(p (1 - p) / n)."""
    clusters = _clusters(200, 200)
    hits = np.tile([1.0, 0.0], 200)
    draws = draw_weights(clusters, resamples=4000, seed=2) @ hits / 400
    metric = summarise_draws(0.5, draws, clusters)
    assert metric.low is not None
    assert metric.high is not None
    assert metric.high - metric.low == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(0.25 / 400), rel=0.06)


def test_resampling_sums_rows_as_their_clusters_are_drawn() -> None:
    rows = pd.DataFrame({"fold": "0", "cluster": [4, 4, 7, 9, 9, 9], "label": [1, 1, 0, 0, 0, 0]})
    resampling = Resampling.of(rows, resamples=50, seed=3)
    columns = resampling.clusters.locate(rows["cluster"])
    values = np.arange(12.0).reshape(6, 2)
    sums = resampling.sum_rows(columns, values)
    assert sums[0] == pytest.approx(values.sum(axis=0))
    assert sums == pytest.approx(resampling.drawn[:, columns].astype(float) @ values)
    assert (resampling.drawn[1:, 0] == 1).all()  # the only positive cluster


def test_folds_that_share_training_patients_widen_and_a_single_test_part_does_not() -> None:
    rows = pd.DataFrame({"fold": "0", "cluster": np.arange(40), "label": np.repeat([1, 0], 20)})
    assert Resampling.of(rows, resamples=5, seed=3).spread == 1.0
    folds = rows.assign(fold=np.tile(["0", "1"], 20))
    assert Resampling.of(folds, resamples=5, seed=3).spread == pytest.approx(np.sqrt(2))


def test_resampling_may_let_the_classes_vary() -> None:
    rows = pd.DataFrame({"fold": "0", "cluster": np.arange(40), "label": np.repeat([1, 0], 20)})
    held, free = (Resampling.of(rows, resamples=60, seed=3, hold_classes=hold) for hold in (True, False))
    assert (held.drawn[:, :20].sum(axis=1) == 20).all()
    assert free.drawn[:, :20].sum(axis=1).std() > 2
    assert (free.drawn.sum(axis=1) == 40).all()
    assert free.clusters.counts == held.clusters.counts
