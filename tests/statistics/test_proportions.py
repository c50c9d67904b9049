import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from genovox.statistics.proportions import wilson_interval


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy_and_statsmodels(counts: tuple[int, int]) -> None:
    ours = wilson_interval(*counts)
    theirs = binomtest(*counts).proportion_ci(method="wilson")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert ours == pytest.approx(proportion_confint(*counts, method="wilson"), abs=1e-9)


def test_wilson_of_newcombe_1998() -> None:
    """Newcombe (1998), Table I, method 3: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_no_trial_has_no_interval_and_a_mean_over_repeats_has() -> None:
    assert np.isnan(wilson_interval(0, 0)).all()
    low, high = wilson_interval(10.5, 20)
    assert low < 0.525 < high
