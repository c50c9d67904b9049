"""The AUC, its variance and the covariance of several models on the same patients, in O(n log n)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from genovox.core.errors import SingleClassError

Floats = NDArray[np.float64]

_ROUNDING = 1e-12


class Placements(NamedTuple):
    """Structural components: the share of the other class that each score outranks (or is outranked by).

    Attributes:
        positive: Share of negatives below each positive, ties counting half, shape (models, positives).
        negative: Share of positives above each negative, shape (models, negatives).
    """

    positive: Floats
    negative: Floats


@dataclass(frozen=True)
class DelongEstimate:
    """AUCs of models on the same rows.

    Attributes:
        auc: Shape (models,), in [0, 1].
        covariance: Of the AUCs, shape (models, models); NaN where a class has a single cluster.
        freedom: Satterthwaite's degrees of freedom of each variance, shape (models,); NaN where it is 0 or unknown.
    """

    auc: Floats
    covariance: Floats
    freedom: Floats


class Doubt(NamedTuple):
    """Variance of a figure and its degrees of freedom; both are NaN where it cannot be told, the latter also at 0."""

    variance: float
    freedom: float


class DifferenceTest(NamedTuple):
    """A two-sided test that a difference is 0; ``p_value`` is NaN where it cannot be judged."""

    difference: float
    statistic: float
    p_value: float


def place_scores(labels: ArrayLike, scores: ArrayLike) -> Placements:
    """Structural components of one or several models.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Higher means more likely positive, shape (n,) or (models, n).

    Raises:
        SingleClassError: If a class is absent.

    References:
        Sun & Xu (2014), doi:10.1109/LSP.2014.2337313 (midranks instead of all pairs).
    """
    values = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    positive = np.asarray(labels) == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        raise SingleClassError(
            f"an AUC needs both classes, got {count} positive and {others} negative; "
            "use fewer folds or widen the cohort"
        )
    ranks = rankdata(values, axis=1)
    above = (ranks[:, positive] - rankdata(values[:, positive], axis=1)) / others
    below = 1 - (ranks[:, ~positive] - rankdata(values[:, ~positive], axis=1)) / count
    return Placements(above, below)


def estimate_delong(labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike | None = None) -> DelongEstimate:
    """AUCs of models on the same independent held-out rows, and their covariance.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Shape (n,) or (models, n).
        clusters: Patient or family of each row, shape (n,); None: every row is a patient of its own. Rows of one
            cluster may hold both classes.

    Raises:
        SingleClassError: If a class is absent.

    References:
        DeLong, DeLong & Clarke-Pearson (1988), doi:10.2307/2531595;
        clusters: Obuchowski (1997), doi:10.2307/2533958.
    """
    positive = np.asarray(labels) == 1
    placed = place_scores(labels, scores)
    auc = placed.positive.mean(axis=1)
    above, below = placed.positive - auc[:, None], placed.negative - auc[:, None]
    number = np.arange(positive.size) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    sums_above, count_above = _sum_clusters(above, number[positive])
    sums_below, count_below = _sum_clusters(below, number[~positive])
    if min(count_above, count_below) < 2:
        return DelongEstimate(auc, np.full((len(auc), len(auc)), np.nan), np.full(len(auc), np.nan))
    part_above = _unbiased(count_above) * sums_above @ sums_above.T / above.shape[1] ** 2
    part_below = _unbiased(count_below) * sums_below @ sums_below.T / below.shape[1] ** 2
    covariance = part_above + part_below
    shared = np.intersect1d(number[positive], number[~positive])
    if shared.size:
        width = int(number.max()) + 1
        full_above, full_below = (
            _spread_clusters(sums, np.unique(members), width)[:, shared]
            for sums, members in ((sums_above, number[positive]), (sums_below, number[~positive]))
        )
        cross = full_above @ full_below.T * _unbiased(width) / (above.shape[1] * below.shape[1])
        covariance += cross + cross.T
    parts = np.stack([part_above.diagonal(), part_below.diagonal()])
    freedom = _satterthwaite(covariance.diagonal(), parts, np.array([count_above, count_below]))
    return DelongEstimate(auc, covariance, freedom)


def _sum_clusters(values: Floats, clusters: NDArray[np.intp]) -> tuple[Floats, int]:
    ids, column = np.unique(clusters, return_inverse=True)
    if len(ids) == values.shape[1]:
        return values[:, np.argsort(column)], len(ids)
    return np.stack([np.bincount(column, weights=row, minlength=len(ids)) for row in values]), len(ids)


def _spread_clusters(sums: Floats, ids: NDArray[np.intp], width: int) -> Floats:
    spread = np.zeros((len(sums), width))
    spread[:, ids] = sums
    return spread


def _unbiased(count: int) -> float:
    return count / (count - 1)


def _satterthwaite(variance: Floats, parts: Floats, counts: NDArray[np.int64]) -> Floats:
    """Degrees of freedom of variances, shape (m,), that add up ``parts``, shape (s, m), each of ``counts`` clusters."""
    doubt = (parts**2 / (counts - 1)[:, None]).sum(axis=0)
    freedom = np.full(len(variance), np.nan)
    np.divide(variance**2, doubt, out=freedom, where=doubt > 0)
    return freedom


def delong_interval(auc: float, variance: float, freedom: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """An interval on the logit scale, which stays within (0, 1) and is not symmetric near 1.

    Student's t allows for a variance that ten patients of a class tell only roughly. Swapping the classes, or turning
    the scores, mirrors the interval about 0.5.

    Args:
        auc: In [0, 1].
        variance: Of the AUC, DeLong's.
        freedom: Degrees of freedom of the variance, above 0; infinite: the variance is known.
        confidence: Share of studies whose interval is to hold the truth, in (0, 1).

    Returns:
        NaN twice where the variance is 0 or unknown (perfect or constant scores): it shows no doubt that is there.

    References:
        Scale: Pepe (2003), ISBN 9780198509844, sec. 5.2. Degrees of freedom: Satterthwaite's of the two classes, as in
        Brunner & Munzel (2000), doi:10.1002/(SICI)1521-4036(200001)42:1<17::AID-BIMJ17>3.0.CO;2-U.
    """
    if not variance > _ROUNDING**2 or not 0 < auc < 1:
        return np.nan, np.nan
    reach = student.ppf((1 + confidence) / 2, freedom) * np.sqrt(variance) / (auc * (1 - auc))
    centre = np.log(auc / (1 - auc))
    low, high = 1 / (1 + np.exp(-(centre + np.array([-reach, reach]))))
    return float(low), float(high)


def covariance_of_influence(influence: Floats, strata: NDArray[np.int64]) -> Floats:
    """Covariance of figures that add up what independent patients (or families) pull: the infinitesimal jackknife.

    For the AUC of one set of independent rows it is DeLong's; for a mean of fold AUCs it counts a patient once,
    however many repeats score it.

    Args:
        influence: Derivative of each figure by each cluster's weight, shape (figures, k), centred within strata.
        strata: What was sampled apart, such as the class of each cluster, shape (k,).

    Returns:
        Shape (figures, figures); NaN where a stratum holds a single cluster.

    References:
        Efron (1982), doi:10.1137/1.9781611970319, ch. 6.
    """
    covariance = np.zeros((len(influence), len(influence)))
    for stratum in np.unique(strata):
        members = influence[:, strata == stratum]
        factor = _unbiased(members.shape[1]) if members.shape[1] > 1 else np.nan
        covariance += factor * members @ members.T
    return covariance


def doubt_of_influence(influence: Floats, strata: NDArray[np.int64]) -> Doubt:
    """Variance of one figure, as in ``covariance_of_influence``, and Satterthwaite's degrees of freedom over strata.

    Args:
        influence: Shape (k,), centred within strata.
        strata: What was sampled apart, shape (k,).

    References:
        Satterthwaite (1946), doi:10.2307/3002019.
    """
    members = [influence[strata == stratum] for stratum in np.unique(strata)]
    counts = np.array([len(own) for own in members])
    if counts.min() < 2:
        return Doubt(np.nan, np.nan)
    parts = np.array([[_unbiased(len(own)) * own @ own] for own in members])
    variance = parts.sum(axis=0)
    return Doubt(float(variance[0]), float(_satterthwaite(variance, parts, counts)[0]))


def judge_difference(difference: float, variance: float) -> DifferenceTest:
    """A z-test of a difference of known variance; two models that agree on every patient have p = 1, not 0 / 0."""
    if variance > _ROUNDING**2:
        statistic = difference / float(np.sqrt(variance))
        return DifferenceTest(difference, statistic, float(2 * norm.sf(abs(statistic))))
    same = variance <= _ROUNDING**2 and abs(difference) <= _ROUNDING
    return DifferenceTest(difference, 0.0 if same else np.nan, 1.0 if same else np.nan)


def compare_delong(estimate: DelongEstimate, first: int, second: int) -> DifferenceTest:
    """Test the AUC of model ``first`` against that of ``second``, paired; two-sided."""
    cov = estimate.covariance
    variance = float(cov[first, first] + cov[second, second] - 2 * cov[first, second])
    return judge_difference(float(estimate.auc[first] - estimate.auc[second]), variance)


def swap_coefficients(labels: ArrayLike, first: ArrayLike, second: ArrayLike) -> Floats:
    """What each row adds to the difference of two AUCs, and takes from it where the models' ranks of it are swapped.

    The difference after swaps is ``signs @ coefficients``, with -1 where a row is swapped and 1 elsewhere: the AUC is a
    sum over pairs of one row of each class, and of the four ways to swap a pair two mirror the others.

    Args:
        labels: 0 or 1, both classes, shape (n,).
        first: Scores of one model, shape (n,).
        second: Scores of the other; ranks are swapped, so the scales need not agree.

    References:
        Bandos, Rockette & Gur (2005), doi:10.1002/sim.2149.
    """
    positive = np.asarray(labels) == 1
    one, two = rankdata(np.asarray(first)), rankdata(np.asarray(second))
    # Positives of one model among negatives of the other, in all four combinations.
    mixed = np.stack([np.where(positive, a, b) for a, b in ((one, one), (two, two), (one, two), (two, one))])
    above, below = place_scores(labels, mixed)
    coefficients = np.empty(positive.size)
    coefficients[positive] = (above[0] - above[1] + above[2] - above[3]) / (2 * above.shape[1])
    coefficients[~positive] = (below[0] - below[1] - below[2] + below[3]) / (2 * below.shape[1])
    return coefficients
