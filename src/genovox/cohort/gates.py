"""The flow of inclusions, and the gates: findings that stop a study unless the user accepts them with a reason."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from genovox.cohort.balance import ShareDifference, compare_shares
from genovox.cohort.eligibility import LATER, are_halves
from genovox.cohort.splits import RELATIVE
from genovox.core.artifacts import read_json, write_json
from genovox.core.case import Case, Exclusion
from genovox.core.errors import DataError, GateError, UsageError
from genovox.core.log import write_count
from genovox.scans.inspection import Inspection

log = logging.getLogger(__name__)

DUPLICATE_VOLUMES = "duplicate-volumes"
EXCLUSIONS = "exclusions"
MISSING_VALUES = "missing-values"
GATES = (DUPLICATE_VOLUMES, EXCLUSIONS, MISSING_VALUES)
UNASKED, UNMATCHED = "unasked", "unmatched"
BY_DESIGN = (UNASKED, UNMATCHED, LATER, RELATIVE)
"""Rules that are no loss: whom the study did not want is not compared between the classes."""
RULES = {
    "date": "scanned outside the dates asked for",
    "event": "scanned after treatment or another event",
    "exam": "no usable dynamic exam",
    "image": "image missing or unusable",
    "label": "no label",
    LATER: "later exam of a patient who is in",
    "mark": "no mark of a lesion",
    RELATIVE: "in the family of one who is tested apart",
    "roles": "a series that is asked for is missing",
    "series": "series that is no phase of an exam",
    "side": "side unknown",
    "study": "study of a kind that is left out",
    UNASKED: "breast not asked for",
    UNMATCHED: "no match",
}


def describe_flow(
    candidates: list[Case], kept: list[Case], exclusions: list[Exclusion], label_unit: str
) -> dict[str, Any]:
    """Counts for the flow of inclusions, in cases; series that are no phase of an exam are counted apart.

    Args:
        candidates: Every case there could be.
        kept: Those in the cohort, with their labels.
        exclusions: Everything left out.
        label_unit: ``patient`` or ``case``: whom labels belong to.
    """
    counts = Counter(exclusion.rule for exclusion in exclusions if exclusion.level == "case")
    return {
        "label_unit": label_unit,
        "manifest": {"cases": len(candidates), "patients": len({case.patient_id for case in candidates})},
        "excluded": [{"rule": rule, "text": RULES[rule], "cases": count} for rule, count in counts.items()],
        "included": {
            "cases": len(kept),
            "patients": len({case.patient_id for case in kept}),
            "carriers": _count_labels(kept, 1),
            "non_carriers": _count_labels(kept, 0),
            "fixed_test": sum(case.part == "test" for case in kept),
        },
    }


def summarise_flow(flow: dict[str, Any]) -> str:
    """One line: how many came in, went out and stayed."""
    out = ", ".join(f"{entry['cases']} {entry['text']}" for entry in flow["excluded"]) or "none left out"
    kept = flow["included"]
    carriers, others = kept["carriers"]["cases"], kept["non_carriers"]["cases"]
    return f"{_count(flow['manifest'])}; {out}; kept {_count(kept)} ({carriers} positive, {others} negative)"


def _count(whose: dict[str, Any]) -> str:
    return f"{write_count(whose['cases'], 'case')} of {write_count(whose['patients'], 'patient')}"


def count_rules(exclusions: list[Exclusion]) -> str:
    """How many cases each rule left out, in words."""
    counts = Counter(exclusion.rule for exclusion in exclusions if exclusion.level == "case")
    return ", ".join(f"{count} {RULES[rule]}" for rule, count in counts.most_common())


def _count_labels(cases: list[Case], label: int) -> dict[str, int]:
    chosen = [case for case in cases if case.label == label]
    return {"cases": len(chosen), "patients": len({case.patient_id for case in chosen})}


def find_duplicate_volumes(cases: pd.DataFrame) -> pd.DataFrame:
    """Cases whose first phase stands, voxel for voxel, under another patient too.

    Args:
        cases: Columns ``case_id, patient_id, fingerprint``.

    Returns:
        The rows concerned, sorted so that twins stand together.
    """
    patients = cases.groupby("fingerprint")["patient_id"].transform("nunique")
    return cases[(patients > 1) & (cases["fingerprint"] != "")].sort_values(["fingerprint", "patient_id"])


def compare_exclusions(labels_in: list[int], labels_out: list[int]) -> ShareDifference:
    """Whether carriers were left out more or less often than non-carriers.

    Args:
        labels_in: Labels of the patients of whom nothing was left out.
        labels_out: Labels of the patients who lost a case.
    """
    lost = [(labels_out.count(label), labels_out.count(label) + labels_in.count(label)) for label in (1, 0)]
    return compare_shares(lost[0], lost[1])


def split_labels(cases: pd.DataFrame, exclusions: pd.DataFrame) -> tuple[list[int], list[int]]:
    """Labels of patients of whom nothing was left out, and of those who lost a case.

    A patient counts once a class, so that twenty bad scans of one patient are one loss.

    Args:
        cases: The cases kept: ``case_id, patient_id, label``.
        exclusions: The cases left out, the same columns; an empty label is not known and not counted.
    """
    left_out = exclusions[exclusions["label"].astype(str) != ""]
    lost = set(zip(left_out["patient_id"], left_out["label"].astype(int), strict=True))
    rest = cases[~cases["case_id"].isin(left_out["case_id"])]
    kept = set(zip(rest["patient_id"], rest["label"].astype(int), strict=True)) - lost
    return sorted(label for _, label in kept), sorted(label for _, label in lost)


def pass_gates(
    cases: pd.DataFrame,
    exclusions: ShareDifference,
    missing: Mapping[str, ShareDifference],
    accepted: dict[str, str],
) -> None:
    """Refuse to go on where a gate is closed and nobody accepted it.

    Args:
        cases: ``cases.csv``.
        exclusions: Of losses.
        missing: By what the clinical table or the scans do not say.
        accepted: Reasons by gate.

    Raises:
        GateError: Naming the gate, what was found and both ways on.
    """
    twins = find_duplicate_volumes(cases)
    if len(twins):
        first = twins[twins["fingerprint"] == twins["fingerprint"].iloc[0]]
        _close(
            DUPLICATE_VOLUMES,
            f"a volume belongs to one patient, {' and '.join(first['case_id'].iloc[:2])} are equal voxel for voxel but "
            f"belong to {' and '.join(first['patient_id'].iloc[:2])} ({len(twins)} such cases); give both the same "
            "patient_id, or remove the wrong one",
            accepted,
        )
    if exclusions.closes:
        _close(
            EXCLUSIONS,
            f"exclusion must not depend on the label, {exclusions.describe('lost a case')}; "
            "repair what exclusions.csv lists",
            accepted,
        )
    for name, difference in missing.items():
        if difference.closes:
            _close(
                MISSING_VALUES,
                f"what is missing must not depend on the label, {difference.describe(f'have no {name}')}; fill it in, "
                "or take the column out of its table",
                accepted,
            )


def refuse_shared_image(included: Sequence[tuple[Case, Inspection]]) -> None:
    """Refuse breasts without voxels of their own: only then is a breast a case.

    Raises:
        DataError: Naming two cases of a patient that are the same voxels.
    """
    seen: dict[str, Case] = {}
    for case, inspection in included:
        if not inspection.fingerprint:
            continue
        other = seen.setdefault(inspection.fingerprint, case)
        if other is not case and other.patient_id == case.patient_id and not are_halves(other, case):
            raise DataError(
                f'with unit = "breast" each case needs the image of one breast, {other.case_id} and {case.case_id} are '
                'the same voxels; cut the image into its breasts, or use unit = "volume" with one row an image'
            )


def _close(gate: str, finding: str, accepted: dict[str, str]) -> None:
    if gate not in accepted:
        raise GateError(gate, f'{gate}: {finding}; or go on with: --accept {gate} --reason "…" (printed in the report)')
    log.warning("%s accepted (%s): %s", gate, accepted[gate], finding)


def record_acceptance(run: Path, accept: list[str], reason: str) -> None:
    """Keep what the user accepts, with the reason, in the run.

    Raises:
        UsageError: For a gate that does not exist or an acceptance without a reason.
    """
    if not accept:
        return
    for gate in accept:
        if gate not in GATES:
            raise UsageError(f"--accept takes {' or '.join(GATES)}, got {gate!r}")
    if not reason.strip():
        raise UsageError('--accept needs --reason "why this is acceptable"; it is printed in the report')
    write_json(run / "accepted.json", read_acceptances(run) | dict.fromkeys(accept, reason.strip()))


def read_acceptances(run: Path) -> dict[str, str]:
    """Accepted gates and their reasons."""
    path = run / "accepted.json"
    accepted: dict[str, str] = read_json(path) if path.exists() else {}
    return accepted
