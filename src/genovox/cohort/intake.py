"""What comes in: cases from a manifest or a DICOM archive, by the study's unit, with their labels' source."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from genovox.cohort.archive import open_archive
from genovox.cohort.gates import UNASKED, Exclusion
from genovox.cohort.manifest import ClinicalRow, Mark, read_clinical, read_manifest, read_marks
from genovox.core.artifacts import read_json
from genovox.core.case import Case
from genovox.core.errors import DataError, StudyError
from genovox.core.sections import CohortTable
from genovox.core.study import Study, relative_path
from genovox.core.volume import holds_point
from genovox.genetics.labels import LabelEvidence, read_labels
from genovox.genetics.variants import read_genetic_tests

log = logging.getLogger(__name__)


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
    """

    cases: list[Case]
    lost: dict[str, tuple[str, str]]
    labels: LabelSource
    series: list[Exclusion] = field(default_factory=list)
    table: pd.DataFrame | None = None
    inputs: dict[str, str] = field(default_factory=dict)


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
    source = study.root / cohort.images
    if source.is_dir():
        return _take_archive(study, source)
    if cohort.marks:
        raise StudyError("cohort.marks goes with a DICOM tree; in a manifest, fill in the column point (x;y;z in mm)")
    cases = read_manifest(source, part_column=cohort.splits.part_column)
    # Paths relative to the study, so that a run holds no path of this machine.
    cases = [replace(case, images=tuple(relative_path(image, study.root) for image in case.images)) for case in cases]
    clinical = _read_clinic(study, str)
    cases = [_add_clinic(case, clinical.get(case.patient_id), site=case.site) for case in cases]
    lost = _choose_sides(cases, cohort, clinical)
    if cohort.unit != "lesion":
        cases = [replace(case, point_mm=()) for case in cases]
    else:
        unmarked = [case.case_id for case in cases if not case.point_mm]
        lost |= dict.fromkeys(unmarked, ("mark", 'the unit is a lesion and the manifest\'s column "point" is empty'))
    return Intake(cases, lost, _read_label_source(study, str))


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
    archive = open_archive(folder, study.root)
    clinical = _read_clinic(study, archive.pseudonym)
    _warn_of_strangers("the clinical table", clinical, archive.cases)
    exams = [_add_clinic(case, clinical.get(case.patient_id)) for case in archive.cases]
    cases, lost = exams, _choose_sides(exams, cohort, clinical)
    if cohort.unit == "lesion":
        marks = read_marks(study.root / cohort.marks, archive.pseudonym)
        _warn_of_strangers("marks", marks, exams)
        cases, lost = _mark_lesions(exams, marks, archive.visits, study.root)
    elif cohort.marks:
        log.warning('cohort.marks has no effect with unit = "%s"; use unit = "lesion"', cohort.unit)
    for patient_id, reason in archive.lost.items():
        cases = [*cases, Case(patient_id, patient_id, ())]
        lost[patient_id] = ("exam", reason)
    _refuse_shared_ids(cases)
    labels = _read_label_source(study, archive.pseudonym)
    digests = archive.digests | {cohort.images: archive.content}
    return Intake(cases, lost, labels, archive.exclusions, archive.table, digests)


def _warn_of_strangers(name: str, rows: Mapping[str, Any], cases: list[Case]) -> None:
    strangers = rows.keys() - {case.patient_id for case in cases}
    if strangers:
        log.warning("%s: %d of %d patients have no exam, such as %s", name, len(strangers), len(rows), min(strangers))


def _refuse_shared_ids(cases: list[Case]) -> None:
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
    paths = [study.root / path for path in cohort.tests]
    return read_genetic_tests(
        paths, genes=cohort.genes, vus=cohort.vus, other_genes=cohort.other_genes, pseudonym=pseudonym
    )


def _read_clinic(study: Study, pseudonym: Callable[[str], str]) -> dict[str, ClinicalRow]:
    return read_clinical(study.root / study.cohort.clinical, pseudonym) if study.cohort.clinical else {}


def _add_clinic(case: Case, row: ClinicalRow | None, *, site: str = "") -> Case:
    """What a manifest says of a case comes first, the clinic's hospital before one that headers tell."""
    if row is None:
        return case
    return replace(case, family_id=case.family_id or row.family_id, site=site or row.site or case.site)


def _choose_sides(
    cases: list[Case], cohort: CohortTable, clinical: dict[str, ClinicalRow]
) -> dict[str, tuple[str, str]]:
    """With a breast as the unit: cases of a side that is unknown, of both sides, or not asked for."""
    if cohort.unit != "breast":
        return {}
    lost = {}
    for case in cases:
        row = clinical.get(case.patient_id)
        if case.laterality not in ("left", "right"):
            known = case.laterality or "unknown"
            advice = "fill it in, cut the image into its breasts, or use another unit"
            lost[case.case_id] = ("side", f"the unit is a breast, the laterality is {known}; {advice}")
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


def _mark_lesions(
    exams: list[Case], marks: dict[str, list[Mark]], visits: dict[str, int], root: Path
) -> tuple[list[Case], dict[str, tuple[str, str]]]:
    """One case a mark, on the exam that holds it; an exam's patient without a mark is lost."""
    cases, lost = [], {}
    by_patient: dict[str, list[Case]] = {}
    for exam in exams:
        by_patient.setdefault(exam.patient_id, []).append(exam)
    for patient_id, own in by_patient.items():
        found = marks.get(patient_id, [])
        if not found:
            cases.append(replace(own[0], case_id=patient_id))
            lost[patient_id] = ("mark", "no mark of a lesion; add a row to the table of marks")
        sides = [mark.side for mark in found]
        for number, mark in enumerate(found, start=1):
            alone = mark.side if mark.side and sides.count(mark.side) == 1 else str(number)
            case_id = f"{patient_id}-{alone}"
            holders = [exam for exam in own if mark.visit in (0, visits[exam.case_id]) and _holds(exam, mark, root)]
            chosen = holders[0] if holders else own[0]
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
    return holds_point(stack["affine"], tuple(stack["shape"]), mark.point_mm)
