"""The preprocess stage: every case of the cohort, in parallel, kept in a cache that studies share."""

import logging
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from genovox.core.artifacts import (
    Stage,
    atomic_path,
    hash_content,
    read_json,
    require_stage,
    write_table,
)
from genovox.core.case import Case, Exclusion, exclusions_table, read_cases
from genovox.core.errors import DataError
from genovox.core.log import write_count
from genovox.core.sections import PreprocessTable
from genovox.core.study import Study
from genovox.core.tasks import available_cores, refuse_machine_failures, run_many, show_progress
from genovox.preprocess.cache import RECORD, fetch_step, read_step, save_array, save_mask
from genovox.preprocess.figures import figures_as_row
from genovox.preprocess.outliers import flag_outliers
from genovox.preprocess.pipeline import Subject, one_thread, preprocess_volume
from genovox.preprocess.quality import draw_quality_picture
from genovox.preprocess.survey import Survey, survey_scan
from genovox.scans.inspection import read_phases
from genovox.volumes.devices import choose_device
from genovox.volumes.intensity import is_two_valued
from genovox.volumes.nyul import LANDMARK_NAMES

log = logging.getLogger(__name__)

FORMAT = 2
SURVEY_FORMAT = 1
"""Raised by one whenever the same settings give other voxels, or another survey: what is cached is then made anew."""
LANDMARKS = "landmarks"
AUGMENT_SHEET = "augment.png"
"""Drawn on request; what was drawn before the volumes were made anew shows others."""
SURVEY_KEYS = ("motion", "bias", "foreground")
FILES = {"volume.npy": "volumes/{}.npy", "mask.npy": "masks/{}.npy", "qc.png": "qc/{}.png"}


@dataclass(frozen=True)
class _Task:
    case_id: str
    paths: list[Path]
    table: PreprocessTable
    subject: Subject
    survey: Path
    voxels: Path
    device: str


def open_stage(study: Study, run: Path, device: str) -> Stage:
    """The preprocess stage of a study whose cohort is built.

    Raises:
        UsageError: If the device is not there.
    """
    cohort = require_stage(run, "cohort")
    return Stage(
        "preprocess",
        run,
        FORMAT,
        study.as_dict()["preprocess"],
        {"cohort": cohort["key"]},
        {},
        study.seed,
        keeps_items=True,
        # Only on request: voxels of a GPU differ in the last bit, and a run must not depend on what is in the machine.
        device=choose_device(device) if device == "cuda" else "cpu",
    )


@dataclass(frozen=True)
class Recipe:
    """How cases are prepared, and what is known of their images.

    Attributes:
        root: Folder that images are relative to; what is made is kept in its ``.genovox``.
        settings: ``[preprocess]`` as a stage's key holds it.
        digests: Content hash of each image.
        device: Where voxels are computed.
    """

    root: Path
    settings: Mapping[str, Any]
    digests: Mapping[str, str]
    device: str = "cpu"


@dataclass(frozen=True)
class Preparation:
    """What became of cases.

    Attributes:
        rows: A row a case that was made, as ``cases.csv`` holds it, with its landmarks.
        failures: Why others cannot be made, by case.
        of_machine: Why the machine failed to make the rest, by case: they are to be tried again.
        cached: How many were made before.
    """

    rows: list[dict[str, Any]]
    failures: dict[str, str]
    of_machine: dict[str, str]
    cached: int


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:
    """Write ``volumes/``, ``masks/``, ``qc/``, ``cases.csv`` and ``exclusions.csv``.

    Raises:
        DataError: If no case could be preprocessed, or the machine failed one.
    """
    (stage.folder / AUGMENT_SHEET).unlink(missing_ok=True)
    cases = read_cases(stage.run / "cohort" / "cases.csv")
    rows, failures, cached = prepare_cases(study, stage, cases, stage.folder, workers or available_cores())
    excluded = [
        Exclusion("case", case.case_id, case.patient_id, "preprocess", "preprocess", failures[case.case_id], case.label)
        for case in cases
        if case.case_id in failures
    ]
    write_table(stage.folder / "exclusions.csv", exclusions_table(excluded))
    if not rows:
        reasons = "; ".join(sorted(set(failures.values()))[:3])
        raise DataError(f"no case of {len(cases)} could be preprocessed: {reasons}")
    _write_landmarks(stage.folder, rows)
    flag_outliers(rows)
    write_table(stage.folder / "cases.csv", pd.DataFrame(rows))
    if excluded:
        log.warning(
            "%d of %d cases could not be preprocessed (preprocess/exclusions.csv), such as %s: %s",
            len(excluded),
            len(cases),
            excluded[0].case_id,
            excluded[0].reason,
        )
    warned = [row for row in rows if row["warnings"]]
    log.info("preprocess: %s (%d from the cache), %d failed", write_count(len(rows), "case"), cached, len(failures))
    if warned:
        log.warning("%d of %d cases have warnings, such as %s: %s", len(warned), len(rows), *_first_warning(warned))


def prepare_cases(
    study: Study, stage: Stage, cases: list[Case], folder: Path, workers: int
) -> tuple[list[dict[str, Any]], dict[str, str], int]:
    """Preprocess cases, or take them from the cache, and link what was made into a folder that holds nothing else.

    Args:
        study: The study.
        stage: Its preprocess stage, which says how.
        cases: Of the cohort's archive or manifest.
        folder: Gets ``volumes/``, ``masks/`` and ``qc/``.
        workers: Processes.

    Returns:
        A row a case that was made, why the others failed, and how many were in the cache.

    Raises:
        DataError: If the machine failed one.
    """
    recipe = Recipe(study.root, stage.config, require_stage(stage.run, "cohort")["parts"]["inputs"], stage.device)
    made = prepare_listed(recipe, cases, folder, workers)
    refuse_machine_failures(made.of_machine, "case")
    return made.rows, made.failures, made.cached


def prepare_listed(recipe: Recipe, cases: list[Case], folder: Path, workers: int) -> Preparation:
    """As ``prepare_cases``, for any cases, and without stopping where the machine failed one."""
    tasks = _plan_tasks(recipe, cases)
    new = _find_new(tasks)
    failures, of_machine = _preprocess_all(new, workers)
    places = {task.case_id: task.voxels for task in tasks}
    made = [case for case in cases if case.case_id not in failures | of_machine]
    rows = [
        {"case_id": case.case_id, "key": places[case.case_id].name} | _link_case(folder, case, places[case.case_id])
        for case in made
    ]
    if rows:
        _remove_strangers(folder, {case.case_id for case in made})
    return Preparation(rows, failures, of_machine, len(cases) - len(new))


def _plan_tasks(recipe: Recipe, cases: list[Case]) -> list[_Task]:
    cache, settings = recipe.root / ".genovox" / "cache", dict(recipe.settings)
    table = PreprocessTable.model_validate(settings)
    tasks = []
    for case in cases:
        images = [recipe.digests[image] for image in case.images]
        survey = hash_content([SURVEY_FORMAT, {key: settings[key] for key in SURVEY_KEYS}, images])
        # Around a mark, intensities are the whole foreground's.
        subject = Subject(case.point_mm, "" if case.point_mm else case.laterality, case.phase_times_s)
        # The case's name is part of the key because the picture shows it.
        voxels = hash_content([FORMAT, survey, settings, case.case_id, list(astuple(subject))])
        tasks.append(
            _Task(
                case.case_id,
                case.image_paths(recipe.root),
                table,
                subject,
                cache / "survey" / survey,
                cache / "preprocess" / voxels,
                recipe.device,
            )
        )
    return tasks


def _find_new(tasks: list[_Task]) -> list[_Task]:
    """The cases that are not in the cache as they were written; hashing releases the interpreter, so threads help."""
    with ThreadPoolExecutor(available_cores()) as pool:
        records = pool.map(lambda task: read_step(task.voxels), tasks)
        return [task for task, record in zip(tasks, records, strict=True) if record is None]


def _preprocess_all(tasks: list[_Task], workers: int) -> tuple[dict[str, str], dict[str, str]]:
    """Why cases cannot be made, and why the machine failed to make others."""
    failures: dict[str, str] = {}
    of_machine: dict[str, str] = {}
    with show_progress("preprocessing", len(tasks)) as advance:
        for outcome in run_many(_preprocess_case, tasks, workers=workers, describe=lambda task: task.case_id):
            if outcome.failure:
                (of_machine if outcome.of_machine else failures)[outcome.item.case_id] = outcome.failure
            advance()
    return failures, of_machine


def _preprocess_case(task: _Task) -> bool:
    source = read_phases(task.paths)

    def look(folder: Path) -> dict[str, Any]:
        with one_thread():
            return survey_scan(source, task.table).write(folder)

    def make(folder: Path) -> dict[str, Any]:
        survey = None if is_two_valued(source.array) else Survey.read(task.survey, fetch_step(task.survey, look))
        done = preprocess_volume(source, task.table, task.subject, survey=survey, device=task.device)
        draw_quality_picture(folder / "qc.png", task.case_id, done.volume, done.mask, task.table.channels)
        faced = done.face(task.table.orientation)
        save_array(folder / "volume.npy", faced.volume.array)
        save_mask(folder / "mask.npy", faced.mask)
        row = figures_as_row(done.figures, faced.volume.affine)
        words = {"warnings": " | ".join(done.warnings), "motion_notes": " | ".join(done.notes)}
        return row | words | {LANDMARKS: done.landmarks}

    fetch_step(task.voxels, make)
    return True


def _link_case(folder: Path, case: Case, cached: Path) -> dict[str, Any]:
    for name, pattern in FILES.items():
        target = folder / pattern.format(case.case_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(cached / name, target)
        except OSError:  # another file system, or one without hard links
            with atomic_path(target) as partial:
                shutil.copyfile(cached / name, partial)
    record = read_json(cached / RECORD)
    content: dict[str, Any] = record["content"]
    return content | {"digest": record["digests"]["volume.npy"]}


def _write_landmarks(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Beside ``cases.csv``, where the study's normalisation learns from them."""
    table = {row["case_id"]: row.pop(LANDMARKS) for row in rows}
    if all(table.values()):
        names = pd.DataFrame(table.values(), columns=list(LANDMARK_NAMES))
        names.insert(0, "case_id", list(table))
        write_table(folder / "landmarks.csv", names)
    else:
        (folder / "landmarks.csv").unlink(missing_ok=True)


def _remove_strangers(folder: Path, case_ids: set[str]) -> None:
    """A case that left the cohort leaves no files."""
    for pattern in FILES.values():
        for path in (folder / pattern).parent.iterdir():
            if path.stem not in case_ids:
                path.unlink()


def _first_warning(rows: list[dict[str, Any]]) -> tuple[object, object]:
    return rows[0]["case_id"], rows[0]["warnings"]
