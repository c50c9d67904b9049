"""Against dcurves 1.1.7 (values computed with it) and a plain count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.statistics.utility import THRESHOLDS, count_calls, net_benefit
from tests.statistics.conftest import Scored

AT = np.array([0.05, 0.1, 0.25, 0.5, 0.8])
DCURVES = {
    None: [
        [0.314912280702, 0.282592592593, 0.203333333333, 0.106666666667, 0.076666666667],
        [0.315789473684, 0.277777777778, 0.133333333333, -0.3, -2.25],
    ],
    0.1: [
        [0.055080007712, 0.017655677656, -0.051794871795, -0.079413919414, 0.021904761905],
        [0.052631578947, 0.0, -0.2, -0.8, -3.5],
    ],
}


@pytest.mark.parametrize("prevalence", [None, 0.1])
def test_net_benefit_is_that_of_dcurves(scored: Scored, prevalence: float | None) -> None:
    calls = count_calls(scored.labels, scored.scores, AT)
    share = scored.labels.mean() if prevalence is None else prevalence
    rates = calls.true[0] / scored.labels.sum(), calls.false[0] / (scored.labels == 0).sum()
    model, treat_all = DCURVES[prevalence]
    assert net_benefit(*rates, share, AT) == pytest.approx(model, abs=1e-9)
    assert net_benefit(1.0, 1.0, share, AT) == pytest.approx(treat_all, abs=1e-9)
    assert not net_benefit(0.0, 0.0, share, AT).any()


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 100), st.integers(0, 2)), min_size=1, max_size=40))
def test_calls_are_counted_as_one_would(rows: list[tuple[int, int, int]]) -> None:
    labels, probabilities, groups = (np.array(column) for column in zip(*rows, strict=True))
    calls = count_calls(labels, probabilities / 100, THRESHOLDS, groups, 3)
    for group in range(3):
        for place in (0, 24, 49, 98):
            called = (probabilities / 100 >= THRESHOLDS[place]) & (groups == group)
            assert calls.true[group, place] == (called & (labels == 1)).sum()
            assert calls.false[group, place] == (called & (labels == 0)).sum()


def test_perfect_probabilities_gain_the_prevalence() -> None:
    calls = count_calls([1, 1, 0, 0, 0], [1.0, 1.0, 0.0, 0.0, 0.0], THRESHOLDS)
    assert net_benefit(calls.true / 2, calls.false / 3, 0.4, THRESHOLDS) == pytest.approx(np.full((1, 99), 0.4))
