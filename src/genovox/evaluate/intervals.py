"""Intervals that resample patients, never scans.

The networks and their thresholds are held as they are: an interval says what other patients of the same kind would
have given these networks, not what other networks would have given.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from genovox.cohort.splits import connect_groups
from genovox.evaluate.discrimination import sum_columns
from genovox.evaluate.schema import ClusterCounts, Interval, IntervalMethod, Metric
from genovox.statistics.bootstrap import bca_interval, percentile_interval
from genovox.statistics.calibration import sum_rows
from genovox.statistics.delong import delong_interval, doubt_of_influence, estimate_delong
from genovox.statistics.proportions import wilson_interval
from genovox.statistics.repeated import repeated_interval

Floats = NDArray[np.float64]
TAILS = (0.025, 0.975)
"""Quantiles of a 95% interval."""
TRAINING_SPREAD = float(np.sqrt(2))
"""How much wider intervals over folds are than what resampling patients under the same networks shows.

A patient is tested once a repeat and trains the networks that test the others. Where the networks know little, the
figure is a sum over pairs of patients, each of which it holds twice, once in either role; resampling sees one. The
variance is then exactly twice what it shows (95% intervals would cover 83%), and never more; from a table alone
nobody can tell how much of it is missing (docs/evaluate.md has the simulation).
"""
DELONG = "DeLong, on the logit scale, Student's t"
MINIMUM_CLUSTERS = 10
"""Fewer independent clusters in a class give counts and no interval."""

_SOUND_REPEATS = 50  # patients in the smaller class: with 16 + 44 its 95% covered 91 to 92% of simulated studies


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
        spread: How much wider intervals are than the draws show: ``TRAINING_SPREAD`` over folds, 1 otherwise.
    """

    clusters: Clusters
    drawn: NDArray[np.uint8]
    spread: float

    @classmethod
    def of(cls, test: pd.DataFrame, *, resamples: int, seed: int, hold_classes: bool = True) -> "Resampling":
        """Draw resamples of test rows.

        Args:
            test: ``fold``, ``cluster`` and ``label``, at least one row.
            resamples: How many.
            seed: Of the draws.
            hold_classes: Whether every resample has as many clusters of each class as the sample. Figures that move
                with the prevalence (calibration, net benefit) need it to vary: their intervals would be too narrow.
        """
        clusters = Clusters.from_rows(test["cluster"], test["label"])
        drawn_from = clusters if hold_classes else replace(clusters, strata=np.zeros_like(clusters.strata))
        weights = draw_weights(drawn_from, resamples=resamples, seed=seed)
        spread = TRAINING_SPREAD if (test["fold"] != test["fold"].iloc[0]).any() else 1.0
        return cls(clusters, np.concatenate([np.ones((1, weights.shape[1]), dtype=np.uint8), weights]), spread)

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
        return sum_columns(values, self.drawn)

    def summarise(
        self,
        values: Floats,
        *,
        independent: int | None = None,
        note: str | None = None,
        limits: tuple[float, float] = (0.0, 1.0),
    ) -> Metric:
        """A figure with its interval, see ``summarise_draws``.

        Args:
            values: The figure on the sample, then in each resample, shape (B + 1,).
            independent: Trials behind it.
            note: What a reader must know.
            limits: The least and the largest value that it can have.
        """
        return summarise_draws(
            float(values[0]),
            values[1:],
            self.clusters,
            independent=independent,
            note=note,
            spread=self.spread,
            limits=limits,
        )


def summarise_draws(
    estimate: float,
    draws: Floats,
    clusters: Clusters,
    *,
    independent: int | None = None,
    note: str | None = None,
    spread: float = 1.0,
    limits: tuple[float, float] = (0.0, 1.0),
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
        spread: How much wider the interval is made about the estimate; see ``TRAINING_SPREAD``.
        limits: The least and the largest value that the figure can have.

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
    if spread != 1.0:
        defined = estimate + spread * (defined - estimate)
        method += f", {spread:.2f} times as wide: folds share training patients"
    if defined.size < draws.size:
        notes.append(f"not defined in {draws.size - defined.size} of {draws.size} resamples, which are left out")
    low, high = percentile_interval(defined)
    if low == high and estimate in (0.0, 1.0):
        trials = independent or min(clusters.counts.positive, clusters.counts.negative)
        bound = TAILS[0] ** (1 / trials)
        low, high = (bound, 1.0) if estimate == 1.0 else (0.0, 1 - bound)
        method = f"exact binomial, {trials} independent patients"
        notes.append(f"every resample gives {estimate:.0f}: resampling cannot show the doubt that remains")
    low, high = max(float(low), limits[0]), min(float(high), limits[1])
    return Metric(estimate=estimate, low=low, high=high, method=method, note="; ".join(notes) or None)


def list_auc_intervals(
    metric: Metric, draws: Floats, influence: Floats, fold_aucs: Floats, clusters: Clusters, *, folds: int
) -> list[Interval]:
    """Every interval of the headline AUC: its own first, then BCa, DeLong and, over folds, Nadeau-Bengio.

    Args:
        metric: The headline with the interval that it carries.
        draws: The headline in each resample, shape (B,).
        influence: What each cluster pulls, shape (k,), centred within ``clusters.strata``.
        fold_aucs: AUC of each fold and repeat, NaN where it holds one class, shape (J,).
        clusters: The clusters that were resampled.
        folds: Folds of one repeat; 1: a test part that one network, or one mean of networks, scores.
    """
    if metric.estimate is None or metric.low is None:
        return []
    exact, delong = metric.method.startswith("exact"), metric.method == DELONG
    headline: IntervalMethod = "exact binomial" if exact else "DeLong" if delong else "percentile bootstrap"
    listed = [Interval(figure="roc_auc", method=headline, low=metric.low, high=metric.high, headline=True)]
    if folds > 1:
        refused = "resampled or not, it takes the networks as given: over whole studies it covers too little"
        listed += [_list_rival(method, (np.nan, np.nan), refused) for method in ("BCa bootstrap", "DeLong")]
        sound = min(clusters.counts.positive, clusters.counts.negative) >= _SOUND_REPEATS
        return [*listed, _judge_repeats(fold_aucs, folds, sound=sound and not metric.low <= 0.5 <= (metric.high or 1))]
    flat = "no patient's rank varies: it cannot show the doubt that remains"
    listed.append(_list_rival("BCa bootstrap", bca_interval(metric.estimate, draws, influence), flat))
    if delong:
        return [*listed, _list_rival("percentile bootstrap", percentile_interval(draws), flat)]
    return [*listed, _list_rival("DeLong", (np.nan, np.nan), flat)]


def prefer_delong(metric: Metric, influence: Floats, clusters: Clusters) -> Metric:
    """The AUC of one test part with DeLong's interval, where it has one: with few patients it covers best.

    Scores that tie in every pair have no variance either: as disjoint pairs are independent, the share of ties has the
    exact binomial bound of so many successes, and the AUC differs from 0.5 by half of what is left at most.

    Args:
        metric: The AUC with its bootstrap interval.
        influence: What each cluster pulls, shape (k,), centred within ``clusters.strata``.
        clusters: The clusters of the test part.
    """
    if metric.estimate is None or metric.low is None:
        return metric
    low, high = delong_interval(metric.estimate, *doubt_of_influence(influence, clusters.strata))
    if not np.isnan(low):
        return metric.model_copy(update={"low": low, "high": high, "method": DELONG})
    if metric.low != metric.high or not np.isclose(metric.estimate, 0.5):
        return metric
    pairs = min(clusters.counts.positive, clusters.counts.negative)
    reach = (1 - TAILS[0] ** (1 / pairs)) / 2
    exact = {"low": 0.5 - reach, "high": 0.5 + reach, "method": f"exact binomial, {pairs} independent patients"}
    notes = [metric.note] if metric.note else []
    return metric.model_copy(update={**exact, "note": "; ".join([*notes, "every pair of patients ties"])})


def _list_rival(method: IntervalMethod, bounds: tuple[float, float], missing: str) -> Interval:
    low, high = bounds
    if np.isnan(low):
        return Interval(figure="roc_auc", method=method, low=None, high=None, headline=False, note=missing)
    return Interval(figure="roc_auc", method=method, low=max(0.0, low), high=min(1.0, high), headline=False)


def _judge_repeats(fold_aucs: Floats, folds: int, *, sound: bool) -> Interval:
    if not sound:
        reason = f"under {_SOUND_REPEATS} patients in a class, or near chance, it covers too little"
        return _list_rival("Nadeau-Bengio", (np.nan, np.nan), reason)
    return _list_rival("Nadeau-Bengio", repeated_interval(fold_aucs, folds), "fewer than two folds differ in AUC")


def list_proportion_interval(
    figure: Literal["accuracy", "precision", "recall", "specificity"],
    metric: Metric,
    trials: int | None,
    *,
    refused: str | None,
) -> list[Interval]:
    """The intervals of a proportion: its own, then Wilson's.

    Args:
        figure: Which proportion.
        metric: It, with the interval that it carries.
        trials: Independent patients behind it; None: no call was made.
        refused: Why the scored rows are no independent trials, as Wilson's are; None: they are.
    """
    if metric.estimate is None or metric.low is None or not trials:
        return []
    exact = metric.method.startswith("exact")
    headline: IntervalMethod = "exact binomial" if exact else "percentile bootstrap"
    listed = [Interval(figure=figure, method=headline, low=metric.low, high=metric.high, headline=True)]
    low, high, note = None, None, refused
    if refused is None:
        low, high = wilson_interval(metric.estimate * trials, trials)
        note = f"{trials} independent patients"
    return [*listed, Interval(figure=figure, method="Wilson", low=low, high=high, headline=False, note=note)]


def bound_fold_auc(rows: pd.DataFrame) -> tuple[float | None, float | None]:
    """DeLong's interval of one fold's AUC; none where it has too few patients, or none of their ranks varies.

    Args:
        rows: Test rows of one model and fold: cluster, label (both classes), score.
    """
    if Clusters.from_rows(rows["cluster"], rows["label"]).too_few:
        return None, None
    estimate = estimate_delong(rows["label"], rows["score"], rows["cluster"])
    low, high = delong_interval(float(estimate.auc[0]), float(estimate.covariance[0, 0]), float(estimate.freedom[0]))
    return (None, None) if np.isnan(low) else (low, high)


def tabulate_band(x: str, y: str, grid: Floats, curves: Floats, clusters: Clusters, *, spread: float) -> pd.DataFrame:
    """A mean curve with its pointwise 95% band over resamples; empty band where intervals are refused.

    Args:
        x: Name of the grid's column.
        y: Name of the curve's column.
        grid: Shape (g,).
        curves: The curve, then one a resample, in [0, 1], shape (B + 1, g).
        clusters: The clusters that were resampled.
        spread: How much wider the band is made about the curve; see ``TRAINING_SPREAD``.
    """
    low = high = np.full(len(grid), np.nan)
    drawn = curves[1:][~np.isnan(curves[1:]).any(axis=1)]
    if len(drawn) and not clusters.too_few:
        low, high = (curves[0] + spread * (np.quantile(drawn, TAILS, axis=0) - curves[0])).clip(0, 1)
    return pd.DataFrame({x: grid, y: curves[0], "low": low, "high": high})
