"""Against statsmodels (values computed with 0.15.0), scikit-learn, and simulations whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from genovox.statistics.calibration import (
    assign_bins,
    calibration_error,
    choose_bins,
    estimate_line,
    expect_error,
    fit_logistic,
    logit,
    split_brier,
    sum_bins,
)
from tests.statistics.conftest import Scored


def test_line_is_that_of_statsmodels(scored: Scored) -> None:
    line = estimate_line(scored.labels, scored.scores)
    assert line.slope.estimate == pytest.approx(1.0490573690938085, abs=1e-8)
    assert line.intercept.estimate == pytest.approx(-0.15912190589710096, abs=1e-8)
    assert line.in_the_large.estimate == pytest.approx(-0.17308781368245657, abs=1e-8)
    # The jackknife does not trust the model, its error agrees with the model's where that is right.
    half = (line.slope.high - line.slope.low) / 2
    assert half == pytest.approx(1.968 * 0.13291930908539124, rel=0.15)


@pytest.mark.parametrize(("patients", "repeats"), [(60, 1), (231, 1), (100, 3)])
def test_calibrated_scores_have_slope_one_in_95_of_100_intervals(patients: int, repeats: int) -> None:
    random = np.random.default_rng(patients)
    covered, cohorts = np.zeros(3), 200
    for _ in range(cohorts):
        p = expit(random.normal(size=patients) - 0.7)
        labels = (random.random(patients) < p).astype(int)
        rows = np.tile(np.arange(patients), repeats)
        line = estimate_line(labels[rows], p[rows], rows)
        for place, (figure, truth) in enumerate(((line.slope, 1), (line.intercept, 0), (line.in_the_large, 0))):
            covered[place] += figure.low <= truth <= figure.high
    # 200 cohorts: two-sided 99% limits of 95%, with a little room above.
    assert ((covered / cohorts > 0.905) & (covered / cohorts <= 0.995)).all(), covered / cohorts


def test_repeating_a_patient_adds_no_certainty(scored: Scored) -> None:
    once = estimate_line(scored.labels, scored.scores)
    rows = np.tile(np.arange(len(scored.labels)), 4)
    again = estimate_line(scored.labels[rows], scored.scores[rows], rows)
    assert again.slope == pytest.approx(once.slope)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([], []), ([1, 1, 1], [0.1, 0.5, 0.6]), ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]), ([0, 1, 0, 1], [0.4] * 4)],
)
def test_no_line_is_nan(labels: list[int], scores: list[float]) -> None:
    assert np.isnan(estimate_line(labels, scores).slope.estimate)


def test_a_line_that_hangs_on_one_patient_has_no_interval() -> None:
    line = estimate_line([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.6])
    assert np.isnan(line.slope.low)
    assert not np.isnan(line.in_the_large.low)


def test_logit_holds_the_ends() -> None:
    assert np.isfinite(logit([0.0, 1.0])).all()
    assert logit(0.5) == 0


def test_fit_refuses_columns_that_say_the_same() -> None:
    assert fit_logistic(np.ones((4, 2)), [0, 1, 0, 1]) is None


def test_far_start_converges() -> None:
    # A full Newton step from 0 overshoots here; halving it brings it home.
    x = np.r_[np.full(50, -8.0), np.full(50, 8.0), 8.0]
    y = np.r_[np.zeros(49), 1, np.ones(50), 0]
    found = fit_logistic(np.column_stack([np.ones(101), x]), y)
    assert found is not None
    p = expit(found[0] + found[1] * x)
    assert abs((y - p).sum()) < 1e-6


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(1, 12))
def test_bins_keep_order_and_ties(values: list[int], bins: int) -> None:
    p = np.array(values) / 20
    bin_of = assign_bins(p, bins)
    assert len(set(bin_of.tolist())) <= bins
    order = np.argsort(p, kind="stable")
    assert (np.diff(bin_of[order]) >= 0).all()
    assert all(len(set(bin_of[p == value].tolist())) == 1 for value in set(p.tolist()))


def test_bins_are_those_of_sklearn(scored: Scored) -> None:
    sums = sum_bins(scored.labels, scored.scores, assign_bins(scored.scores, 10))
    observed, stated = calibration_curve(scored.labels, scored.scores, n_bins=10, strategy="quantile")
    assert sums.positives / sums.rows == pytest.approx(observed)
    assert sums.expected / sums.rows == pytest.approx(stated)
    assert calibration_error(sums) == pytest.approx(np.abs(observed - stated).mean())


def test_error_by_chance_is_what_simulation_gives() -> None:
    random = np.random.default_rng(3)
    p = expit(random.normal(size=231) - 0.7)
    units = np.tile(np.arange(231), 2)
    bin_of = assign_bins(p[units], 10)
    errors = []
    for _ in range(400):
        labels = (random.random(231) < p)[units]
        errors.append(calibration_error(sum_bins(labels, p[units], bin_of)))
    assert expect_error(p[units], bin_of, units) == pytest.approx(np.mean(errors), rel=0.04)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=50), st.integers(1, 10))
def test_brier_parts_add_up(rows: list[tuple[int, float]], bins: int) -> None:
    y, p = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    parts = split_brier(y, p, assign_bins(p, bins))
    assert parts.brier == pytest.approx(brier_score_loss(y, p, pos_label=1))
    assert parts.reliability - parts.resolution + parts.uncertainty + parts.within == pytest.approx(parts.brier)
    assert np.isnan(parts.scaled) == (y.min() == y.max())


def test_brier_is_murphys_where_bins_hold_one_probability() -> None:
    y, p = np.array([0, 0, 1, 1, 1, 0]), np.array([0.2, 0.2, 0.2, 0.8, 0.8, 0.8])
    parts = split_brier(y, p, assign_bins(p, 2))
    assert parts.within == pytest.approx(0)
    assert parts.reliability == pytest.approx((1 / 3 - 0.2) ** 2)
    assert parts.resolution == pytest.approx((1 / 6) ** 2)


def test_bins_hold_ten_patients() -> None:
    assert [choose_bins(n) for n in (3, 24, 60, 5000)] == [2, 2, 6, 10]
