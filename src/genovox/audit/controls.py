"""Controls: what would chance have scored, what remains among like scans, and what remains at another hospital?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

from genovox.audit.additions import standardise_logits
from genovox.audit.associations import names_sites
from genovox.audit.checks import Check, Status
from genovox.baselines.ridge import Refit, balance_classes, fit_ridges, plan_refits, score_refits
from genovox.cohort.splits import FEWEST_LEFT_OUT, FIXED, split_sites
from genovox.core.errors import DataError
from genovox.evaluate.intervals import cluster_patients
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.schema import LabelUnit, Metric, PatientScore
from genovox.evaluate.scoring import estimate_within_fold_auc, within_fold_auc
from genovox.evaluate.subgroups import SiteLoss, compare_unseen

PERMUTATION_P = 0.025
STRENGTH = 0.1
"""Inverse penalty of what is fitted anew on cached features."""
STRATA = 5
ENOUGH_EXCEEDED = 25
"""Deals at least as good as the observed one after which p is known to be large, and no more are made."""
UNASKED = "the networks were not trained without a hospital"
LEAVE_OUT = "Leave each hospital out in turn: genovox audit STUDY --leave-sites-out, the price of about one training."
TOO_SMALL = (
    f"no hospital has {FEWEST_LEFT_OUT} patients of each class, with as many elsewhere: with fewer, one patient moves "
    "its AUC by more than 0.2"
)
_CHUNK = 100
_ATTEMPTS = 50

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Permutation:
    """What chance scores.

    Attributes:
        p_value: One-sided, the observed deal counted in.
        null_high: 97.5th percentile of the null AUC.
        observed: The AUC under the labels as they are.
        deals: How many were made.
        retrained: What was fitted anew in each deal; empty where scores were kept.
    """

    p_value: float
    null_high: float
    observed: float
    deals: int
    retrained: str = ""


def permute_labels(
    test: pd.DataFrame, *, permutations: int, seed: int, strata: "pd.Series[int] | None" = None
) -> Permutation:
    """Headline AUC of the given scores under labels dealt out anew among patients.

    Labels move as whole patients (or families), among those with equally many rows, so that scans of one patient keep
    one fate. The networks are not trained anew: this asks whether the scores tell the labels, not how the scores
    came about.

    Args:
        test: Test rows of one model: ``repeat, fold, unit, cluster, label, score``.
        permutations: How many deals.
        seed: Their seed.
        strata: Number of a stratum by unit; labels then move within it, so that what the strata tell of the label
            stays told, and only what the scores add to them counts.

    References:
        Phipson & Smyth (2010), doi:10.2202/1544-6115.1585.
    """
    units = _sort_units(test)
    dealt = _deal_labels(units, permutations, np.random.default_rng(seed), strata)
    column = pd.Series(np.arange(len(units)), index=units["unit"])
    mean = _MeanAuc(permutations)
    for _, rows in test.groupby(["repeat", "fold"]):
        mean.add(rankdata(rows["score"].to_numpy())[None], dealt[:, column[rows["unit"]].to_numpy()])
    return _compare(mean.value(), float(within_fold_auc(test)[0]))


def stratify_units(paired: pd.DataFrame) -> "pd.Series[int]":
    """Units of like metadata: fifths of the metadata's standardised logit, averaged over repeats; by unit."""
    base = pd.Series(standardise_logits(paired, "score_base")).groupby(paired["unit"].to_numpy()).mean()
    edges = np.unique(np.quantile(base, np.linspace(0, 1, STRATA + 1)[1:-1]))
    return pd.Series(np.searchsorted(edges, base.to_numpy(), side="left"), index=base.index)


def permute_pipeline(
    features: pd.DataFrame,
    cases: pd.DataFrame,
    folds: pd.DataFrame,
    *,
    label_unit: LabelUnit,
    permutations: int,
    seed: int,
    strength: float = STRENGTH,
    strata: "pd.Series[int] | None" = None,
) -> Permutation:
    """Fit everything anew under dealt labels, on cached features and the study's own folds.

    The learner is a ridge logistic regression of fixed strength, for the observed labels as for the dealt ones, so
    that the test is exact for it whatever the features are.

    Args:
        features: Index ``case_id``: numbers or words.
        cases: ``case_id, patient_id, family_id, label``.
        folds: The study's fold plan.
        label_unit: To what labels belong.
        permutations: How many deals at most; fewer where it is soon clear that p is large.
        seed: Their seed.
        strength: Inverse penalty.
        strata: As for ``permute_labels``.

    References:
        Besag & Clifford (1991), sequential Monte Carlo p-values, doi:10.1093/biomet/78.2.301.
    """
    plans = plan_refits(features, cases, folds, label_unit)
    if not plans:
        return Permutation(1.0, float("nan"), float("nan"), 0)
    units = _sort_units(pd.concat([part for plan in plans for part in (plan.rows, plan.train_rows)]))
    column = pd.Series(np.arange(len(units)), index=units["unit"])
    random = np.random.default_rng(seed)
    observed = float(_refit(plans, units["label"].to_numpy(np.float64)[None], column, strength)[0])
    null = np.zeros(0)
    while len(null) < permutations and (null >= observed - 1e-12).sum() < ENOUGH_EXCEEDED:
        dealt = _deal_labels(units, min(_CHUNK, permutations - len(null)), random, strata)
        null = np.append(null, _refit(plans, dealt, column, strength))
    return _compare(null, observed, "a ridge regression of the model's cached features")


def permute_training(
    tested: pd.DataFrame,
    folds: pd.DataFrame,
    train: Callable[[int, dict[str, int]], pd.DataFrame],
    *,
    label_unit: LabelUnit,
    patient_score: PatientScore,
    permutations: int,
    seed: int,
) -> Permutation:
    """Train the networks anew under dealt labels, deal by deal.

    A deal that leaves one class in a part of a fold cannot be trained on; the next one is taken.

    Args:
        tested: Test rows of the model: ``case_id, patient_id, repeat, fold, cluster, label, score``.
        folds: The study's fold plan.
        train: Trains on the dealt label of each case and returns predictions; it is given the number of the deal.
        label_unit: To what labels belong.
        patient_score: How cases make a patient's score.
        permutations: How many deals; p is never below 1 / (1 + permutations).
        seed: Their seed.

    Raises:
        DataError: If hardly any deal can be trained on.
    """
    named = tested.assign(unit=tested[f"{label_unit}_id"])
    units = _sort_units(named)
    column = pd.Series(np.arange(len(units)), index=units["unit"])
    owners = named.drop_duplicates("case_id").set_index("case_id")["unit"]
    plan = folds[(folds["fold"] != FIXED) & folds["case_id"].isin(owners.index)]
    random = np.random.default_rng(seed)
    null: list[float] = []
    attempts = 0
    while len(null) < permutations:
        attempts += 1
        if attempts > _ATTEMPTS * permutations:
            raise DataError(
                f"every part of a fold must hold both classes, got one in nearly all of {attempts - 1} deals; "
                "use fewer folds, or leave --permute-pipeline out"
            )
        dealt = _deal_labels(units, 1, random)[0]
        labels = pd.Series(dealt[column[owners].to_numpy()].astype(int), index=owners.index)
        parts = plan.assign(label=labels[plan["case_id"]].to_numpy()).groupby(["repeat", "fold", "part"])["label"]
        if (parts.nunique() < 2).any():
            continue
        table = train(len(null), {str(case_id): int(label) for case_id, label in labels.items()})
        rows = gather_units(
            validate_predictions(table, label_unit=label_unit), label_unit=label_unit, patient_score=patient_score
        )
        null.append(float(within_fold_auc(rows[rows["part"] == "test"])[0]))
    observed = gather_units(tested, label_unit=label_unit, patient_score=patient_score)
    return _compare(np.array(null), float(within_fold_auc(observed)[0]), "the networks")


def check_permutation(
    permutation: Permutation, *, name: str = "label-permutation", largest_p: float = PERMUTATION_P
) -> Check:
    """Judge a permutation of labels.

    Args:
        permutation: What chance scores.
        name: ``label-permutation``, ``like-permutation`` (among scans made alike) or ``pipeline-permutation``.
        largest_p: From where on p is no longer small, from ``[audit]``.
    """
    question = {
        "label-permutation": "Could chance have scored as well?",
        "pipeline-permutation": "Could training on labels dealt at random have scored as well?",
    }.get(name, "Could chance have scored as well among scans made alike?")
    threshold = f"p < {largest_p:g}, one-sided, so that chance is called signal in at most {largest_p:.1%} of studies"
    if np.isnan(permutation.observed):
        return Check(name, question, "not-assessed", "the headline is not defined", threshold)
    p, passed = permutation.p_value, permutation.p_value < largest_p
    how = f" and {permutation.retrained} fitted anew" if permutation.retrained else ""
    return Check(
        name,
        question,
        "pass" if passed else "warn",
        f"with labels dealt at random{how}, 97.5% of AUCs stay under {permutation.null_high:.2f}; "
        f"observed {permutation.observed:.2f}, p = {p:.2g} of {permutation.deals} deals",
        threshold,
        figure=p,
        advice="" if passed else "Do not report this score as a finding; widen the cohort.",
    )


def leave_site_out(
    features: pd.DataFrame | None,
    cases: pd.DataFrame,
    folds: pd.DataFrame,
    *,
    label_unit: LabelUnit,
    resamples: int,
    seed: int,
) -> SiteLoss | str:
    """What a ridge regression of cached features loses at hospitals that it never saw.

    Args:
        features: Index ``case_id``; None where the model leaves none, and would have to be trained anew.
        cases: ``case_id, patient_id, family_id, site, label``.
        folds: The study's fold plan, for the AUC that the loss is counted from.
        label_unit: To what labels belong.
        resamples: Resamples of clusters, the same for both AUCs.
        seed: Their seed.

    Returns:
        The loss, or why there is none.
    """
    if not names_sites(cases):
        return "the cases name fewer than two hospitals, or not all name one"
    if features is None:
        return UNASKED
    table = cases.assign(group=cluster_patients(cases["patient_id"], cases["family_id"])).reset_index(drop=True)
    plans = [
        table.iloc[rows][["case_id"]].assign(repeat=0, fold=site, part=part)
        for site, rest, test in split_sites(table, fewest=FEWEST_LEFT_OUT)
        for part, rows in (("train", rest), ("test", test))
    ]
    # Validation patients choose nothing here, and would be learnt from in one of the two only.
    whole = folds.assign(part=folds["part"].replace("val", "train"))
    refits = [
        plan_refits(features, cases, plan, label_unit) for plan in (whole, *([pd.concat(plans)] if plans else ()))
    ]
    if len(refits) < 2 or not all(refits):
        return TOO_SMALL
    own, unseen = (score_refits(plan, strength=STRENGTH) for plan in refits)
    site = cases.drop_duplicates(f"{label_unit}_id").set_index(f"{label_unit}_id")["site"]
    own, unseen = own.assign(site=own["unit"].map(site)), unseen.assign(site=unseen["fold"])
    how = "a ridge regression of the model's cached features"
    return compare_unseen(own, unseen, how=how, resamples=resamples, seed=seed) or TOO_SMALL


def check_site_drop(drop: SiteLoss | str, by_site: Metric | None) -> Check:
    """Judge what is lost at hospitals that were not learnt from.

    Args:
        drop: What is lost, or why that is not known.
        by_site: The headline, where the study's own folds leave one hospital out each.
    """
    name, question = "site-drop", "Does the score hold at a hospital that was not learnt from?"
    threshold = (
        "warns where the interval of the AUC at unseen hospitals reaches 0.5, or that of the loss lies above 0; fails "
        "where both do: what was learnt is then the hospital's own"
    )
    if by_site is not None:
        told = by_site.low is not None and by_site.low > 0.5
        text = f"the folds leave one hospital out each, so the headline ({_show(by_site)}) is of unseen hospitals"
        status: Status = "not-assessed" if by_site.low is None else "pass" if told else "warn"
        return Check(name, question, status, text, threshold, by_site.estimate, by_site.low, by_site.high)
    if isinstance(drop, str):
        return Check(name, question, "not-assessed", drop, threshold, advice=LEAVE_OUT if drop == UNASKED else "")
    unseen, loss = drop.unseen, drop.loss
    text = (
        f"AUC {_show(unseen)} within {len(drop.sites)} hospitals that were not learnt from; the same patients in the "
        f"study's own folds {_show(drop.own)}: a loss of {_show(loss)} ({drop.how})"
    )
    if unseen.low is None or loss.low is None:
        return Check(name, question, "not-assessed", text, threshold, loss.estimate)
    faults = (unseen.low <= 0.5) + (loss.low > 0)
    status = ("pass", "warn", "fail")[faults]
    advice = "" if not faults else "Expect less at the next hospital; harmonise, or collect from more of them."
    if unseen.low <= 0.5 and loss.low <= 0:
        advice = "Do not claim that it holds at another hospital; more patients of each would tell."
    return Check(name, question, status, text, threshold, loss.estimate, loss.low, loss.high, advice)


def check_earlier_image(tested: pd.DataFrame, *, resamples: int, seed: int) -> Check:
    """Does the score tell the label on a patient's earliest image, where she has several?

    Args:
        tested: Test rows of one model: ``case_id, patient_id, repeat, fold, cluster, label, score`` and, where known,
            ``scan_date``, an ISO date or a number that rises with time.
        resamples: Resamples of clusters.
        seed: Their seed.
    """
    name, question = "earlier-image", "Does the score hold on an earlier image of the same patient?"
    threshold = "told, not judged: a germline variant is there before the tumour, so a score of the tumour alone falls"
    days = tested["scan_date"].astype(str) if "scan_date" in tested else pd.Series("", index=tested.index)
    dated = tested[days != ""].assign(day=days[days != ""])
    several = dated.groupby(["repeat", "fold", "patient_id"])["day"].transform("nunique") > 1
    ordered = dated[several].sort_values(["day", "case_id"])
    first = ordered.drop_duplicates(["repeat", "fold", "patient_id"])
    metric = estimate_within_fold_auc(first, resamples=resamples, seed=seed) if len(first) else None
    if metric is None or metric.low is None:
        text = f"{first['patient_id'].nunique()} patients have a dated earlier image"
        advice = 'Keep earlier exams (cohort.eligibility.exams = "all") where patients have them.'
        return Check(name, question, "not-assessed", text, threshold, advice=advice)
    text = f"AUC {_show(metric)} on the earliest image of {first['patient_id'].nunique()} patients who have several"
    return Check(name, question, "pass", text, threshold, metric.estimate, metric.low, metric.high)


def _show(metric: Metric) -> str:
    if metric.estimate is None or metric.low is None or metric.high is None:
        return "not defined" if metric.estimate is None else f"{metric.estimate:.2f}, no interval"
    return f"{metric.estimate:.2f} ({metric.low:.2f} to {metric.high:.2f})"


def _refit(plans: list[Refit], dealt: Floats, column: "pd.Series[int]", strength: float) -> Floats:
    """Mean within-fold AUC of each deal when every fold is fitted on its dealt labels, shape (deals,)."""
    mean = _MeanAuc(len(dealt))
    for plan in plans:
        labels = dealt[:, column[plan.train_rows["unit"]].to_numpy()]
        odds = fit_ridges(plan.train, labels, balance_classes(labels), strength=strength).predict(plan.test)
        ranks = rankdata(expit(odds) @ plan.share.T, axis=1)
        mean.add(ranks, dealt[:, column[plan.rows["unit"]].to_numpy()])
    return mean.value()


class _MeanAuc:
    """Mean over folds of AUCs by ranks, deal by deal; a fold counts where its deal holds both classes."""

    def __init__(self, deals: int) -> None:
        self._total, self._count = np.zeros(deals), np.zeros(deals)

    def add(self, ranks: Floats, positive: Floats) -> None:
        """Add a fold: ranks of shape (1 or deals, rows) and labels of shape (deals, rows)."""
        positives = positive.sum(axis=1)
        negatives = positive.shape[1] - positives
        usable = (positives > 0) & (negatives > 0)
        wins = (positive * ranks).sum(axis=1) - positives * (positives + 1) / 2
        self._total += np.where(usable, wins / np.maximum(positives * negatives, 1), 0)
        self._count += usable

    def value(self) -> Floats:
        """Shape (deals,)."""
        return np.asarray(self._total / np.maximum(self._count, 1))


def _compare(null: Floats, observed: float, retrained: str = "") -> Permutation:
    p = (1 + int((null >= observed - 1e-12).sum())) / (1 + len(null))
    return Permutation(p, float(np.quantile(null, 0.975)), observed, len(null), retrained)


def _sort_units(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates("unit").sort_values(["cluster", "unit"]).reset_index(drop=True)


def _deal_labels(
    units: pd.DataFrame, deals: int, random: np.random.Generator, strata: "pd.Series[int] | None" = None
) -> Floats:
    """Labels of each unit in each deal, shape (deals, units); units are sorted by cluster."""
    labels = units["label"].to_numpy(np.float64)
    _, first, sizes = np.unique(units["cluster"].to_numpy(), return_index=True, return_counts=True)
    like = np.zeros(len(first), dtype=np.int64) if strata is None else strata[units["unit"].iloc[first]].to_numpy()
    dealt = np.tile(labels, (deals, 1))
    for size, stratum in sorted(set(zip(sizes.tolist(), like.tolist(), strict=True))):
        starts = first[(sizes == size) & (like == stratum)]
        places = starts[:, None] + np.arange(size)[None, :]
        orders = random.permuted(np.tile(np.arange(len(starts)), (deals, 1)), axis=1)
        dealt[:, places] = labels[places][orders]
    return dealt
