"""The phase sheet: one row a series, written for a person to read and correct, and read back as decisions."""

import difflib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

import pandas as pd

from genovox.core.artifacts import atomic_path, read_table
from genovox.core.errors import TableError
from genovox.phases.decisions import Decision
from genovox.phases.exams import Exam, PhaseRole, find_exams
from genovox.phases.families import SeriesFacts
from genovox.phases.names import DCE_ROLES, ROLES
from genovox.phases.roles import SeriesRole, judge_series
from genovox.scans.dicom import Series

COLUMNS = (
    "patient_id",
    "study_uid",
    "series_uid",
    "series_number",
    "role",
    "phase",
    "laterality",
    "confidence",
    "evidence",
)
_REQUIRED = ("series_uid", "role", "phase")
_SIDES = ("left", "right", "bilateral", "")
_UID = re.compile(r"[0-9.]{1,64}")
_MAX_PHASE = 999


def judge_scans(series: Sequence[Series]) -> list[SeriesRole]:
    """The role of every series of an archive: by its images where they tell, by names, numbers and counts else.

    Args:
        series: As ``arrange_series`` gives them.
    """
    exams, stack_roles = find_exams(series)
    by_series: dict[str, list[PhaseRole]] = defaultdict(list)
    for role in stack_roles:
        by_series[role.series_uid].append(role)
    sides = {one.series_uid: exam.laterality for exam in exams for one, _ in exam.phases}
    by_exam = _number_phases(exams)
    by_name = {role.series_uid: role for role in judge_series([_list_facts(one) for one in series])}
    return [
        _combine(by_name[one.series_uid], by_series[one.series_uid], sides.get(one.series_uid, ""), by_exam)
        for one in sorted(series, key=lambda s: (s.patient_id, s.study_uid, s.first.series_number or 0, s.series_uid))
    ]


def _list_facts(one: Series) -> SeriesFacts:
    first = one.first
    return SeriesFacts(
        patient_id=one.patient_id,
        study_uid=one.study_uid,
        series_uid=one.series_uid,
        number=first.series_number,
        name=first.description or first.protocol,
        images=max(one.files * (first.frames or 1), 1),
        study_description=first.study_description,
        study_date=first.study_date,
        series_date=first.series_date,
        sop_class=first.sop_class,
    )


def _number_phases(exams: Sequence[Exam]) -> dict[str, dict[int, str]]:
    """Series of each phase, by study: what a subtraction's number must be among."""
    numbers: dict[str, dict[int, str]] = defaultdict(dict)
    for exam in exams:
        numbers[exam.study_uid] |= {number: one.series_uid for number, (one, _) in enumerate(exam.phases)}
    return numbers


def _combine(named: SeriesRole, stacks: list[PhaseRole], side: str, by_exam: dict[str, dict[int, str]]) -> SeriesRole:
    """What images tell comes first; names add the number of a subtraction, and their doubt."""
    used = [role for role in stacks if role.phase is not None]
    if used:
        numbers = [role.phase or 0 for role in used]
        if len(stacks) > 1:
            role, phase = ("dynamic" if 0 in numbers else "dynamic-post"), None
            evidence = f"phases {min(numbers)} to {max(numbers)} in one series; {used[0].evidence}"
        else:
            role, phase, evidence = used[0].role, used[0].phase, used[0].evidence
        agree = named.role == role and named.phase == phase
        against = named.role in DCE_ROLES and not agree
        evidence += f"; by names it would be {_show(named)}" if against else ""
        sure = "high" if agree or "time" in evidence else "medium"
        return replace(
            named,
            role=role,
            phase=phase,
            laterality=side,
            confidence="medium" if against else sure,
            evidence=evidence,
        )
    first = stacks[0] if stacks else PhaseRole(named.series_uid, 0, "other", None, "no role")
    if first.role == "pre":
        return replace(named, role="pre", phase=None, laterality=side, confidence="medium", evidence=first.evidence)
    if first.role == "subtraction" and named.role == "subtraction":
        known = not by_exam.get(named.study_uid) or named.phase in by_exam[named.study_uid]
        evidence = f"{first.evidence}; {named.evidence.partition('; ')[2] or named.evidence}"
        return replace(named, phase=named.phase if known else None, evidence=evidence)
    doubt = named.role in DCE_ROLES and first.role == "other"
    evidence = first.evidence + (f"; by names it would be {_show(named)}" if doubt else "")
    return replace(
        named,
        role=first.role,
        phase=None,
        laterality="" if doubt else named.laterality,
        confidence="low" if doubt else "high" if first.role != "other" else named.confidence,
        evidence=evidence,
    )


def _show(role: SeriesRole) -> str:
    return role.role if role.phase is None else f"{role.role} {role.phase}"


def write_sheet(path: Path, roles: Sequence[SeriesRole]) -> None:
    """Write the sheet, readable by its owner alone: it holds patients' ids and UIDs as the input has them."""
    rows = [["" if value is None else str(value) for value in astuple(role)] for role in roles]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    with atomic_path(path) as partial:
        partial.touch(0o600)
        table.to_csv(partial, index=False, lineterminator="\n")


def read_sheet(path: Path) -> dict[str, Decision]:
    """Read an edited sheet.

    Returns:
        Decisions by series UID; a row whose role is empty decides nothing.

    Raises:
        TableError: Naming the row as a spreadsheet counts it, never an id.
    """
    table = read_table(path, required=_REQUIRED)
    if table.empty:
        raise TableError(f"{path.name} has no row; write one with: genovox phases SOURCE --out {path.name}")
    decisions: dict[str, Decision] = {}
    rows: dict[str, int] = {}
    taken: dict[tuple[str, str, int], int] = {}
    for index, row in zip(table.index, table.to_dict("records"), strict=True):
        number = int(index) + 2
        place = f"{path.name}, row {number}"
        cells = {column: str(row.get(column, "")) for column in COLUMNS}
        uid = cells["series_uid"]
        if not _UID.fullmatch(uid):
            raise TableError(f"{place}: series_uid must be a DICOM UID (digits and dots); copy it from the series")
        if uid in rows:
            raise TableError(f"{place}: a series stands once, row {rows[uid]} is the same series; remove one")
        rows[uid] = number
        if not cells["role"]:
            continue
        decision = _read_decision(cells, place, f"{path.name} row {number}")
        decisions[uid] = decision
        if decision.role in ("pre", "post") and decision.phase is not None and cells["study_uid"]:
            key = (cells["study_uid"], decision.laterality, decision.phase)
            if key in taken:
                raise TableError(
                    f"{place}: a study has one phase {decision.phase} a side, row {taken[key]} is the same; "
                    "correct one, or give both their laterality"
                )
            taken[key] = number
    return decisions


def _read_decision(cells: dict[str, str], place: str, source: str) -> Decision:
    role, side = cells["role"].lower(), cells["laterality"].lower()
    if role not in ROLES:
        near = difflib.get_close_matches(role, ROLES, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"use one of {', '.join(ROLES)}"
        raise TableError(f"{place}: role {cells['role'][:30]!r} is unknown; {hint}")
    if side not in _SIDES:
        raise TableError(
            f"{place}: laterality must be left, right, bilateral or empty, got {cells['laterality'][:30]!r}; correct it"
        )
    phase = _read_phase(cells["phase"], place)
    if role == "pre" and phase not in (0, None):
        raise TableError(f"{place}: a pre has phase 0, or none where another pre is used, got {phase}; correct it")
    if role == "post" and not phase:
        raise TableError(f"{place}: a post has a phase from 1, got {cells['phase'] or 'none'!r}; number it")
    if role == "subtraction" and phase == 0:
        raise TableError(f"{place}: a subtraction's phase is that of its post, from 1, got 0; correct it")
    if role not in ("pre", "post", "subtraction", "dynamic-post") and phase is not None:
        raise TableError(f"{place}: a {role} has no phase number, got {phase}; empty the cell")
    return Decision(role, phase, side, source)


def _read_phase(text: str, place: str) -> int | None:
    if not text:
        return None
    # A spreadsheet that held empty cells writes whole numbers as 1.0.
    digits = text.removesuffix(".0")
    if not digits.isascii() or not digits.isdigit() or int(digits) > _MAX_PHASE:
        raise TableError(f"{place}: phase must be a whole number from 0, or empty, got {text[:30]!r}; correct it")
    return int(digits)
