"""Associations: what goes with the label that should not, and what goes with the score beside the label."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, false_discovery_control, fisher_exact, mannwhitneyu, rankdata

from genovox.audit.additions import PARTS, standardise_logits
from genovox.audit.checks import Check, Status
from genovox.audit.confounding import MATCH, SCANNER_COLUMNS
from genovox.baselines.ridge import balance_classes, fit_ridges
from genovox.baselines.tabular import as_numbers
from genovox.cohort.balance import WORTH_A_GATE
from genovox.cohort.gates import compare_exclusions
from genovox.cohort.splits import FIXED
from genovox.core.case import SCAN_PREFIX
from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import MINIMUM_CLUSTERS, Resampling, summarise_draws

LEVEL = 0.05
"""Share of false findings among those named (columns), and of false alarms (the score's own test)."""
FEWEST = 5
"""Patients a level must have to stand alone; rarer ones are counted together."""
COLUMNS = ["column", "test", "effect", "p_value", "adjusted", "patients", "empty"]
PERMUTATIONS = 1000
Floats = NDArray[np.float64]


def compare_columns(cases: pd.DataFrame, columns: Sequence[str], *, unit: str) -> pd.DataFrame:
    """Test each column against the label, one row a unit, with the share of false findings controlled.

    Numbers and dates: Mann-Whitney, the effect an AUC (0.5 is none). Words, gaps among them: Fisher's exact test of
    two levels or chi-squared of more, the effect Cramer's V (0 is none); levels of fewer than five units count as one.

    Args:
        cases: ``label`` as integer, the unit's id and the columns.
        columns: Which to test.
        unit: ``patient_id`` or ``case_id``: of several rows of a unit the first counts.

    Returns:
        ``column, test, effect, p_value, adjusted, patients, empty``, the smallest p first.

    References:
        Benjamini & Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    rows = cases.drop_duplicates(unit)
    labels = rows["label"].to_numpy()
    tested = [_test_column(rows[name], labels) for name in columns]
    table = pd.DataFrame(tested, columns=[name for name in COLUMNS if name != "adjusted"])
    table["adjusted"] = false_discovery_control(table["p_value"]) if len(table) else []
    return table[COLUMNS].sort_values(["p_value", "column"], kind="stable").reset_index(drop=True)


def check_columns(table: pd.DataFrame) -> Check:
    """Judge the tests of single columns; they name where to look, the metadata model says how much it matters."""
    question = "Which scan metadata differ between carriers and non-carriers?"
    threshold = f"warns where p, adjusted for the number of columns (Benjamini-Hochberg), is below {LEVEL:g}"
    if table.empty:
        return Check("metadata-columns", question, "not-assessed", "no column of the metadata varies", threshold)
    found = table[table["adjusted"] < LEVEL]
    smallest = float(table["adjusted"].iloc[0])
    if found.empty:
        text = f"none of {len(table)} columns beyond chance (smallest adjusted p {smallest:.2g})"
        return Check("metadata-columns", question, "pass", text, threshold, smallest)
    named = ", ".join(
        f"{column.removeprefix(SCAN_PREFIX)} (adjusted p {adjusted:.2g})"
        for column, adjusted in zip(found["column"].head(4), found["adjusted"], strict=False)
    )
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    text = f"{len(found)} of {len(table)} columns: {named}{more}"
    return Check("metadata-columns", question, "warn", text, threshold, smallest, advice=MATCH)


def find_place_column(cases: pd.DataFrame) -> str:
    """The column that says where a case was scanned: site, else the first of the scanner's; empty if none varies."""
    return next((name for name in ("site", *SCANNER_COLUMNS) if name in cases and len(set(cases[name])) > 1), "")


def leaves_sites_out(cases: pd.DataFrame, folds: pd.DataFrame) -> bool:
    """Whether every fold tests hospitals that it did not learn from."""
    site = cases.set_index("case_id")["site"]
    if site.nunique() < 2 or (site == "").any():
        return False
    plan = folds[(folds["fold"] != FIXED) & folds["case_id"].isin(site.index)]
    where = plan.assign(site=site[plan["case_id"]].to_numpy(), tested=plan["part"] == "test")
    share = where.groupby(["repeat", "fold", "site"])["tested"].mean()
    return bool(share.isin([0.0, 1.0]).all())


def check_score_place(units: pd.DataFrame, places: pd.Series, *, name: str, resamples: int, seed: int) -> Check:
    """Can the place a scan was made at be told from the image's score, among patients of one class?

    Scores are standardised within folds and averaged over repeats. Within a class each place is ranked against all
    others; the figure is the AUC farthest from 0.5, and p that of the largest distance when places are dealt out anew
    within classes.

    Args:
        units: Test rows of one model: ``unit, repeat, fold, cluster, label, score``.
        places: Place by unit; empty where unknown.
        name: What a place is, such as ``site``.
        resamples: Resamples of clusters for the interval.
        seed: Seed of resamples and deals.
    """
    question = f"Does the image's score tell the {name} of patients of one class?"
    threshold = f"warns where p is below {LEVEL:g}: such a score carries the scanner beside the patient"
    scaled = units.assign(score=standardise_logits(units, "score"))
    how = {"fold": "first", "cluster": "first", "label": "first", "score": "mean"}
    table = scaled.groupby("unit").agg(how)
    where = places.reindex(table.index).fillna("").to_numpy(str)
    table, where = table[where != ""], where[where != ""]
    counts = pd.Series(where).value_counts()
    levels = sorted(counts.index[counts >= MINIMUM_CLUSTERS])
    if len(levels) < 2:
        text = f"fewer than two of {name} have {MINIMUM_CLUSTERS} patients or more"
        return Check(
            "score-place",
            question,
            "not-assessed",
            text,
            threshold,
            advice=f"Add the {name} of every case, in a column of that name.",
        )
    labels, ranks = table["label"].to_numpy(), _rank_within(table["score"].to_numpy(), table["label"].to_numpy())
    aucs = _compare_places(ranks, labels, where[None], levels)[0]
    random = np.random.default_rng(seed)
    dealt = np.tile(where, (PERMUTATIONS, 1))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        dealt[:, members] = random.permuted(dealt[:, members], axis=1)
    null = np.abs(_compare_places(ranks, labels, dealt, levels) - 0.5).max(axis=1)
    farthest = int(np.abs(aucs - 0.5).argmax())
    p = (1 + int((null >= abs(aucs[farthest] - 0.5) - 1e-12).sum())) / (1 + PERMUTATIONS)
    resampling = Resampling.of(table, resamples=resamples, seed=seed)
    weights = resampling.drawn[:, resampling.clusters.locate(table["cluster"])]
    draws = _weigh_place(table, where == levels[farthest], weights)[1:]
    metric = summarise_draws(float(aucs[farthest]), draws, resampling.clusters)
    text = f"{levels[farthest]} against the others, within a class: AUC {aucs[farthest]:.2f}, p = {p:.2g}"
    told = p < LEVEL
    return Check(
        "score-place",
        question,
        "warn" if told else "pass",
        text,
        threshold,
        metric.estimate,
        metric.low,
        metric.high,
        f"Harmonise or augment what differs between {name}s, and read the score within one {name}." if told else "",
    )


def check_feature_place(
    features: pd.DataFrame, cases: pd.DataFrame, column: str, *, unit: str, resamples: int, seed: int
) -> Check:
    """Can the place a scan was made at be told from what the model learns from, among patients of one class?

    A ridge regression of each place against the others, fitted on four fifths of the clusters and asked about the
    rest; the figure is the mean over places of the AUC within classes.

    Args:
        features: Index ``case_id``; numbers.
        cases: ``case_id, cluster, label`` as integer, the unit's id and the column.
        column: What says where a scan was made; empty where nothing does.
        unit: ``patient_id`` or ``case_id``: of several rows of a unit the first counts.
        resamples: Resamples of clusters.
        seed: Of resamples and parts.
    """
    question = "Do the features that the model learns from tell where a scan was made?"
    threshold = "warns where the interval lies above 0.5: what tells the place can stand in for the patient"
    rows = cases[cases["case_id"].isin(features.index)].drop_duplicates(unit)
    counts = rows[column].value_counts() if column else pd.Series(dtype=int)
    levels = [level for level in counts.index[counts >= MINIMUM_CLUSTERS] if level != ""]
    if len(levels) < 2 or not all(pd.api.types.is_float_dtype(kind) for kind in features.dtypes):
        text = f"fewer than two places have {MINIMUM_CLUSTERS} patients or more, or the features are no numbers"
        return Check("features-place", question, "not-assessed", text, threshold)
    rows = rows[rows[column].isin(levels)]
    inside = rows[column].to_numpy()[None] == np.array(levels, dtype=object)[:, None]
    # Cases, not scores of networks: there are no folds yet.
    resampling = Resampling.of(rows.assign(fold=""), resamples=resamples, seed=seed)
    clusters = resampling.clusters
    place = clusters.locate(rows["cluster"])
    part = np.random.default_rng(seed).permutation(np.arange(len(clusters.ids)) % PARTS)[place]
    scores = np.zeros(inside.shape)
    matrix = features.loc[rows["case_id"]].to_numpy()
    for number in range(PARTS):
        fit, asked = part != number, part == number
        middle, scale = np.nanmean(matrix[fit], axis=0), np.nanstd(matrix[fit], axis=0)
        known = np.nan_to_num(np.clip((matrix - middle) / np.where(scale > 0, scale, np.inf), -4, 4))
        labels = inside[:, fit].astype(np.float64)
        scores[:, asked] = fit_ridges(known[fit], labels, balance_classes(labels), strength=0.1).predict(known[asked])
    weights = resampling.drawn[:, place]
    aucs = [_weigh_place(rows.assign(score=scores[n]), inside[n], weights) for n in range(len(levels))]
    mean = np.mean(aucs, axis=0)
    metric = summarise_draws(float(mean[0]), mean[1:], clusters)
    told = metric.low is not None and metric.low > 0.5
    return Check(
        "features-place",
        question,
        "not-assessed" if metric.low is None else "warn" if told else "pass",
        f"{len(levels)} places, each against the others within a class: mean AUC {mean[0]:.2f}",
        threshold,
        metric.estimate,
        metric.low,
        metric.high,
        "Harmonise the features on training patients, or collect within one protocol." if told else "",
    )


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


def _test_column(column: pd.Series, labels: NDArray[np.int64]) -> tuple[str, str, float, float, int, int]:
    name, empty = str(column.name), int((column.astype(str) == "").sum())
    found = as_numbers(column)
    if found is not None:
        known = ~np.isnan(found[1])
        numbers, truth = found[1][known], labels[known]
        if 0 < truth.sum() < len(truth):
            test = mannwhitneyu(numbers[truth == 1], numbers[truth == 0])
            area = float(test.statistic) / (truth.sum() * (truth == 0).sum())
            return name, "Mann-Whitney", area, float(test.pvalue), int(known.sum()), int((~known).sum())
    words = column.astype(str)
    rare = words.isin(words.value_counts()[lambda counts: counts < FEWEST].index)
    counts = pd.crosstab(words.mask(rare, "(rare)"), labels).to_numpy()
    if min(counts.shape) < 2:
        return name, "none", 0.0, 1.0, len(words), empty
    chi = chi2_contingency(counts, correction=False)
    p = float(fisher_exact(counts).pvalue) if counts.shape == (2, 2) else float(chi.pvalue)
    effect = float(np.sqrt(chi.statistic / counts.sum()))
    return name, "Fisher" if counts.shape == (2, 2) else "chi-squared", effect, p, len(words), empty


def _rank_within(scores: Floats, labels: NDArray[np.int64]) -> Floats:
    ranks = np.empty(len(scores))
    for label in np.unique(labels):
        members = labels == label
        ranks[members] = rankdata(scores[members])
    return ranks


def _compare_places(ranks: Floats, labels: NDArray[np.int64], where: NDArray[np.str_], levels: list[str]) -> Floats:
    """AUC of each place against the others, classes weighing by their pairs, shape (deals, places)."""
    aucs = np.full((len(where), len(levels)), 0.5)
    for column, level in enumerate(levels):
        wins, pairs = np.zeros(len(where)), np.zeros(len(where))
        for label in np.unique(labels):
            members = labels == label
            inside = where[:, members] == level
            count = inside.sum(axis=1)
            wins += inside @ ranks[members] - count * (count + 1) / 2
            pairs += count * (members.sum() - count)
        aucs[:, column] = np.where(pairs > 0, wins / np.maximum(pairs, 1), 0.5)
    return aucs


def _weigh_place(table: pd.DataFrame, inside: NDArray[np.bool_], drawn: NDArray[np.uint8]) -> Floats:
    """The same AUC of one place in each resample, shape (B,)."""
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    wins, pairs = np.zeros(len(drawn)), np.zeros(len(drawn))
    for label in np.unique(labels):
        members = labels == label
        if inside[members].all() or not inside[members].any():
            continue
        weights = drawn[:, members].astype(np.float64)
        share = weights[:, inside[members]].sum(axis=1) * weights[:, ~inside[members]].sum(axis=1)
        wins += np.where(share > 0, roc_auc(inside[members], scores[members], weights) * share, 0.0)
        pairs += share
    return np.asarray(np.divide(wins, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0))
