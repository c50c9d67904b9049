"""The scans that somebody wants scored: a manifest or a tree of DICOM files, as cases of a run's own kind."""

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path

from genovox.cohort.archive import Archive, open_archive
from genovox.cohort.eligibility import split_breasts
from genovox.cohort.intake import mark_cases, mark_lesions, refuse_shared_ids
from genovox.cohort.manifest import hash_listed, read_manifest, read_marks
from genovox.core.artifacts import atomic_path
from genovox.core.case import Case
from genovox.core.errors import DataError, UsageError

WHO = "patients.csv"
"""In ``.genovox``, which stays with whoever holds the scans: the id in the headers of each id in ``scores.csv``."""


@dataclass(frozen=True)
class ScanList:
    """What there is to score.

    Attributes:
        cases: A case a breast, exam, lesion or row, as in the run; images are relative to the folder of the scores.
        lost: Why a case cannot be scored, by its id.
        digests: Content hash of each image.
    """

    cases: list[Case]
    lost: dict[str, str]
    digests: dict[str, str]


def refuse_source(source: Path, *, unit: str, marks: Path | None) -> None:
    """Refuse what can be seen to be wrong before a folder is made for the scores.

    Raises:
        UsageError: If the source is not there, or marks have no use.
    """
    if not source.exists():
        raise UsageError(f"there is no {source}; give a folder of DICOM files or a manifest.csv")
    if marks is not None and unit != "lesion":
        raise UsageError("the cases of this run are not lesions, so marks have no use; leave --marks out")


def list_scans(source: Path, root: Path, *, unit: str, marks: Path | None = None) -> ScanList:
    """List the scans of a folder or a manifest.

    Args:
        source: A tree of DICOM files, or a CSV with ``case_id, patient_id, image``, images relative to it.
        root: Folder that keeps the index of the headers, the ids and hashes, in ``.genovox``.
        unit: The run's ``cohort.unit``.
        marks: Where the lesions are, for a run of lesions: as ``cohort.marks``.

    Raises:
        UsageError: If the source is not there, or marks are missing or have no use.
        TableError: If a table breaks a rule.
        DataError: If there is no scan.
    """
    refuse_source(source, unit=unit, marks=marks)
    return _list_archive(source, root, unit, marks) if source.is_dir() else _list_manifest(source, root, unit, marks)


def _list_archive(folder: Path, root: Path, unit: str, marks: Path | None) -> ScanList:
    if unit == "lesion" and marks is None:
        raise UsageError(
            "the cases of this run are lesions; say where they are: --marks TABLE with patient_id,point "
            "(x;y;z in mm, right, anterior, superior)"
        )
    archive = open_archive(folder, root)
    _write_patients(root / ".genovox" / WHO, archive)
    cases, facts = archive.cases, dict(archive.facts)
    lost: dict[str, str] = {}
    if marks is not None:
        cases, unmarked = mark_lesions(cases, {}, archive.read_marks(marks), facts, root)
        lost |= {case_id: reason for case_id, (_, reason) in unmarked.items()}
    elif unit == "breast":
        cases, _ = split_breasts(cases, facts)
        lost |= _find_sideless(cases)
    cases = [*cases, *(Case(patient_id, patient_id, ()) for patient_id in archive.lost)]
    if not cases:
        raise DataError(
            f"{folder} holds {archive.files} DICOM files and no exam of a patient; look what they are: genovox phases"
        )
    refuse_shared_ids(cases)
    return ScanList(cases, lost | archive.lost, archive.digests)


def _list_manifest(table: Path, root: Path, unit: str, marks: Path | None) -> ScanList:
    cases = [
        replace(case, images=tuple(os.path.relpath(table.parent / image, root) for image in case.images))
        for case in read_manifest(table)
    ]
    lost: dict[str, str] = {}
    if unit == "lesion":
        found = read_marks(marks, str, "case_id") if marks else {}
        cases, unmarked = mark_cases(cases, found, str(marks or ""))
        lost = {case_id: reason for case_id, (_, reason) in unmarked.items()}
    else:
        cases = [replace(case, point_mm=()) for case in cases]
        if unit == "breast":
            cases, _ = split_breasts(cases, {})
            lost = _find_sideless(cases)
    return ScanList(cases, lost, hash_listed(root, dict.fromkeys(image for case in cases for image in case.images)))


def _find_sideless(cases: list[Case]) -> dict[str, str]:
    reason = "the unit of the run is a breast, the laterality is {}; fill it in"
    return {
        case.case_id: reason.format(case.laterality or "unknown")
        for case in cases
        if case.laterality not in ("left", "right")
    }


def _write_patients(path: Path, archive: Archive) -> None:
    """Who is who, for whoever holds the scans: readable by nobody else, and beside the key that hides it."""
    rows = sorted((own, header) for header, own in archive.patients.items())
    with atomic_path(path) as partial:
        partial.touch(0o600)
        with partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            csv.writer(file).writerows([("patient_id", "id_in_headers"), *rows])
