"""The promise of conformal sets, checked by simulation, and a rank worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.statistics.conformal import fewest_for_level, fit_set_rule, predict_sets


def test_ranks_by_hand() -> None:
    # 4 of a class at 0.80: the ceil(5 x 0.8) = 4th strangest, the strangest of all.
    rule = fit_set_rule([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9], [0, 0, 0, 0, 1, 1, 1, 1], 0.80)
    assert rule == (0.6, 0.4)
    sets = predict_sets([0.3, 0.5, 0.7], rule)
    assert sets.tolist() == [[True, False], [True, True], [False, True]]


def test_a_gap_leaves_a_set_empty() -> None:
    rule = fit_set_rule(np.r_[np.full(10, 0.1), np.full(10, 0.9)], np.repeat([0, 1], 10), 0.80)
    assert rule is not None
    assert predict_sets([0.5], rule).tolist() == [[False, False]]


@pytest.mark.parametrize(("level", "fewest"), [(0.80, 4), (0.90, 9), (0.95, 19)])
def test_too_few_of_a_class_have_no_rule(level: float, fewest: int) -> None:
    assert fewest_for_level(level) == fewest
    scores = np.linspace(0, 1, 2 * fewest)
    labels = np.repeat([0, 1], fewest)
    assert fit_set_rule(scores, labels, level) is not None
    assert fit_set_rule(scores[1:], labels[1:], level) is None
    assert fit_set_rule([], [], level) is None


@pytest.mark.parametrize("level", [0.80, 0.90])
def test_each_class_is_covered_as_promised(level: float) -> None:
    random = np.random.default_rng(11)
    covered = np.zeros(2)
    studies, tested = 1500, 40
    for _ in range(studies):
        labels = np.repeat([0, 1], [24, 13])  # the validation patients of a fold of 231
        rule = fit_set_rule(random.normal(size=37) + labels, labels, level)
        assert rule is not None
        for label in (0, 1):
            covered[label] += predict_sets(random.normal(size=tested) + label, rule)[:, label].mean()
    exact = [np.ceil((n + 1) * level - 1e-9) / (n + 1) for n in (24, 13)]
    assert covered / studies == pytest.approx(exact, abs=0.01)
    assert (covered / studies >= level - 0.01).all()


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=30, max_size=60))
def test_a_higher_level_never_drops_a_label(rows: list[tuple[int, int]]) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows]) / 10
    low, high = (fit_set_rule(scores, labels, level) for level in (0.80, 0.90))
    if low is None or high is None:
        return
    assert (predict_sets(scores, high) >= predict_sets(scores, low)).all()
