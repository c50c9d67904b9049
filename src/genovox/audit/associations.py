"""Associations: what goes with the label that should not, and what goes with the score beside the label."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, false_discovery_control, fisher_exact, mannwhitneyu, rankdata

from genovox.audit.additions import PARTS, standardise_logits
from genovox.audit.checks import Check, Status
from genovox.audit.confounding import MATCH, SCANNER_COLUMNS
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
FEWEST_IN_SPACE = 8
"""Patients a network's own features are fitted on and asked about: two in each part."""
_FLAT = 1e-9
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


def names_sites(cases: pd.DataFrame) -> bool:
    """Whether every case names its hospital, and there are several."""
    return len(set(cases["site"])) > 1 and not (cases["site"] == "").any()


def leaves_sites_out(cases: pd.DataFrame, folds: pd.DataFrame) -> bool:
    """Whether every fold tests hospitals that it did not learn from."""
    if not names_sites(cases):
        return False
    site = cases.set_index("case_id")["site"]
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
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    found = _compare_places(scores, labels, _deal_places(where, labels, np.random.default_rng(seed)), levels)
    aucs, null = found[0], np.abs(found[1:] - 0.5).max(axis=1)
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
    spaces: Sequence[pd.DataFrame], cases: pd.DataFrame, column: str, *, resamples: int, seed: int
) -> Check:
    """Can the place a scan was made at be told from the model's features, among patients of one class?

    A linear ridge regression of each place against the others, fitted on three fourths of the clusters and asked about
    the rest. Features of different networks mean different things: each space is fitted and ranked by itself. The
    figure is the mean over places of the AUC within classes, and p its rank among places dealt anew within classes.

    Args:
        spaces: Index ``case_id``, numbers: one table that the model learns from, or what the networks of each fold
            make of the patients that they were not trained on.
        cases: ``case_id, cluster, label`` as integer and the column; of a cluster the first case counts.
        column: What says where a scan was made; empty where nothing does.
        resamples: Resamples of clusters for the interval.
        seed: Of resamples, parts and deals.
    """
    question = "Do the model's features tell where a scan was made?"
    threshold = f"warns where p is below {LEVEL:g}: what tells the place can stand in for the patient"
    known = {case_id for space in spaces for case_id in space.index}
    rows = cases[cases["case_id"].isin(known)].sort_values("case_id").drop_duplicates("cluster")
    counts = rows[column].value_counts() if column else pd.Series(dtype=int)
    levels = sorted(level for level in counts.index[counts >= MINIMUM_CLUSTERS] if level != "")
    if len(levels) < 2 or not all(pd.api.types.is_float_dtype(kind) for space in spaces for kind in space.dtypes):
        text = f"fewer than two places have {MINIMUM_CLUSTERS} patients or more, or the features are no numbers"
        return Check("features-place", question, "not-assessed", text, threshold)
    rows = rows[rows[column].isin(levels)].reset_index(drop=True)
    random = np.random.default_rng(seed)
    fitted = [_cross_fit(space, rows["case_id"], random) for space in spaces]
    fitted = [fit for fit in fitted if len(fit[0]) >= FEWEST_IN_SPACE]
    if not fitted:
        text = f"no network has {FEWEST_IN_SPACE} test patients or more"
        return Check("features-place", question, "not-assessed", text, threshold)
    labels, where = rows["label"].to_numpy(), rows[column].to_numpy(str)
    dealt = _deal_places(where, labels, random)
    # Cases, not scores of networks: there are no folds here.
    resampling = Resampling.of(rows.assign(fold=""), resamples=resamples, seed=seed)
    drawn = resampling.drawn[:, resampling.clusters.locate(rows["cluster"])]
    aucs, draws = np.zeros(PERMUTATIONS + 1), np.zeros(len(drawn))
    for level in levels:
        sums, resampled = np.zeros((2, PERMUTATIONS + 1)), np.zeros((2, len(drawn)))
        for members, smoother in fitted:
            inside = dealt[:, members] == level
            sums += _sum_wins(inside @ smoother.T, inside, labels[members])
            resampled += _weigh_wins(inside[0] @ smoother.T, inside[0], labels[members], drawn[:, members])
        aucs += np.where(sums[1] > 0, sums[0] / np.maximum(sums[1], 1), 0.5) / len(levels)
        draws += np.divide(resampled[0], resampled[1], out=np.full(len(drawn), np.nan), where=resampled[1] > 0) / len(
            levels
        )
    p = float((aucs >= aucs[0] - 1e-12).mean())
    metric = summarise_draws(float(draws[0]), draws[1:], resampling.clusters)
    space = "" if len(spaces) == 1 else f", in the embeddings that {len(fitted)} folds' networks make of test patients"
    return Check(
        "features-place",
        question,
        "warn" if p < LEVEL else "pass",
        f"{len(levels)} places, each against the others within a class{space}: mean AUC {aucs[0]:.2f}, p = {p:.2g} "
        f"(places dealt at random: {aucs[1:].mean():.2f})",
        threshold,
        metric.estimate,
        metric.low,
        metric.high,
        "Harmonise the features on training patients, or collect within one protocol." if p < LEVEL else "",
    )


def _cross_fit(
    space: pd.DataFrame, case_ids: pd.Series, random: np.random.Generator
) -> tuple[NDArray[np.intp], Floats]:
    """Rows that a space holds, and what turns their targets into out-of-part predictions, shape (rows, rows).

    The kernel form of ridge regression (Saunders et al. 1998); the penalty is the mean of the kernel's diagonal.
    """
    members = np.flatnonzero(case_ids.isin(space.index))
    matrix = space.loc[case_ids.iloc[members]].to_numpy()
    part = random.permutation(np.arange(len(members)) % PARTS)
    smoother = np.zeros((len(members), len(members)))
    for number in range(PARTS if len(members) >= FEWEST_IN_SPACE else 0):
        fit, asked = np.flatnonzero(part != number), np.flatnonzero(part == number)
        middle, scale = np.nanmean(matrix[fit], axis=0), np.nanstd(matrix[fit], axis=0)
        scaled = (matrix - middle) / np.where(scale > _FLAT * (1 + np.abs(middle)), scale, np.inf)
        known = np.clip(np.nan_to_num(scaled), -4, 4)
        kernel = known @ known[fit].T
        penalty = max(float(np.trace(kernel[fit])) / len(fit), _FLAT)
        solved = np.linalg.solve(kernel[fit] + penalty * np.eye(len(fit)), kernel[asked].T).T
        smoother[np.ix_(asked, fit)] = solved - solved.mean(axis=1, keepdims=True)
    return members, smoother


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


def _deal_places(where: NDArray[np.str_], labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.str_]:
    """Places as they are, then dealt anew within classes, shape (1 + deals, rows)."""
    dealt = np.tile(where, (PERMUTATIONS + 1, 1))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        dealt[1:, members] = random.permuted(dealt[1:, members], axis=1)
    return dealt


def _compare_places(scores: Floats, labels: NDArray[np.int64], where: NDArray[np.str_], levels: list[str]) -> Floats:
    """AUC of each place against the others, classes weighing by their pairs, shape (deals, places)."""
    aucs = np.full((len(where), len(levels)), 0.5)
    for column, level in enumerate(levels):
        wins, pairs = _sum_wins(scores[None], where == level, labels)
        aucs[:, column] = np.where(pairs > 0, wins / np.maximum(pairs, 1), 0.5)
    return aucs


def _sum_wins(scores: Floats, inside: NDArray[np.bool_], labels: NDArray[np.int64]) -> Floats:
    """Pairs of one place and another, within classes, that are ranked right, and all of them, shape (2, deals).

    Scores are of shape (1 or deals, rows), places of (deals, rows).
    """
    sums = np.zeros((2, len(inside)))
    for label in np.unique(labels):
        members = labels == label
        ranks, count = rankdata(scores[:, members], axis=1), inside[:, members].sum(axis=1)
        sums[0] += (inside[:, members] * ranks).sum(axis=1) - count * (count + 1) / 2
        sums[1] += count * (members.sum() - count)
    return sums


def _weigh_wins(
    scores: Floats, inside: NDArray[np.bool_], labels: NDArray[np.int64], drawn: NDArray[np.uint8]
) -> Floats:
    """The same of one deal in each resample, shape (2, B)."""
    sums = np.zeros((2, len(drawn)))
    for label in np.unique(labels):
        members = labels == label
        if inside[members].all() or not inside[members].any():
            continue
        weights = drawn[:, members].astype(np.float64)
        share = weights[:, inside[members]].sum(axis=1) * weights[:, ~inside[members]].sum(axis=1)
        sums[0] += np.where(share > 0, roc_auc(inside[members], scores[members], weights) * share, 0.0)
        sums[1] += share
    return sums


def _weigh_place(table: pd.DataFrame, inside: NDArray[np.bool_], drawn: NDArray[np.uint8]) -> Floats:
    """The AUC of one place in each resample, shape (B,)."""
    wins, pairs = _weigh_wins(table["score"].to_numpy(), inside, table["label"].to_numpy(), drawn)
    return np.asarray(np.divide(wins, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0))
