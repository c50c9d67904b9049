"""What comes in: cases from a manifest or a DICOM archive, by the study's unit, with their labels' source."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from genovox.cohort.archive import open_archive
from genovox.cohort.eligibility import ExamFacts, Loss, apply_rules, split_breasts
from genovox.cohort.gates import UNASKED
from genovox.cohort.manifest import (
    ClinicalRow,
    Mark,
    hash_marks,
    read_clinical,
    read_exam_facts,
    read_manifest,
    read_marks,
)
from genovox.core.artifacts import read_json
from genovox.core.case import Case, Exclusion
from genovox.core.errors import DataError, StudyError
from genovox.core.sections import CohortTable
from genovox.core.study import Study
from genovox.core.volume import holds_point
from genovox.genetics.evidence import Sources, read_genetic_tests
from genovox.genetics.labels import LabelEvidence, read_labels
from genovox.phases.exams import BILATERAL_MM
from genovox.phases.sheet import read_sheet

log = logging.getLogger(__name__)

# A patient need not lie in the middle of the scanner: nearer to it a side is not contradicted.
_MIDLINE_MM = 20.0


class LabelSource(Protocol):
    """Whatever tells labels: a table of labels, or genetic tests."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def unit(self) -> str:
        """``patient`` or ``case``: whom labels belong to."""

    @property
    def rows(self) -> Mapping[str, Any]:
        """What it says, by the id of whom it names."""

    @property
    def notes(self) -> Sequence[str]:
        """What is odd about it, without anything of a person."""

    def find_evidence(self, case: Case) -> LabelEvidence:
        """The label of a case, or the reason it has none."""


@dataclass(frozen=True)
class Intake:
    """Every case there could be.

    Attributes:
        cases: The candidates; those in ``lost`` may lack images.
        lost: Rule and reason by case, where it cannot be used whatever its label.
        series: Series of the archive that are no phase of an exam.
        table: A row a series of the archive; None for a manifest.
        labels: Who is a carrier.
        inputs: Content hash of each image, where it is not the file itself that is hashed.
        facts: What is known of each case's exam.
        clinical: What the clinic knows, by patient.
    """

    cases: list[Case]
    lost: dict[str, Loss]
    labels: LabelSource
    series: list[Exclusion] = field(default_factory=list)
    table: pd.DataFrame | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    facts: dict[str, ExamFacts] = field(default_factory=dict)
    clinical: dict[str, ClinicalRow] = field(default_factory=dict)

    def describe_patients(self, cases: Sequence[Case]) -> pd.DataFrame:
        """What is known of each patient, for comparing and matching: the hospital, the clinic's columns, the scan's.

        Args:
            cases: Of a patient with several the first counts.

        Returns:
            Text, index ``patient_id``; an empty cell is missing.
        """
        first: dict[str, Case] = {}
        for case in cases:
            first.setdefault(case.patient_id, case)
        details = {patient_id: row.details for patient_id, row in self.clinical.items()}
        rows = [{"site": case.site} | details.get(name, {}) | case.scan for name, case in first.items()]
        return pd.DataFrame(rows, index=pd.Index(list(first), name="patient_id")).fillna("")


def take_in(study: Study) -> Intake:
    """Read manifest or archive, marks, clinical table and labels.

    Raises:
        StudyError: If no labels are given, or the unit does not go with the images.
        TableError: If a table breaks a rule.
        DataError: If the archive holds no DICOM file.
    """
    cohort = study.cohort
    if not cohort.labels and not cohort.tests:
        raise StudyError(
            "cohort.labels is empty and so is cohort.tests; give a table with patient_id,label or case_id,label, or a "
            "laboratory's tables"
        )
    source = study.locate_images()
    if source.is_dir():
        return _take_archive(study, source)
    if cohort.phases:
        raise StudyError("cohort.phases goes with a DICOM tree; in a manifest, list the phases in the column image")
    cases = read_manifest(source, part_column=cohort.splits.part_column, root=study.root)
    clinical = _read_clinic(study, str)
    cases = [_add_clinic(case, clinical.get(case.patient_id), site=case.site) for case in cases]
    facts = read_exam_facts(source)
    if cohort.unit == "breast":
        cases, facts = split_breasts(cases, facts)
    _refuse_unknown_facts(cohort, facts)
    lost = _judge_exams(cases, cohort, clinical, facts)
    inputs: dict[str, str] = {}
    if cohort.unit != "lesion":
        _warn_of_idle_marks(cohort)
        cases = [replace(case, point_mm=()) for case in cases]
    else:
        marks = read_marks(study.root / cohort.marks, str, "case_id") if cohort.marks else {}
        if cohort.marks:
            inputs[cohort.marks] = hash_marks(study.root / cohort.marks, marks)
        cases, unmarked = mark_cases(cases, marks, cohort.marks)
        lost |= unmarked
    return Intake(cases, lost, _read_label_source(study, str), inputs=inputs, facts=facts, clinical=clinical)


def _take_archive(study: Study, folder: Path) -> Intake:
    cohort = study.cohort
    if cohort.unit == "volume":
        raise StudyError(
            f'cohort.unit = "volume" is a row of a manifest, {cohort.images} is a DICOM tree; use "exam", or "lesion" '
            "with cohort.marks"
        )
    if cohort.unit == "lesion" and not cohort.marks:
        raise StudyError(
            'cohort.unit = "lesion" needs cohort.marks, a table with patient_id,point; or use unit = "exam"'
        )
    if cohort.splits.part_column:
        raise StudyError("cohort.splits.part_column names a column of a manifest, cohort.images is a DICOM tree")
    decisions = read_sheet(study.root / cohort.phases) if cohort.phases else {}
    archive = open_archive(folder, study.root, decisions)
    clinical = _read_clinic(study, archive.pseudonym)
    _warn_of_strangers("the clinical table", clinical, archive.cases)
    clinical = _name_all_or_none(clinical, {case.patient_id for case in archive.cases})
    exams, facts = [_add_clinic(case, clinical.get(case.patient_id)) for case in archive.cases], archive.facts
    if cohort.unit == "breast":
        exams, facts = split_breasts(exams, facts)
    cases, lost, facts = exams, _judge_exams(exams, cohort, clinical, facts), dict(facts)
    marked: dict[str, str] = {}
    if cohort.unit == "lesion":
        marks = archive.read_marks(study.root / cohort.marks)
        marked = {cohort.marks: hash_marks(study.root / cohort.marks, marks)}
        _warn_of_strangers("marks", marks, exams)
        cases, lost = mark_lesions(exams, lost, marks, facts, study.root)
    else:
        _warn_of_idle_marks(cohort)
    for patient_id, reason in archive.lost.items():
        cases = [*cases, Case(patient_id, patient_id, ())]
        lost[patient_id] = ("exam", reason)
    refuse_shared_ids(cases)
    labels = _read_label_source(study, archive.pseudonym)
    inputs = archive.digests | {cohort.images: archive.content} | marked
    return Intake(cases, lost, labels, archive.exclusions, archive.table, inputs, facts, clinical)


def _warn_of_strangers(name: str, rows: Mapping[str, Any], cases: list[Case]) -> None:
    strangers = rows.keys() - {case.patient_id for case in cases}
    if strangers:
        log.warning("%s: %d of %d patients have no exam, such as %s", name, len(strangers), len(rows), min(strangers))


def refuse_shared_ids(cases: list[Case]) -> None:
    """Refuse ids that meet: the second visit of patient P and the only one of patient P-2.

    Raises:
        DataError: Naming the id, which is the study's.
    """
    owners: dict[str, str] = {}
    for case in cases:
        owner = owners.setdefault(case.case_id, case.patient_id)
        if owner != case.patient_id:
            raise DataError(
                f"a case has an id of its own, {case.case_id} is made of patient {owner} and of patient "
                f"{case.patient_id}; give one of them another PatientID"
            )


def _read_label_source(study: Study, pseudonym: Callable[[str], str]) -> LabelSource:
    cohort = study.cohort
    if cohort.labels:
        return read_labels(study.root / cohort.labels, pseudonym=pseudonym)
    tests, classifications, coverage = (
        [study.root / path for path in paths] for paths in (cohort.tests, cohort.classifications, cohort.coverage)
    )
    sources = Sources(
        tests,
        cohort.genes,
        cohort.vus,
        cohort.other_genes,
        classifications,
        study.root / cohort.panels if cohort.panels else None,
        coverage,
        cohort.minimum_review,
        cohort.precedence,
        cohort.calls_origin,
    )
    return read_genetic_tests(sources, pseudonym=pseudonym)


def _read_clinic(study: Study, pseudonym: Callable[[str], str]) -> dict[str, ClinicalRow]:
    cohort = study.cohort
    if not cohort.clinical:
        return {}
    return read_clinical(study.root / cohort.clinical, pseudonym, cohort.eligibility.before)


def _refuse_unknown_facts(cohort: CohortTable, facts: dict[str, ExamFacts]) -> None:
    """Refuse rules about exams of which a manifest says nothing.

    Raises:
        StudyError: Naming the key and what to do.
    """
    rules = cohort.eligibility
    if rules.roles or rules.leave_out:
        key = "roles" if rules.roles else "leave_out"
        raise StudyError(
            f"cohort.eligibility.{key} asks what a DICOM study holds, cohort.images is a manifest; leave rows out there"
        )
    dated = {
        "cohort.eligibility.exams": rules.exams == "earliest",
        "cohort.eligibility.before": bool(rules.before),
        "cohort.eligibility.from_date": rules.from_date is not None,
        "cohort.eligibility.to_date": rules.to_date is not None,
        "cohort.splits.test_from": cohort.splits.test_from is not None,
    }
    asking = [key for key, asked in dated.items() if asked]
    if asking and not facts:
        raise StudyError(f"{asking[0]} needs the date of each exam; give the manifest a column exam_date")


def _judge_exams(
    exams: list[Case], cohort: CohortTable, clinical: dict[str, ClinicalRow], facts: dict[str, ExamFacts]
) -> dict[str, Loss]:
    """Rule and reason of every exam that may not be in, the wanted side first: of it the earliest is chosen."""
    lost = _choose_sides(exams, cohort, clinical)
    events = {patient_id: row.events for patient_id, row in clinical.items()}
    rest = [exam for exam in exams if exam.case_id not in lost]
    return lost | apply_rules(rest, facts, events, cohort.eligibility)


def _add_clinic(case: Case, row: ClinicalRow | None, *, site: str = "") -> Case:
    """What a manifest says of a case comes first, the clinic's hospital before one that headers tell."""
    if row is None:
        return case
    return replace(case, family_id=case.family_id or row.family_id, site=site or row.site or case.site)


def _name_all_or_none(clinical: dict[str, ClinicalRow], patients: set[str]) -> dict[str, ClinicalRow]:
    """The clinic's names of hospitals, unless some are missing: a hospital must not have the headers' name as well."""
    named = sum(bool(row.site) for patient_id, row in clinical.items() if patient_id in patients)
    if named in (0, len(patients)):
        return clinical
    log.warning(
        "the clinical table names the hospital of %d of %d patients: the headers' hospitals are used for all",
        named,
        len(patients),
    )
    return {patient_id: replace(row, site="") for patient_id, row in clinical.items()}


def _choose_sides(cases: list[Case], cohort: CohortTable, clinical: dict[str, ClinicalRow]) -> dict[str, Loss]:
    """With a breast as the unit: cases of a side that is unknown, of both sides, or not asked for."""
    if cohort.unit != "breast":
        return {}
    lost = {}
    for case in cases:
        row = clinical.get(case.patient_id)
        if case.laterality not in ("left", "right"):
            known = case.laterality or "unknown"
            reason = f"the unit is a breast, the laterality is {known}; fill it in, or use another unit"
            lost[case.case_id] = ("side", reason)
        elif cohort.breasts == "both":
            continue
        elif row is None or not row.affected:
            lost[case.case_id] = ("side", "the affected side is not in the clinical table; fill in affected_side")
        elif (case.laterality in row.affected) != (cohort.breasts == "affected"):
            lost[case.case_id] = (
                UNASKED,
                f'the {case.laterality} breast is not asked for by breasts = "{cohort.breasts}"',
            )
    return lost


def _warn_of_idle_marks(cohort: CohortTable) -> None:
    if cohort.marks:
        log.warning('cohort.marks has no effect with unit = "%s"; use unit = "lesion"', cohort.unit)


def mark_cases(cases: list[Case], marks: dict[str, list[Mark]], table: str) -> tuple[list[Case], dict[str, Loss]]:
    """The cases of a manifest with their lesions' places: of the table of marks, or else of the column ``point``."""
    marked, lost = [], {}
    for case in cases:
        own = marks.get(case.case_id, [])
        point_mm = own[0].point_mm if own else case.point_mm
        marked.append(replace(case, point_mm=point_mm))
        if len(own) > 1:
            lost[case.case_id] = ("mark", f"{len(own)} marks of one case; say in the column use which counts")
        elif not point_mm:
            where = ", the table of marks has no row of it in use" if table else ""
            lost[case.case_id] = ("mark", f'the unit is a lesion{where} and the manifest\'s column "point" is empty')
    strangers = marks.keys() - {case.case_id for case in cases}
    if strangers:
        log.warning("marks: %d of %d cases are not in the manifest", len(strangers), len(marks))
    return marked, lost


def mark_lesions(
    exams: list[Case], judged: dict[str, Loss], marks: dict[str, list[Mark]], facts: dict[str, ExamFacts], root: Path
) -> tuple[list[Case], dict[str, Loss]]:
    """One case a mark, on the eligible exam that holds it; what is lost is an exam, or a patient without a mark."""
    # Visits and marks are both numbered: an exam that has no mark's case must not take the id of one that has.
    cases = [replace(exam, case_id=f"{exam.case_id}-exam") for exam in exams if exam.case_id in judged]
    lost = {f"{case_id}-exam": loss for case_id, loss in judged.items()}
    by_patient: dict[str, list[Case]] = {}
    for exam in exams:
        if exam.case_id not in judged:
            by_patient.setdefault(exam.patient_id, []).append(exam)
    for patient_id, own in by_patient.items():
        found = marks.get(patient_id, [])
        if not found:
            cases.append(replace(own[0], case_id=patient_id))
            lost[patient_id] = ("mark", "no mark of a lesion in use; add a row to the table of marks")
        sides = [mark.side for mark in found]
        for number, mark in enumerate(found, start=1):
            alone = mark.side if mark.side and sides.count(mark.side) == 1 else str(number)
            case_id = f"{patient_id}-{alone}"
            holders = [
                exam for exam in own if mark.visit in (0, facts[exam.case_id].visit) and _holds(exam, mark, root)
            ]
            chosen = holders[0] if holders else own[0]
            facts[case_id] = facts[chosen.case_id]
            cases.append(
                replace(chosen, case_id=case_id, laterality=mark.side or chosen.laterality, point_mm=mark.point_mm)
            )
            if not holders:
                lost[case_id] = ("mark", "the mark lies outside the scan, or on another side or visit; correct it")
            elif len(holders) > 1:
                lost[case_id] = (
                    "mark",
                    f"{len(holders)} exams hold the mark; say which in a column exam, 1 for the first",
                )
    return cases, lost


def _holds(exam: Case, mark: Mark, root: Path) -> bool:
    """Whether a mark can be of an exam: the side and the field of view agree."""
    if mark.side and exam.laterality in ("left", "right") and exam.laterality != mark.side:
        return False
    stack = read_json(root / exam.images[0])
    if not holds_point(stack["affine"], tuple(stack["shape"]), mark.point_mm):
        return False
    return not mark.side or not _lies_across(stack, mark)


def _lies_across(stack: dict[str, Any], mark: Mark) -> bool:
    """Whether a mark lies clearly on the other side of a volume of both breasts than it says."""
    affine, (z, y, x) = np.array(stack["affine"]), stack["shape"]
    if abs(affine[0, :3]) @ [x, y, z] <= BILATERAL_MM:
        return False
    centre_mm = affine[0] @ [(x - 1) / 2, (y - 1) / 2, (z - 1) / 2, 1]
    beyond_mm = mark.point_mm[0] - centre_mm  # RAS: x grows to the patient's right
    return bool(beyond_mm > _MIDLINE_MM if mark.side == "left" else beyond_mm < -_MIDLINE_MM)
