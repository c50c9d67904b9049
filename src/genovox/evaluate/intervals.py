"""Intervals that resample patients, never scans.

The networks and their thresholds are held as they are: an interval says what other patients of the same kind would
have given these networks, not what other networks would have given.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from genovox.cohort.splits import connect_groups
from genovox.evaluate.schema import ClusterCounts, Metric
from genovox.statistics.calibration import sum_rows

Floats = NDArray[np.float64]
TAILS = (0.025, 0.975)
"""Quantiles of a 95% interval."""
_CHUNK_ELEMENTS = 2_000_000
MINIMUM_CLUSTERS = 10
"""Fewer independent clusters in a class give counts and no interval."""


def cluster_patients(patient_ids: pd.Series, family_ids: pd.Series | None = None) -> NDArray[np.int64]:
    """Number the connected components of patients and families: rows of one component are not independent.

    Args:
        patient_ids: Shape (n,).
        family_ids: Shape (n,), empty or NaN where no family is known; None: patients alone.

    Returns:
        Component of each row, shape (n,), numbered in the order of the sorted patient ids.
    """
    frame = pd.DataFrame({"patient_id": patient_ids.astype(str).to_numpy()})
    if family_ids is not None:
        named = family_ids.astype(object).where(family_ids.notna(), "")
        frame["family_id"] = named.astype(str).str.strip().to_numpy()
    component = connect_groups(frame, list(frame.columns))
    # Numbered by the first sorted patient, so that the order of rows and SciPy's version do not matter.
    first = frame.assign(component=component).sort_values("patient_id").drop_duplicates("component")
    rank = np.empty(len(first), dtype=np.int64)
    rank[first["component"].to_numpy()] = np.arange(len(first))
    return np.asarray(rank[component])


@dataclass(frozen=True)
class Clusters:
    """The independent clusters behind a set of test rows.

    Attributes:
        ids: Sorted cluster numbers, shape (k,).
        strata: 0 only negatives, 1 only positives, 2 both, shape (k,).
        counts: Clusters that hold each class; a mixed one counts for both.
    """

    ids: NDArray[np.int64]
    strata: NDArray[np.int64]
    counts: ClusterCounts

    @classmethod
    def from_rows(cls, clusters: ArrayLike, labels: ArrayLike) -> "Clusters":
        """Gather clusters from rows: cluster numbers and labels (0 or 1), each of shape (n,)."""
        ids, column = np.unique(np.asarray(clusters, dtype=np.int64), return_inverse=True)
        positive = np.bincount(column, weights=np.asarray(labels) == 1) > 0
        negative = np.bincount(column, weights=np.asarray(labels) == 0) > 0
        counts = ClusterCounts(positive=int(positive.sum()), negative=int(negative.sum()))
        return cls(ids, np.where(positive & negative, 2, positive.astype(np.int64)), counts)

    def locate(self, clusters: ArrayLike) -> NDArray[np.intp]:
        """The column of each row's cluster in the weights, shape (n,)."""
        return np.searchsorted(self.ids, np.asarray(clusters))

    @property
    def too_few(self) -> bool:
        return min(self.counts.positive, self.counts.negative) < MINIMUM_CLUSTERS


def _join_lone_strata(strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """Let no stratum hold a single cluster beside a stratum it may join: alone, it would never vary."""
    joined = strata.copy()
    for lone, others in ((0, (2,)), (1, (2,)), (2, (1, 0))):
        if (joined == lone).sum() == 1:
            target = next((other for other in others if (joined == other).any()), lone)
            joined[joined == lone] = target
    return joined


def draw_weights(clusters: Clusters, *, resamples: int, seed: int) -> NDArray[np.uint8]:
    """How often each resample draws each cluster, with replacement within strata so that no class vanishes.

    Returns:
        Shape (resamples, k). Eight bits hold it: a cluster drawn over 255 times has probability below 1e-500.

    References:
        Efron & Tibshirani (1993), ch. 8 and 13; Field & Welsh (2007), doi:10.1111/j.1467-9868.2007.00593.x.
    """
    random = np.random.default_rng(seed)
    strata = _join_lone_strata(clusters.strata)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    weights = np.zeros((resamples, len(clusters.ids)), dtype=np.uint8)
    for row in weights:
        for columns in members:
            drawn = random.integers(len(columns), size=len(columns))
            row[columns] = np.bincount(drawn, minlength=len(columns))
    return weights


@dataclass(frozen=True)
class Resampling:
    """The resamples of one set of test rows, the same for every model and figure.

    Attributes:
        clusters: The k clusters of the rows.
        drawn: Weights, shape (B + 1, k); row 0 is the sample itself, so that estimate and draws come from one sum.
    """

    clusters: Clusters
    drawn: NDArray[np.uint8]

    @classmethod
    def of(cls, test: pd.DataFrame, *, resamples: int, seed: int, hold_classes: bool = True) -> "Resampling":
        """Draw resamples of test rows.

        Args:
            test: ``cluster`` and ``label``, at least one row.
            resamples: How many.
            seed: Of the draws.
            hold_classes: Whether every resample has as many clusters of each class as the sample. Figures that move
                with the prevalence (calibration, net benefit) need it to vary: their intervals would be too narrow.
        """
        clusters = Clusters.from_rows(test["cluster"], test["label"])
        drawn_from = clusters if hold_classes else replace(clusters, strata=np.zeros_like(clusters.strata))
        weights = draw_weights(drawn_from, resamples=resamples, seed=seed)
        return cls(clusters, np.concatenate([np.ones((1, weights.shape[1]), dtype=np.uint8), weights]))

    def sum_rows(self, columns: NDArray[np.intp], values: Floats) -> Floats:
        """Sums of row values in every resample.

        Args:
            columns: The cluster of each row, from ``Clusters.locate``, shape (n,).
            values: Shape (n, m).

        Returns:
            Shape (B + 1, m).
        """
        return self.sum_clusters(sum_rows(values, columns, len(self.clusters.ids)))

    def sum_clusters(self, values: Floats) -> Floats:
        """Sums of cluster values, shape (k, m), in every resample, shape (B + 1, m)."""
        step = max(1, _CHUNK_ELEMENTS // len(values))
        starts = range(0, len(self.drawn), step)
        return np.concatenate([self.drawn[start : start + step].astype(np.float64) @ values for start in starts])


def summarise_draws(
    estimate: float, draws: Floats, clusters: Clusters, *, independent: int | None = None, note: str | None = None
) -> Metric:
    """A figure with the 95% percentile interval of its bootstrap draws.

    Fewer than 10 clusters in a class: no interval, the counts instead. Where every draw is 1 (or 0), as with perfect
    scores, resampling cannot show any doubt and the interval is the exact binomial one of ``independent`` successes
    in ``independent`` trials.

    Args:
        estimate: The figure; NaN if not defined (then ``note`` gives the reason).
        draws: The figure in each resample, shape (B,); NaN where not defined.
        clusters: The clusters that were resampled.
        independent: Trials behind the figure; default: clusters of the smaller class. Disjoint pairs of a positive
            and a negative are that many independent trials of an AUC, so the bound holds for it too.
        note: What a reader must know.

    References:
        Efron & Tibshirani (1993), ch. 13; Clopper & Pearson (1934), doi:10.1093/biomet/26.4.404.
    """
    notes = [note] if note else []
    if np.isnan(estimate):
        return Metric(estimate=None, low=None, high=None, method="not defined", note="; ".join(notes) or None)
    if clusters.too_few:
        notes.append(
            f"an interval needs at least {MINIMUM_CLUSTERS} patients in each class, "
            f"got {clusters.counts.positive} positive and {clusters.counts.negative} negative"
        )
        return Metric(
            estimate=estimate, low=None, high=None, method="counts", note="; ".join(notes), counts=clusters.counts
        )
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        notes.append("not defined in any resample")
        return Metric(estimate=estimate, low=None, high=None, method="not defined", note="; ".join(notes))
    method = f"percentile bootstrap of patients, {draws.size} resamples"
    if defined.size < draws.size:
        notes.append(f"not defined in {draws.size - defined.size} of {draws.size} resamples, which are left out")
    low, high = np.quantile(defined, TAILS)
    if low == high and estimate in (0.0, 1.0):
        trials = independent or min(clusters.counts.positive, clusters.counts.negative)
        bound = TAILS[0] ** (1 / trials)
        low, high = (bound, 1.0) if estimate == 1.0 else (0.0, 1 - bound)
        method = f"exact binomial, {trials} independent patients"
        notes.append(f"every resample gives {estimate:.0f}: resampling cannot show the doubt that remains")
    return Metric(estimate=estimate, low=float(low), high=float(high), method=method, note="; ".join(notes) or None)
