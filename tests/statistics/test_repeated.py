import numpy as np
import pytest
from scipy.stats import ttest_1samp

from genovox.statistics.repeated import compare_repeated, corrected_variance, repeated_interval


def test_correction_is_thirteen_and_a_half_for_ten_by_five() -> None:
    """Nadeau & Bengio (2003): 1 + J / (folds - 1) times the naive variance."""
    values = np.random.default_rng(0).random(50)
    assert corrected_variance(values, 5) == pytest.approx(13.5 * values.var(ddof=1) / 50)


def test_interval_and_test_are_the_t_test_with_more_variance() -> None:
    values = np.random.default_rng(1).normal(0.1, 0.1, 15)
    naive = ttest_1samp(values, 0)
    factor = np.sqrt(1 + 15 / 4)
    ours = compare_repeated(values, 5)
    assert ours.statistic == pytest.approx(naive.statistic / factor)
    assert ours.mean == pytest.approx(values.mean())
    assert ours.p_value > naive.pvalue
    low, high = repeated_interval(np.r_[values, np.nan], 5)
    plain = naive.confidence_interval()
    assert high - low == pytest.approx(factor * (plain.high - plain.low))
    assert (low > 0) == (ours.p_value < 0.05)


def test_interval_and_p_agree() -> None:
    for seed in range(20):
        values = np.random.default_rng(seed).normal(0.1, 0.1, 15)
        low, high = repeated_interval(values, 5)
        assert (low <= 0 <= high) == (compare_repeated(values, 5).p_value >= 0.05)


def test_folds_that_agree_or_are_too_few() -> None:
    assert compare_repeated(np.zeros(5), 5).p_value == 1
    assert np.isnan(compare_repeated(np.full(5, 0.1), 5).p_value)
    assert np.isnan(compare_repeated([np.nan], 5).p_value)
    assert np.isnan(compare_repeated([0.1], 5).p_value)
    assert np.isnan(repeated_interval([0.7], 5)).all()
    assert np.isnan(corrected_variance([0.7, 0.8], 1))
