"""Does the score work as well for everybody? The headline in each level of a column, and whether the levels differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

from genovox.cohort.balance import MOST_LEVELS, read_numbers
from genovox.cohort.splits import FIXED
from genovox.core.errors import TableError
from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import MINIMUM_CLUSTERS, Clusters, Resampling, prefer_delong, summarise_draws
from genovox.evaluate.schema import LabelUnit, Metric, Subgroup, SubgroupLevel, Subgroups
from genovox.evaluate.scoring import influence_of_clusters, list_folds, within_fold_auc
from genovox.statistics.multiplicity import holm_adjust

Floats = NDArray[np.float64]

USUAL = (
    "site",
    "scan_vendor",
    "scan_manufacturer",
    "scan_model",
    "scan_scanner_model",
    "scan_field_strength",
    "scan_magnetic_field_strength",
    "age",
    "menopausal_state",
    "menopause",
    "subtype",
    "density",
    "breast_density",
    "lesion_size",
    "lesion_size_mm",
    "tumour_size_mm",
    "tumor_size_mm",
)
"""Columns that are looked at, where they exist and vary, unless the study names its own."""
METHOD = (
    "mean within-fold AUC in each level; levels differ where a Wald test on the covariance of their bootstrap draws "
    "says so, p-values adjusted by Holm over the columns of a model; at least 10 patients of each class in a level"
)
SEVERAL = "several"
_AGE_BANDS = (40.0, 50.0, 60.0)


def compare_subgroups(
    units: pd.DataFrame,
    cases: pd.DataFrame,
    resampling: Resampling,
    *,
    columns: Sequence[str],
    label_unit: LabelUnit,
) -> Subgroups:
    """Compare every model's headline between the levels of each column.

    Args:
        units: Rows of every model, from ``gather_units``; only test rows are read.
        cases: ``case_id``, ``patient_id`` and columns to group by, text; an empty cell is unknown.
        resampling: Of the test rows: cross-validation's where there is one, else the fixed part's.
        columns: Which; none: those of ``USUAL`` that the table has.
        label_unit: To what the labels belong.

    Raises:
        TableError: If a named column is not in the table.
    """
    absent = [name for name in columns if name not in cases.columns]
    if absent:
        raise TableError(
            f"evaluate.subgroups names columns of the cases or the clinical table, got {', '.join(absent)}; "
            f"they hold {', '.join(name for name in cases.columns if not name.endswith('_id'))}"
        )
    names = list(columns) or [name for name in USUAL if name in cases.columns]
    key = "patient_id" if label_unit == "patient" else "case_id"
    levels = {name: band_levels(_gather_values(cases, key, name), name) for name in names}
    levels = {name: values for name, values in levels.items() if columns or len(set(values) - {""}) > 1}
    models = {}
    for model in dict.fromkeys(units["model"]):
        test = units[(units["model"] == model) & (units["part"] == "test")]
        rotating = test[test["fold"] != FIXED]
        test = (rotating if len(rotating) else test).reset_index(drop=True)
        found = _compare_model(test, levels, resampling)
        adjusted = holm_adjust([np.nan if one.p_value is None else one.p_value for one in found])
        models[model] = [_conclude(one, float(p)) for one, p in zip(found, adjusted, strict=True)]
    return Subgroups(label_unit=label_unit, method=METHOD, models=models)


@dataclass(frozen=True)
class SiteLoss:
    """How well patients are ranked among those of their own hospital, with and without learning from it.

    Attributes:
        how: What was learnt anew, in words.
        sites: The hospitals.
        own: AUC within hospitals in the study's own folds.
        unseen: The same where nobody of the hospital was learnt from.
        loss: The first less the second.
    """

    how: str
    sites: tuple[str, ...]
    own: Metric
    unseen: Metric
    loss: Metric


def compare_unseen(own: pd.DataFrame, unseen: pd.DataFrame, *, how: str, resamples: int, seed: int) -> SiteLoss | None:
    """Compare the scores of two trainings within hospitals, on the same patients.

    Only patients of one hospital that one network scored are compared, so that neither what tells hospitals apart nor
    the scale of a network counts; in both figures a hospital weighs by its pairs of a carrier and a non-carrier.

    Args:
        own: ``site, repeat, fold, unit, cluster, label, score`` out of the study's own folds.
        unseen: The same columns, by learners of the other hospitals.
        how: What was learnt anew, in words.
        resamples: Resamples of clusters, the same for both.
        seed: Their seed.

    Returns:
        None where no hospital has a pair in both.
    """
    shared = own[["site", "unit"]].drop_duplicates().merge(unseen[["site", "unit"]].drop_duplicates())
    tables = [table.merge(shared, on=["site", "unit"]) for table in (own, unseen)]
    if not len(shared):
        return None
    resampling = Resampling.of(pd.concat(tables), resamples=resamples, seed=seed)
    sums = [_sum_pairs(table, resampling) for table in tables]
    sites = tuple(site for site in sums[0] if all(pairs[site][1][0] > 0 for pairs in sums if site in pairs))
    if not sites:
        return None
    total, weight = np.zeros((2, len(resampling.drawn))), np.zeros(len(resampling.drawn))
    for site in sites:
        share = np.where(sums[0][site][1] > 0, sums[1][site][1], 0.0)
        for row, pairs in enumerate(sums):
            wins, count = pairs[site]
            total[row] += share * np.divide(wins, count, out=np.zeros_like(wins), where=count > 0)
        weight += share
    means = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)
    # Both lean on the same patients: of 209 cohorts without a loss 2 had an interval above 0, and none a wider one.
    loss = summarise_draws(
        float(means[0, 0] - means[1, 0]), means[0, 1:] - means[1, 1:], resampling.clusters, limits=(-1, 1)
    )
    return SiteLoss(how, sites, resampling.summarise(means[0]), resampling.summarise(means[1]), loss)


def _sum_pairs(table: pd.DataFrame, resampling: Resampling) -> dict[str, tuple[Floats, Floats]]:
    """By hospital: pairs that are ranked right, and all pairs, in each resample, of shape (B + 1,)."""
    sums: dict[str, tuple[Floats, Floats]] = {}
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    columns = resampling.clusters.locate(table["cluster"])
    sites = table["site"].to_numpy(str)
    parts = [(site, fold[sites[fold] == site]) for fold in list_folds(table).values() for site in set(sites[fold])]
    for site, rows in sorted(parts, key=lambda part: part[0]):
        wins, pairs = sums.setdefault(str(site), (np.zeros(len(resampling.drawn)), np.zeros(len(resampling.drawn))))
        weights, positive = resampling.drawn[:, columns[rows]].astype(np.float64), labels[rows] == 1
        if positive.any() and not positive.all():
            count = weights[:, positive].sum(axis=1) * weights[:, ~positive].sum(axis=1)
            wins += np.where(count > 0, roc_auc(labels[rows], scores[rows], weights) * count, 0.0)
            pairs += count
    return sums


def band_levels(values: pd.Series, name: str) -> pd.Series:
    """Levels of a column: words as they are, numbers of many values in bands.

    Ages are cut at 40, 50 and 60 years, other numbers into thirds of the patients; a column of more than 12 words
    keeps the 11 most frequent and joins the rest.

    Args:
        values: Text, an empty cell is unknown.
        name: Of the column.
    """
    numbers = read_numbers(values)
    if numbers is not None and numbers.nunique() > 4:
        inner = _AGE_BANDS if name.lower().startswith("age") else np.unique(numbers.quantile([1 / 3, 2 / 3]))
        edges = [-np.inf, *inner, np.inf]
        labels = [f"under {edges[1]:g}"]
        labels += [f"{low:g} to under {high:g}" for low, high in pairwise(inner)]
        labels.append(f"{edges[-2]:g} and over")
        return pd.cut(numbers, edges, right=False, labels=labels).astype(object).fillna("").astype(str)
    counts = values[values != ""].value_counts()
    if len(counts) <= MOST_LEVELS:
        return values
    ordered = sorted(counts.index, key=lambda level: (-counts[level], level))
    return values.where(values.isin([*ordered[: MOST_LEVELS - 1], ""]), "other")


def _gather_values(cases: pd.DataFrame, key: str, name: str) -> pd.Series:
    """The value of each unit, by its id; patients whose cases disagree have ``several``."""
    known = cases[cases[name].notna() & (cases[name].astype(str).str.strip() != "")]
    grouped = known[name].astype(str).groupby(known[key].astype(str))
    values = grouped.first().where(grouped.nunique() < 2, SEVERAL)
    return values.reindex(sorted(cases[key].astype(str).unique()), fill_value="").astype(str)


def _compare_model(test: pd.DataFrame, levels: dict[str, pd.Series], resampling: Resampling) -> list[Subgroup]:
    columns = resampling.clusters.locate(test["cluster"])
    found = []
    for name, values in levels.items():
        of_row = test["unit"].map(values).fillna("")
        described, draws = [], []
        for level in sorted(level for level in of_row.unique() if level):
            in_level = (of_row == level).to_numpy()
            rows = test[in_level]
            own = Clusters.from_rows(rows["cluster"], rows["label"])
            estimate = float(within_fold_auc(rows)[0])
            drawn = np.full(len(resampling.drawn) - 1, np.nan)
            if not own.too_few:
                drawn = within_fold_auc(rows, resampling.drawn[1:, columns[in_level]])
                draws.append((estimate, estimate + resampling.spread * (drawn - estimate)))
            note = "no fold holds both classes of this level" if np.isnan(estimate) else None
            auc = summarise_draws(estimate, drawn, own, note=note, spread=resampling.spread)
            if resampling.spread == 1.0:
                auc = prefer_delong(auc, influence_of_clusters(rows.reset_index(drop=True), own), own)
            units = rows.drop_duplicates("unit")
            described.append(
                SubgroupLevel(
                    level=level,
                    n=len(units),
                    positives=int(units["label"].sum()),
                    auc=auc,
                )
            )
        missing = int(test.loc[of_row == "", "unit"].nunique())
        found.append(_test_levels(name, described, draws, missing))
    return found


def _test_levels(name: str, levels: list[SubgroupLevel], draws: list[tuple[float, Floats]], missing: int) -> Subgroup:
    statistic = freedom = p_value = note = None
    draws = [pair for pair in draws if not np.isnan(pair[0])]
    if len(draws) < 2:
        note = f"not-assessed: fewer than two levels hold {MINIMUM_CLUSTERS} patients of each class"
    else:
        estimates, table = np.array([pair[0] for pair in draws]), np.stack([pair[1] for pair in draws])
        tested = weigh_differences(estimates, table)
        if tested is None:
            note = "not-assessed: a level's AUC does not vary over resamples"
        else:
            statistic, freedom, p_value = tested
    return Subgroup(
        column=name,
        levels=levels,
        missing=missing,
        chi_square=statistic,
        degrees_of_freedom=freedom,
        p_value=p_value,
        conclusion="not-assessed",
        note=note,
    )


def weigh_differences(estimates: Floats, draws: Floats) -> tuple[float, int, float] | None:
    """Wald test that figures are equal, from the covariance of their joint bootstrap draws.

    Args:
        estimates: Shape (levels,), at least 2.
        draws: The same resamples for all levels, shape (levels, B); NaN where not defined.

    Returns:
        Chi-square, degrees of freedom, p-value; None where the draws do not vary.

    References:
        Wald (1943), doi:10.1090/S0002-9947-1943-0012401-3; DeLong et al. (1988), doi:10.2307/2531595, eq. 5.
    """
    defined = draws[:, ~np.isnan(draws).any(axis=0)]
    if defined.shape[1] < 2:
        return None
    contrasts = np.eye(len(estimates))[1:] - np.eye(len(estimates))[0]
    covariance = contrasts @ np.cov(defined) @ contrasts.T
    if not np.isfinite(covariance).all() or np.linalg.cond(covariance) > 1e12 or np.diag(covariance).min() <= 1e-15:
        return None
    gap = contrasts @ estimates
    statistic = float(gap @ np.linalg.solve(covariance, gap))
    freedom = len(estimates) - 1
    return statistic, freedom, float(chi2.sf(statistic, freedom))


def _conclude(found: Subgroup, adjusted: float) -> Subgroup:
    if found.p_value is None:
        return found
    conclusion: Literal["differs", "not distinguishable"] = "differs" if adjusted < 0.05 else "not distinguishable"
    return found.model_copy(update={"holm_p_value": adjusted, "conclusion": conclusion})
