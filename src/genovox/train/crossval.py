"""Repeated cross-validation: every model of every fold, in parallel, each fold kept once it is finished."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from genovox.baselines.blend import blend_scores
from genovox.baselines.oracle import score_oracle
from genovox.cohort.splits import FIXED, read_folds
from genovox.core.artifacts import (
    Stage,
    hash_file,
    read_json,
    read_stage,
    read_table,
    require_stage,
    write_json,
    write_table,
)
from genovox.core.errors import DataError, UsageError
from genovox.core.log import write_count
from genovox.core.names import model_folder, split_model
from genovox.core.sections import ORACLE, SELF, TRUTH, TrainTable
from genovox.core.study import Study
from genovox.dataset.cases import PreparedCase, read_prepared_cases, refuse_damaged
from genovox.dataset.features import open_features
from genovox.learning.checkpoint import pretrained_path
from genovox.learning.resolution import RECORDED, Resolution, record_resolution, resolve
from genovox.learning.start import Start, build_start
from genovox.learning.transfer import list_layers
from genovox.models.registry import FILE, REGISTRY, hash_sha256
from genovox.train.fold import train_open_folds
from genovox.train.followers import current_ranks
from genovox.train.memory import available_mb
from genovox.train.needs import ModelNeed, count_workers, list_needs, suggest_settings
from genovox.train.plan import FORMAT, RECORD, SCORES, FoldTask, open_starts, plan_tasks
from genovox.train.tracking import open_tracking

log = logging.getLogger(__name__)

NETWORKS = "networks.json"
"""Folders of the networks behind ``predictions.csv``; what else lies in the stage's folder is of an earlier plan."""
WEIGHTS = "weights.json"
"""In a model's folder: the file it starts from, and how much of it fits."""
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


def open_stage(study: Study, run: Path, device: str) -> Stage:
    """The train stage of a study whose cases are preprocessed.

    Raises:
        UsageError: If the device is not there.
        DataError: If the oracle is asked for and there is no truth.
    """
    upstream = {name: require_stage(run, name)["key"] for name in ("cohort", "preprocess")}
    read_folds(run)
    resolution = resolve(run / "train", device, study.train)
    content = study.as_dict()
    content["train"].pop("tracking")  # where curves go changes no score
    config = content["train"] | {"augment": content["augment"], "resolved": asdict(resolution)}
    inputs = {TRUTH: hash_file(study.root / TRUTH)} if ORACLE in study.train.models else {}
    inputs |= _hash_weights(study, run, device)
    return Stage("train", run, FORMAT, config, upstream, inputs, study.seed, keeps_items=True)


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:
    """Train what is not finished and write ``predictions.csv``.

    Args:
        study: The study.
        stage: From ``open_stage``.
        workers: Folds at once; None lets the machine decide.

    Raises:
        UsageError: If ``train.tracking`` cannot be had.
        DataError: If a fold failed; finished folds are kept.
    """
    resolution = Resolution(**stage.config["resolved"])
    record_resolution(stage.folder, resolution, study.train)
    tracking = open_tracking(study)
    cases = list(read_prepared_cases(stage.run).values())
    columns = {
        model: open_features(model, study, stage.run, cases, workers or resolution.default_workers)
        for model in study.train.fitted
        if model not in study.train.networks
    }
    tasks = plan_tasks(study, stage.run, resolution, columns, tracking)
    open_tasks = [task for task in tasks if not task.is_finished()]
    if len(open_tasks) < len(tasks):
        log.info("train: %d of %d folds are finished already", len(tasks) - len(open_tasks), len(tasks))
    needs = list_needs(study, resolution) if any(task.start for task in open_tasks) else []
    warn_of_memory(study, needs, resolution)
    at_once = workers or count_workers(needs, resolution)
    if current_ranks().size > 1:
        log.info("train: %d processes train each network together, one fold after the other", current_ranks().size)
    if open_tasks:
        refuse_damaged(cases)
        try_weights(study, stage.folder, {task.model: task.start for task in tasks if task.start}, cases)
        warn_of_batch(tasks)
    train_open_folds(tasks, cases, workers=at_once, what="training")
    for task in [task for task in open_tasks if task.start]:
        if fault := read_json(task.folder / RECORD)["stopped"]:
            log.warning("%s: %s; the last good epoch is scored", task.name, fault)
    predictions = gather_predictions(tasks)
    untrained = [blend_scores(predictions, study.train.blends)] if study.train.blends else []
    if ORACLE in study.train.models:
        untrained.append(score_oracle(study, predictions))
    predictions = pd.concat([predictions, *untrained], ignore_index=True)
    order = {model: place for place, model in enumerate(study.train.models)}
    predictions = predictions.sort_values("model", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    write_table(stage.folder / "predictions.csv", predictions)
    networks = [str(task.folder.relative_to(stage.folder)) for task in tasks if task.start]
    write_json(stage.folder / NETWORKS, networks)


def try_weights(study: Study, folder: Path, starts: Mapping[str, Start], cases: Sequence[PreparedCase]) -> None:
    """Before any fold: do the files fit, and whom have they met? Reports go to the log and ``<model>/weights.json``.

    Args:
        study: The study.
        folder: ``RUN/train``.
        starts: What each network starts from.
        cases: Of the study, each of them tested in some fold.

    Raises:
        DataError: If a file does not fit, with what is missing, or not wholly where it stays frozen.
        UsageError: If training ends before every layer has begun to learn.
    """
    for model, start in starts.items():
        if start.weights is None:
            continue
        network, coverage = build_start(start, len(study.preprocess.channels), study.seed)
        assert coverage is not None
        refuse_idle_layers(study.train, model, len(list_layers(network)))
        log.info("%s\n%s", model, coverage)
        if study.train.is_frozen(model) and not coverage.is_whole:
            raise DataError(
                f'{model}: train.transfer = "frozen" needs the encoder as its file has it, {coverage.describe_gap()}'
                f'{"".join(f"; {line}" for line in coverage.warnings)}; use "fine-tune", or another file'
            )
        for warning in coverage.warnings:
            log.warning("%s: %s", model, warning)
        weights = start.weights
        if weights.source not in (FILE, SELF) and not weights.checked:
            log.warning(
                "%s: no sha256 is stated for %s, so it is taken as it is; to pin it, put sha256 = \"%s\" under "
                "[%s.networks.%s] in %s",
                model, weights.path.name, weights.sha256, weights.source, weights.network, REGISTRY,
            )  # fmt: skip
        labelled, met = (start.lineage.count_met(cases, labels=labels) for labels in (True, False))
        if labelled:
            log.warning(
                "%s: LEAK: its weights have learnt from the labels of %s of this study, who are tested here; start "
                "from weights that have not met them",
                model, write_count(labelled, "patient"),
            )  # fmt: skip
        report = {
            "file": weights.as_dict(),
            "coverage": coverage.as_dict(),
            "labelled_patients": labelled,
            "transductive": met > labelled,
            "is_known": start.lineage.is_whole,
        }
        write_json(folder / model_folder(model) / WEIGHTS, report)


def refuse_idle_layers(table: TrainTable, model: str, layers: int) -> None:
    """Refuse a thaw that leaves layers frozen until the end.

    Raises:
        UsageError: Naming the key, and the largest value that reaches every layer.
    """
    epochs = table.epochs // table.snapshots
    if table.thaw_epochs * (layers - 1) >= epochs and not table.is_frozen(model):
        raise UsageError(
            f"train.thaw_epochs = {table.thaw_epochs} would let the first of {layers} layers of {model} learn after "
            f"{table.thaw_epochs * (layers - 1)} epochs, there are {epochs}; use {(epochs - 1) // (layers - 1)} or less"
        )


def warn_of_batch(tasks: Sequence[FoldTask]) -> None:
    """Say that an epoch is one step, where a batch takes in all that is learnt from."""
    for task in [task for task in tasks if task.start][:1]:
        if task.table.batch_size >= len(task.training):
            log.warning(
                "train.batch_size = %d takes in all %d training cases of a fold: an epoch is one step; 8 is usual",
                task.table.batch_size,
                len(task.training),
            )


def warn_of_memory(study: Study, needs: Sequence[ModelNeed], resolution: Resolution) -> None:
    """Say before an out-of-memory what to change."""
    memory_mb = available_mb()
    for need in needs:
        for line in suggest_settings(need, study, resolution, memory_mb)[:1]:
            log.warning(
                "%s may need %.1f GB a fold, there are %.1f; try %s (all ways: genovox doctor STUDY)",
                need.model,
                need.memory.total_mb / 1024,
                memory_mb / 1024,
                line,
            )


def _hash_weights(study: Study, run: Path, device: str) -> dict[str, str]:
    """Content of each file of weights; of a run that is only read, as it was when its networks were trained."""
    models = [model for model in study.train.networks if split_model(model)[1]]
    names = {model: f"weights of {model}" for model in models}
    if device == RECORDED:
        record = read_stage(run, "train")
        known = dict(record["parts"]["inputs"]) if record else {}
        for network in study.train.pretrained:
            # What was pretrained lies in the run itself, and may have been made anew since.
            path = pretrained_path(run, network)
            known[names[f"{network}@{SELF}"]] = hash_sha256(path) if path.exists() else "gone"
        if all(name in known for name in names.values()):
            return {name: known[name] for name in names.values()}
    starts = open_starts(study, run) if models else {}
    return {name: start.weights.sha256 for model, name in names.items() if (start := starts[model]).weights}


def gather_predictions(tasks: list[FoldTask]) -> pd.DataFrame:
    """One row a case, model, repeat, fold and part; a fixed test case has the mean score of its model's networks."""
    tables = []
    for task in tasks:
        scores = read_table(task.folder / SCORES, required=("case_id", "part", "score"))
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
