"""Does a column add to a logistic regression? A likelihood ratio that stands where the classes are separated."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import chi2

Floats = NDArray[np.float64]
_STEPS, _HALVINGS = 1000, 30
_LARGEST_STEP = 5.0
_TOLERANCE = 1e-10
_SAME = 1e-6
"""What is left of a column, as a share, that the columns before it say already."""


class RatioTest(NamedTuple):
    """A test of nested regressions.

    Attributes:
        ratio: Twice the gain in penalised log likelihood, 0 or more.
        p_value: Of the ratio, chi-squared of one degree, where rows are independent.
    """

    ratio: float
    p_value: float


def compare_nested(matrix: ArrayLike, labels: ArrayLike) -> RatioTest:
    """Weigh the last column of a logistic regression by Firth's penalised likelihood ratio.

    Where columns separate the classes, or nearly, the likelihood has no maximum and coefficients run away with their
    intervals. Jeffreys' prior keeps both fits finite; the smaller one is the larger with the coefficient held at 0.

    Args:
        matrix: Columns, the one to be weighed last, shape (n, p), p >= 1; the intercept is added.
        labels: 0 or 1, shape (n,).

    Returns:
        The test; 0 and 1 where the last column says nothing that the others do not.

    References:
        Firth (1993), doi:10.1093/biomet/80.1.27; Heinze & Schemper (2002), doi:10.1002/sim.1047.
    """
    columns, truth = np.asarray(matrix, np.float64), np.asarray(labels, np.float64)
    # Orthogonal columns leave the ratio as it is, and nothing nearly singular.
    basis = np.zeros((len(columns), 0))
    for column in (np.ones(len(columns)), *columns.T):
        rest = column - basis @ (basis.T @ column)
        adds = bool(np.linalg.norm(rest) > _SAME * np.linalg.norm(column))
        if adds:
            rest -= basis @ (basis.T @ rest)
            basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
    if not adds:
        return RatioTest(0.0, 1.0)
    design = basis * np.sqrt(len(basis))
    width = design.shape[1]
    ratio = max(2 * (_climb(design, truth, width) - _climb(design, truth, width - 1)), 0.0)
    return RatioTest(ratio, float(chi2.sf(ratio, 1)))


def _climb(design: Floats, labels: Floats, free: int) -> float:
    """The largest penalised log likelihood of the first ``free`` coefficients, the others held at 0."""
    place = np.zeros(design.shape[1])
    value = _penalise(design, labels, place)
    for _ in range(_STEPS):
        fitted = expit(design @ place)
        spread = fitted * (1 - fitted)
        information = (design * spread[:, None]).T @ design
        leverage = spread * np.einsum("ij,ij->i", design @ np.linalg.inv(information), design)
        slope = design.T @ (labels - fitted + leverage * (0.5 - fitted))
        step = np.linalg.solve(information[:free, :free], slope[:free])
        step *= min(1.0, _LARGEST_STEP / max(np.abs(step).max(), _LARGEST_STEP))
        for _ in range(_HALVINGS):
            moved = place.copy()
            moved[:free] += step
            if (reached := _penalise(design, labels, moved)) >= value:
                break
            step /= 2
        if reached - value < _TOLERANCE:
            return max(value, reached)
        place, value = moved, reached
    return value


def _penalise(design: Floats, labels: Floats, place: Floats) -> float:
    odds = design @ place
    fitted = expit(odds)
    _, volume = np.linalg.slogdet((design * (fitted * (1 - fitted))[:, None]).T @ design)
    return float((labels * odds - np.logaddexp(0, odds)).sum() + volume / 2)
