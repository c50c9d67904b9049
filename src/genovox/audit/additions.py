"""What a score adds to what is known without it: scan metadata, the clinic, radiomics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from genovox.audit.checks import Check
from genovox.baselines.firth import compare_nested
from genovox.baselines.ridge import fit_ridges
from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import MINIMUM_CLUSTERS, Resampling, summarise_draws
from genovox.evaluate.schema import Metric

Floats = NDArray[np.float64]
PARTS = 5
"""Parts that the combination of two scores is fitted without and tested on."""
NEARLY_FREE = 1e3
"""Strength of a penalty that only keeps separated classes from running away."""
LARGEST_P = 0.05
"""From where on the p of a likelihood ratio shows no addition."""
SHOWN = f"the interval of its log odds lies above 0 and its likelihood ratio has p < {LARGEST_P}"
"""What shows that a score adds to what is known without it, for every check that asks."""
CALIPER_SD = 0.2
_CLIP = 1e-6
IDS = ("case_id", "patient_id", "family_id", "label", "fingerprint")
"""Columns of a table that are never weighed."""
_FURTHEST = 4.0


@dataclass(frozen=True)
class Addition:
    """What a score adds to a base.

    Attributes:
        base: What the base is, as a reader knows it.
        base_auc: AUC of the base alone.
        delta: AUC of base and score together less that of the base, both scored on patients that the combination was
            not fitted on.
        log_odds: Log odds ratio a standard deviation of the score, given the base.
        likelihood_ratio: Twice the gain in log likelihood by the score, both penalised as Firth does; chi-squared of
            one degree where rows are independent.
        p_value: Of the likelihood ratio.
    """

    base: str
    base_auc: float
    delta: Metric
    log_odds: Metric
    likelihood_ratio: float
    p_value: float

    @property
    def is_assessed(self) -> bool:
        """Whether there is an interval to judge by."""
        return self.log_odds.low is not None

    @property
    def adds(self) -> bool:
        """Whether the interval of the added log odds lies above none, and the likelihood ratio bears it out.

        Where the base nearly separates the classes, coefficients run away in most resamples and the interval excludes
        none by itself; where rows of a patient or family are alike, the likelihood ratio counts them as independent.
        """
        return self.log_odds.low is not None and self.log_odds.low > 0 and self.p_value < LARGEST_P


def join_words(columns: Sequence[str]) -> str:
    """Names of columns as a reader says them, four at most."""
    words = [name.replace("_", " ") for name in columns[:4]]
    words += [f"{len(columns) - 4} more"] if len(columns) > 4 else []
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def pair_scores(base: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """Rows that both a base and a score have.

    Args:
        base: ``unit, repeat, fold, cluster, label, score``.
        units: The score to be weighed: ``unit, repeat, fold, score``.

    Returns:
        The base's rows with ``score_base`` and ``score``.
    """
    key = ["unit", "repeat", "fold"]
    known = base.rename(columns={"score": "score_base"}).astype({"repeat": int})
    return known.merge(units[[*key, "score"]].astype({"repeat": int}), on=key)


def measure_addition(base: str, table: pd.DataFrame, *, resamples: int, seed: int) -> Addition:
    """Weigh what a score adds to a base, both out of fold.

    Logits are standardised within each fold, since scores of different networks are not comparable, and averaged over
    repeats; a logistic regression of the label on both gives the score's part. A likelihood ratio of nested models is
    the right test of an addition, a difference of AUCs has no null distribution there; the difference is shown for
    its size.

    Args:
        base: What the base is.
        table: ``unit, repeat, fold, cluster, label, score_base, score``.
        resamples: Resamples of clusters.
        seed: Their seed, and that of the parts.

    References:
        Demler et al. (2012), doi:10.1002/sim.5328; Pepe et al. (2013), doi:10.1002/sim.5727; where classes are
        separated, Heinze & Schemper (2002), doi:10.1002/sim.1047.
    """
    units = _average_repeats(table)
    labels = units["label"].to_numpy()
    columns = units[["score_base", "score"]].to_numpy()
    columns /= np.where(columns.std(axis=0) > 0, columns.std(axis=0), 1)
    resampling = Resampling.of(units, resamples=resamples, seed=seed)
    clusters = resampling.clusters
    place = clusters.locate(units["cluster"])
    weights = resampling.drawn[:, place]
    slopes = fit_ridges(columns, labels, weights, strength=NEARLY_FREE).coefficients[:, 1]
    alone, both = _score_parts(columns, labels, place, seed)
    auc = [roc_auc(labels, scores, weights) for scores in (alone, both)]
    test = compare_nested(columns, labels)
    return Addition(
        base,
        float(roc_auc(labels, columns[:, 0])[0]),
        summarise_draws(float(auc[1][0] - auc[0][0]), auc[1][1:] - auc[0][1:], clusters, limits=(-1, 1)),
        summarise_draws(float(slopes[0]), slopes[1:], clusters, limits=(-np.inf, np.inf)),
        test.ratio,
        test.p_value,
    )


def match_pairs(table: pd.DataFrame, *, resamples: int, seed: int) -> tuple[Metric, int]:
    """How often a carrier outranks the non-carrier of the same fold whose metadata are most like hers.

    Pairs are made within a fold, each row in one pair at most, within 0.2 SD of the metadata's logit.

    Args:
        table: ``repeat, fold, cluster, label, score, score_base``.
        resamples: Resamples of clusters; a pair weighs as often as both its clusters are drawn.
        seed: Their seed.

    Returns:
        The share, ties counting half, and the number of pairs.

    References:
        Austin (2011), caliper of 0.2 SD of the logit, doi:10.1002/pst.433.
    """
    resampling = Resampling.of(table, resamples=resamples, seed=seed)
    clusters = resampling.clusters
    base = standardise_logits(table, "score_base")
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    pairs: list[tuple[int, int]] = []
    for rows in table.groupby(["repeat", "fold"]).indices.values():
        free = [int(row) for row in rows if labels[row] == 0]
        for row in sorted((int(row) for row in rows if labels[row] == 1), key=lambda row: (base[row], row)):
            nearest = min(free, key=lambda other: (abs(base[other] - base[row]), other), default=None)
            if nearest is not None and abs(base[nearest] - base[row]) <= CALIPER_SD:
                pairs.append((row, nearest))
                free.remove(nearest)
    if not pairs:
        note = "no carrier has a non-carrier of like metadata in her fold"
        return summarise_draws(float("nan"), np.zeros(0), clusters, note=note), 0
    first, second = np.array(pairs).T
    wins = np.where(scores[first] == scores[second], 0.5, scores[first] > scores[second])
    drawn = resampling.drawn[:, clusters.locate(table["cluster"])].astype(np.float64)
    weights = drawn[:, first] * drawn[:, second]
    total = weights.sum(axis=1)
    shares = np.divide(weights @ wins, total, out=np.full(len(total), np.nan), where=total > 0)
    return summarise_draws(float(shares[0]), shares[1:], clusters), len(pairs)


def check_matched(matched: Metric, pairs: int) -> Check:
    """Judge what the score tells among pairs of like metadata."""
    question = "Does the score tell carriers from non-carriers whose scans were made alike?"
    threshold = "warns where the interval of the share of matched pairs reaches 0.5 or below"
    if matched.estimate is None or matched.low is None or matched.high is None:
        why = matched.note or "too few pairs"
        return Check("matched-pairs", question, "not-assessed", f"{pairs} pairs: {why}", threshold, matched.estimate)
    told = matched.low > 0.5
    share = f"{matched.estimate:.2f} ({matched.low:.2f} to {matched.high:.2f})"
    text = f"the carrier scores higher in {share} of {pairs} pairs"
    advice = "" if told else "Collect carriers and non-carriers from the same scanners and years."
    return Check(
        "matched-pairs",
        question,
        "pass" if told else "warn",
        text,
        threshold,
        matched.estimate,
        matched.low,
        matched.high,
        advice,
    )


def check_addition(name: str, addition: Addition | None, *, missing: str, advice: str) -> Check:
    """Judge what the score adds to a base that is no scan metadata.

    Args:
        name: Of the check, such as ``beyond-clinical``.
        addition: From ``measure_addition``; None where the base is not there.
        missing: What is missing then.
        advice: How to get it.
    """
    what = addition.base if addition else {"beyond-clinical": "what the clinic knows"}.get(name, "radiomics")
    question = f"Does the score add to {what}?"
    threshold = f"given {what}, {SHOWN}; a reader may have {what} without a network"
    if addition is None:
        return Check(name, question, "not-assessed", missing, threshold, advice=advice)
    delta, odds = addition.delta, addition.log_odds
    text = f"AUC {addition.base_auc:.2f} by {addition.base} alone; with the score {_signed(delta.estimate)}"
    if not addition.is_assessed or delta.low is None or delta.high is None:
        text += f"; fewer than {MINIMUM_CLUSTERS} patients in a class give no interval"
        return Check(name, question, "not-assessed", text, threshold, delta.estimate, advice="Add patients.")
    text += (
        f" ({_signed(delta.low)} to {_signed(delta.high)}), log odds {_signed(odds.low, 1)} to {_signed(odds.high, 1)}"
        f", likelihood ratio {addition.likelihood_ratio:.1f}, p = {addition.p_value:.2g}"
    )
    return Check(
        name,
        question,
        "pass" if addition.adds else "warn",
        text if addition.adds else f"{text}: not shown to add anything",
        threshold,
        delta.estimate,
        delta.low,
        delta.high,
        "" if addition.adds else f"Report {addition.base} beside the score: that may be all it tells.",
    )


def standardise_logits(table: pd.DataFrame, column: str) -> Floats:
    """Logits of a score with mean 0 and SD 1 within each fold, cut off at four; 0 where a fold's are all the same."""
    values = logit(np.clip(table[column].to_numpy(np.float64), _CLIP, 1 - _CLIP))
    folds = pd.Series(values).groupby([table["repeat"].to_numpy(), table["fold"].to_numpy()])
    centred = values - folds.transform("mean").to_numpy()
    spread = folds.transform(lambda part: part.std(ddof=0)).to_numpy()
    flat = spread < 1e-9
    return np.clip(np.where(flat, 0.0, centred / np.where(flat, 1.0, spread)), -_FURTHEST, _FURTHEST)


def describe_additions(additions: Mapping[str, Addition]) -> list[dict[str, object]]:
    """What ``audit.json`` keeps of each, for tables and pictures."""
    return [
        {
            "base": addition.base,
            "base_auc": addition.base_auc,
            "delta_auc": addition.delta.model_dump(),
            "log_odds": addition.log_odds.model_dump(),
            "likelihood_ratio": addition.likelihood_ratio,
            "p_value": addition.p_value,
        }
        for addition in additions.values()
    ]


def _average_repeats(table: pd.DataFrame) -> pd.DataFrame:
    scaled = table.assign(**{name: standardise_logits(table, name) for name in ("score_base", "score")})
    named = {"fold": "first", "cluster": "first", "label": "first", "score_base": "mean", "score": "mean"}
    return scaled.groupby("unit", sort=True).agg(named).reset_index()


def _score_parts(
    columns: Floats, labels: NDArray[np.int64], place: NDArray[np.intp], seed: int
) -> tuple[Floats, Floats]:
    """Probability by the base alone and by both, of rows in parts (whole clusters) that the fit left out."""
    random = np.random.default_rng(seed)
    count = int(place.max()) + 1
    part = np.empty(count, dtype=np.int64)
    # Dealt out class by class, so that every part holds both.
    of_cluster = np.zeros(count)
    np.maximum.at(of_cluster, place, labels.astype(float))
    for label in (0.0, 1.0):
        members = np.flatnonzero(of_cluster == label)
        part[random.permutation(members)] = np.arange(len(members)) % PARTS
    held = part[place][None] == np.arange(PARTS)[:, None]
    kept = (~held).astype(np.float64)
    scores = []
    for width in (1, 2):
        fits = fit_ridges(columns[:, :width], labels, kept, strength=NEARLY_FREE)
        odds = fits.predict(columns[:, :width])
        scores.append(expit((odds * held).sum(axis=0)))
    return scores[0], scores[1]


def _signed(value: float | None, digits: int = 3) -> str:
    return "not defined" if value is None else f"{value:+.{digits}f}"
