"""Is it worth acting on? Net benefit over the thresholds at which somebody would."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

THRESHOLDS: Floats = np.arange(1, 100) / 100
"""Probabilities at which somebody would act, shape (99,)."""


class CallCounts(NamedTuple):
    """Rows called positive at each threshold, by class, each of shape (groups, thresholds)."""

    true: Floats
    false: Floats


def count_calls(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: Floats, groups: ArrayLike | None = None, count: int = 1
) -> CallCounts:
    """Count calls (probability >= threshold) of each class in each group.

    Args:
        labels: 0 or 1, shape (n,).
        probabilities: 0 to 1, shape (n,).
        thresholds: Rising, shape (t,).
        groups: Group of each row from 0, shape (n,); None: one group.
        count: Number of groups.
    """
    y = np.asarray(labels)
    place = np.zeros(len(y), dtype=np.intp) if groups is None else np.asarray(groups, dtype=np.intp)
    passed = np.searchsorted(thresholds, np.asarray(probabilities, dtype=np.float64), side="right")
    width = len(thresholds) + 1
    counts = []
    for label in (1, 0):
        rows = y == label
        cells = np.bincount(place[rows] * width + passed[rows], minlength=count * width).reshape(count, width)
        # Who passes a threshold passed all lower ones.
        counts.append(np.cumsum(cells[:, ::-1], axis=1)[:, ::-1][:, 1:].astype(np.float64))
    return CallCounts(*counts)


def net_benefit(
    sensitivity: ArrayLike, false_positive_rate: ArrayLike, prevalence: ArrayLike, thresholds: Floats
) -> Floats:
    """True positives less false positives, these weighed by the odds of the threshold, a patient.

    Treating all has sensitivity and false positive rate 1, treating none 0. Over the prevalence it is standardised:
    1 is the most there can be.

    Args:
        sensitivity: Shape (..., t).
        false_positive_rate: Shape (..., t).
        prevalence: 0 to 1, one number or shape (..., 1).
        thresholds: Above 0 and below 1, shape (t,).

    References:
        Vickers & Elkin (2006), doi:10.1177/0272989X06295361; Kerr et al. (2016), doi:10.1200/JCO.2015.65.5654.
    """
    share = np.asarray(prevalence, dtype=np.float64)
    harm = thresholds / (1 - thresholds)
    gain = np.asarray(sensitivity) * share - np.asarray(false_positive_rate) * (1 - share) * harm
    return np.asarray(gain, dtype=np.float64)
