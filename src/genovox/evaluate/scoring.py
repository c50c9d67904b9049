"""One model on one set of test rows: headline, per-fold figures, decisions, curves."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from genovox.evaluate.discrimination import (
    GRID,
    UNDEFINED,
    Ranking,
    cells_of_decisions,
    rank_rows,
    rates_of_confusion,
    roc_auc,
    sum_cells,
)
from genovox.evaluate.intervals import TAILS, Clusters, draw_weights, summarise_draws
from genovox.evaluate.schema import Block, ConfusionRow, FoldScore, Metric, MetricSet, OperatingPoint, SkippedFold

Floats = NDArray[np.float64]
FoldKey = tuple[int, str]


@dataclass(frozen=True)
class BlockScores:
    """What one model scored on one set of test rows.

    Attributes:
        block: The figures, as ``metrics.json`` holds them.
        headline: Mean within-fold AUC; NaN if no fold holds both classes.
        draws: The headline in each resample, shape (B,).
        roc: Columns false_positive_rate, sensitivity, low, high: the vertical average of within-fold curves.
        precision_recall: Columns recall, precision, low, high, averaged likewise.
    """

    block: Block
    headline: float
    draws: Floats
    roc: pd.DataFrame
    precision_recall: pd.DataFrame


def list_folds(table: pd.DataFrame) -> dict[FoldKey, NDArray[np.intp]]:
    """Row positions of each (repeat, fold), repeats and folds in their natural order ("10" after "9")."""
    repeats, folds = table["repeat"].to_numpy(), table["fold"].to_numpy()
    keys = {(int(repeat), str(fold)) for repeat, fold in zip(repeats, folds, strict=True)}
    ordered = sorted(keys, key=lambda key: (key[0], len(key[1]), key[1]))
    return {key: np.flatnonzero((repeats == key[0]) & (folds == key[1])) for key in ordered}


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


def estimate_within_fold_auc(table: pd.DataFrame, *, resamples: int, seed: int) -> Metric:
    """The headline and its interval, resampling clusters.

    Args:
        table: Test rows of one model: repeat, fold, cluster, label, score.
        resamples: Number of resamples, at least 1.
        seed: Seed of the resamples.
    """
    clusters = Clusters.from_rows(table["cluster"], table["label"])
    weights = draw_weights(clusters, resamples=resamples, seed=seed)
    estimate = float(within_fold_auc(table)[0])
    note = "no fold holds both classes" if np.isnan(estimate) else None
    draws = within_fold_auc(table, weights[:, clusters.locate(table["cluster"])])
    return summarise_draws(estimate, draws, clusters, note=note)


def score_block(
    test: pd.DataFrame,
    points: Mapping[FoldKey, OperatingPoint],
    clusters: Clusters,
    weights: NDArray[np.uint8],
) -> BlockScores:
    """Score one model on one set of test rows.

    Args:
        test: Its test units (``gather_units``), n rows.
        points: The operating point of each (repeat, fold).
        clusters: Clusters of the block, the same for every model.
        weights: Their resample weights, shape (B, k): a patient weighs the same in every repeat and model.
    """
    test = test.reset_index(drop=True)
    # Row 0 is the sample itself, so that an estimate and its draws come from the same code.
    drawn = np.concatenate([np.ones((1, weights.shape[1]), dtype=np.uint8), weights])
    columns = clusters.locate(test["cluster"])
    labels, scores = test["label"].to_numpy(), test["score"].to_numpy()
    means = [_FoldMean() for _ in Ranking._fields]
    per_fold, skipped = [], []
    for (repeat, fold), rows in list_folds(test).items():
        positives = int(labels[rows].sum())
        auc = None
        if 0 < positives < len(rows):
            in_fold = drawn[:, columns[rows]]
            ranking = rank_rows(labels[rows], scores[rows], in_fold)
            auc = float(ranking.roc_auc[0])
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
                threshold=point.threshold,
                threshold_source=point.source,
            )
        )
    ranked = Ranking(*(mean.value(len(drawn), *shape) for mean, shape in zip(means, _SHAPES, strict=True)))
    note = _describe_skipped(skipped, len(per_fold))
    metrics = {
        "roc_auc": _summarise(ranked.roc_auc, clusters, note=note),
        "pr_auc": _summarise(ranked.average_precision, clusters, note=note),
    }
    decided, confusion = _score_decisions(test, points, clusters, drawn)
    units = test.drop_duplicates("unit")
    block = Block(
        n_patients=units["patient_id"].nunique(),
        n_cases=int(units["cases"].sum()),
        n_positive=int(units["label"].sum()),
        n_negative=int((units["label"] == 0).sum()),
        prevalence=float(units["label"].mean()),
        repeats=test["repeat"].nunique(),
        folds=test["fold"].nunique(),
        metrics=MetricSet.model_validate(metrics | decided),
        per_fold=per_fold,
        skipped_folds=skipped,
        confusion=confusion,
    )
    return BlockScores(
        block=block,
        headline=float(ranked.roc_auc[0]),
        draws=ranked.roc_auc[1:],
        roc=_tabulate_curve("false_positive_rate", "sensitivity", ranked.sensitivity, clusters),
        precision_recall=_tabulate_curve("recall", "precision", ranked.precision, clusters),
    )


_SHAPES: tuple[tuple[int, ...], ...] = ((), (), GRID.shape, GRID.shape)


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
        mean: Floats = np.full(self._sum.shape, np.nan)
        np.divide(self._sum, self._share, out=mean, where=self._share > 0)
        return mean


def _share_of_pairs(labels: NDArray[np.int64], weights: NDArray[np.generic]) -> Floats:
    """Weight of the pairs of a positive and a negative over their number in the fold, shape (B,)."""
    positive = labels == 1
    pulled: Floats = weights[:, positive].mean(axis=1) * weights[:, ~positive].mean(axis=1)
    return pulled


def _summarise(values: Floats, clusters: Clusters, *, note: str | None, independent: int | None = None) -> Metric:
    return summarise_draws(float(values[0]), values[1:], clusters, independent=independent, note=note)


def _describe_skipped(skipped: list[SkippedFold], folds: int) -> str | None:
    if not skipped:
        return None
    if len(skipped) == folds:
        return "no fold holds both classes; use fewer folds"
    names = ", ".join(f"repeat {one.repeat} fold {one.fold}" for one in skipped)
    return f"one class only, left out: {names}"


def _score_decisions(
    test: pd.DataFrame, points: Mapping[FoldKey, OperatingPoint], clusters: Clusters, drawn: NDArray[np.uint8]
) -> tuple[dict[str, Metric], list[ConfusionRow]]:
    """Threshold metrics, counted over all test rows of a repeat and averaged over repeats."""
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
        # Counts a cluster first: resamples then cost one small matrix product, whatever the number of cases.
        per_cluster = np.zeros((len(clusters.ids), cells.shape[1]))
        np.add.at(per_cluster, columns[rows], cells[rows])
        counts = sum_cells(per_cluster, drawn)
        for name, values in rates_of_confusion(counts).items():
            means[name].add(values, (~np.isnan(values)).astype(np.float64))
            if np.isnan(values[0]):
                undefined[name].append(repeat)
        names = ConfusionRow.model_fields.keys() - {"repeat"}
        confusion.append(ConfusionRow(repeat=repeat, **{name: int(getattr(counts, name)[0]) for name in names}))
        called_clusters.append(int((per_cluster[:, 0] + per_cluster[:, 1] > 0).sum()))
    trials = {
        "precision": min((calls for calls in called_clusters if calls), default=None),
        "recall": clusters.counts.positive,
        "specificity": clusters.counts.negative,
    }
    metrics = {
        name: _summarise(
            mean.value(),
            clusters,
            note=_describe_undefined(name, undefined[name], len(confusion), points),
            independent=trials.get(name),
        )
        for name, mean in means.items()
    }
    return metrics, confusion


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


def _tabulate_curve(x: str, y: str, curves: Floats, clusters: Clusters) -> pd.DataFrame:
    """The mean curve on ``GRID`` with its pointwise 95% band over resamples; empty band where intervals are refused."""
    low = high = np.full(len(GRID), np.nan)
    drawn = curves[1:][~np.isnan(curves[1:]).any(axis=1)]
    if len(drawn) and not clusters.too_few:
        low, high = np.quantile(drawn, TAILS, axis=0)
    return pd.DataFrame({x: GRID, y: curves[0], "low": low, "high": high})
