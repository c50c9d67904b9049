"""The preprocess stage: every case of the cohort, in parallel, kept in a cache that studies share."""

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genovox.cohort.gates import Exclusion, exclusions_table
from genovox.core.artifacts import (
    Stage,
    atomic_path,
    hash_content,
    read_json,
    require_stage,
    write_json,
    write_table,
)
from genovox.core.case import Case, read_cases
from genovox.core.errors import DataError
from genovox.core.sections import PreprocessTable
from genovox.core.study import Study
from genovox.core.tasks import available_cores, refuse_machine_failures, run_many, show_progress
from genovox.preprocess.pipeline import figures_as_row, preprocess_images, save_array, save_mask
from genovox.preprocess.quality import draw_quality_picture

log = logging.getLogger(__name__)

FORMAT = 1
FILES = {"volume.npy": "volumes/{}.npy", "mask.npy": "masks/{}.npy", "qc.png": "qc/{}.png"}


@dataclass(frozen=True)
class _Task:
    case_id: str
    paths: list[Path]
    table: PreprocessTable
    point_mm: tuple[float, ...]
    folder: Path


def open_stage(study: Study, run: Path, device: str) -> Stage:  # noqa: ARG001 - every stage opens alike
    """The preprocess stage of a study whose cohort is built."""
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
    )


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:
    """Write ``volumes/``, ``masks/``, ``qc/``, ``cases.csv`` and ``exclusions.csv``.

    Raises:
        DataError: If no case could be preprocessed, or the machine failed one.
    """
    cases = read_cases(stage.run / "cohort" / "cases.csv")
    inputs = require_stage(stage.run, "cohort")["parts"]["inputs"]
    cache = study.root / ".genovox" / "cache" / "preprocess"
    # The case's name is part of the key because the picture shows it.
    keys = {
        case.case_id: hash_content(
            [FORMAT, stage.config, case.case_id, case.point_mm, [inputs[i] for i in case.images]]
        )
        for case in cases
    }
    new = [case for case in cases if not _is_cached(cache / keys[case.case_id])]
    failures = _preprocess_all(study, new, cache, keys, workers or available_cores())
    made = [case for case in cases if case.case_id not in failures]
    excluded = [
        Exclusion("case", case.case_id, case.patient_id, "preprocess", "preprocess", failures[case.case_id], case.label)
        for case in cases
        if case.case_id in failures
    ]
    write_table(stage.folder / "exclusions.csv", exclusions_table(excluded))
    if not made:
        reasons = "; ".join(sorted(set(failures.values()))[:3])
        raise DataError(f"no case of {len(cases)} could be preprocessed: {reasons}")
    rows = [
        {"case_id": case.case_id, "key": keys[case.case_id]}
        | _link_case(stage.folder, case, cache / keys[case.case_id])
        for case in made
    ]
    _remove_strangers(stage.folder, {case.case_id for case in made})
    write_table(stage.folder / "cases.csv", pd.DataFrame(rows))
    warned = [row for row in rows if row["warnings"]]
    log.info("preprocess: %d cases (%d from the cache), %d failed", len(made), len(cases) - len(new), len(failures))
    if warned:
        log.warning("%d of %d cases have warnings, such as %s: %s", len(warned), len(made), *_first_warning(warned))


def _preprocess_all(study: Study, cases: list[Case], cache: Path, keys: dict[str, str], workers: int) -> dict[str, str]:
    tasks = [
        _Task(case.case_id, case.image_paths(study.root), study.preprocess, case.point_mm, cache / keys[case.case_id])
        for case in cases
    ]
    failures: dict[str, str] = {}
    of_machine: dict[str, str] = {}
    with show_progress("preprocessing", len(tasks)) as advance:
        for outcome in run_many(_preprocess_case, tasks, workers=workers, describe=lambda task: task.case_id):
            if outcome.failure:
                (of_machine if outcome.of_machine else failures)[outcome.item.case_id] = outcome.failure
            advance()
    refuse_machine_failures(of_machine, "case")
    return failures


def _preprocess_case(task: _Task) -> bool:
    done = preprocess_images(task.paths, task.table, task.point_mm)
    save_array(task.folder / "volume.npy", done.volume.array)
    save_mask(task.folder / "mask.npy", done.mask)
    draw_quality_picture(task.folder / "qc.png", task.case_id, done.volume, done.mask, task.table.channels)
    row = figures_as_row(done.figures, done.volume.affine) | {"warnings": " | ".join(done.warnings)}
    write_json(task.folder / "record.json", row)
    return True


def _is_cached(folder: Path) -> bool:
    return all((folder / name).exists() for name in (*FILES, "record.json"))


def _link_case(folder: Path, case: Case, cached: Path) -> dict[str, object]:
    for name, pattern in FILES.items():
        target = folder / pattern.format(case.case_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(cached / name, target)
        except OSError:  # another file system, or one without hard links
            with atomic_path(target) as partial:
                shutil.copyfile(cached / name, partial)
    record: dict[str, object] = read_json(cached / "record.json")
    return record


def _remove_strangers(folder: Path, case_ids: set[str]) -> None:
    """A case that left the cohort leaves no files."""
    for pattern in FILES.values():
        for path in (folder / pattern).parent.iterdir():
            if path.stem not in case_ids:
                path.unlink()


def _first_warning(rows: list[dict[str, object]]) -> tuple[object, object]:
    return rows[0]["case_id"], rows[0]["warnings"]
