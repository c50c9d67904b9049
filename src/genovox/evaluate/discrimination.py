"""How well scores rank positives above negatives, and what decisions at a threshold count up to.

Every function takes ``weights`` of shape (B, n): one row a resample, so that a bootstrap is one call.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Weights = NDArray[np.generic]

GRID: Floats = np.linspace(0.0, 1.0, 201)
"""False positive rates of ROC curves and recalls of PR curves, shape (201,)."""

PARTIAL_AUC_TO = 0.2
"""The partial AUC covers false positive rates from 0 to this: specificities that a hospital could work with."""

_CHUNK_ELEMENTS = 2_000_000  # 16 MB an array: resamples go through in chunks, whatever n is
_PAIRS_A_ROW = 300  # up to so many pairs of a positive and a negative a row, one matrix product beats sorted sums

UNDEFINED = {
    "accuracy": "no rows",
    "balanced_accuracy": "a class is absent",
    "precision": "no positive call",
    "recall": "no positives",
    "specificity": "no negatives",
    "f1": "no positives and no positive call",
    "mcc": "a class is absent, or all calls are alike",
}
"""Why a threshold metric has no value."""


class Ranking(NamedTuple):
    """Ranking statistics under B rows of weights; NaN where a class has no weight.

    Attributes:
        roc_auc: Shape (B,), in [0, 1].
        average_precision: Shape (B,), in [0, 1].
        partial_auc: Over false positive rates from 0 to ``PARTIAL_AUC_TO``, shape (B,), in [0, 1]; 0.5 is chance.
        sensitivity: ROC curve on ``GRID``, shape (B, 201).
        precision: PR curve on ``GRID``, shape (B, 201).
    """

    roc_auc: Floats
    average_precision: Floats
    partial_auc: Floats
    sensitivity: Floats
    precision: Floats


class Confusion(NamedTuple):
    """Weighted counts, each of shape (B,)."""

    true_positive: Floats
    false_positive: Floats
    true_negative: Floats
    false_negative: Floats


def _as_rows(weights: ArrayLike | None, n: int) -> Weights:
    return np.ones((1, n)) if weights is None else np.atleast_2d(np.asarray(weights))


def _tie_ends(scores: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order of falling scores, and the last position of each distinct score in that order."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return order, ends


def _accumulate_calls(labels: ArrayLike, scores: ArrayLike, weights: Weights) -> Iterator[tuple[Floats, Floats]]:
    """Weighted true and false positives at each distinct score, highest first, a chunk of resamples at a time."""
    values = np.asarray(scores, dtype=np.float64)
    order, ends = _tie_ends(values)
    positive = np.asarray(labels)[order] == 1
    tied = len(ends) < len(values)
    step = max(1, _CHUNK_ELEMENTS // len(values))
    for start in range(0, len(weights), step):
        ranked = weights[start : start + step].take(order, axis=1).astype(np.float64, copy=False)
        true = np.cumsum(ranked * positive, axis=1)
        false = np.cumsum(ranked, axis=1) - true
        yield (true[:, ends], false[:, ends]) if tied else (true, false)


def divide(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, broadcast, NaN where ``whole`` is 0: a rate of nothing is not 0."""
    quotient: Floats = np.full(np.broadcast_shapes(np.shape(part), np.shape(whole)), np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient


def _area_under_roc(true: Floats, false: Floats) -> Floats:
    # Trapezoids between distinct scores: a tied pair counts half, as in the Mann-Whitney statistic.
    area = false[:, 0] * true[:, 0] / 2
    area += np.einsum("bi,bi->b", np.diff(false, axis=1), true[:, 1:] + true[:, :-1]) / 2
    return divide(area, true[:, -1] * false[:, -1])


def _area_from_pairs(labels: ArrayLike, scores: ArrayLike, weights: NDArray[np.uint8]) -> Floats:
    """The same area from all pairs; exact in float32, as the weights are eight-bit counts and the rows few."""
    positive, values = np.asarray(labels) == 1, np.asarray(scores, dtype=np.float64)
    ups, downs = values[positive, None], values[None, ~positive]
    wins = (ups > downs).astype(np.float32) + (ups == downs) * np.float32(0.5)
    areas = []
    step = max(1, _CHUNK_ELEMENTS // positive.size)
    for start in range(0, len(weights), step):
        rows = weights[start : start + step]
        above, below = rows[:, positive].astype(np.float32), rows[:, ~positive].astype(np.float32)
        won = np.einsum("bj,bj->b", above @ wins, below, dtype=np.float64)
        pairs = above.sum(axis=1, dtype=np.float64) * below.sum(axis=1, dtype=np.float64)
        areas.append(divide(won, pairs))
    return np.concatenate(areas)


def _partial_area(true: Floats, false: Floats) -> Floats:
    pairs = true[:, -1] * false[:, -1]
    limit = PARTIAL_AUC_TO * false[:, -1:]
    before_false, before_true = (np.pad(counts[:, :-1], ((0, 0), (1, 0))) for counts in (false, true))
    step = false - before_false
    inside = np.clip(limit - before_false, 0, step)
    share = np.divide(inside, step, out=np.zeros_like(step), where=step > 0)
    area = divide(np.einsum("bi,bi->b", inside, before_true + share * (true - before_true) / 2), pairs)
    chance = PARTIAL_AUC_TO**2 / 2
    standardised: Floats = (1 + (area - chance) / (PARTIAL_AUC_TO - chance)) / 2
    return standardised


def _average_precision(true: Floats, false: Floats) -> Floats:
    called = true + false
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    area = true[:, 0] * precision[:, 0] + np.einsum("bi,bi->b", np.diff(true, axis=1), precision[:, 1:])
    return np.where(false[:, -1] > 0, divide(area, true[:, -1]), np.nan)


def _sensitivity_on_grid(true: Floats, false: Floats) -> Floats:
    curves = np.full((len(true), len(GRID)), np.nan)
    for row in np.flatnonzero((true[:, -1] > 0) & (false[:, -1] > 0)):
        # Where the curve is vertical, np.interp takes the last of the equal rates: its upper end.
        rates = np.append(0.0, false[row] / false[row, -1])
        curves[row] = np.interp(GRID, rates, np.append(0.0, true[row] / true[row, -1]))
    return curves


def _precision_on_grid(true: Floats, false: Floats) -> Floats:
    # Precision is not linear between points (Davis & Goadrich 2006): a step, as average precision integrates it.
    wanted = np.maximum(GRID, np.finfo(float).tiny)
    curves = np.full((len(true), len(GRID)), np.nan)
    for row in np.flatnonzero((true[:, -1] > 0) & (false[:, -1] > 0)):
        first = np.searchsorted(true[row] / true[row, -1], wanted, side="left")
        curves[row] = true[row, first] / (true[row, first] + false[row, first])
    return curves


def roc_auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Area under the ROC curve: how often a positive outranks a negative, ties counting half.

    Args:
        labels: 0 or 1, shape (n,), n >= 1.
        scores: Higher means more likely positive, shape (n,).
        weights: Not negative, shape (B, n) or (n,); None weighs every row 1.

    Returns:
        Shape (B,) in [0, 1], (1,) without weights; NaN where a class has no weight.

    References:
        Hanley & McNeil (1982), doi:10.1148/radiology.143.1.7063747.
    """
    rows = _as_rows(weights, np.size(scores))
    positives = int((np.asarray(labels) == 1).sum())
    if rows.dtype == np.uint8 and positives * (np.size(scores) - positives) <= _PAIRS_A_ROW * np.size(scores):
        return _area_from_pairs(labels, scores, rows.astype(np.uint8, copy=False))
    return np.concatenate([_area_under_roc(*calls) for calls in _accumulate_calls(labels, scores, rows)])


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Area under the precision-recall curve as a step function (chance: the prevalence).

    Args and shape of the result are those of ``roc_auc``.

    References:
        Davis & Goadrich (2006), doi:10.1145/1143844.1143874.
    """
    rows = _as_rows(weights, np.size(scores))
    return np.concatenate([_average_precision(*calls) for calls in _accumulate_calls(labels, scores, rows)])


def partial_auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Area over false positive rates from 0 to ``PARTIAL_AUC_TO``, scaled so that chance is 0.5 and perfect is 1.

    Args and shape of the result are those of ``roc_auc``.

    References:
        McClish (1989), doi:10.1177/0272989X8900900307.
    """
    rows = _as_rows(weights, np.size(scores))
    return np.concatenate([_partial_area(*calls) for calls in _accumulate_calls(labels, scores, rows)])


def rank_rows(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Ranking:
    """All ranking statistics and curves in one sweep; args as for ``roc_auc``."""
    rows = _as_rows(weights, np.size(scores))
    parts = [
        (
            _area_under_roc(true, false),
            _average_precision(true, false),
            _partial_area(true, false),
            _sensitivity_on_grid(true, false),
            _precision_on_grid(true, false),
        )
        for true, false in _accumulate_calls(labels, scores, rows)
    ]
    return Ranking(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def trace_roc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> tuple[Floats, Floats, Floats]:
    """Points of one ROC curve, from (0, 0) to (1, 1), one a distinct score.

    Args:
        labels: 0 or 1, shape (n,), both classes present.
        scores: Shape (n,).
        weights: Shape (n,) or None.

    Returns:
        False positive rates, sensitivities and the scores that reach them (first: +inf), each of shape (points + 1,).
    """
    true, false = _one_curve(labels, scores, weights)
    reached = np.append(np.inf, np.unique(np.asarray(scores, dtype=np.float64))[::-1])
    return np.append(0.0, divide(false, false[-1:])), np.append(0.0, divide(true, true[-1:])), reached


def _one_curve(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats]:
    true, false = next(_accumulate_calls(labels, scores, _as_rows(weights, np.size(scores))))
    return true[0], false[0]


def cells_of_decisions(labels: ArrayLike, calls: ArrayLike) -> Floats:
    """The cell of the confusion matrix of each row, one-hot in the order of ``Confusion``, shape (n, 4)."""
    positive, called = np.asarray(labels) == 1, np.asarray(calls, dtype=bool)
    cells = [positive & called, ~positive & called, ~positive & ~called, positive & ~called]
    return np.stack(cells, axis=1).astype(np.float64)


def sum_columns(values: Floats, weights: Weights) -> Floats:
    """Sums of columns, shape (n, columns), under weights, shape (B, n): shape (B, columns)."""
    step = max(1, _CHUNK_ELEMENTS // len(values))
    chunks = [weights[start : start + step].astype(np.float64) @ values for start in range(0, len(weights), step)]
    return np.concatenate(chunks)


def rates_of_confusion(counts: Confusion) -> dict[str, Floats]:
    """Threshold metrics of weighted counts, each of shape (B,); NaN where ``UNDEFINED`` says why.

    References:
        MCC: Matthews (1975), doi:10.1016/0005-2795(75)90109-9.
    """
    true, false, rejected, missed = counts
    margins = (true + false) * (true + missed) * (rejected + false) * (rejected + missed)
    recall, specificity = divide(true, true + missed), divide(rejected, rejected + false)
    return {
        "accuracy": divide(true + rejected, true + false + rejected + missed),
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": divide(true, true + false),
        "recall": recall,
        "specificity": specificity,
        "f1": divide(2 * true, 2 * true + false + missed),
        "mcc": divide(true * rejected - false * missed, np.sqrt(margins)),
    }


def losses_of_scores(labels: ArrayLike, scores: ArrayLike) -> dict[str, Floats]:
    """Loss of each raw score as a probability, each of shape (n,): ``log_loss`` and ``brier``, the squared error.

    Args:
        labels: 0 or 1, shape (n,).
        scores: In [0, 1], shape (n,); the logarithm is taken no nearer to 0 and 1 than float64 resolves, so that one
            certain error is dear (36) and not infinite.

    References:
        Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    truth, values = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    certain = np.finfo(np.float64).eps
    given = np.clip(np.where(truth == 1, values, 1 - values), certain, 1 - certain)
    return {"log_loss": -np.log(given), "brier": (values - truth) ** 2}
