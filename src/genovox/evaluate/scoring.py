"""One model on one set of test rows: headline, per-fold figures, decisions, curves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from genovox.evaluate.discrimination import (
    GRID,
    PARTIAL_AUC_TO,
    UNDEFINED,
    Confusion,
    Ranking,
    cells_of_decisions,
    divide,
    losses_of_scores,
    rank_rows,
    rates_of_confusion,
    roc_auc,
)
from genovox.evaluate.intervals import (
    Clusters,
    Resampling,
    bound_fold_auc,
    list_auc_intervals,
    list_proportion_interval,
    prefer_delong,
    tabulate_band,
)
from genovox.evaluate.schema import Block, ConfusionRow, FoldScore, Metric, MetricSet, OperatingPoint, SkippedFold
from genovox.statistics.delong import place_scores

Floats = NDArray[np.float64]
FoldKey = tuple[int, str]
PROPORTIONS: tuple[Literal["accuracy", "precision", "recall", "specificity"], ...] = (
    "accuracy",
    "precision",
    "recall",
    "specificity",
)
"""Threshold metrics that are shares of patients."""


@dataclass(frozen=True)
class BlockScores:
    """What one model scored on one set of test rows.

    Attributes:
        block: The figures, as ``metrics.json`` holds them.
        headline: Mean within-fold AUC; NaN if no fold holds both classes.
        draws: The headline in each resample, shape (B,), under the networks as they are.
        spread: How much wider intervals are than the draws show, ``TRAINING_SPREAD`` over folds.
        influence: What each cluster pulls on the headline, shape (k,), see ``influence_of_clusters``.
        fold_aucs: AUC of each fold in natural order, NaN where it holds one class, shape (J,).
        tested: The scored rows, in an order that all models share.
        roc: Columns false_positive_rate, sensitivity, low, high: the vertical average of within-fold curves.
        precision_recall: Columns recall, precision, low, high, averaged likewise.
    """

    block: Block
    headline: float
    draws: Floats
    spread: float
    influence: Floats
    fold_aucs: Floats
    tested: pd.DataFrame
    roc: pd.DataFrame
    precision_recall: pd.DataFrame


def list_folds(table: pd.DataFrame) -> dict[FoldKey, NDArray[np.intp]]:
    """Row positions of each (repeat, fold), repeats and folds in their natural order ("10" after "9")."""
    rows = table.groupby(["repeat", "fold"], sort=False).indices
    named = {(int(key[0]), str(key[1])): np.asarray(at) for key, at in rows.items() if isinstance(key, tuple)}
    return {key: named[key] for key in sorted(named, key=lambda key: (key[0], len(key[1]), key[1]))}


def within_fold_auc(table: pd.DataFrame, weights: ArrayLike | None = None) -> Floats:
    """The headline: the mean of within-fold AUCs over folds and repeats.

    Scores of different networks are not comparable, so no pair of rows from two folds is ever compared. A fold
    without both classes is left out of the mean. With weights a fold counts by the share of its pairs that they
    draw, mean positive weight x mean negative weight: 1 for every fold where all weights are 1.

    Args:
        table: Test rows of one model: repeat, fold, label, score; n rows.
        weights: One weight a row, shape (B, n) or (n,); None weighs every row 1.

    Returns:
        Shape (B,) in [0, 1], (1,) without weights; NaN where no fold has both classes.
    """
    rows = np.ones((1, len(table))) if weights is None else np.atleast_2d(np.asarray(weights))
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    mean = _FoldMean()
    for fold in list_folds(table).values():
        if 0 < labels[fold].sum() < len(fold):
            drawn = rows[:, fold]
            mean.add(roc_auc(labels[fold], scores[fold], drawn), _share_of_pairs(labels[fold], drawn))
    return mean.value(len(rows))


def influence_of_clusters(table: pd.DataFrame, clusters: Clusters) -> Floats:
    """Derivative of the headline by each cluster's weight, centred within the strata that are resampled apart.

    Its sum of squares is the variance that resampling patients estimates; no pair of rows is counted one by one.

    Args:
        table: Test rows of one model: repeat, fold, cluster, label, score.
        clusters: The clusters of these rows, k of them.

    Returns:
        Shape (k,); 0 where no fold holds both classes.

    References:
        Efron (1982), doi:10.1137/1.9781611970319, ch. 6.
    """
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    columns = clusters.locate(table["cluster"])
    headline = within_fold_auc(table)[0]
    pull, judged = np.zeros(len(clusters.ids)), 0
    for fold in list_folds(table).values():
        positive = labels[fold] == 1
        if not 0 < positive.sum() < len(fold):
            continue
        judged += 1
        placed = place_scores(labels[fold], scores[fold])
        for members, shares in ((fold[positive], placed.positive[0]), (fold[~positive], placed.negative[0])):
            np.add.at(pull, columns[members], (shares - headline) / len(members))
    pull /= max(judged, 1)
    for stratum in np.unique(clusters.strata):
        members = clusters.strata == stratum
        pull[members] -= pull[members].mean()
    return pull


def estimate_within_fold_auc(table: pd.DataFrame, *, resamples: int, seed: int) -> Metric:
    """The headline and its interval, resampling clusters; DeLong's where all rows are of one fold.

    Args:
        table: Test rows of one model: repeat, fold, cluster, label, score.
        resamples: Number of resamples, at least 1.
        seed: Seed of the resamples.
    """
    resampling = Resampling.of(table, resamples=resamples, seed=seed)
    values = within_fold_auc(table, resampling.drawn[:, resampling.clusters.locate(table["cluster"])])
    metric = resampling.summarise(values, note="no fold holds both classes" if np.isnan(values[0]) else None)
    if resampling.spread != 1.0:
        return metric
    return prefer_delong(metric, influence_of_clusters(table, resampling.clusters), resampling.clusters)


def score_block(
    test: pd.DataFrame,
    points: Mapping[FoldKey, OperatingPoint],
    resampling: Resampling,
) -> BlockScores:
    """Score one model on one set of test rows.

    Args:
        test: Its test units (``gather_units``), n rows.
        points: The operating point of each (repeat, fold).
        resampling: Of the block's test rows: a patient weighs the same in every repeat and model.
    """
    test = test.reset_index(drop=True)
    clusters, drawn, spread = resampling.clusters, resampling.drawn, resampling.spread
    columns = clusters.locate(test["cluster"])
    labels, scores = test["label"].to_numpy(), test["score"].to_numpy()
    folds = test["fold"].nunique()
    means = [_FoldMean() for _ in Ranking._fields]
    per_fold, skipped = [], []
    for (repeat, fold), rows in list_folds(test).items():
        positives = int(labels[rows].sum())
        auc, low, high = None, None, None
        if 0 < positives < len(rows):
            in_fold = drawn[:, columns[rows]]
            ranking = rank_rows(labels[rows], scores[rows], in_fold)
            auc = float(ranking.roc_auc[0])
            low, high = bound_fold_auc(test.iloc[rows])
            shares = _share_of_pairs(labels[rows], in_fold)
            for mean, values in zip(means, ranking, strict=True):
                mean.add(values, shares)
        else:
            only = f"the fold tests only label {labels[rows][0]}: no AUC, left out of the mean"
            skipped.append(SkippedFold(repeat=repeat, fold=fold, reason=only))
        point = points[repeat, fold]
        per_fold.append(
            FoldScore(
                repeat=repeat,
                fold=fold,
                n=len(rows),
                positives=positives,
                auc=auc,
                low=low,
                high=high,
                threshold=point.threshold,
                threshold_source=point.source,
            )
        )
    ranked = Ranking(*(mean.value(len(drawn), *shape) for mean, shape in zip(means, _SHAPES, strict=True)))
    note = _describe_skipped(skipped, len(per_fold))
    metrics = {
        "roc_auc": resampling.summarise(ranked.roc_auc, note=note),
        "pr_auc": resampling.summarise(ranked.average_precision, note=note),
        "partial_auc": resampling.summarise(ranked.partial_auc, note=note),
    }
    metrics |= _score_losses(test, resampling)
    decided, confusion, trials = _score_decisions(test, points, resampling)
    units = test.drop_duplicates("unit")
    draws, influence = ranked.roc_auc[1:], influence_of_clusters(test, clusters)
    fold_aucs = np.array([np.nan if fold.auc is None else fold.auc for fold in per_fold])
    if folds == 1:
        metrics["roc_auc"] = prefer_delong(metrics["roc_auc"], influence, clusters)
    intervals = list_auc_intervals(metrics["roc_auc"], draws, influence, fold_aucs, clusters, folds=folds)
    refused = None if len(units) == len(clusters.ids) else "rows of one patient or family are not independent trials"
    if folds > 1:
        refused = "folds share training patients: their decisions are not independent trials"
    for figure in PROPORTIONS:
        intervals += list_proportion_interval(figure, decided[figure], trials[figure], refused=refused)
    block = Block(
        n_patients=units["patient_id"].nunique(),
        n_cases=int(units["cases"].sum()),
        n_positive=int(units["label"].sum()),
        n_negative=int((units["label"] == 0).sum()),
        prevalence=float(units["label"].mean()),
        repeats=test["repeat"].nunique(),
        folds=folds,
        partial_auc_to=PARTIAL_AUC_TO,
        metrics=MetricSet.model_validate(metrics | decided),
        intervals=intervals,
        per_fold=per_fold,
        skipped_folds=skipped,
        confusion=confusion,
    )
    return BlockScores(
        block=block,
        headline=float(ranked.roc_auc[0]),
        draws=draws,
        spread=spread,
        influence=influence,
        fold_aucs=fold_aucs,
        tested=test,
        roc=tabulate_band("false_positive_rate", "sensitivity", GRID, ranked.sensitivity, clusters, spread=spread),
        precision_recall=tabulate_band("recall", "precision", GRID, ranked.precision, clusters, spread=spread),
    )


_SHAPES: tuple[tuple[int, ...], ...] = ((), (), (), GRID.shape, GRID.shape)


def _score_losses(test: pd.DataFrame, resampling: Resampling) -> dict[str, Metric]:
    """Mean losses over all rows of a repeat, averaged over repeats."""
    losses = losses_of_scores(test["label"], test["score"])
    columns, repeats = resampling.clusters.locate(test["cluster"]), test["repeat"].to_numpy()
    means = {name: _FoldMean() for name in losses}
    for repeat in np.unique(repeats):
        rows = np.flatnonzero(repeats == repeat)
        stacked = np.stack([np.ones(len(rows)), *(values[rows] for values in losses.values())], axis=1)
        count, *sums = resampling.sum_rows(columns[rows], stacked).T
        for mean, total in zip(means.values(), sums, strict=True):
            mean.add(np.divide(total, count, out=np.zeros_like(total), where=count > 0), (count > 0) * 1.0)
    return {
        name: resampling.summarise(mean.value(), limits=_LIMITS.get(name, (0.0, 1.0))) for name, mean in means.items()
    }


class _FoldMean:
    """The mean over folds, resample by resample, each fold weighing by how much of its pairs the resample drew.

    On the sample itself every fold weighs 1. A plain mean of resampled fold AUCs would measure a patient's pull from
    the AUC of its own fold only: with 3 positives a fold a third of their variance is lost, and the interval of
    5 folds x 3 repeats on 16 + 44 patients covers 91% instead of 95%.
    """

    def __init__(self) -> None:
        self._sum: Floats | None = None
        self._share: Floats | None = None

    def add(self, values: Floats, shares: Floats) -> None:
        """Add a fold: values of shape (B,) or (B, grid), NaN where its share, shape (B,), is 0."""
        share = shares.reshape(-1, *(1,) * (values.ndim - 1))
        part = np.where(share > 0, values, 0.0) * share
        self._sum = part if self._sum is None else self._sum + part
        self._share = share if self._share is None else self._share + share

    def value(self, *shape: int) -> Floats:
        """The mean; NaN of ``shape`` where nothing was added."""
        if self._sum is None or self._share is None:
            return np.full(shape, np.nan)
        return divide(self._sum, self._share)


def _share_of_pairs(labels: NDArray[np.int64], weights: NDArray[np.generic]) -> Floats:
    """Weight of the pairs of a positive and a negative over their number in the fold, shape (B,)."""
    positive = labels == 1
    pulled: Floats = weights[:, positive].mean(axis=1) * weights[:, ~positive].mean(axis=1)
    return pulled


_LIMITS = {"log_loss": (0.0, np.inf), "mcc": (-1.0, 1.0)}


def _describe_skipped(skipped: list[SkippedFold], folds: int) -> str | None:
    if not skipped:
        return None
    if len(skipped) == folds:
        return "no fold holds both classes; use fewer folds"
    names = ", ".join(f"repeat {one.repeat} fold {one.fold}" for one in skipped)
    return f"one class only, left out: {names}"


def _score_decisions(
    test: pd.DataFrame, points: Mapping[FoldKey, OperatingPoint], resampling: Resampling
) -> tuple[dict[str, Metric], list[ConfusionRow], dict[str, int | None]]:
    """Threshold metrics, counted over all test rows of a repeat and averaged over repeats, and the trials behind."""
    clusters = resampling.clusters
    thresholds = np.empty(len(test))
    for key, rows in list_folds(test).items():
        thresholds[rows] = points[key].threshold
    called = test["score"].to_numpy() >= thresholds
    cells = cells_of_decisions(test["label"], called)
    columns = clusters.locate(test["cluster"])
    means = {name: _FoldMean() for name in UNDEFINED}
    undefined: dict[str, list[int]] = {name: [] for name in UNDEFINED}
    confusion, called_clusters = [], []
    repeats = test["repeat"].to_numpy()
    for repeat in np.unique(repeats).tolist():
        rows = np.flatnonzero(repeats == repeat)
        counts = Confusion(*resampling.sum_rows(columns[rows], cells[rows]).T)
        for name, values in rates_of_confusion(counts).items():
            means[name].add(values, (~np.isnan(values)).astype(np.float64))
            if np.isnan(values[0]):
                undefined[name].append(repeat)
        names = ConfusionRow.model_fields.keys() - {"repeat"}
        confusion.append(ConfusionRow(repeat=repeat, **{name: int(getattr(counts, name)[0]) for name in names}))
        called_clusters.append(len(np.unique(columns[rows][called[rows]])))
    trials = {
        "accuracy": len(clusters.ids),
        "precision": min((calls for calls in called_clusters if calls), default=None),
        "recall": clusters.counts.positive,
        "specificity": clusters.counts.negative,
    }
    metrics = {
        name: resampling.summarise(
            mean.value(),
            note=_describe_undefined(name, undefined[name], len(confusion), points),
            independent=None if name == "accuracy" else trials.get(name),
            limits=_LIMITS.get(name, (0.0, 1.0)),
        )
        for name, mean in means.items()
    }
    return metrics, confusion, trials


def _describe_undefined(name: str, repeats: list[int], of: int, points: Mapping[FoldKey, OperatingPoint]) -> str | None:
    notes = []
    if len(repeats) == of:
        notes.append(f"not defined: {UNDEFINED[name]}")
    elif repeats:
        notes.append(f"not defined in repeat {', '.join(map(str, repeats))} ({UNDEFINED[name]}), which is left out")
    fallen = [point for point in points.values() if point.source in ("pooled", "default")]
    if fallen:
        notes.append(f"{len(fallen)} of {len(points)} thresholds had to be pooled or are 0.5 by default")
    return "; ".join(notes) or None
