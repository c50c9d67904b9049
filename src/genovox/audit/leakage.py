"""Leakage: does anything of a test patient reach training?"""

import math
import re
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from genovox.audit.checks import Check
from genovox.audit.duplicates import check_near_duplicates
from genovox.audit.provenance import (
    check_early_stopping,
    check_fitted,
    check_model_choice,
    check_test_threshold,
    check_validation_gap,
    read_histories,
)
from genovox.cohort.gates import find_duplicate_volumes
from genovox.cohort.splits import FIXED, split_groups
from genovox.core.log import write_count

GROUPS = ("patient_id", "family_id")
_PERSONAL = re.compile(
    r"(^| )(age|birth\w*|born|weight|height|bmi|density|menarche|menopaus\w*|parity|breast (size|volume))( |$)"
)
"""In a column's name as words: what belongs to a person rather than to a scan or a tumour."""
_BY_CHANCE = 0.05
"""Pairs that may agree by chance before agreement says nothing."""
_FOLDS = 5


def check_leaks(
    predictions: pd.DataFrame,
    cases: pd.DataFrame,
    *,
    folds: pd.DataFrame | None = None,
    clinic: pd.DataFrame | None = None,
    series: pd.DataFrame | None = None,
    likeness: npt.NDArray[np.int8] | None = None,
    run: Path | None = None,
    accepted: str = "",
) -> list[Check]:
    """Every check for leaks; what is None was not there, and its checks are not assessed.

    Args:
        predictions: ``predictions.csv``.
        cases: ``cases.csv``, or what the predictions tell of the cases.
        folds: ``folds.csv``.
        clinic: What the clinic knows, by ``case_id``.
        series: ``series.csv`` of a cohort of DICOM files.
        likeness: ``likeness.npy``, in the order of the cases.
        run: The run, for what its stages left behind.
        accepted: The user's reason to go on in spite of equal volumes, or empty.
    """
    return [
        check_folds(folds, predictions),
        check_studies(series),
        check_duplicates(cases, accepted),
        check_near_duplicates(cases, likeness, accepted),
        check_people(gather_facts(cases, clinic)),
        check_fitted(run, folds),
        check_early_stopping(predictions, read_histories(run) if run else None),
        check_test_threshold(predictions),
        check_validation_gap(predictions),
        check_model_choice(predictions, is_declared=run is not None),
    ]


def check_folds(folds: pd.DataFrame | None, predictions: pd.DataFrame) -> Check:
    """Count patients and families that stand in two parts of a fold, from the tables alone.

    Args:
        folds: ``folds.csv``: repeat, fold, part, case_id, patient_id, family_id. None where only scores are known.
        predictions: ``predictions.csv``; its rows must be the plan's. Without a plan it is looked at itself, and what
            it does not show, who was trained on, is not assessed.
    """
    question = "Is every patient and family in one part of each fold only?"
    threshold = "any is a leak: a network that has seen a patient knows more than the scan"
    say = partial(Check, "fold-disjointness", question, threshold=threshold)
    table = predictions if folds is None else folds
    shows_training = bool((table["part"] == "train").any())
    split = _find_shared(table) + _find_fixed_in_folds(table)
    # Who is tested in two folds is trained on in both; with the training rows at hand it is counted already.
    split += [] if shows_training else _find_tested_twice(table)
    scored = 0 if folds is None else _count_strays(folds, predictions)
    if split or scored:
        example = f", such as {split[0]}" if split else ""
        strays = f", {write_count(scored, 'test score')} outside the plan" if scored else ""
        return say(
            "fail",
            f"{write_count(len(split), 'patient or family', 'patients or families')} in two parts of a fold"
            f"{example}{strays}",
            figure=float(len(split) + scored),
            advice="Plan the folds anew by patient and family and train again; a plan of genovox cannot split one.",
        )
    if not shows_training:
        finding = "no patient stands in two parts, but who was trained on is not in the table; give the folds too"
        return say("not-assessed", finding)
    pairs = table.loc[table["fold"].astype(str) != FIXED, ["repeat", "fold"]].drop_duplicates()
    where = f"any of {len(pairs)} folds" if len(pairs) else "the table"
    return say(
        "pass",
        f"no patient or family stands in two parts of {where}, and every test score is of its fold",
        figure=0.0,
    )


def check_duplicates(cases: pd.DataFrame, accepted: str) -> Check:
    """Look for the same voxels under two patients.

    Args:
        cases: ``cases.csv`` with ``case_id, patient_id, fingerprint``; without the last there is nothing to look at.
        accepted: The user's reason to go on all the same, or empty.
    """
    question = "Does the same volume stand under two patients?"
    threshold = "any is a leak: one copy may be trained on and the other tested"
    say = partial(Check, "duplicate-volumes", question, threshold=threshold)
    compared = int((cases["fingerprint"] != "").sum()) if "fingerprint" in cases else 0
    if not compared:
        return say("not-assessed", "no images to compare")
    twins = find_duplicate_volumes(cases)
    if twins.empty:
        finding = f"no two of {compared} cases of different patients have equal voxels (any axis order or scale)"
        return say("pass", finding, figure=0.0)
    finding = f"{len(twins)} cases share their voxels with another patient: {', '.join(twins['case_id'].iloc[:4])}"
    return say(
        "fail",
        finding + (f"; accepted by the user: {accepted}" if accepted else ""),
        figure=float(len(twins)),
        advice="Give both the same patient_id or remove the wrong one, then run again.",
    )


def check_studies(series: pd.DataFrame | None) -> Check:
    """Look for one DICOM study under two patients.

    Args:
        series: ``series.csv``: ``patient_id, study``, the latter a code of the study's UID. None for images of another
            kind.
    """
    question = "Does one DICOM study stand under two patients?"
    threshold = "any is a leak: a study is of one person"
    say = partial(Check, "study-disjointness", question, threshold=threshold)
    if series is None or "study" not in series:
        return say("not-assessed", "the images carry no study UIDs")
    named = series[series["patient_id"] != ""]
    owners = named.groupby("study")["patient_id"].nunique()
    shared = owners.index[owners > 1]
    if not len(shared):
        finding = f"no study of {len(owners)} is of two patients"
        return say("pass", finding, figure=0.0)
    patients = sorted(named.loc[named["study"].isin(shared), "patient_id"].unique())
    return say(
        "fail",
        f"{write_count(len(shared), 'study', 'studies')} under two patients or more: {', '.join(patients[:4])}",
        figure=float(len(shared)),
        advice="Correct the PatientID of one of them, or give both the same patient_id, then run again.",
    )


def check_people(facts: pd.DataFrame) -> Check:
    """Look for patients of whom everything personal that is known is equal: one person under two ids, perhaps.

    Two strangers may agree. How many pairs should agree by chance follows from how often each value occurs, taken as
    independent between columns; where that is not a small fraction of one pair, agreement says nothing.

    Args:
        facts: A row a case: ``patient_id`` and what is known; columns named after age, birth, weight, height, breast
            density and the like are used, and only patients of whom all are known.
    """
    question = "Do two patients look like one person under two ids?"
    threshold = (
        f"patients equal in all that is known of them, where fewer than {_BY_CHANCE} such pairs are to be expected by "
        "chance; a hint, not a proof, so it warns"
    )
    say = partial(Check, "same-person", question, threshold=threshold)
    columns = [name for name in facts.columns if _PERSONAL.search(" ".join(re.findall(r"[a-z0-9]+", name.lower())))]
    people = facts.groupby("patient_id")[columns].first() if columns else pd.DataFrame()
    people = people[(people.astype(str) != "").all(axis=1) & people.notna().all(axis=1)] if columns else people
    if len(people) < 2:
        finding = "nothing personal (age, weight, density and the like) is known of two patients"
        return say("not-assessed", finding)
    alike = math.prod(float((people[name].value_counts(normalize=True) ** 2).sum()) for name in columns)
    expected = alike * len(people) * (len(people) - 1) / 2
    said = f"{', '.join(columns)} of {len(people)} patients"
    if expected >= _BY_CHANCE:
        finding = f"{said} do not tell people apart: {expected:.2g} pairs would agree by chance"
        return say("not-assessed", finding)
    twins = people[people.duplicated(keep=False)]
    if twins.empty:
        return say("pass", f"no two patients are equal in {said}", figure=0.0)
    groups: list[list[str]] = [sorted(names) for names in twins.groupby(columns).groups.values()]
    shown = "; ".join(" and ".join(group[:3]) for group in sorted(groups)[:3])
    return say(
        "warn",
        f"{len(twins)} patients are equal in {', '.join(columns)}: {shown} ({expected:.2g} pairs expected by chance)",
        figure=float(len(twins)),
        advice="Ask the hospital whether these ids are one person; if so, give them one patient_id and run again.",
    )


def plan_tests(tested: pd.DataFrame) -> pd.DataFrame:
    """A fold plan as far as test rows tell it: whoever is not tested in a fold may be learnt from."""
    plans = []
    for _, rows in tested.groupby(["repeat", "fold"]):
        cases = tested[tested["repeat"] == rows["repeat"].iloc[0]].drop_duplicates("case_id")
        part = np.where(cases["case_id"].isin(rows["case_id"]), "test", "train")
        plan = cases[["case_id", "patient_id", "repeat"]].assign(fold=rows["fold"].iloc[0], part=part)
        plans.append(plan)
    return pd.DataFrame(pd.concat(plans, ignore_index=True))


def fold_tests(tested: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Folds of the patients of a fixed test part, families together, for what is fitted on their metadata.

    Args:
        tested: Validated test rows of one model, each case once.
        seed: Decides who is tested when.

    Returns:
        Up to five folds of one repeat; none that can be fitted where a class has one patient.
    """
    fewest = int(tested.groupby("label")["cluster"].nunique().min())
    if fewest < 2:
        return plan_tests(tested)
    labels, clusters = tested["label"].to_numpy(), tested["cluster"].to_numpy()
    plans = []
    for number, (_, chosen) in enumerate(split_groups(labels, clusters, min(_FOLDS, fewest), seed)):
        part = np.where(np.isin(np.arange(len(tested)), chosen), "test", "train")
        plans.append(tested[["case_id", "patient_id"]].assign(repeat=0, fold=str(number), part=part))
    return pd.concat(plans, ignore_index=True)


def gather_facts(cases: pd.DataFrame, clinical: pd.DataFrame | None) -> pd.DataFrame:
    """What is known of each case, of her and of the scan, for ``check_people``.

    Args:
        cases: ``cases.csv``.
        clinical: ``clinical.csv`` of the cohort, by ``case_id``, or None.
    """
    if clinical is None:
        return cases
    return cases.merge(clinical, on="case_id", how="left", suffixes=("", "_clinical")).fillna("")


def _share(table: pd.DataFrame, keys: list[str], place: str) -> list[str]:
    """Patients and families that stand in two places of one group of rows, once a group."""
    found: list[str] = []
    for column in GROUPS:
        if column in table:
            named = table[table[column].notna() & (table[column] != "")]
            places = named.drop_duplicates([*keys, column, place])
            again = places[places.duplicated([*keys, column])].drop_duplicates([*keys, column])
            found += again[column].astype(str).tolist()
    return found


def _by_model(table: pd.DataFrame) -> list[str]:
    return ["model"] if "model" in table else []


def _find_shared(table: pd.DataFrame) -> list[str]:
    return _share(table, [*_by_model(table), "repeat", "fold"], "part")


def _find_tested_twice(table: pd.DataFrame) -> list[str]:
    """Patients tested in two folds of one repeat: one half of her is trained on while the other is tested."""
    tested = table[(table["part"] == "test") & (table["fold"].astype(str) != FIXED)]
    return _share(tested, [*_by_model(table), "repeat"], "fold")


def _find_fixed_in_folds(table: pd.DataFrame) -> list[str]:
    is_fixed = table["fold"].astype(str) == FIXED
    fixed, rotating = table[is_fixed], table[~is_fixed]
    shared = [(set(fixed[column]) & set(rotating[column])) - {"", None} for column in GROUPS if column in table]
    return [str(name) for names in shared for name in sorted(names, key=str)]


def _count_strays(folds: pd.DataFrame, predictions: pd.DataFrame) -> int:
    """Scores whose case is, by the plan, in another part of that fold."""
    key = ["repeat", "fold", "part", "case_id"]
    planned = pd.MultiIndex.from_frame(folds[key].astype(str))
    scored = pd.MultiIndex.from_frame(predictions[key].astype(str))
    return int((~scored.isin(planned)).sum())
