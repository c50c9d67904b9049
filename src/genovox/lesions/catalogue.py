"""The exams of a study and the lesions proposed in each: many at once, and what was done before is kept."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genovox.cohort.archive import open_archive
from genovox.cohort.manifest import hash_listed, read_manifest
from genovox.core.artifacts import atomic_path, hash_content
from genovox.core.case import Case
from genovox.core.errors import DataError
from genovox.core.study import Study
from genovox.core.tasks import refuse_machine_failures, run_many, show_progress
from genovox.lesions.proposals import PICTURE, write_proposals
from genovox.lesions.sheet import explain_none, list_rows, mask_path, picture_path
from genovox.phases.sheet import read_sheet
from genovox.preprocess.cache import fetch_step, read_step
from genovox.preprocess.pipeline import one_thread
from genovox.scans.inspection import read_phases

FORMAT = 1
"""Raised by one whenever the same exam gives other proposals: what is cached is then made anew."""


@dataclass(frozen=True)
class StudyExam:
    """An exam to look at.

    Attributes:
        case: With the unit ``exam``, or a row of a manifest.
        visit: Its number in time, 0 where a manifest does not say it.
        paths: Its phases.
        step: Where its proposals are kept.
    """

    case: Case
    visit: int
    paths: list[Path]
    step: Path


def list_exams(study: Study) -> list[StudyExam]:
    """The exams of a study, whatever its unit and labels.

    Raises:
        StudyError: If ``cohort.images`` is not there.
        DataError: If the archive holds no DICOM file, or a table breaks a rule.
    """
    cohort, root = study.cohort, study.root
    source = study.locate_images()
    visits: dict[str, int] = {}
    if source.is_dir():
        archive = open_archive(source, root, read_sheet(root / cohort.phases) if cohort.phases else {})
        cases, digests = archive.cases, archive.digests
        visits = {case_id: facts.visit for case_id, facts in archive.facts.items()}
    else:
        cases = read_manifest(source, root=root)
        digests = hash_listed(root, dict.fromkeys(image for case in cases for image in case.images))
    cache = root / ".genovox" / "cache" / "lesions"
    return [
        StudyExam(
            case,
            visits.get(case.case_id, 0),
            case.image_paths(root),
            # The picture shows the case's name.
            cache / hash_content([FORMAT, case.case_id, [digests[image] for image in case.images]]),
        )
        for case in cases
    ]


def propose_all(exams: list[StudyExam], folder: Path, workers: int) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Propose the lesions of every exam; masks and pictures are written to ``lesions/`` in the folder.

    Args:
        exams: Of ``list_exams``.
        folder: Of the study.
        workers: Processes at once.

    Returns:
        The rows of the sheet in the exams' order, and why an exam could not be looked at, by case.

    Raises:
        DataError: If there is no exam, or the machine failed some.
    """
    if not exams:
        raise DataError("no dynamic exam was found among the images; see what they are with: genovox phases")
    found = {exam.case.case_id: step["proposals"] for exam in exams if (step := read_step(exam.step)) is not None}
    new = [exam for exam in exams if exam.case.case_id not in found]
    failures: dict[str, str] = {}
    of_machine: dict[str, str] = {}
    with show_progress("looking for lesions", len(new)) as advance:
        for outcome in run_many(_propose_exam, new, workers=workers, describe=lambda exam: exam.case.case_id):
            case_id = outcome.item.case.case_id
            if outcome.value is not None:
                found[case_id] = outcome.value
            else:
                (of_machine if outcome.of_machine else failures)[case_id] = outcome.failure
            advance()
    refuse_machine_failures(of_machine, "exam")
    rows = []
    for exam in exams:
        case = exam.case
        proposals = found.get(case.case_id, [])
        if not proposals:
            reason = failures.get(case.case_id, "nothing in the breasts stands out")
            rows.append(explain_none(case, exam.visit, reason))
        rows += list_rows(case, exam.visit, proposals)
        if case.case_id in found:
            _bring_files(exam, len(proposals), folder)
    return rows, failures


def _propose_exam(exam: StudyExam) -> list[dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        with one_thread():
            return {"proposals": write_proposals(folder, exam.case.case_id, read_phases(exam.paths))}

    proposals: list[dict[str, Any]] = fetch_step(exam.step, make)["proposals"]
    return proposals


def _bring_files(exam: StudyExam, count: int, folder: Path) -> None:
    """Copies, as a person may draw in a mask and the cache must not change."""
    files = {PICTURE: picture_path(exam.case)}
    files |= {f"{rank}.nii.gz": mask_path(exam.case, rank) for rank in range(1, count + 1)}
    (folder / "lesions").mkdir(exist_ok=True)
    for name, target in files.items():
        with atomic_path(folder / target) as partial:
            shutil.copyfile(exam.step / name, partial)
