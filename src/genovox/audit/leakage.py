"""Leakage: does anything of a test patient reach training?"""

import pandas as pd

from genovox.audit.checks import Check
from genovox.cohort.gates import find_duplicate_volumes
from genovox.cohort.splits import FIXED


def check_folds(folds: pd.DataFrame, predictions: pd.DataFrame) -> Check:
    """Count patients and families that stand in two parts of a fold, from the tables alone.

    Args:
        folds: ``folds.csv``: repeat, fold, part, case_id, patient_id, family_id.
        predictions: ``predictions.csv``; its test rows must be the plan's.
    """
    planned = _count_shared(folds) + _count_fixed_in_folds(folds)
    scored = _count_strays(folds, predictions)
    threshold = "any is a leak: a network that has seen a patient knows more than the scan"
    if planned or scored:
        return Check(
            "fold-disjointness",
            "Is every patient and family in one part of each fold only?",
            "fail",
            f"{planned} patients or families stand in two parts of a fold, {scored} test scores are not of the plan's",
            threshold,
            figure=float(planned + scored),
            advice="Delete the run's cohort folder and run again; a plan made by genovox cannot split a patient.",
        )
    pairs = folds.loc[folds["fold"] != FIXED, ["repeat", "fold"]].drop_duplicates()
    return Check(
        "fold-disjointness",
        "Is every patient and family in one part of each fold only?",
        "pass",
        f"no patient or family stands in two parts of any of {len(pairs)} folds, and every test score is of its fold",
        threshold,
        figure=0.0,
    )


def check_duplicates(cases: pd.DataFrame, accepted: str) -> Check:
    """Look for the same voxels under two patients.

    Args:
        cases: ``cases.csv`` with ``case_id, patient_id, fingerprint``.
        accepted: The user's reason to go on all the same, or empty.
    """
    twins = find_duplicate_volumes(cases)
    question = "Does the same volume stand under two patients?"
    threshold = "any is a leak: one copy may be trained on and the other tested"
    if twins.empty:
        finding = f"no two of {len(cases)} cases of different patients have equal voxels (any axis order or scale)"
        return Check("duplicate-volumes", question, "pass", finding, threshold, figure=0.0)
    finding = f"{len(twins)} cases share their voxels with another patient: {', '.join(twins['case_id'].iloc[:4])}"
    return Check(
        "duplicate-volumes",
        question,
        "fail",
        finding + (f"; accepted by the user: {accepted}" if accepted else ""),
        threshold,
        figure=float(len(twins)),
        advice="Give both the same patient_id or remove the wrong one, then run again.",
    )


def _count_shared(folds: pd.DataFrame) -> int:
    count = 0
    for column in ("patient_id", "family_id"):
        named = folds[folds[column] != ""]
        places = named.drop_duplicates(["repeat", "fold", column, "part"])
        count += int(places.duplicated(["repeat", "fold", column]).sum())
    return count


def _count_fixed_in_folds(folds: pd.DataFrame) -> int:
    fixed, rotating = folds[folds["fold"] == FIXED], folds[folds["fold"] != FIXED]
    return sum(len((set(fixed[column]) & set(rotating[column])) - {""}) for column in ("patient_id", "family_id"))


def _count_strays(folds: pd.DataFrame, predictions: pd.DataFrame) -> int:
    """Scores whose case is, by the plan, in another part of that fold."""
    key = ["repeat", "fold", "part", "case_id"]
    planned = pd.MultiIndex.from_frame(folds[key].astype(str))
    scored = pd.MultiIndex.from_frame(predictions[key].astype(str))
    return int((~scored.isin(planned)).sum())
