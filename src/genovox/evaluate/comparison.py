"""Each model against the primary one. No model is named best: the largest of many AUCs is large by chance."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from genovox.evaluate.intervals import MINIMUM_CLUSTERS, TAILS, Clusters
from genovox.evaluate.schema import Difference
from genovox.evaluate.scoring import BlockScores

METHOD = "paired difference of the headline AUC; the same resampled patients for both models; percentile interval"
NOTE = (
    "the primary model was declared before the study; intervals and p-values are not adjusted for the number of "
    "comparisons"
)

Conclusion = Literal["not distinguishable", "higher than the primary", "lower than the primary"]


def compare_with_primary(scores: Mapping[str, BlockScores], *, primary: str, clusters: Clusters) -> list[Difference]:
    """Compare every other model's headline AUC with the primary model's.

    Args:
        scores: Scores of each model on the same test rows under the same resample weights, in the declared order.
        primary: The model declared first.
        clusters: The clusters that were resampled.

    References:
        Two-sided bootstrap p: Davison & Hinkley (1997), doi:10.1017/CBO9780511802843, ch. 4.
    """
    return [_compare(model, other, scores[primary], clusters) for model, other in scores.items() if model != primary]


def _compare(model: str, other: BlockScores, primary: BlockScores, clusters: Clusters) -> Difference:
    difference = other.headline - primary.headline
    if np.isnan(difference):
        return _not_assessed(model, None, "no fold holds both classes")
    if clusters.too_few:
        reason = f"fewer than {MINIMUM_CLUSTERS} patients in a class"
        return _not_assessed(model, difference, reason)
    draws = other.draws - primary.draws
    draws = draws[~np.isnan(draws)]
    if not draws.size:
        return _not_assessed(model, difference, "no resample has a fold with both classes")
    low, high = (float(bound) for bound in np.quantile(draws, TAILS))
    # One is added to each count: B resamples cannot show a p below 1 / (B + 1).
    tail = (1 + min((draws <= 0).sum(), (draws >= 0).sum())) / (1 + draws.size)
    return Difference(
        model=model,
        difference=difference,
        low=low,
        high=high,
        p_value=float(min(1.0, 2 * tail)),
        conclusion=_conclude(low, high),
    )


def _conclude(low: float, high: float) -> Conclusion:
    if low <= 0 <= high:
        return "not distinguishable"
    return "higher than the primary" if low > 0 else "lower than the primary"


def _not_assessed(model: str, difference: float | None, reason: str) -> Difference:
    return Difference(
        model=model, difference=difference, low=None, high=None, p_value=None, conclusion="not assessed", note=reason
    )
