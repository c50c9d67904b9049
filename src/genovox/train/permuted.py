"""Training under labels that were dealt anew: what the whole road from voxel to score makes of chance."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.core.artifacts import hash_content, read_json, read_table, write_json, write_table
from genovox.core.sections import TABULAR
from genovox.core.study import Study
from genovox.dataset.cases import PreparedCase, read_prepared_cases
from genovox.dataset.features import open_features
from genovox.learning.resolution import Resolution
from genovox.train.crossval import gather_predictions
from genovox.train.fold import train_open_folds
from genovox.train.plan import FoldTask, plan_tasks

DEAL = "deal.json"
"""Written last: a deal that has it is finished."""


def plan_model(study: Study, run: Path, resolution: Resolution, model: str) -> list[FoldTask]:
    """The folds of one model, as ``genovox train`` plans them."""
    parts = {name: part for name, part in study.train.parts.items() if name == model}
    own = study.model_copy(update={"train": study.train.model_copy(update={"models": (model,), "parts": parts})})
    cases = list(read_prepared_cases(run).values())
    columns = {model: open_features(model, own, run, cases)} if model in TABULAR else {}
    return plan_tasks(own, run, resolution, columns)


def open_cached_features(study: Study, run: Path, resolution: Resolution, model: str) -> pd.DataFrame | None:
    """What a model of table columns, or the head of a frozen network, learns from, by ``case_id``; None for others.

    Args:
        study: The study.
        run: Its run, trained.
        resolution: What the machine decided.
        model: One of ``train.models``.
    """
    if model in TABULAR:
        return open_features(model, study, run, list(read_prepared_cases(run).values()))
    if not study.train.is_frozen(model):
        return None
    path = plan_model(study, run, resolution, model)[0].features
    if path is None or not path.exists():
        return None
    cases = read_prepared_cases(run).values()
    with np.load(path, allow_pickle=False) as stored:
        rows = {case.case_id: stored[case.key].astype(np.float64) for case in cases if case.key in stored.files}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename(columns=str).rename_axis("case_id")


def train_deal(
    study: Study, tasks: list[FoldTask], labels: Mapping[str, int], folder: Path, *, workers: int | None
) -> pd.DataFrame:
    """Train every fold of a model on dealt labels and score its test patients; networks are not kept.

    Finished folds, and finished deals, are kept if training is interrupted.

    Args:
        study: The study.
        tasks: From ``plan_model``.
        labels: Dealt label by case.
        folder: Of this deal alone.
        workers: Folds at once; None lets the machine decide.

    Returns:
        As ``predictions.csv``, with the dealt labels.

    Raises:
        DataError: If a fold failed.
    """
    dealt = [_relabel(task, labels, folder) for task in tasks]
    key = hash_content([task.key for task in dealt])
    if (folder / DEAL).exists() and read_json(folder / DEAL)["key"] == key:
        table = read_table(folder / "predictions.csv")
        return table.astype({"repeat": int, "label": int, "score": float})
    cases = list({case.case_id: case for task in dealt for case in _all_cases(task)}.values())
    at_once = workers or dealt[0].resolution.default_workers
    train_open_folds(dealt, cases, workers=at_once, what="training on dealt labels")
    table = gather_predictions(dealt)
    write_table(folder / "predictions.csv", table)
    write_json(folder / DEAL, {"key": key, "seed": study.seed})
    for task in dealt:
        shutil.rmtree(task.folder, ignore_errors=True)
    return table


def _relabel(task: FoldTask, labels: Mapping[str, int], folder: Path) -> FoldTask:
    def deal(cases: tuple[PreparedCase, ...]) -> tuple[PreparedCase, ...]:
        return tuple(replace(case, label=labels[case.case_id]) for case in cases)

    ordered = sorted((case.case_id, labels[case.case_id]) for case in _all_cases(task))
    return replace(
        task,
        training=deal(task.training),
        validation=deal(task.validation),
        test=deal(task.test),
        fixed_test=(),
        folder=folder / f"repeat-{task.repeat}" / f"fold-{task.fold}",
        key=hash_content([task.key, "dealt labels", ordered]),
    )


def _all_cases(task: FoldTask) -> tuple[PreparedCase, ...]:
    return (*task.training, *task.validation, *task.test)
