"""How often 95% intervals of an AUC hold the truth: over independent test scores, and over whole simulated studies.

    python -m benchmarks.coverage [--studies 1000] [--resamples 1000] [--seed 7] [--rows delong bootstrap studies]

Independent scores: two normal distributions whose AUC is known; `delong` compares the interval that is printed with
those of a normal quantile in place of t, and of no logit (4000 studies a row take minutes), `bootstrap` with BCa and
percentiles. Whole studies: ten latent features a patient, of which
carriers differ in some; a logistic regression is fitted in every fold; the truth is the mean AUC of these very
networks on infinitely many new patients, which normal features give in closed form, and, apart from it, the mean of
that truth over studies: what the procedure can be expected to give.
"""

import argparse
import json
import time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from genovox.baselines.ridge import fit_ridges
from genovox.core.seeds import derive_seed
from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import (
    TRAINING_SPREAD,
    Clusters,
    draw_weights,
    list_auc_intervals,
    prefer_delong,
    summarise_draws,
)
from genovox.evaluate.scoring import influence_of_clusters, list_folds, within_fold_auc
from genovox.statistics.bootstrap import bca_interval, percentile_interval
from genovox.statistics.delong import delong_interval, doubt_of_influence, place_scores
from genovox.statistics.repeated import repeated_interval

Floats = NDArray[np.float64]
Bounds = dict[str, tuple[float, float] | None]

AUCS = (0.50, 0.60, 0.75, 0.90, 0.95)
DELONG_ROWS = [  # positives, negatives, AUC, standard deviation of positives in that of negatives
    *((*classes, auc, 1.0) for classes in ((10, 50), (15, 45), (30, 30), (92, 139), (339, 508)) for auc in AUCS),
    *((10, 10, auc, 1.0) for auc in AUCS),
    *((*classes, auc, 2.0) for classes in ((10, 50), (30, 30), (92, 139)) for auc in AUCS[2:]),
]
INDEPENDENT = [
    (positives, negatives, auc)
    for positives, negatives in ((10, 50), (16, 44), (82, 149), (480, 367))
    for auc in (0.60, 0.75, 0.90)
]
STUDIES = [  # positives, negatives, folds, repeats, AUC of the best possible network
    (16, 44, 5, 3, 0.85),
    (16, 44, 5, 3, 0.90),
    (16, 44, 5, 3, 0.50),
    (82, 149, 5, 3, 0.65),
    (82, 149, 5, 3, 0.75),
    (82, 149, 5, 3, 0.90),
    (82, 149, 5, 3, 0.50),
    (339, 508, 5, 3, 0.65),
    (339, 508, 5, 3, 0.50),
    (10, 50, 5, 3, 0.85),
    (82, 149, 5, 1, 0.75),
    (82, 149, 5, 10, 0.75),
]
FEATURES = 10
ROWS = ("delong", "bootstrap", "studies")
_STUDIES_A_DRAW = 20  # resampled counts do not depend on scores: a few studies share them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    options = parser.parse_args()
    shared = {"studies": options.studies, "resamples": options.resamples, "seed": options.seed}
    found: dict[str, Any] = {**shared, "chance_of_a_true_95%": [round(x, 3) for x in bound_by_chance(options.studies)]}
    if "delong" in options.rows:
        found["delong"] = [cover_delong(*row, studies=options.studies, seed=options.seed) for row in DELONG_ROWS]
    if "bootstrap" in options.rows:
        found["independent"] = [cover_independent(*regime, **shared) for regime in INDEPENDENT]
    if "studies" in options.rows:
        found["studies_by_regime"] = [cover_studies(*regime, **shared) for regime in STUDIES]
    print(json.dumps(found, indent=1))


def bound_by_chance(studies: int) -> tuple[float, float]:
    """Where the share of a true 95% interval lies in 95% of such simulations."""
    reach = norm.ppf(0.975) * np.sqrt(0.95 * 0.05 / studies)
    return 0.95 - float(reach), 0.95 + float(reach)


def cover_delong(
    positives: int, negatives: int, auc: float, deviation: float, *, studies: int, seed: int
) -> dict[str, Any]:
    """Share of studies whose interval holds ``auc``: normal scores, those of positives ``deviation`` times as wide."""
    begun = time.perf_counter()
    random = np.random.default_rng(derive_seed(seed, "delong", positives, negatives, str(auc), str(deviation)))
    labels = np.repeat([1, 0], [positives, negatives])
    clusters = Clusters.from_rows(np.arange(len(labels)), labels)
    scale, shift = np.where(labels == 1, deviation, 1.0), np.sqrt(1 + deviation**2) * norm.ppf(auc) * labels
    bounds: list[Bounds] = []
    while len(bounds) < studies:
        scores = random.normal(size=(min(500, studies - len(bounds)), len(labels))) * scale + shift
        bounds += [
            _bound_placed(above, below, clusters) for above, below in zip(*place_scores(labels, scores), strict=True)
        ]
    return {
        "positives": positives,
        "negatives": negatives,
        "auc": auc,
        "deviation": deviation,
        **_count(bounds, np.full(studies, auc), "covered"),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def _bound_placed(above: Floats, below: Floats, clusters: Clusters) -> Bounds:
    """The interval that is printed of placements, first positives', and those that it replaces."""
    estimate = float(above.mean())
    influence = np.concatenate([(above - estimate) / len(above), (below - estimate) / len(below)])
    doubt = doubt_of_influence(influence, clusters.strata)
    metric = prefer_delong(summarise_draws(estimate, np.full(1, estimate), clusters), influence, clusters)
    printed = _pair(metric.low, metric.high)
    low, high = delong_interval(estimate, doubt.variance, np.inf)
    reach = norm.ppf(0.975) * np.sqrt(doubt.variance)
    return {
        "headline": printed,
        "logit, normal": printed if np.isnan(low) else (low, high),
        "Wald": printed if np.isnan(low) else (estimate - reach, estimate + reach),
    }


def cover_independent(
    positives: int, negatives: int, auc: float, *, studies: int, resamples: int, seed: int
) -> dict[str, Any]:
    """Share of studies whose interval holds ``auc``, by method, for independent normal scores."""
    begun = time.perf_counter()
    random = np.random.default_rng(derive_seed(seed, "independent", positives, negatives, str(auc)))
    labels = np.repeat([1, 0], [positives, negatives])
    tested = pd.DataFrame({"repeat": 0, "fold": "0", "cluster": np.arange(len(labels)), "label": labels})
    bounds, truths = [], []
    weights = _SharedWeights(labels, resamples, random)
    for study in range(studies):
        table = tested.assign(score=random.normal(size=len(labels)) + np.sqrt(2) * norm.ppf(auc) * labels)
        bounds.append(find_intervals(table, weights.of_study(study), weights.clusters, folds=1))
        truths.append(auc)
    return {
        "positives": positives,
        "negatives": negatives,
        "auc": auc,
        **_count(bounds, np.array(truths), "covered"),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def cover_studies(
    positives: int, negatives: int, folds: int, repeats: int, best: float, *, studies: int, resamples: int, seed: int
) -> dict[str, Any]:
    """Share of whole studies whose interval holds the mean AUC of the networks trained in them, by method."""
    begun = time.perf_counter()
    random = np.random.default_rng(derive_seed(seed, "study", positives, negatives, folds, repeats, str(best)))
    labels = np.repeat([1, 0], [positives, negatives])
    shift = np.sqrt(2) * norm.ppf(best) * np.ones(FEATURES) / np.sqrt(FEATURES)
    bounds, truths, estimates = [], [], []
    weights = _SharedWeights(labels, resamples, random)
    for study in range(studies):
        table, truth = _run_study(labels, shift, folds, repeats, random)
        bounds.append(find_intervals(table, weights.of_study(study), weights.clusters, folds=folds))
        truths.append(truth)
        estimates.append(within_fold_auc(table)[0])
    expected = np.full(studies, np.mean(truths))
    return {
        "positives": positives,
        "negatives": negatives,
        "folds": folds,
        "repeats": repeats,
        "best_auc": best,
        "mean_truth": round(float(expected[0]), 4),
        "mean_estimate": round(float(np.mean(estimates)), 4),
        **_count(bounds, np.array(truths), "covered"),
        **_count(bounds, expected, "covered_expected_auc"),
        "seconds": round(time.perf_counter() - begun, 1),
    }


class _SharedWeights:
    def __init__(self, labels: NDArray[np.int64], resamples: int, random: np.random.Generator) -> None:
        self.clusters = Clusters.from_rows(np.arange(len(labels)), labels)
        self._resamples, self._random = resamples, random
        self._weights = np.zeros((0, 0), dtype=np.uint8)

    def of_study(self, study: int) -> NDArray[np.uint8]:
        if study % _STUDIES_A_DRAW == 0:
            seed = int(self._random.integers(2**32))
            self._weights = draw_weights(self.clusters, resamples=self._resamples, seed=seed)
        return self._weights


def _run_study(
    labels: NDArray[np.int64], shift: Floats, folds: int, repeats: int, random: np.random.Generator
) -> tuple[pd.DataFrame, float]:
    """One study's test scores, and the mean true AUC of its networks."""
    features = random.normal(size=(len(labels), FEATURES)) + labels[:, None] * shift
    fold_of = np.empty((repeats, len(labels)), dtype=int)
    for row in fold_of:
        for label in (0, 1):
            members = random.permutation(np.flatnonzero(labels == label))
            row[members] = np.arange(len(members)) % folds
    trained = fold_of[:, None, :] != np.arange(folds)[:, None]
    fits = fit_ridges(features, labels, trained.reshape(-1, len(labels)), strength=1.0)
    scores = fits.predict(features).reshape(trained.shape)
    directions = fits.coefficients
    truths = norm.cdf(directions @ shift / (np.sqrt(2) * np.linalg.norm(directions, axis=1)))
    table = pd.DataFrame(
        {
            "repeat": np.repeat(np.arange(repeats), len(labels)),
            "fold": fold_of.ravel(),
            "cluster": np.tile(np.arange(len(labels)), repeats),
            "label": np.tile(labels, repeats),
            "score": np.take_along_axis(scores, fold_of[:, None, :], axis=1).ravel(),
        }
    )
    return table, float(truths.mean())


def find_intervals(table: pd.DataFrame, weights: NDArray[np.uint8], clusters: Clusters, *, folds: int) -> Bounds:
    """Every interval that ``metrics.json`` lists, and those that it refuses over folds."""
    estimate = float(within_fold_auc(table)[0])
    draws = within_fold_auc(table, weights[:, clusters.locate(table["cluster"])])
    influence = influence_of_clusters(table, clusters)
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    fold_aucs = np.array([roc_auc(labels[rows], scores[rows])[0] for rows in list_folds(table).values()])
    metric = summarise_draws(estimate, draws, clusters, spread=TRAINING_SPREAD if folds > 1 else 1.0)
    if folds == 1:
        metric = prefer_delong(metric, influence, clusters)
    listed = list_auc_intervals(metric, draws, influence, fold_aucs, clusters, folds=folds)
    found: Bounds = {"headline" if one.headline else one.method: _pair(one.low, one.high) for one in listed}
    if folds > 1:
        found["percentile, not widened"] = percentile_interval(draws)
        found["BCa bootstrap"] = _pair(*bca_interval(estimate, draws, influence))
        found["DeLong"] = _pair(*delong_interval(estimate, *doubt_of_influence(influence, clusters.strata)))
        found["Nadeau-Bengio"] = _pair(*repeated_interval(fold_aucs, folds))
    return found


def _pair(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None or np.isnan(low) else (low, high)


def _count(bounds: list[Bounds], truths: Floats, name: str) -> dict[str, Any]:
    shares: dict[str, Any] = {}
    widths: dict[str, Any] = {}
    for method in bounds[0]:
        pairs = [(one[method], truth) for one, truth in zip(bounds, truths, strict=True)]
        given = np.array([(*pair, truth) for pair, truth in pairs if pair is not None])
        if not len(given):
            shares[method] = "not given"
            continue
        low, high, truth = given.T
        inside = (low <= truth) & (truth <= high)
        shares[method] = round(float(inside.mean()), 4)
        widths[method] = round(float(np.mean(high - low)), 4)
        if len(given) < len(bounds):
            shares[f"{method}, given in"] = round(len(given) / len(bounds), 4)
    return {name: shares, "mean_width": widths}


if __name__ == "__main__":
    main()
