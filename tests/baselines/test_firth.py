"""Firth's likelihood ratio is the published one, and holds its level where classes are separated."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from genovox.baselines.firth import compare_nested

Floats = NDArray[np.float64]


def _draw(seed: int, count: int, shift: float) -> tuple[Floats, NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return np.column_stack([shift * labels, 0 * labels]) + random.normal(size=(count, 2)), labels


def _search(design: Floats, labels: NDArray[np.int64], free: int) -> float:
    """The largest penalised log likelihood by a search that knows no derivative."""

    def lose(place: Floats, /) -> float:
        fitted = expit(design[:, :free] @ place)
        information = (design * (fitted * (1 - fitted))[:, None]).T @ design
        likelihood = np.log(np.where(labels == 1, fitted, 1 - fitted)).sum()
        return -float(likelihood + np.log(np.linalg.det(information)) / 2)

    found = minimize(lose, np.zeros(free), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    return -float(found.fun)


@pytest.mark.parametrize("shift", [0.5, 6.0])
def test_it_is_the_ratio_of_the_two_largest_penalised_likelihoods(shift: float) -> None:
    """With a shift of 6 the first column separates the classes."""
    matrix, labels = _draw(1, 40, shift)
    design = np.column_stack([np.ones(40), matrix])
    found = compare_nested(matrix, labels)
    assert found.ratio == pytest.approx(2 * (_search(design, labels, 3) - _search(design, labels, 2)), abs=1e-5)
    assert found.p_value == pytest.approx(chi2.sf(found.ratio, 1))


def test_far_outliers_shorten_steps_and_change_nothing() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(30) % 2
    for _ in range(20):
        matrix = random.standard_cauchy((30, 2))
        found = compare_nested(matrix / np.abs(matrix).max(axis=0), labels)
        assert compare_nested(matrix * [1, 1e4], labels).ratio == pytest.approx(found.ratio, abs=1e-6)


def test_of_a_two_by_two_table_it_is_half_a_count_more_in_each_cell() -> None:
    """A saturated regression with Firth's penalty is maximum likelihood with 0.5 added to every cell."""
    column = np.repeat([0.0, 1.0], [20, 20])
    labels = np.repeat([0, 1, 1], [20, 0, 20])
    # Both cells off the diagonal are empty: the classes are separated.
    found = compare_nested(column[:, None], labels)
    fitted = 20.5 / 21
    volume = 2 * np.log(20 * fitted * (1 - fitted))
    largest = 40 * np.log(fitted) + volume / 2
    # Held at 0, everybody has probability one half.
    held = 40 * np.log(0.5) + np.log(20 * 0.25)
    assert found.ratio == pytest.approx(2 * (largest - held), rel=1e-6)


def test_with_many_rows_it_is_the_plain_ratio() -> None:
    matrix, labels = _draw(3, 4000, 0.5)
    matrix[:, 1] += 0.1 * labels
    losses = []
    for width in (1, 2):
        model = LogisticRegression(C=1e8, max_iter=1000).fit(matrix[:, :width], labels)
        losses.append(log_loss(labels, model.predict_proba(matrix[:, :width])[:, 1], normalize=False))
    assert compare_nested(matrix, labels).ratio == pytest.approx(2 * (losses[0] - losses[1]), rel=0.02)


@pytest.mark.parametrize("shift", [0.0, 2.5, 6.0])
def test_its_level_holds_however_far_the_classes_are_apart(shift: float) -> None:
    called = sum(compare_nested(*_draw(seed, 40, shift)).p_value < 0.05 for seed in range(100))
    # 5 expected at most; more than 11 of 100 has probability 0.004.
    assert called <= 11


def test_units_and_order_of_the_other_columns_count_for_nothing() -> None:
    matrix, labels = _draw(5, 60, 1.0)
    wide = np.column_stack([matrix[:, 0], np.random.default_rng(0).normal(size=60), matrix[:, 1]])
    again = wide[:, [1, 0, 2]] * [1e3, 1e-3, -7.0] + [5.0, 0.0, 2.0]
    assert compare_nested(again, labels).ratio == pytest.approx(compare_nested(wide, labels).ratio, abs=1e-6)


def test_what_says_nothing_new_adds_nothing() -> None:
    matrix, labels = _draw(6, 40, 1.0)
    for last in (np.full(40, 3.0), 2 * matrix[:, 0] + 1):
        assert compare_nested(np.column_stack([matrix[:, 0], last]), labels) == (0.0, 1.0)
    flat = compare_nested(np.column_stack([np.zeros(40), matrix[:, 0]]), labels)
    assert flat.ratio == pytest.approx(compare_nested(matrix[:, :1], labels).ratio, abs=1e-8)
