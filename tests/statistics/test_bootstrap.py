from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test

from genovox.statistics.bootstrap import bca_interval, bootstrap_p_value, percentile_interval, permutation_p_value


def test_percentiles_are_those_of_numpy_without_nan() -> None:
    draws = np.random.default_rng(0).random(999)
    assert percentile_interval(np.r_[draws, np.nan]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    assert percentile_interval(draws, confidence=0.8) == pytest.approx(tuple(np.quantile(draws, [0.1, 0.9])))
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bca_agrees_with_scipy(confidence: float) -> None:
    """A skewed mean; the influence of a patient on a mean is its distance to it over n, which the jackknife finds."""
    values = np.random.default_rng(1).exponential(size=40)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", confidence_level=confidence, rng=np.random.default_rng(2)
    )
    influence = (values - values.mean()) / 40
    low, high = bca_interval(values.mean(), theirs.bootstrap_distribution, influence, confidence=confidence)
    assert low == pytest.approx(theirs.confidence_interval.low, abs=1e-9)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=1e-9)
    assert low > percentile_interval(theirs.bootstrap_distribution, confidence=confidence)[0]  # it is skewed


def test_bca_agrees_with_scipy_on_two_samples() -> None:
    random = np.random.default_rng(3)
    ups, downs = random.normal(1, 1, 25), random.normal(0, 1, 40)

    def area(first: np.ndarray, second: np.ndarray) -> float:
        return float((first[:, None] > second[None]).mean())

    theirs = bootstrap((ups, downs), area, vectorized=False, n_resamples=2000, method="BCa", rng=random)
    wins = ups[:, None] > downs[None]
    influence = np.r_[(wins.mean(axis=1) - wins.mean()) / 25, (wins.mean(axis=0) - wins.mean()) / 40]
    low, high = bca_interval(float(wins.mean()), theirs.bootstrap_distribution, influence)
    assert low == pytest.approx(theirs.confidence_interval.low, abs=2e-3)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=2e-3)


def test_bca_without_spread_or_bias_has_no_value() -> None:
    for estimate, draws, influence in (
        (1.0, np.ones(50), np.zeros(5)),
        (2.0, np.linspace(0, 1, 50), np.arange(5.0)),
        (0.5, np.array([np.nan]), np.arange(5.0)),
    ):
        assert np.isnan(bca_interval(estimate, draws, influence)).all()


def test_p_of_draws() -> None:
    assert bootstrap_p_value(np.full(99, 0.3)) == pytest.approx(2 / 100)
    assert bootstrap_p_value(np.zeros(99)) == 1
    assert bootstrap_p_value(np.r_[np.full(90, 1.0), np.full(9, -1.0)]) == pytest.approx(2 * 10 / 100)


def test_permutation_reaches_the_exact_p() -> None:
    coefficients = np.random.default_rng(4).normal(0.3, 1, 12)
    sums = np.array([np.dot(signs, coefficients) for signs in product([-1, 1], repeat=12)])
    exact = (np.abs(sums) >= abs(coefficients.sum()) - 1e-12).mean()
    ours = permutation_p_value(float(coefficients.sum()), coefficients, permutations=20_000, seed=5)
    assert ours == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))
    theirs = permutation_test(
        (coefficients, np.zeros(12)), lambda a, b: np.sum(a - b), permutation_type="samples", vectorized=False
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.02)


def test_equal_models_have_p_1_and_many_patients_fit_in_memory() -> None:
    assert permutation_p_value(0.0, np.zeros(30), permutations=99, seed=0) == 1
    coefficients = np.full(100_000, 1e-5)
    assert permutation_p_value(1.0, coefficients, permutations=99, seed=0) == pytest.approx(1 / 100)
