"""Many comparisons at once: adjusted p-values, and the ranks of models over folds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, friedmanchisquare, rankdata, studentized_range

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RankComparison:
    """What a critical-difference picture shows.

    Attributes:
        mean_ranks: Shape (models,); 1 is the highest value.
        statistic: Friedman's chi-square with models - 1 degrees of freedom.
        p_value: That all models rank alike.
        critical_difference: Mean ranks closer than this are not told apart (Nemenyi, 5% over all pairs).
        groups: Model numbers of each widest run of models that are not told apart, in the order of their ranks.
    """

    mean_ranks: Floats
    statistic: float
    p_value: float
    critical_difference: float
    groups: list[list[int]]


def holm_adjust(p_values: ArrayLike) -> Floats:
    """p-values adjusted so that a false call among all of them has at most the stated chance.

    Args:
        p_values: Shape (m,); NaN (not assessed) stays NaN and does not count.

    References:
        Holm (1979), https://www.jstor.org/stable/4615733.
    """
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * steps))
    return adjusted


def compare_ranks(values: ArrayLike, *, independent: int) -> RankComparison:
    """Rank models within each block (a test fold) and say which mean ranks differ.

    Args:
        values: Higher is better, shape (blocks, models), at least 2 models, no NaN.
        independent: Blocks that count as independent, at least 1: repeats of cross-validation test the same patients
            again, so their folds sharpen the ranks and do not count as new ones.

    References:
        Friedman (1937), doi:10.1080/01621459.1937.10503522; Demsar (2006),
        https://jmlr.org/papers/v7/demsar06a.html (with Nemenyi's critical difference).
    """
    table = np.asarray(values, dtype=np.float64)
    blocks, models = table.shape
    ranks = rankdata(-table, axis=1)
    mean_ranks = ranks.mean(axis=0)
    statistic = _friedman(table, ranks) * independent / blocks
    q = studentized_range.ppf(0.95, models, np.inf) / np.sqrt(2)
    distance = float(q * np.sqrt(models * (models + 1) / (6 * independent)))
    return RankComparison(
        mean_ranks=mean_ranks,
        statistic=statistic,
        p_value=float(chi2.sf(statistic, models - 1)),
        critical_difference=distance,
        groups=_group_ranks(mean_ranks, distance),
    )


def _friedman(table: Floats, ranks: Floats) -> float:
    blocks, models = table.shape
    if np.ptp(ranks, axis=1).max() == 0:
        return 0.0  # all models tie in all folds
    if models > 2:
        return float(friedmanchisquare(*table.T).statistic)
    # Two models: the same formula, which SciPy has for three or more only.
    spread = blocks * ((ranks.mean(axis=0) - 1.5) ** 2).sum()
    return float(spread / ((ranks - 1.5) ** 2).mean(axis=0).sum())


def _group_ranks(mean_ranks: Floats, distance: float) -> list[list[int]]:
    order = np.argsort(mean_ranks, kind="stable")
    groups: list[list[int]] = []
    reached = -1
    for start, first in enumerate(order):
        close = np.flatnonzero(mean_ranks[order] <= mean_ranks[first] + distance)
        last = int(close.max())
        if last > start and last > reached:
            groups.append(order[start : last + 1].tolist())
        reached = max(reached, last)
    return groups
