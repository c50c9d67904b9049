"""The curve finds a planted law, stays below 1, and admits when it sees nothing."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit
from scipy.stats import t as student

from genovox.core.errors import DataError, UsageError
from genovox.statistics.learning_curve import fit_learning_curve

SIZES = np.array([40.0, 60, 90, 130, 200])


def _law(sizes: np.ndarray, asymptote: float, scale: float, exponent: float) -> np.ndarray:
    return asymptote - scale * (sizes / 200) ** -exponent


def _rows(random: np.random.Generator, truth: np.ndarray, *, rows: int = 15, noise: float = 0.03) -> np.ndarray:
    shared = random.normal(0, noise, (rows, 1))
    return np.clip(truth + shared + random.normal(0, noise / 2, (rows, len(truth))), 0, 1)


def test_a_law_without_noise_is_found_and_carried_on() -> None:
    truth = _law(SIZES, 0.85, 0.1, 0.7)
    curve = fit_learning_curve(SIZES, np.tile(truth, (4, 1)))
    assert curve.law == pytest.approx([0.85, 0.1, 0.7], abs=0.02)
    assert curve.conclusion == "rises"
    (ahead,) = curve.predict(600)
    assert ahead.estimate == pytest.approx(_law(np.array(600.0), 0.85, 0.1, 0.7), abs=0.002)
    assert ahead.low == pytest.approx(ahead.high)


def test_the_fit_is_the_least_squares_of_an_independent_solver() -> None:
    rows = _rows(np.random.default_rng(3), _law(SIZES, 0.9, 0.15, 0.6))
    curve = fit_learning_curve(SIZES, rows)
    error = np.sqrt(np.maximum(rows.var(0, ddof=1), 0.25 * rows.var(0, ddof=1).mean()))
    bounds = ([0, 0, 0.1], [1, 1, 2])
    law, _ = curve_fit(_law, SIZES, rows.mean(0), p0=[0.9, 0.1, 0.5], sigma=error, bounds=bounds)
    for size in (50.0, 200.0, 400.0):
        expected = _law(np.array(size), *law)
        assert curve.predict(size)[0].estimate == pytest.approx(expected, abs=0.004)


def test_intervals_of_independent_rows_hold_the_truth() -> None:
    random = np.random.default_rng(4)
    within = gain_within = 0
    truth = _law(SIZES, 0.85, 0.12, 0.6)
    doublings = np.log2(SIZES)
    for _ in range(60):
        curve = fit_learning_curve(SIZES, _rows(random, truth, rows=20), resamples=200)
        (ahead,) = curve.predict(400)
        within += int(ahead.low <= float(_law(np.array(400.0), 0.85, 0.12, 0.6)) <= ahead.high)
        slope = float(np.polyfit(doublings, truth, 1)[0])
        gain_within += int(curve.gain.low <= slope <= curve.gain.high)
    assert within >= 52
    assert gain_within >= 52


def test_a_flat_curve_does_not_say() -> None:
    random = np.random.default_rng(5)
    said = [fit_learning_curve(SIZES, _rows(random, np.full(5, 0.6)), resamples=20).conclusion for _ in range(100)]
    assert said.count("rises") <= 7  # 2.5% are expected
    curve = fit_learning_curve(SIZES, np.full((5, 5), 0.5))
    assert curve.conclusion == "does not say"
    assert "holds 0" in curve.reason
    assert curve.predict(800)[0].estimate == 0.5


def test_gain_is_the_t_interval_of_the_rows_slopes() -> None:
    rows = _rows(np.random.default_rng(6), _law(SIZES, 0.9, 0.15, 0.6))
    sizes, even = SIZES[[0, 2, 4]], np.tile(rows[:, [0]], (1, 3)) + 0.01 * np.arange(3)
    curve = fit_learning_curve(sizes, even, inflation=2)
    slopes = np.array([np.polyfit(np.log2(sizes), row, 1)[0] for row in even])
    assert curve.gain.estimate == pytest.approx(slopes.mean(), rel=1e-4)
    wide = fit_learning_curve(SIZES, rows, inflation=2).gain
    narrow = fit_learning_curve(SIZES, rows).gain
    assert wide.high - wide.low == pytest.approx(2 * (narrow.high - narrow.low))
    assert student.ppf(0.975, 14) == pytest.approx(2.145, abs=0.001)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 1.0), st.floats(0, 0.4))
def test_curves_rise_and_stay_below_one(seed: int, asymptote: float, scale: float) -> None:
    random = np.random.default_rng(seed)
    rows = _rows(random, np.clip(_law(SIZES, asymptote, scale, 0.5), 0, 1), rows=6, noise=0.05)
    curve = fit_learning_curve(SIZES, rows, resamples=50, seed=seed)
    line = curve.predict([20, 50, 200, 1000, 10**6])
    assert all(0 <= one.low <= one.estimate <= one.high <= 1 for one in line[1:])
    assert all(one.estimate <= other.estimate + 1e-12 for one, other in pairwise(line))
    assert curve.law[0] <= 1
    assert curve.law[1] >= 0


def test_the_same_seed_gives_the_same_interval_and_rows_stay_together() -> None:
    rows = _rows(np.random.default_rng(7), _law(SIZES, 0.9, 0.15, 0.6))
    first, again, other = (fit_learning_curve(SIZES, rows, seed=seed).predict(400)[0] for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("sizes", "aucs", "message"),
    [
        ([10, 20], np.full((5, 2), 0.6), "3 sizes and 3 rows"),
        ([10, 20, 40], np.full((2, 3), 0.6), "3 sizes and 3 rows"),
        ([10, 20, 40], np.full((5, 4), 0.6), "3 sizes and 3 rows"),
        ([10, 40, 20], np.full((5, 3), 0.6), "sizes must be above 0 and rise"),
        ([0, 20, 40], np.full((5, 3), 0.6), "sizes must be above 0 and rise"),
        ([10, 20, 40], np.full((5, 3), 1.6), "from 0 to 1, got 1.6"),
        ([10, 20, 40], np.full((5, 3), np.nan), "from 0 to 1, got nan"),
    ],
)
def test_odd_tables_are_refused(sizes: list[float], aucs: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_learning_curve(sizes, aucs)


def test_odd_options_are_refused() -> None:
    for options in ({"inflation": 0.5}, {"inflation": float("nan")}, {"resamples": 0}):
        with pytest.raises(UsageError, match="inflation and resamples must be 1 or more"):
            fit_learning_curve(SIZES, np.full((5, 5), 0.6), **options)
    with pytest.raises(UsageError, match="above 0, got -1"):
        fit_learning_curve(SIZES, np.full((5, 5), 0.6)).predict(-1)
