"""Controls: what would chance have scored?"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from genovox.audit.checks import Check
from genovox.evaluate.scoring import within_fold_auc

PERMUTATION_P = 0.025


def permute_labels(test: pd.DataFrame, *, permutations: int, seed: int) -> tuple[float, float]:
    """Headline AUC of the given scores under labels dealt out anew among patients.

    Labels move as whole patients (or families), among those with equally many rows, so that scans of one patient keep
    one fate. The networks are not trained anew: this asks whether the scores tell the labels, not how the scores
    came about.

    Args:
        test: Test rows of one model: ``repeat, fold, unit, cluster, label, score``.
        permutations: How many deals.
        seed: Their seed.

    Returns:
        One-sided p with the observed deal counted in, and the 97.5th percentile of the null AUC.

    References:
        Phipson & Smyth (2010), doi:10.2202/1544-6115.1585.
    """
    units = test.drop_duplicates("unit").sort_values(["cluster", "unit"]).reset_index(drop=True)
    labels = units["label"].to_numpy()
    dealt = _deal_labels(labels, units["cluster"].to_numpy(), permutations, np.random.default_rng(seed))
    column = pd.Series(np.arange(len(units)), index=units["unit"])
    total, count = np.zeros(permutations), np.zeros(permutations)
    for _, rows in test.groupby(["repeat", "fold"]):
        ranks = rankdata(rows["score"].to_numpy())
        positive = dealt[:, column[rows["unit"]].to_numpy()]
        positives = positive.sum(1)
        negatives = positive.shape[1] - positives
        usable = (positives > 0) & (negatives > 0)
        wins = positive @ ranks - positives * (positives + 1) / 2
        total += np.where(usable, wins / np.maximum(positives * negatives, 1), 0)
        count += usable
    null = total / np.maximum(count, 1)
    observed = float(within_fold_auc(test)[0])
    p = (1 + int((null >= observed - 1e-12).sum())) / (1 + permutations)
    return p, float(np.quantile(null, 0.975))


def check_permutation(p: float, null_high: float, observed: float) -> Check:
    """Judge the permutation of labels; ``observed`` is NaN where the headline is not defined."""
    question = "Could chance have scored as well?"
    threshold = f"p < {PERMUTATION_P:g}, one-sided, so that chance is called signal in at most 1 of 40 studies"
    if np.isnan(observed):
        return Check("label-permutation", question, "not-assessed", "the headline is not defined", threshold)
    passed = p < PERMUTATION_P
    return Check(
        "label-permutation",
        question,
        "pass" if passed else "warn",
        f"with labels dealt at random, 97.5% of AUCs stay under {null_high:.2f}; observed {observed:.2f}, p = {p:.2g}",
        threshold,
        figure=p,
        advice="" if passed else "Do not report this score as a finding; widen the cohort.",
    )


def _deal_labels(
    labels: np.ndarray, clusters: np.ndarray, permutations: int, random: np.random.Generator
) -> np.ndarray:
    """Labels of each unit in each deal, shape (permutations, units); units are sorted by cluster."""
    _, first, sizes = np.unique(clusters, return_index=True, return_counts=True)
    dealt = np.tile(labels, (permutations, 1)).astype(float)
    for size in np.unique(sizes):
        starts = first[sizes == size]
        places = starts[:, None] + np.arange(size)[None, :]
        blocks = labels[places]
        for row in dealt:
            row[places] = blocks[random.permutation(len(blocks))]
    return dealt
