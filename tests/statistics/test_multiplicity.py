import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare
from statsmodels.stats.multitest import multipletests

from genovox.statistics.multiplicity import compare_ranks, holm_adjust


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    np.testing.assert_allclose(holm_adjust(p_values), multipletests(p_values, method="holm")[1], atol=1e-12)


def test_what_is_not_assessed_does_not_count() -> None:
    adjusted = holm_adjust([0.01, np.nan, 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjusted[1])
    assert holm_adjust([]).size == 0


@pytest.mark.parametrize(("models", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_difference_has_the_constants_of_demsar(models: int, q: float) -> None:
    """Demsar (2006), Table 5(a), alpha 0.05."""
    table = np.random.default_rng(0).random((14, models))
    compared = compare_ranks(table, independent=14)
    assert compared.critical_difference == pytest.approx(q * np.sqrt(models * (models + 1) / (6 * 14)), rel=5e-4)


def test_friedman_agrees_with_scipy_with_ties() -> None:
    table = np.round(np.random.default_rng(1).random((12, 4)), 1)
    theirs = friedmanchisquare(*table.T)
    ours = compare_ranks(table, independent=12)
    assert ours.statistic == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    again = compare_ranks(np.tile(table, (3, 1)), independent=12)
    assert again.statistic == pytest.approx(ours.statistic), "repeats do not count as new blocks"


def test_two_models_follow_the_same_formula() -> None:
    """With two models Friedman's chi-square is the sign test's: (wins - losses)^2 / blocks."""
    table = np.array([[2.0, 1.0]] * 8 + [[1.0, 2.0]] * 3)
    assert compare_ranks(table, independent=11).statistic == pytest.approx((8 - 3) ** 2 / 11)


def test_ranks_and_groups() -> None:
    table = np.tile([0.9, 0.5, 0.8, 0.1], (20, 1))
    compared = compare_ranks(table, independent=20)
    assert compared.mean_ranks.tolist() == [1, 3, 2, 4]
    assert 1 < compared.critical_difference < 2
    assert compared.groups == [[0, 2], [2, 1], [1, 3]]
    few = compare_ranks(table, independent=2)
    assert few.groups == [[0, 2, 1, 3]]
    tied = compare_ranks(np.ones((5, 3)), independent=5)
    assert (tied.statistic, tied.p_value) == (0, 1)
    assert compare_ranks(np.tile([1.0, 0.0], (500, 1)), independent=500).groups == []
