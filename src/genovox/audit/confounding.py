"""Confounding: can the label be told without looking at the patient?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genovox.audit.checks import Check, Status
from genovox.cohort.balance import WORTH_A_GATE
from genovox.cohort.gates import compare_exclusions
from genovox.cohort.splits import FIXED
from genovox.core.case import SCAN_PREFIX
from genovox.dataset import features
from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import Clusters, cluster_patients, draw_weights, summarise_draws
from genovox.evaluate.schema import LabelUnit, Metric
from genovox.evaluate.scoring import estimate_within_fold_auc
from genovox.train.tabular import RIDGE, as_numbers, fit_logistic

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
ADD_SCANNER = "Add vendor, model, field_strength and site to the manifest."
MATCH = (
    "Match carriers and non-carriers by scanner and protocol, or test within one scanner; "
    "find out why the metadata differ."
)
STRATA = 5
NO_OVERLAP = 0.995
_RARE = 3


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
    """

    columns: tuple[str, ...]
    auc: Metric | None
    within: Metric | None
    scanner_known: bool
    useful_auc: float = 0.6
    unusable: tuple[str, ...] = ()

    @property
    def tells_label(self) -> bool:
        """Whether the interval of the metadata's AUC lies above 0.5."""
        return self.auc is not None and self.auc.low is not None and self.auc.low > 0.5

    @property
    def score_adds(self) -> bool:
        """Whether the image's score tells the label among cases of like metadata."""
        return self.within is not None and self.within.low is not None and self.within.low > 0.5

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
    return tuple(name for name in features.metadata_columns(cases) if len(set(cases[name])) > 1)


def score_metadata(cases: pd.DataFrame, folds: pd.DataFrame, columns: tuple[str, ...], seed: int) -> pd.DataFrame:
    """Out-of-fold scores of a regularised logistic regression on metadata, over the study's own folds.

    Args:
        cases: Columns ``case_id, patient_id, family_id, label`` and the metadata.
        folds: The study's fold plan.
        columns: Metadata to use.
        seed: Seed of the solver.

    Returns:
        One row a tested case and repeat: ``case_id, patient_id, repeat, fold, label, cluster, score``.
    """
    table = cases.set_index("case_id")
    table["cluster"] = cluster_patients(table["patient_id"], table["family_id"])
    scored = []
    for _, plan in folds[folds["fold"] != FIXED].groupby(["repeat", "fold"]):
        present = plan[plan["case_id"].isin(table.index)]
        train = table.loc[present.loc[present["part"] != "test", "case_id"]]
        test = table.loc[present.loc[present["part"] == "test", "case_id"]]
        known = train[list(columns)]
        model = fit_logistic(
            known, train["label"].to_numpy(np.int64), train["cluster"].to_numpy(), seed=seed, recipe=RIDGE
        )
        rows = test[["patient_id", "label", "cluster"]].reset_index().assign(score=model.score(test))
        rows["repeat"], rows["fold"] = plan["repeat"].iloc[0], plan["fold"].iloc[0]
        scored.append(rows)
    return pd.concat(scored, ignore_index=True)


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
    cases = _measure(cases, varying)
    columns = tuple(name for name in varying if _is_usable(cases[name]))
    unusable = tuple(name for name in varying if name not in columns)
    known = any(name in cases.columns and (cases[name] != "").all() for name in SCANNER_COLUMNS)
    if not columns:
        return MetadataFinding((), None, None, known, useful_auc, unusable)
    unit = f"{label_unit}_id"
    metadata = _gather(score_metadata(cases, folds, columns, seed), unit)
    auc = estimate_within_fold_auc(metadata, resamples=resamples, seed=seed)
    both = metadata.merge(
        units[["unit", "repeat", "fold", "score"]].astype({"repeat": int}),
        on=["unit", "repeat", "fold"],
        suffixes=("_metadata", ""),
    )
    return MetadataFinding(
        columns, auc, stratified_auc(both, resamples=resamples, seed=seed), known, useful_auc, unusable
    )


def stratified_auc(table: pd.DataFrame, *, resamples: int, seed: int) -> Metric:
    """AUC of ``score`` among rows of one fold whose metadata tell the same, averaged over strata by their pairs.

    Args:
        table: ``repeat, fold, cluster, label, score, score_metadata``; up to five strata of ``score_metadata`` a fold.
        resamples: Resamples of clusters.
        seed: Their seed.

    References:
        Janes & Pepe (2009), covariate-adjusted ROC, doi:10.1093/biomet/asp002.
    """
    clusters = Clusters.from_rows(table["cluster"], table["label"])
    drawn = draw_weights(clusters, resamples=resamples, seed=seed)[:, clusters.locate(table["cluster"])]
    weights = np.concatenate([np.ones((1, len(table))), drawn])
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
    return summarise_draws(float(values[0]), values[1:], clusters, note=note)


def check_metadata(finding: MetadataFinding) -> Check:
    """Judge what scan metadata tell of the label."""
    status, text, advice = _judge_varying(finding, finding.auc) if finding.auc else _judge_constant(finding)
    if finding.unusable:
        names = ", ".join(name.removeprefix(SCAN_PREFIX) for name in finding.unusable)
        text += f"; nearly every case has a value of its own in {names}, so nothing can be learnt from it"
        status = "not-assessed" if status == "pass" else status
    if not finding.scanner_known and status != "fail":
        text += "; vendor, model or field strength are not given for every case and were not looked at"
        advice = ADD_SCANNER
    return Check(
        "metadata-label",
        "Can the label be told from scan metadata alone?",
        status,
        text,
        "warns where the 95% interval lies above 0.5; fails if the image's score then adds nothing to metadata",
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
    text = f"metadata alone ({names}) score AUC {_figure(auc)}"
    if finding.separates:
        return "fail", f"{text}: the classes do not overlap in metadata", MATCH
    if auc.low is None:
        return "not-assessed", f"{text}, which cannot be judged", MATCH
    if finding.tells_label and not finding.score_adds:
        text += "; the image's score adds nothing to them"
        if finding.within is not None:
            text += f": among cases of like metadata it scores {_figure(finding.within)}"
        return "fail", text, MATCH
    if finding.tells_label:
        return "warn", f"{text}; among cases of like metadata the image still scores {_figure(finding.within)}", MATCH
    if auc.high is not None and auc.high < 0.5:
        text += "; below 0.5 they mislead in patients they were not fitted on, which tells no label"
    return "pass", text, ""


def check_exclusions(labels_in: list[int], labels_out: list[int], accepted: str) -> Check:
    """Judge whether carriers were left out more or less often than non-carriers.

    Args:
        labels_in: Labels of the patients of whom nothing was left out.
        labels_out: Labels of the patients who lost a case.
        accepted: The user's reason to go on all the same, or empty.
    """
    question = "Were carriers and non-carriers left out alike?"
    threshold = (
        f"warns where the interval excludes 0, fails beyond {100 * WORTH_A_GATE:.0f} points: a one-sided loss changes "
        "who is compared"
    )
    if not labels_out:
        return Check("exclusions", question, "pass", "no patient with a known label lost a case", threshold)
    lost = compare_exclusions(labels_in, labels_out)
    text = lost.describe("lost a case") + (f"; accepted by the user: {accepted}" if accepted else "")
    status: Status = "fail" if lost.closes else "warn" if lost.beyond_chance else "pass"
    advice = "" if status == "pass" else "Repair the images that exclusions.csv lists, or explain the difference."
    return Check("exclusions", question, status, text, threshold, figure=lost.difference, advice=advice)


def _gather(scored: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Scores by unit: a patient's is the mean of its cases, as for the images."""
    groups = scored.groupby(["repeat", "fold", unit], sort=True)
    table = groups.agg(label=("label", "first"), cluster=("cluster", "first"), score=("score", "mean")).reset_index()
    return table.rename(columns={unit: "unit"})


def _measure(cases: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Numbers and dates as numbers, with gaps where a cell holds none; other columns stay text."""
    table = cases.copy()
    for name in columns:
        found = as_numbers(cases[name])
        if found is not None:
            table[name] = found[1]
    return table


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_float_dtype(column)


def _is_usable(column: pd.Series) -> bool:
    """Whether any value stands often enough to be learnt from; names and serial numbers do not."""
    return _is_numeric(column) or bool(column.value_counts().iloc[1:].ge(_RARE).any() or len(column) < 2 * _RARE)


def _strata(table: pd.DataFrame) -> list[np.ndarray]:
    strata = []
    for rows in table.groupby(["repeat", "fold"]).indices.values():
        scores = table["score_metadata"].to_numpy()[rows]
        edges = np.unique(np.quantile(scores, np.linspace(0, 1, STRATA + 1)[1:-1]))
        bins = np.searchsorted(edges, scores, side="left")
        strata += [np.asarray(rows)[bins == number] for number in np.unique(bins)]
    return strata


def _figure(metric: Metric | None) -> str:
    if metric is None or metric.estimate is None:
        return "not defined"
    if metric.low is None or metric.high is None:
        return f"{metric.estimate:.2f} (no interval: too few patients)"
    return f"{metric.estimate:.2f} ({metric.low:.2f} to {metric.high:.2f})"
