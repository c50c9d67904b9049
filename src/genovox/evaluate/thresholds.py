"""Operating thresholds, chosen on validation rows; no function here is given a test score or a test label."""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from genovox.cohort.splits import FIXED
from genovox.evaluate.discrimination import trace_roc
from genovox.evaluate.schema import OperatingPoint

RULE = (
    "Youden's J on validation rows; the midpoint between two scores; of equal J the lowest, "
    "which misses fewer carriers; positive: score >= threshold"
)
DEFAULT_THRESHOLD = 0.5


def choose_youden_threshold(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """The cut between two scores with the largest sensitivity + specificity - 1; of equal cuts the lowest.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Raw, in [0, 1], shape (n,).

    Returns:
        The midpoint between the two scores; None where no cut can be judged (one class, or one distinct score).

    References:
        Youden (1950), doi:10.1002/1097-0142(1950)3:1<32::aid-cncr2820030106>3.0.co;2-3.
    """
    truth = np.asarray(labels)
    if truth.size == 0 or truth.min() == truth.max():
        return None
    false_rates, sensitivities, reached = trace_roc(truth, scores)
    # Cuts lie between distinct scores only: calling everybody, or nobody, is no operating point.
    youden = (sensitivities - false_rates)[1:-1]
    if not youden.size:
        return None
    # J is compared up to rounding, so that equal cuts are equal on every machine.
    best = int(np.flatnonzero(youden >= youden.max() - 1e-12)[-1])
    above, below = reached[best + 1], reached[best + 2]
    middle = float((above + below) / 2)
    return middle if middle > below else float(above)


def choose_fold_threshold(
    validation: pd.DataFrame, *, repeat: int, fold: str, test_clusters: NDArray[np.int64]
) -> OperatingPoint:
    """The threshold of one fold, from its own validation rows.

    Where these hold one class (or one distinct score), the other folds' validation rows of the repeat are added, less
    every cluster that this fold tests: with rotating folds they hold its test patients, whose labels it must not see.
    Where that fails too, the threshold is 0.5 and says so; dropping the fold would be a silent exclusion.

    Args:
        validation: Validation rows of one model and repeat: fold, cluster, label, score.
        repeat: Repeat of the fold.
        fold: Name of the fold.
        test_clusters: Clusters that the fold tests.
    """
    own = validation[validation["fold"] == fold]
    threshold = choose_youden_threshold(own["label"], own["score"])
    if threshold is not None:
        return _describe(own, threshold, repeat=repeat, fold=fold, source="own")
    pool = validation[~validation["cluster"].isin(test_clusters)]
    threshold = choose_youden_threshold(pool["label"], pool["score"])
    reason = _explain_no_cut(own)
    if threshold is not None:
        note = f"{reason}: pooled with the repeat's other validation folds, less the patients tested here"
        return _describe(pool, threshold, repeat=repeat, fold=fold, source="pooled", note=note)
    note = f"{reason}, pooling does not help: {DEFAULT_THRESHOLD} by default"
    return _describe(own, DEFAULT_THRESHOLD, repeat=repeat, fold=fold, source="default", note=note)


def choose_fixed_threshold(validation: pd.DataFrame, *, repeat: int) -> OperatingPoint:
    """The threshold of the fixed test part, from one model's validation rows of all folds and repeats."""
    threshold = choose_youden_threshold(validation["label"], validation["score"])
    if threshold is not None:
        return _describe(validation, threshold, repeat=repeat, fold=FIXED, source="all-folds")
    note = f"{_explain_no_cut(validation)}: {DEFAULT_THRESHOLD} by default"
    return _describe(validation, DEFAULT_THRESHOLD, repeat=repeat, fold=FIXED, source="default", note=note)


def _explain_no_cut(validation: pd.DataFrame) -> str:
    if validation.empty:
        return "no validation rows"
    if (validation["label"] == validation["label"].iloc[0]).all():
        return f"validation holds only label {validation['label'].iloc[0]}"
    return f"every validation score is {validation['score'].iloc[0]:g}"


def _describe(
    validation: pd.DataFrame,
    threshold: float,
    *,
    repeat: int,
    fold: str,
    source: Literal["own", "pooled", "all-folds", "default"],
    note: str | None = None,
) -> OperatingPoint:
    positive = validation["label"].to_numpy() == 1
    called = validation["score"].to_numpy() >= threshold
    return OperatingPoint(
        repeat=repeat,
        fold=fold,
        threshold=threshold,
        source=source,
        validation_n=len(validation),
        validation_positives=int(positive.sum()),
        validation_sensitivity=float(called[positive].mean()) if positive.any() else None,
        validation_specificity=float((~called[~positive]).mean()) if (~positive).any() else None,
        note=note,
    )
