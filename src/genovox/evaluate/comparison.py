"""Each model against the primary one, and all pairs. No model is named best: the largest of many AUCs is by chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from genovox.core.seeds import derive_seed
from genovox.evaluate.intervals import MINIMUM_CLUSTERS, Clusters
from genovox.evaluate.schema import ComparisonTest, Difference, PairDifference, Ranks
from genovox.evaluate.scoring import BlockScores, list_folds
from genovox.statistics.bootstrap import bootstrap_p_value, percentile_interval, permutation_p_value
from genovox.statistics.delong import covariance_of_influence, judge_difference, swap_coefficients
from genovox.statistics.multiplicity import compare_ranks, holm_adjust
from genovox.statistics.repeated import compare_repeated

Floats = NDArray[np.float64]

METHOD = "paired difference of the headline AUC; the same resampled patients for both models; percentile interval"
NOTE = (
    "the primary model was declared before the study; intervals and p are those of one comparison, the words allow for "
    "all of them (Holm)"
)
RANKS_NOTE = (
    "repeats test the same patients again: their folds sharpen the ranks, and the critical difference counts the folds "
    "of one repeat"
)
_LEVEL = 0.05


@dataclass(frozen=True)
class _Judged:
    """One pair of models, before Holm."""

    difference: float | None
    low: float | None = None
    high: float | None = None
    tests: tuple[ComparisonTest, ...] = ()
    note: str | None = None

    @property
    def p_value(self) -> float | None:
        return self.tests[0].p_value if self.tests else None


@dataclass(frozen=True)
class BlockComparison:
    """All comparisons on one set of test rows.

    Attributes:
        primary: Every other model against the primary one, Holm over these.
        pairs: All pairs of models, Holm over these.
        ranks: Over folds; None where there are fewer than two models or folds.
    """

    primary: list[Difference]
    pairs: list[PairDifference]
    ranks: Ranks | None


def compare_models(
    scores: Mapping[str, BlockScores], *, clusters: Clusters, resamples: int, seed: int
) -> BlockComparison:
    """Compare the headline AUCs of all models on the same test rows.

    Four tests stand side by side: the bootstrap of patients (it makes the conclusion, as it makes the intervals) and
    DeLong ask what other patients would have given these networks; the corrected resampled t-test asks what other
    training sets would have given; the permutation swaps what two models say of a patient.

    Args:
        scores: Scores of each model on the same test rows under the same resample weights; the primary model first.
        clusters: The clusters that were resampled.
        resamples: Number of permutations.
        seed: Seed of the study.
    """
    judged = {
        pair: _judge(scores[pair[0]], scores[pair[1]], clusters, resamples, derive_seed(seed, "permutation", *pair))
        for pair in combinations(scores, 2)
    }
    against = {pair: _mirror(one) for pair, one in judged.items() if pair[0] == next(iter(scores))}
    return BlockComparison(
        primary=[
            Difference(model=pair[1], **_conclude(one, adjusted, "higher than the primary", "lower than the primary"))
            for (pair, one), adjusted in zip(against.items(), _adjust(list(against.values())), strict=True)
        ],
        pairs=[
            PairDifference(
                first=pair[0], second=pair[1], **_conclude(one, adjusted, "first is higher", "second is higher")
            )
            for (pair, one), adjusted in zip(judged.items(), _adjust(list(judged.values())), strict=True)
        ],
        ranks=rank_models(scores),
    )


def rank_models(scores: Mapping[str, BlockScores]) -> Ranks | None:
    """Mean ranks of models over the folds where all have an AUC; None with fewer than two models or folds."""
    models = list(scores)
    if len(models) < 2:
        return None
    aucs = np.stack([score.fold_aucs for score in scores.values()], axis=1)
    aucs = aucs[~np.isnan(aucs).any(axis=1)]
    independent = min(len(aucs), next(iter(scores.values())).block.folds)
    if independent < 2:
        return None
    compared = compare_ranks(aucs, independent=independent)
    return Ranks(
        mean_ranks=dict(zip(models, compared.mean_ranks.tolist(), strict=True)),
        friedman_statistic=compared.statistic,
        friedman_p_value=compared.p_value,
        critical_difference=compared.critical_difference,
        not_distinguishable=[[models[number] for number in group] for group in compared.groups],
        folds=len(aucs),
        independent_folds=independent,
        note=RANKS_NOTE,
    )


def _judge(first: BlockScores, second: BlockScores, clusters: Clusters, permutations: int, seed: int) -> _Judged:
    difference = first.headline - second.headline
    if np.isnan(difference):
        return _Judged(None, note="no fold holds both classes")
    if clusters.too_few:
        return _Judged(difference, note=f"fewer than {MINIMUM_CLUSTERS} patients in a class")
    draws = first.draws - second.draws
    draws = difference + first.spread * (draws[~np.isnan(draws)] - difference)
    if not draws.size:
        return _Judged(difference, note="no resample has a fold with both classes")
    low, high = percentile_interval(draws)
    variance = covariance_of_influence((first.influence - second.influence)[None], clusters.strata)
    tests = [
        ComparisonTest(method="bootstrap", p_value=bootstrap_p_value(draws)),
        _permute(first, second, clusters, permutations, seed),
    ]
    if first.block.folds == 1:
        delong = judge_difference(difference, float(variance[0, 0]))
        tests.append(
            ComparisonTest(method="DeLong", statistic=_known(delong.statistic), p_value=_known(delong.p_value))
        )
    else:
        resampled = compare_repeated(first.fold_aucs - second.fold_aucs, first.block.folds)
        statistic, p_value = _known(resampled.statistic), _known(resampled.p_value)
        tests.append(ComparisonTest(method="corrected resampled t", statistic=statistic, p_value=p_value))
    return _Judged(difference, low, high, tuple(tests))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _permute(
    first: BlockScores, second: BlockScores, clusters: Clusters, permutations: int, seed: int
) -> ComparisonTest:
    """Swap the two models' ranks within each fold by patient (or family): in all folds and repeats at once."""
    one, other = first.tested, second.tested
    labels, columns = one["label"].to_numpy(), clusters.locate(one["cluster"])
    scores = one["score"].to_numpy(), other["score"].to_numpy()
    coefficients, judged = np.zeros(len(clusters.ids)), 0
    for rows in list_folds(one).values():
        if 0 < labels[rows].sum() < len(rows):
            swapped = swap_coefficients(labels[rows], scores[0][rows], scores[1][rows])
            np.add.at(coefficients, columns[rows], swapped)
            judged += 1
    coefficients /= judged
    p_value = permutation_p_value(float(coefficients.sum()), coefficients, permutations=permutations, seed=seed)
    return ComparisonTest(method="permutation", p_value=p_value)


def _mirror(one: _Judged) -> _Judged:
    """The second model minus the first."""
    tests = tuple(test.model_copy(update={"statistic": _negate(test.statistic)}) for test in one.tests)
    return _Judged(_negate(one.difference), _negate(one.high), _negate(one.low), tests, one.note)


def _negate(value: float | None) -> float | None:
    return None if value is None else -value + 0.0


def _adjust(family: list[_Judged]) -> list[list[ComparisonTest]]:
    """The tests of each comparison with Holm's p over the family, test by test."""
    methods = next(([test.method for test in one.tests] for one in family if one.tests), [])
    table = np.array(
        [
            [np.nan if p is None else p for p in (test.p_value for test in one.tests)] or [np.nan] * len(methods)
            for one in family
        ]
    ).reshape(len(family), len(methods))
    adjusted = np.stack([holm_adjust(column) for column in table.T], axis=1) if methods else table
    return [
        [test.model_copy(update={"p_holm": _known(float(p))}) for test, p in zip(one.tests, row, strict=False)]
        for one, row in zip(family, adjusted, strict=True)
    ]


def _conclude(one: _Judged, tests: list[ComparisonTest], higher: str, lower: str) -> dict[str, object]:
    p_holm = tests[0].p_holm if tests else None
    note, conclusion = one.note, "not assessed"
    if p_holm is not None and one.low is not None and one.high is not None:
        apart = not one.low <= 0 <= one.high
        conclusion = "not distinguishable"
        if apart and p_holm < _LEVEL:
            conclusion = higher if one.low > 0 else lower
        elif apart:
            note = "the interval alone leaves out 0; among this many comparisons that happens by chance"
    return {
        "difference": one.difference,
        "low": one.low,
        "high": one.high,
        "p_value": one.p_value,
        "p_holm": p_holm,
        "conclusion": conclusion,
        "tests": tests,
        "note": note,
    }
