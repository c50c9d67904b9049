"""The columns of a run's cases for models that are no networks: radiomics, scan metadata, what the clinic knows."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.cohort.stage import CLINICAL
from genovox.core.artifacts import hash_content, read_table, write_table
from genovox.core.case import list_metadata
from genovox.core.errors import DataError, TableError
from genovox.core.study import Study
from genovox.core.tasks import refuse_machine_failures, run_many, show_progress
from genovox.core.volume import Affine, Array, Mask, Volume
from genovox.dataset.cases import PreparedCase, read_affines
from genovox.preprocess.cache import load_mask
from genovox.preprocess.pipeline import one_thread
from genovox.radiomics.measure import FORMAT, measure_features
from genovox.volumes.geometry import resample_volume
from genovox.volumes.kinetics import parse_channel

log = logging.getLogger(__name__)

FEATURES = "features.csv"
_BRIGHT = ("subtraction", "subtraction@", "enhancement", "peak", "washin", "initial-area", "ktrans")
_SAME_SIDES = 1.01


@dataclass(frozen=True)
class _Task:
    case_id: str
    key: str
    volume: Path
    mask: Path
    affine: Affine
    channels: tuple[str, ...]


def open_features(model: str, study: Study, run: Path, cases: Sequence[PreparedCase], workers: int = 1) -> pd.DataFrame:
    """The columns that a model of table columns learns from.

    Radiomics are measured once a case and kept in ``train/features.csv``; a case is measured again when its voxels
    change. They are those of the volumes as they are on disk, before any map that a fold learns (``normalise =
    "nyul"``).

    Args:
        model: One of ``core.sections.TABULAR``.
        study: The study.
        run: Its run, preprocessed.
        cases: Whose rows are asked for.
        workers: Processes.

    Returns:
        Index ``case_id`` in the order given; radiomics as floats with NaN for what means nothing, others as text.

    Raises:
        TableError: If the study has no clinical table, or none of its columns can be used.
        DataError: If a volume cannot be read.
    """
    case_ids = [case.case_id for case in cases]
    if model == "radiomics":
        return _measure_all(study, run, cases, workers).loc[case_ids]
    if model == "metadata":
        table = read_table(run / "cohort" / "cases.csv", required=("case_id",)).set_index("case_id")
        return table[list_metadata(table)].loc[case_ids]
    path = run / "cohort" / CLINICAL
    if not path.exists():
        raise TableError(
            "train.models names clinical, which needs columns of a clinical table (age, family_history, subtype, …), "
            "the run has none; give cohort.clinical, or leave clinical out"
        )
    return read_table(path, required=("case_id",)).set_index("case_id").loc[case_ids]


def find_guide(channels: Sequence[str]) -> int:
    """Number of the channel in which a lesion is bright: the first that shows uptake, else the first."""
    bright = [number for number, name in enumerate(channels) if parse_channel(name).measure in _BRIGHT]
    return bright[0] if bright else 0


def _measure_all(study: Study, run: Path, cases: Sequence[PreparedCase], workers: int) -> pd.DataFrame:
    path = run / "train" / FEATURES
    channels = study.preprocess.channels
    keys = {case.case_id: hash_content([FORMAT, case.key, case.digest]) for case in cases}
    known = _recall(path)
    rows = {case_id: row for case_id, row in known.items() if row["key"] == keys.get(case_id)}
    new = [case for case in cases if case.case_id not in rows]
    if new:
        rows |= _measure_new(new, keys, run, channels, workers)
        columns = rows[new[0].case_id].keys()
        kept = {case_id: row for case_id, row in known.items() if row.keys() == columns} | rows
        write_table(path, pd.DataFrame(kept[case_id] for case_id in sorted(kept)))
    # As a later run reads them: nine digits of a figure, not all.
    table = read_table(path, required=("case_id", "key")).set_index("case_id").drop(columns="key")
    return table.replace("", "nan").astype(np.float64)


def _recall(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    try:
        table = read_table(path, required=("case_id", "key"))
    except TableError:
        return {}
    return {str(row["case_id"]): {str(name): cell for name, cell in row.items()} for row in table.to_dict("records")}


def _measure_new(
    cases: Sequence[PreparedCase], keys: dict[str, str], run: Path, channels: tuple[str, ...], workers: int
) -> dict[str, dict[str, str]]:
    affines = read_affines(run)
    tasks = [
        _Task(
            case.case_id,
            keys[case.case_id],
            case.volume,
            run / "preprocess" / "masks" / f"{case.case_id}.npy",
            affines[case.case_id],
            channels,
        )
        for case in cases
    ]
    failures: dict[str, str] = {}
    of_machine: dict[str, str] = {}
    rows: dict[str, dict[str, str]] = {}
    with show_progress("measuring radiomics", len(tasks)) as advance:
        for outcome in run_many(_measure_case, tasks, workers=workers, describe=lambda task: task.case_id):
            if outcome.value is None:
                (of_machine if outcome.of_machine else failures)[outcome.item.case_id] = outcome.failure
            else:
                figures = {name: "" if np.isnan(value) else f"{value:.9g}" for name, value in outcome.value.items()}
                rows[outcome.item.case_id] = {"case_id": outcome.item.case_id, "key": outcome.item.key} | figures
            advance()
    refuse_machine_failures(of_machine, "case")
    if failures:
        name, reason = next(iter(failures.items()))
        raise DataError(f"radiomics of {len(failures)} of {len(tasks)} cases failed, such as {name}: {reason}")
    return rows


def _measure_case(task: _Task) -> dict[str, float]:
    try:
        channels: Array = np.load(task.volume, allow_pickle=False)
        foreground = load_mask(task.mask, channels.shape[1:])
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"its preprocessed volume or mask cannot be read ({error}); remove the run's preprocess/stage.json and run "
            "again"
        ) from None
    with one_thread():
        volume, foreground = _make_cubic(Volume(channels, task.affine), foreground)
        return measure_features(
            volume.array, task.channels, foreground, volume.spacing_mm, guide=find_guide(task.channels)
        )


def _make_cubic(volume: Volume, foreground: Mask) -> tuple[Volume, Mask]:
    """The same number of voxels as cubes: texture compares neighbours in every direction."""
    spacing = volume.spacing_mm
    if max(spacing) <= _SAME_SIDES * min(spacing):
        return volume, foreground
    side = float(np.prod(spacing) ** (1 / 3))
    both = np.concatenate([volume.array, foreground[np.newaxis].astype(np.float32)])
    cubic = resample_volume(Volume(both, volume.affine), (side, side, side))
    return Volume(cubic.array[:-1], cubic.affine), cubic.array[-1] > 0.5
