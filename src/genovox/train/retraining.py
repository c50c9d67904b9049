"""Training anew under an altered plan: on labels dealt at random, or without a hospital."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genovox.cohort.splits import FEWEST_LEFT_OUT, connect_groups, split_groups, split_sites
from genovox.core.artifacts import hash_content, read_json, read_table, write_json, write_table
from genovox.core.sections import TABULAR
from genovox.core.seeds import derive_seed
from genovox.core.study import Study
from genovox.dataset.cases import PreparedCase, read_prepared_cases
from genovox.dataset.features import open_features
from genovox.learning.resolution import Resolution
from genovox.train.crossval import gather_predictions
from genovox.train.fold import train_open_folds
from genovox.train.plan import FoldTask, plan_tasks

RETRAINING = "retraining.json"
"""Written last: a training anew that has it is finished."""


def plan_model(study: Study, run: Path, resolution: Resolution, model: str, *, workers: int = 1) -> list[FoldTask]:
    """The folds of one model, as ``genovox train`` plans them; ``workers`` measure radiomics that are not kept yet."""
    parts = {name: part for name, part in study.train.parts.items() if name == model}
    own = study.model_copy(update={"train": study.train.model_copy(update={"models": (model,), "parts": parts})})
    cases = list(read_prepared_cases(run).values())
    columns = {model: open_features(model, own, run, cases, workers)} if model in TABULAR else {}
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
    return _train_once(study, dealt, folder, workers=workers, what="training on dealt labels")


def plan_without_sites(study: Study, tasks: Sequence[FoldTask], folder: Path) -> list[FoldTask]:
    """One fold a repeat and hospital: learnt from all others' patients, tested on its own.

    Of the others, an inner deal by whole families validates, as large as in the study's own folds. Who shares a
    patient or family with the hospital is not learnt from; neither is a fixed test part. Hospitals with fewer than
    ``FEWEST_LEFT_OUT`` patients of a class are learnt from, but not left out.

    Args:
        study: The study.
        tasks: From ``plan_model``.
        folder: Of these trainings alone.

    Returns:
        The fold of each is named ``without`` and the hospital; empty where no hospital can be left out.
    """
    firsts = {task.repeat: task for task in reversed(tasks)}
    every = {case.case_id: case for task in tasks for case in _all_cases(task)}
    cases = [every[case_id] for case_id in sorted(every)]
    columns = ("case_id", "patient_id", "family_id", "site", "label")
    frame = pd.DataFrame([{name: getattr(case, name) for name in columns} for case in cases])
    frame["group"] = connect_groups(frame, ["patient_id", "family_id"])
    planned = []
    for number, (site, rest, test) in enumerate(split_sites(frame, fewest=FEWEST_LEFT_OUT)):
        for repeat, first in sorted(firsts.items()):
            seed = derive_seed(study.seed, "without", first.model, repeat, site)
            known, validating = _deal_inner(frame.iloc[rest], study.cohort.splits.inner_folds, seed)
            learnt, held, tested = (tuple(cases[row] for row in rows) for rows in (rest[known], rest[validating], test))
            ids = [[case.case_id for case in part] for part in (learnt, held, tested)]
            planned.append(
                replace(
                    first,
                    fold=f"without {site}",
                    seed=seed,
                    folder=folder / f"repeat-{repeat}" / f"site-{number}",
                    key=hash_content([first.key, "without a hospital", site, seed, ids]),
                    training=learnt,
                    validation=held,
                    test=tested,
                    fixed_test=(),
                )
            )
    return planned


def train_without_sites(study: Study, tasks: list[FoldTask], folder: Path, *, workers: int | None) -> pd.DataFrame:
    """Train the folds of ``plan_without_sites`` and score each hospital's patients; kept as deals are.

    Args:
        study: The study.
        tasks: At least one.
        folder: Of these trainings alone.
        workers: Folds at once; None lets the machine decide.

    Returns:
        As ``predictions.csv``.

    Raises:
        DataError: If a fold failed.
    """
    return _train_once(study, tasks, folder, workers=workers, what="training without a hospital")


def _train_once(study: Study, tasks: list[FoldTask], folder: Path, *, workers: int | None, what: str) -> pd.DataFrame:
    key = hash_content([task.key for task in tasks])
    if (folder / RETRAINING).exists() and read_json(folder / RETRAINING)["key"] == key:
        table = read_table(folder / "predictions.csv")
        return table.astype({"repeat": int, "label": int, "score": float})
    cases = list({case.case_id: case for task in tasks for case in _all_cases(task)}.values())
    at_once = workers or tasks[0].resolution.default_workers
    train_open_folds(tasks, cases, workers=at_once, what=what)
    table = gather_predictions(tasks)
    write_table(folder / "predictions.csv", table)
    write_json(folder / RETRAINING, {"key": key, "seed": study.seed})
    for task in tasks:
        shutil.rmtree(task.folder, ignore_errors=True)
    return table


def _deal_inner(frame: pd.DataFrame, folds: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to train and to validate on: whole groups, hospitals alike in both where each has enough for that."""
    labels, groups = frame["label"].to_numpy(), frame["group"].to_numpy()
    folds = min(folds, int(frame.groupby("label")["group"].nunique().min()))
    strata = frame["label"].astype(str) + "@" + frame["site"]
    count = frame["group"].groupby(strata.to_numpy()).transform("nunique")
    by = strata.where(count >= folds, frame["label"].astype(str)).to_numpy()
    dealt = list(split_groups(by, groups, folds, seed))
    # The inner fold nearest to the whole in classes: of patients with several labels none may be exact.
    return min(dealt, key=lambda parts: abs(labels[parts[1]].mean() - labels.mean()))


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
