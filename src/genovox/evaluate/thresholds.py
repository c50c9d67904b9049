"""Operating thresholds, chosen on validation rows, never on a test score or a test label; what they give in test."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from genovox.cohort.splits import FIXED
from genovox.evaluate.discrimination import Confusion, cells_of_decisions, rates_of_confusion, trace_roc
from genovox.evaluate.intervals import Resampling
from genovox.evaluate.schema import OperatingPoint, RuleResult, Spread
from genovox.evaluate.scoring import list_folds

Rule = Callable[[ArrayLike, ArrayLike], float | None]

RULE = (
    "Youden's J on validation rows; the midpoint between two scores; of equal J the lowest, "
    "which misses fewer carriers; positive: score >= threshold"
)
DEFAULT_THRESHOLD = 0.5
SENSITIVITIES = (0.90, 0.95)


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


def choose_sensitive_threshold(labels: ArrayLike, scores: ArrayLike, sensitivity: float) -> float | None:
    """The highest cut that keeps the sensitivity at or above what is asked.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Raw, in [0, 1], shape (n,).
        sensitivity: Above 0, at most 1.

    Returns:
        The midpoint between the two scores, or the lowest score; None without both classes.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.size == 0 or truth.min() == truth.max():
        return None
    ranked = np.sort(values[truth == 1])[::-1]
    lowest = ranked[int(np.ceil(sensitivity * len(ranked) - 1e-9)) - 1]
    return _cut_below(float(lowest), values)


def choose_cheapest_threshold(labels: ArrayLike, scores: ArrayLike, cost_ratio: float) -> float | None:
    """The cut with the lowest cost of missed carriers and false alarms; of equal cuts the lowest.

    Calling everybody (0) and nobody (just above 1) are cuts too: where carriers are rare and a miss costs little, or
    a miss costs much and the score is weak, they are the cheapest.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Raw, in [0, 1], shape (n,).
        cost_ratio: Cost of a missed carrier over that of a false alarm, above 0.

    Returns:
        None without both classes.

    References:
        Elkan (2001), https://dl.acm.org/doi/10.5555/1642194.1642224.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.size == 0 or truth.min() == truth.max():
        return None
    false_rates, sensitivities, reached = trace_roc(truth, values)
    carriers = int((truth == 1).sum())
    costs = cost_ratio * carriers * (1 - sensitivities) + (len(truth) - carriers) * false_rates
    best = int(np.flatnonzero(costs <= costs.min() + 1e-9)[-1])
    if best == 0:
        return float(np.nextafter(1.0, 2.0))
    return 0.0 if best == len(costs) - 1 else _cut_below(float(reached[best]), values)


def _cut_below(score: float, scores: NDArray[np.float64]) -> float:
    """The middle between a score and the next lower one; the score itself where nothing lies between or below."""
    lower = scores[scores < score]
    middle = (score + float(lower.max())) / 2 if lower.size else score
    return middle if not lower.size or middle > lower.max() else score


def choose_rule_thresholds(rule: Rule, validation: pd.DataFrame, test: pd.DataFrame) -> list[OperatingPoint]:
    """One rule's threshold for every fold that is tested, on the validation patients of the repeat's folds together.

    Their scores come from several networks, so a threshold holds as far as these agree; a fold alone has too few
    carriers for a sensitivity of 0.90. Clusters that the fold tests are left out of its pool.

    Args:
        rule: From labels and scores to a threshold, None where it has no answer.
        validation: Validation rows of one model: repeat, fold, cluster, label, score.
        test: Its test rows of one block; only folds and clusters are read.
    """
    points = []
    for (repeat, fold), rows in list_folds(test).items():
        pool = validation if fold == FIXED else validation[validation["repeat"] == repeat]
        pool = pool[~pool["cluster"].isin(test["cluster"].to_numpy()[rows])]
        threshold = rule(pool["label"], pool["score"])
        source: Literal["pooled", "all-folds"] = "all-folds" if fold == FIXED else "pooled"
        if threshold is not None:
            points.append(_describe(pool, threshold, repeat=repeat, fold=fold, source=source))
        else:
            note = f"{_explain_no_cut(pool)}: {DEFAULT_THRESHOLD} by default"
            points.append(_describe(pool, DEFAULT_THRESHOLD, repeat=repeat, fold=fold, source="default", note=note))
    return points


def list_rules(cost_ratio: float) -> dict[str, tuple[Rule, str]]:
    """The rules and what each asks of validation patients, in words.

    Args:
        cost_ratio: Cost of a missed carrier over that of a false alarm, above 0.
    """
    rules: dict[str, tuple[Rule, str]] = {
        "youden": (choose_youden_threshold, "the largest sensitivity + specificity - 1"),
    }
    for wanted in SENSITIVITIES:
        words = f"the highest threshold with a sensitivity of at least {wanted:.2f}"
        rules[f"sensitivity-{wanted:.2f}"] = (partial(choose_sensitive_threshold, sensitivity=wanted), words)
    words = f"the lowest cost, where a missed carrier costs {cost_ratio:g} times a false alarm"
    return rules | {"cost": (partial(choose_cheapest_threshold, cost_ratio=cost_ratio), words)}


def measure_rules(
    validation: pd.DataFrame, test: pd.DataFrame, resampling: Resampling, *, cost_ratio: float
) -> dict[str, RuleResult]:
    """What each rule's thresholds give on the test rows of one model and block, all repeats together.

    Args:
        validation: Its validation rows: repeat, fold, cluster, label, score.
        test: Its test rows, the same columns.
        resampling: Of the block's test rows.
        cost_ratio: See ``list_rules``.
    """
    clusters = resampling.clusters
    results = {}
    for name, (rule, _) in list_rules(cost_ratio).items():
        points = choose_rule_thresholds(rule, validation, test)
        thresholds = np.empty(len(test))
        for rows, point in zip(list_folds(test).values(), points, strict=True):
            thresholds[rows] = point.threshold
        cells = cells_of_decisions(test["label"], test["score"].to_numpy() >= thresholds)
        counts = resampling.sum_rows(clusters.locate(test["cluster"]), cells)
        rates = rates_of_confusion(Confusion(*counts.T))
        fallen = sum(point.source == "default" for point in points)
        note = f"{fallen} of {len(points)} thresholds are {DEFAULT_THRESHOLD} by default" if fallen else None
        results[name] = RuleResult(
            points=points,
            spread=_describe_spread([point.threshold for point in points]),
            sensitivity=resampling.summarise(rates["recall"], independent=clusters.counts.positive, note=note),
            specificity=resampling.summarise(rates["specificity"], independent=clusters.counts.negative, note=note),
        )
    return results


def _describe_spread(thresholds: list[float]) -> Spread:
    deviation = float(np.std(thresholds, ddof=1)) if len(thresholds) > 1 else None
    return Spread(
        median=float(np.median(thresholds)),
        low=min(thresholds),
        high=max(thresholds),
        standard_deviation=deviation,
    )


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
