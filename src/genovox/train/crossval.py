"""Repeated cross-validation: every network of every fold, in parallel, each fold kept once it is finished."""

import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from genovox.augment.pipeline import FORMAT as AUGMENT_FORMAT
from genovox.cohort.splits import FIXED, FoldPlan, read_folds
from genovox.core.artifacts import (
    Stage,
    hash_content,
    hash_file,
    read_json,
    read_table,
    require_stage,
    write_json,
    write_table,
)
from genovox.core.errors import DataError, SingleClassError
from genovox.core.sections import ORACLE, TRUTH, AugmentTable, PreprocessTable, TrainTable
from genovox.core.seeds import derive_seed
from genovox.core.study import Study
from genovox.core.tasks import run_many, show_progress
from genovox.dataset.cases import PreparedCase, read_prepared_cases, refuse_damaged
from genovox.dataset.loader import FORMAT as LOADER_FORMAT
from genovox.models.build import FORMAT as NETWORK_FORMAT
from genovox.models.build import parameter_count
from genovox.train.baselines import score_oracle
from genovox.train.checkpoint import save_network
from genovox.train.fitted import attach_map, fit_map, save_map
from genovox.train.loop import history_rows, score_cases, train_network
from genovox.train.resolution import Resolution, resolve

log = logging.getLogger(__name__)

FORMAT = 1
NETWORKS = "networks.json"
"""Folders of the networks behind ``predictions.csv``; what else lies in the stage's folder is of an earlier plan."""
PREDICTION_COLUMNS = [
    "case_id",
    "patient_id",
    "family_id",
    "site",
    "model",
    "repeat",
    "fold",
    "part",
    "seed",
    "label",
    "score",
]


@dataclass(frozen=True)
class FoldTask:
    """One network to train and score.

    Attributes:
        folder: ``<model>/repeat-R/fold-K`` of the run's train folder.
        key: Hash of everything its scores depend on; a finished fold with this key is kept.
    """

    model: str
    repeat: int
    fold: str
    seed: int
    folder: Path
    key: str
    table: TrainTable
    preprocess: PreprocessTable
    augment: AugmentTable
    resolution: Resolution
    training: tuple[PreparedCase, ...]
    validation: tuple[PreparedCase, ...]
    test: tuple[PreparedCase, ...]
    fixed_test: tuple[PreparedCase, ...]

    @property
    def name(self) -> str:
        """The fold as messages name it."""
        return f"{self.model} repeat {self.repeat} fold {self.fold}"

    def is_finished(self) -> bool:
        """Whether its files are there and still hold."""
        record = self.folder / "fold.json"
        return record.exists() and bool(read_json(record)["key"] == self.key)


def open_stage(study: Study, run: Path, device: str) -> Stage:
    """The train stage of a study whose cases are preprocessed.

    Raises:
        UsageError: If the device is not there.
        DataError: If the oracle is asked for and there is no truth.
    """
    upstream = {name: require_stage(run, name)["key"] for name in ("cohort", "preprocess")}
    read_folds(run)
    resolution = resolve(run / "train", device)
    content = study.as_dict()
    config = content["train"] | {"augment": content["augment"], "resolved": asdict(resolution)}
    inputs = {TRUTH: hash_file(study.root / TRUTH)} if ORACLE in study.train.models else {}
    return Stage("train", run, FORMAT, config, upstream, inputs, study.seed, keeps_items=True)


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:
    """Train what is not finished and write ``predictions.csv``.

    Args:
        study: The study.
        stage: From ``open_stage``.
        workers: Folds at once; None lets the machine decide.

    Raises:
        DataError: If a fold failed; finished folds are kept.
    """
    resolution = Resolution(**stage.config["resolved"])
    write_json(stage.folder / "resolved.json", asdict(resolution))
    tasks = plan_tasks(study, stage.run, resolution)
    open_tasks = [task for task in tasks if not task.is_finished()]
    if len(open_tasks) < len(tasks):
        log.info("train: %d of %d folds are finished already", len(tasks) - len(open_tasks), len(tasks))
    if open_tasks:
        refuse_damaged(list(read_prepared_cases(stage.run).values()))
    failures: dict[str, str] = {}
    with show_progress("training", len(open_tasks)) as advance:
        for outcome in run_many(
            train_fold,
            open_tasks,
            workers=workers or resolution.default_workers,
            describe=lambda task: task.name,
        ):
            if outcome.failure:
                failures[outcome.item.name] = outcome.failure
            advance(f"{outcome.item.name}: {outcome.value or outcome.failure}")
    if failures:
        name, reason = next(iter(failures.items()))
        raise DataError(
            f"{len(failures)} of {len(tasks)} folds failed, such as {name}: {reason} "
            "(the same command trains only what is not finished)"
        )
    predictions = gather_predictions(tasks)
    if ORACLE in study.train.models:
        predictions = pd.concat([predictions, score_oracle(study, predictions)], ignore_index=True)
    write_table(stage.folder / "predictions.csv", predictions)
    networks = [str(task.folder.relative_to(stage.folder)) for task in tasks]
    write_json(stage.folder / NETWORKS, networks)


def plan_tasks(study: Study, run: Path, resolution: Resolution) -> list[FoldTask]:
    """Every network of the study, in the order of ``predictions.csv``.

    Raises:
        SingleClassError: If cases that failed in preprocessing leave a part with one class only.
    """
    folds = read_folds(run)
    prepared = read_prepared_cases(run)
    fixed = _present(folds.fixed_test, prepared)
    if folds.fixed_test:
        _refuse_one_class(fixed, "fixed test part")
    tasks = []
    for model in study.train.networks:
        for repeat, fold in folds.folds:
            parts = _select_parts(folds, prepared, repeat, fold)
            seed = derive_seed(study.seed, "train", model, repeat, fold)
            settings = study.train.model_dump(exclude={"models"})
            content = [
                [FORMAT, NETWORK_FORMAT, AUGMENT_FORMAT, LOADER_FORMAT],
                model,
                seed,
                settings,
                study.augment.model_dump(),
                asdict(resolution),
                {part: [(case.case_id, case.key, case.label) for case in cases] for part, cases in parts.items()},
                [(case.case_id, case.key) for case in fixed],
            ]
            tasks.append(
                FoldTask(
                    model=model,
                    repeat=repeat,
                    fold=fold,
                    seed=seed,
                    folder=run / "train" / model / f"repeat-{repeat}" / f"fold-{fold}",
                    key=hash_content(content),
                    table=study.train,
                    preprocess=study.preprocess,
                    augment=study.augment,
                    resolution=resolution,
                    training=parts["train"],
                    validation=parts["val"],
                    test=parts["test"],
                    fixed_test=fixed,
                )
            )
    return tasks


def train_fold(task: FoldTask) -> str:
    """Train one network, write its folder (``fold.json`` last) and say how it went."""
    started = time.monotonic()
    (task.folder / "fold.json").unlink(missing_ok=True)
    fitted = fit_map(task.training, task.preprocess)
    task = replace(
        task,
        training=attach_map(task.training, fitted),
        validation=attach_map(task.validation, fitted),
        test=attach_map(task.test, fitted),
        fixed_test=attach_map(task.fixed_test, fitted),
    )
    trained = train_network(
        task.model,
        training=task.training,
        validation=task.validation,
        table=task.table,
        augment=task.augment,
        resolution=task.resolution,
        seed=task.seed,
        channels=task.preprocess.channels,
    )
    rows: list[dict[str, Any]] = []
    for part, cases in (("val", task.validation), ("test", task.test), (FIXED, task.fixed_test)):
        scores = score_cases(trained.network, cases, task.resolution.device, task.table.batch_size)
        rows += [{"case_id": case.case_id, "part": part, "score": s} for case, s in zip(cases, scores, strict=True)]
    channels = int(next(trained.network.parameters()).shape[1])
    save_network(task.folder / "network.safetensors", trained.network, name=task.model, channels=channels)
    save_map(task.folder, fitted)
    write_table(task.folder / "history.csv", pd.DataFrame(history_rows(trained.history)))
    write_table(task.folder / "scores.csv", pd.DataFrame(rows))
    wall_s = round(time.monotonic() - started, 3)
    best = trained.best
    write_json(
        task.folder / "fold.json",
        {
            "key": task.key,
            "model": task.model,
            "repeat": task.repeat,
            "fold": task.fold,
            "seed": task.seed,
            "channels": channels,
            "parameters": parameter_count(trained.network),
            "best_epoch": best.epoch,
            "epochs": len(trained.history),
            "validation_loss": best.validation_loss,
            "wall_s": wall_s,
        },
    )
    return f"validation loss {best.validation_loss:.3f} in epoch {best.epoch} of {len(trained.history)}, {wall_s:.0f} s"


def gather_predictions(tasks: list[FoldTask]) -> pd.DataFrame:
    """One row a case, model, repeat, fold and part; a fixed test case has the mean score of its model's networks."""
    tables = []
    for task in tasks:
        scores = read_table(task.folder / "scores.csv", required=("case_id", "part", "score"))
        cases = {case.case_id: case for case in (*task.validation, *task.test, *task.fixed_test)}
        table = scores.assign(
            score=scores["score"].astype(float), model=task.model, repeat=task.repeat, fold=task.fold, seed=task.seed
        )
        for column in ("patient_id", "family_id", "site", "label"):
            table[column] = [getattr(cases[case_id], column) for case_id in table["case_id"]]
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    fixed = table[table["part"] == FIXED]
    if len(fixed):
        means = fixed.groupby(["model", "case_id"], sort=False)["score"].mean().reset_index()
        first = fixed.drop_duplicates(["model", "case_id"]).drop(columns="score")
        once = first.merge(means, on=["model", "case_id"]).assign(repeat=0, fold=FIXED, part="test")
        table = pd.concat([table[table["part"] != FIXED], once], ignore_index=True)
    return table[PREDICTION_COLUMNS]


def _select_parts(
    folds: FoldPlan, prepared: dict[str, PreparedCase], repeat: int, fold: str
) -> dict[str, tuple[PreparedCase, ...]]:
    parts = {part: _present(folds.select_cases(repeat, fold, part), prepared) for part in ("train", "val", "test")}
    for part, cases in parts.items():
        _refuse_one_class(cases, f"{part} part of repeat {repeat} fold {fold}")
    return parts


def _refuse_one_class(cases: tuple[PreparedCase, ...], place: str) -> None:
    if len({case.label for case in cases}) < 2:
        raise SingleClassError(
            f"every part must hold carriers and non-carriers, the {place} lost one class to failures in "
            "preprocessing; see preprocess/exclusions.csv, repair or remove those cases from the manifest"
        )


def _present(case_ids: list[str], prepared: dict[str, PreparedCase]) -> tuple[PreparedCase, ...]:
    return tuple(prepared[case_id] for case_id in case_ids if case_id in prepared)
