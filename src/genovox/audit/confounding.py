"""Confounding: can the label be told without looking at the patient?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.tree import DecisionTreeClassifier

from genovox.audit.additions import SHOWN, Addition, measure_addition, pair_scores
from genovox.audit.checks import Check, Status
from genovox.baselines.ridge import balance_classes, fit_ridges
from genovox.baselines.tabular import RIDGE, as_numbers, evaluate_terms, fit_logistic
from genovox.cohort.splits import FIXED
from genovox.core.case import SCAN_PREFIX, list_metadata
from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import Resampling, cluster_patients, summarise_draws
from genovox.evaluate.schema import LabelUnit, Metric
from genovox.evaluate.scoring import estimate_within_fold_auc

SCANNER_COLUMNS = tuple(
    SCAN_PREFIX + name
    for name in (
        "vendor",
        "manufacturer",
        "scanner",
        "model",
        "scanner_model",
        "field_strength",
        "magnetic_field_strength",
    )
)
ADD_SCANNER = "Add vendor, model, field_strength and site of every case, a column each."
MATCH = (
    "Match carriers and non-carriers by scanner and protocol, or test within one scanner; "
    "find out why the metadata differ."
)
CIRCUMSTANCES = ("indication", "treatment", "prior_treatment", "neoadjuvant", "clip", "implant", "biopsy")
"""Columns of a clinical table that say why and in what state a patient was scanned, not who she is."""
STRATA = 5
NO_OVERLAP = 0.995
_RARE = 3
_TREES, _DEPTH, _LEAF = 8, 4, 8
_INNER = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MetadataFinding:
    """How far scan metadata tell the label, and what the image's score adds.

    Attributes:
        columns: Metadata that vary and were used; empty where all are the same for every case.
        auc: Mean within-fold AUC of metadata alone, or None where nothing varies.
        within: AUC of the image's score among cases of like metadata, or None.
        scanner_known: Whether vendor, model, field strength or site were given for every case.
        useful_auc: What would be useful, from ``[audit]``: metadata that may reach it are not ruled out.
        unusable: Metadata that vary but repeat no value often enough to be learnt from.
        addition: What the image's score adds to the metadata's, or None.
        paired: ``unit, repeat, fold, cluster, label, score_base, score``: the metadata's score beside the image's.
        combined: Share of the folds in which combinations of columns told more than columns by themselves.
    """

    columns: tuple[str, ...]
    auc: Metric | None
    within: Metric | None
    scanner_known: bool
    useful_auc: float = 0.6
    unusable: tuple[str, ...] = ()
    addition: Addition | None = None
    paired: pd.DataFrame | None = field(default=None, compare=False)
    combined: float = 0.0

    @property
    def tells_label(self) -> bool:
        """Whether the interval of the metadata's AUC lies above 0.5."""
        return self.auc is not None and self.auc.low is not None and self.auc.low > 0.5

    @property
    def score_adds(self) -> bool:
        """Whether the score tells the label among cases of like metadata, and adds to what metadata tell."""
        stands = self.within is not None and self.within.low is not None and self.within.low > 0.5
        return stands and (self.addition is None or self.addition.adds)

    @property
    def rules_out(self) -> bool:
        """Whether scanner metadata are known and tell less of the label than would be useful."""
        if not self.scanner_known or self.unusable:
            return False
        return self.auc is None or (self.auc.high is not None and self.auc.high < self.useful_auc)

    @property
    def separates(self) -> bool:
        """Whether the classes do not overlap in metadata at all."""
        return self.auc is not None and self.auc.estimate is not None and self.auc.estimate >= NO_OVERLAP


def metadata_columns(cases: pd.DataFrame) -> tuple[str, ...]:
    """Columns of ``cases.csv`` that describe the scan rather than the patient, and vary."""
    named = [*list_metadata(cases), *(name for name in CIRCUMSTANCES if name in cases.columns)]
    return tuple(name for name in named if len(set(cases[name])) > 1)


def join_circumstances(cases: pd.DataFrame, clinic: pd.DataFrame | None) -> pd.DataFrame:
    """Cases with what the clinical table says of why and in what state a patient was scanned.

    Args:
        cases: ``case_id`` and more.
        clinic: ``case_id`` and the clinical columns; None where there is no such table.
    """
    names = (
        [] if clinic is None else [name for name in CIRCUMSTANCES if name in clinic.columns.difference(cases.columns)]
    )
    if clinic is None or not names:
        return cases
    return cases.merge(clinic[["case_id", *names]], on="case_id", how="left").fillna(dict.fromkeys(names, ""))


def score_columns(cases: pd.DataFrame, folds: pd.DataFrame, columns: tuple[str, ...], seed: int) -> pd.DataFrame:
    """Out-of-fold scores of table columns, over the study's own folds.

    In each fold a ridge logistic regression of the columns, or a few shallow trees that see combinations of them:
    whichever has the lower log loss on inner folds of the fold's own training patients.

    Args:
        cases: Columns ``case_id, patient_id, family_id, label`` and the metadata.
        folds: The study's fold plan.
        columns: Metadata to use.
        seed: Seed of the solver.

    Returns:
        One row a tested case and repeat: ``case_id, patient_id, repeat, fold, label, cluster, score, combined``; none
        of folds whose training patients are of one class.
    """
    table = cases.set_index("case_id")
    table["cluster"] = cluster_patients(table["patient_id"], table["family_id"])
    scored = []
    for _, plan in folds[folds["fold"] != FIXED].groupby(["repeat", "fold"]):
        present = plan[plan["case_id"].isin(table.index)]
        train = table.loc[present.loc[present["part"] != "test", "case_id"]]
        test = table.loc[present.loc[present["part"] == "test", "case_id"]]
        labels, clusters = train["label"].to_numpy(np.int64), train["cluster"].to_numpy(np.int64)
        if len(np.unique(labels)) < 2:
            continue
        model = fit_logistic(train[list(columns)], labels, clusters, seed=seed, recipe=RIDGE)
        known, asked = (evaluate_terms(model.terms, part) for part in (train, test))
        combines = _prefer_trees(known, labels, clusters, seed)
        scores = _score_trees(known, labels, asked, seed) if combines else model.score(test)
        rows = test[["patient_id", "label", "cluster"]].reset_index().assign(score=scores, combined=combines)
        rows["repeat"], rows["fold"] = plan["repeat"].iloc[0], plan["fold"].iloc[0]
        scored.append(rows)
    return pd.concat(scored, ignore_index=True) if scored else pd.DataFrame()


def _prefer_trees(matrix: Floats, labels: NDArray[np.int64], clusters: NDArray[np.int64], seed: int) -> bool:
    """Whether combinations tell more than columns by themselves, on inner folds of whole clusters."""
    # As many distinct rows as a regression has coefficients: it can give each its own value already.
    if len(np.unique(matrix, axis=0)) <= matrix.shape[1] + 1:
        return False
    random = np.random.default_rng(seed)
    ids, place = np.unique(clusters, return_inverse=True)
    part = random.permutation(np.arange(len(ids)) % _INNER)[place]
    losses: list[list[float]] = [[], []]
    for number in range(_INNER):
        fit, held = part != number, part == number
        if len(np.unique(labels[fit])) < 2 or len(np.unique(labels[held])) < 2:
            continue
        ridge = fit_ridges(matrix[fit], labels[fit], balance_classes(labels[fit]), strength=RIDGE.strengths[0])
        for way, scores in enumerate(
            (expit(ridge.predict(matrix[held])[0]), _score_trees(matrix[fit], labels[fit], matrix[held], seed))
        ):
            loss = -np.log(np.where(labels[held] == 1, scores, 1 - scores))
            losses[way].append(float(np.mean([loss[labels[held] == label].mean() for label in (0, 1)])))
    return bool(losses[0]) and np.mean(losses[1]) < np.mean(losses[0])


def _score_trees(matrix: Floats, labels: NDArray[np.int64], asked: Floats, seed: int) -> Floats:
    """Mean probability of shallow trees, each grown on a resample of the rows."""
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in (0, 1)]
    known, wanted, total = matrix.astype(np.float32), asked.astype(np.float32), np.zeros(len(asked))
    for _ in range(_TREES):
        # As many of either class, so that both weigh the same.
        rows = np.concatenate([random.choice(of_class, len(labels) // 2) for of_class in members])
        tree = DecisionTreeClassifier(
            max_depth=_DEPTH, min_samples_leaf=_LEAF, random_state=int(random.integers(2**31))
        ).fit(known[rows], labels[rows].astype(np.float64), check_input=False)
        total += tree.predict_proba(wanted, check_input=False)[:, 1]
    return np.clip(total / _TREES, 0.01, 0.99)


def weigh_metadata(
    cases: pd.DataFrame,
    folds: pd.DataFrame,
    units: pd.DataFrame,
    *,
    label_unit: LabelUnit,
    useful_auc: float,
    resamples: int,
    seed: int,
) -> MetadataFinding:
    """Find how far metadata tell the label and what the image's score adds to them.

    Args:
        cases: ``cases.csv`` of the labelled cases, label as integer.
        folds: The study's fold plan.
        units: Test rows of the primary model as they are scored: ``unit, repeat, fold, score``.
        label_unit: Whether a unit is a patient (mean of its cases) or a case.
        useful_auc: What would be useful, from ``[audit]``.
        resamples: Bootstrap resamples.
        seed: Seed of the resamples.
    """
    varying = metadata_columns(cases)
    cases = measure_columns(cases, varying)
    columns = tuple(name for name in varying if _is_usable(cases[name]))
    unusable = tuple(name for name in varying if name not in columns)
    known = any(name in cases.columns and (cases[name] != "").all() for name in SCANNER_COLUMNS)
    if not columns:
        return MetadataFinding((), None, None, known, useful_auc, unusable)
    scored = score_columns(cases, folds, columns, seed)
    if scored.empty:
        return MetadataFinding((), None, None, known, useful_auc, varying)
    metadata = gather_scores(scored, f"{label_unit}_id")
    both = pair_scores(metadata, units)
    return MetadataFinding(
        columns,
        estimate_within_fold_auc(metadata, resamples=resamples, seed=seed),
        stratified_auc(both, resamples=resamples, seed=seed),
        known,
        useful_auc,
        unusable,
        measure_addition("scan metadata", both, resamples=resamples, seed=seed),
        both,
        float(scored["combined"].mean()),
    )


def stratified_auc(table: pd.DataFrame, *, resamples: int, seed: int) -> Metric:
    """AUC of ``score`` among rows of one fold whose metadata tell the same, averaged over strata by their pairs.

    Args:
        table: ``repeat, fold, cluster, label, score, score_base``; up to five strata of ``score_base`` a fold.
        resamples: Resamples of clusters.
        seed: Their seed.

    References:
        Janes & Pepe (2009), covariate-adjusted ROC, doi:10.1093/biomet/asp002.
    """
    resampling = Resampling.of(table, resamples=resamples, seed=seed)
    weights = resampling.drawn[:, resampling.clusters.locate(table["cluster"])]
    total, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    for rows in _strata(table):
        positive = labels[rows] == 1
        if positive.all() or not positive.any():
            continue
        share = weights[:, rows[positive]].sum(1) * weights[:, rows[~positive]].sum(1)
        auc = roc_auc(labels[rows], scores[rows], weights[:, rows])
        total += np.where(share > 0, auc * share, 0.0)
        pairs += share
    with np.errstate(invalid="ignore"):
        values = total / pairs
    note = None if pairs[0] > 0 else "no stratum of like metadata holds both classes"
    return summarise_draws(float(values[0]), values[1:], resampling.clusters, note=note)


def check_metadata(finding: MetadataFinding) -> Check:
    """Judge what scan metadata tell of the label."""
    status, text, advice = _judge_varying(finding, finding.auc) if finding.auc else _judge_constant(finding)
    if finding.unusable:
        names = ", ".join(name.removeprefix(SCAN_PREFIX) for name in finding.unusable)
        text += f"; too few cases share a value of {names}, so nothing can be learnt from it"
        status = "not-assessed" if status == "pass" else status
    if not finding.scanner_known and status != "fail":
        text += "; vendor, model or field strength are not given for every case and were not looked at"
        advice = ADD_SCANNER
    return Check(
        "metadata-label",
        "Can the label be told from scan metadata alone?",
        status,
        text,
        "warns where the 95% interval lies above 0.5; fails unless the image's score then tells the label among cases "
        f"of like metadata and, given the metadata's score, {SHOWN}",
        finding.auc.estimate if finding.auc else None,
        finding.auc.low if finding.auc else None,
        finding.auc.high if finding.auc else None,
        advice,
    )


def _judge_constant(finding: MetadataFinding) -> tuple[Status, str, str]:
    text = "matrix, spacing, orientation, phases, format and stored type are the same for every case"
    return (
        ("pass", f"no: {text}, and so is what is given of the scanner", "")
        if finding.scanner_known
        else ("not-assessed", text, "")
    )


def _judge_varying(finding: MetadataFinding, auc: Metric) -> tuple[Status, str, str]:
    names = ", ".join(name.removeprefix(SCAN_PREFIX) for name in finding.columns)
    how = ", combinations of columns in most folds" if finding.combined > 0.5 else ""
    text = f"metadata alone ({names}{how}) score AUC {_figure(auc)}"
    if finding.separates:
        return "fail", f"{text}: the classes do not overlap in metadata", MATCH
    if auc.low is None:
        return "not-assessed", f"{text}, which cannot be judged", MATCH
    if finding.tells_label and not finding.score_adds:
        text += "; the image's score adds nothing to them"
        if finding.within is not None:
            text += f": among cases of like metadata it scores {_figure(finding.within)}{_describe_addition(finding)}"
        return "fail", text, MATCH
    if finding.tells_label:
        still = f"{_figure(finding.within)}{_describe_addition(finding)}"
        return "warn", f"{text}; among cases of like metadata the image still scores {still}", MATCH
    if auc.high is not None and auc.high < 0.5:
        text += "; below 0.5 they mislead in patients they were not fitted on, which tells no label"
    return "pass", text, ""


def gather_scores(scored: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Scores by unit: a patient's is the mean of its cases, as for the images."""
    groups = scored.groupby(["repeat", "fold", unit], sort=True)
    table = groups.agg(label=("label", "first"), cluster=("cluster", "first"), score=("score", "mean")).reset_index()
    return table.rename(columns={unit: "unit"})


def measure_columns(cases: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Numbers and dates as numbers, with gaps where a cell holds none; other columns stay text."""
    table = cases.copy()
    for name in columns:
        found = as_numbers(cases[name])
        if found is not None:
            table[name] = found[1]
    return table


def _is_usable(column: pd.Series) -> bool:
    """Whether any value stands often enough to be learnt from; names and serial numbers do not."""
    return pd.api.types.is_float_dtype(column) or bool(
        column.value_counts().iloc[1:].ge(_RARE).any() or len(column) < 2 * _RARE
    )


def _strata(table: pd.DataFrame) -> list[np.ndarray]:
    strata = []
    for rows in table.groupby(["repeat", "fold"]).indices.values():
        scores = table["score_base"].to_numpy()[rows]
        edges = np.unique(np.quantile(scores, np.linspace(0, 1, STRATA + 1)[1:-1]))
        bins = np.searchsorted(edges, scores, side="left")
        strata += [np.asarray(rows)[bins == number] for number in np.unique(bins)]
    return strata


def _describe_addition(finding: MetadataFinding) -> str:
    added = finding.addition
    return "" if added is None else f", likelihood ratio {added.likelihood_ratio:.1f} (p = {added.p_value:.2g})"


def _figure(metric: Metric | None) -> str:
    if metric is None or metric.estimate is None:
        return "not defined"
    if metric.low is None or metric.high is None:
        return f"{metric.estimate:.2f} (no interval: too few patients)"
    return f"{metric.estimate:.2f} ({metric.low:.2f} to {metric.high:.2f})"
