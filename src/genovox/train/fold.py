"""One fold of one model: train, score, and write its folder."""

import copy
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from genovox.baselines.tabular import fit_tabular, save_tabular
from genovox.cohort.splits import FIXED
from genovox.core.artifacts import read_json, write_json, write_table
from genovox.core.errors import DataError
from genovox.core.log import write_count
from genovox.core.sections import TrainTable
from genovox.core.seeds import derive_seed
from genovox.core.tasks import Inner, run_many, show_progress
from genovox.core.volume import Array
from genovox.dataset.cases import PreparedCase
from genovox.learning.checkpoint import NETWORK, load_network, save_network
from genovox.learning.journal import EpochRecord, Journal
from genovox.learning.loop import TrainedNetwork, count_channels, open_fabric, score_cases
from genovox.learning.probe import cache_features, fit_probe, pool_features
from genovox.learning.start import build_start
from genovox.models.blocks import Network
from genovox.models.build import parameter_count
from genovox.train.fitted import attach_map, fit_map, save_map
from genovox.train.followers import are_together, current_ranks, train_together
from genovox.train.plan import RECORD, SCORES, FoldTask
from genovox.train.progress import COUNT, EpochCount, count_done, find_most_epochs, plan_epochs
from genovox.train.search import Cases, Trial, choose_settings
from genovox.train.tracking import Tracker

SEARCH = "search.csv"
MEMBER = "member"
SNAPSHOT = "snapshot"
Fit = tuple[dict[str, float], dict[str, Any], str]
"""Score by case, what to keep of the fit, and a word for the log."""


def train_fold(task: FoldTask) -> str:
    """Train one model, write its folder (``fold.json`` last) and say how it went."""
    started = time.monotonic()
    for name in (RECORD, SEARCH):
        (task.folder / name).unlink(missing_ok=True)
    if task.columns is not None:
        scores, facts, note = _fit_columns(task)
    else:
        with EpochCount(task.folder) as count:
            scores, facts, note = _train_network(task, count)
    rows = [
        {"case_id": case.case_id, "part": part, "score": scores[case.case_id]}
        for part, cases in (("val", task.validation), ("test", task.test), (FIXED, task.fixed_test))
        for case in cases
    ]
    write_table(task.folder / SCORES, pd.DataFrame(rows))
    wall_s = round(time.monotonic() - started, 3)
    place = {name: getattr(task, name) for name in ("key", "model", "repeat", "fold", "seed")}
    write_json(task.folder / RECORD, place | facts | {"wall_s": wall_s})
    return f"{note}, {wall_s:.0f} s"


def _fit_columns(task: FoldTask) -> Fit:
    assert task.columns is not None
    fit = fit_tabular(
        task.model,
        task.columns,
        training=task.training,
        validation=task.validation,
        test=(*task.test, *task.fixed_test),
        seed=task.seed,
    )
    save_tabular(task.folder, fit.model)
    facts = {"strength": fit.model.strength, "terms": len(fit.model.terms), "candidates": fit.model.candidates}
    return fit.scores, facts, f"{len(fit.model.terms)} of {fit.model.candidates} columns"


def _train_network(task: FoldTask, count: EpochCount) -> Fit:
    open_fabric(task.resolution)  # threads and determinism, also where a frozen encoder only reads
    fitted = fit_map(task.training, task.preprocess)
    task = replace(
        task,
        training=attach_map(task.training, fitted),
        validation=attach_map(task.validation, fitted),
        test=attach_map(task.test, fitted),
        fixed_test=attach_map(task.fixed_test, fitted),
    )

    def measure(table: TrainTable, rest: Cases, held_out: Cases) -> float:
        return fmean(one.best.validation_loss for one in _train_cycles(task, table, rest, held_out, count=count))

    table, trials = choose_settings(task.table, (*task.training, *task.validation), task.seed, measure)
    if trials:
        write_table(task.folder / SEARCH, _tabulate(trials))
    for old in task.folder.glob(f"{MEMBER}-*"):
        shutil.rmtree(old)
    cases = (*task.validation, *task.test, *task.fixed_test)
    made, scores = [], []
    for number in range(table.members):
        for trained in _train_member(task, table, number, count):
            made.append(trained)
            scores.append(
                score_cases(trained.network, cases, task.resolution.device, table.batch_size, flips=table.test_flips)
            )
            trained.network.cpu()
    save_map(task.folder, fitted)
    facts = {
        "channels": made[0].network.channels,
        "parameters": parameter_count(made[0].network),
        "settings": {key: getattr(table, key) for key in trials[0].settings} if trials else {},
        **_describe_trainings(made, is_frozen=table.is_frozen(task.model)),
        "members": table.members,
        "snapshots": table.snapshots,
        "processes": current_ranks().size,
    }
    means = np.mean(scores, axis=0).tolist()
    return (
        dict(zip((case.case_id for case in cases), means, strict=True)),
        facts,
        _say_trainings(made, is_frozen=table.is_frozen(task.model)),
    )


def _describe_trainings(made: Sequence[TrainedNetwork], *, is_frozen: bool) -> dict[str, Any]:
    """What is true of all networks of a fold; lists are in the order of ``list_networks``."""
    return {
        "networks": len(made),
        "epochs": 0 if is_frozen else sum(len(one.history) for one in made),
        "best_epochs": [] if is_frozen else [one.best.epoch for one in made],
        "validation_loss": fmean(one.best.validation_loss for one in made),
        "stopped": "; ".join(one.stopped for one in made if one.stopped),
    }


def _say_trainings(made: Sequence[TrainedNetwork], *, is_frozen: bool) -> str:
    loss = f"validation loss {_write_range([one.best.validation_loss for one in made], '.3f')}"
    epochs = sum(len(one.history) for one in made)
    kept = [one.best.epoch for one in made]
    if is_frozen:
        probes = "a probe" if len(made) == 1 else write_count(len(made), "probe")
        words = f"{probes} of frozen features, {loss}"
    elif len(made) == 1:
        words = f"{loss} in epoch {kept[0]} of {epochs}"
    else:
        place = f"epoch{'s' if len(set(kept)) > 1 else ''} {_write_range(kept, 'd')}"
        words = f"{len(made)} networks, {write_count(epochs, 'epoch')} in all, {loss} in {place}"
    return "; ".join([words, *(one.stopped for one in made if one.stopped)])


def _write_range(values: Sequence[float], form: str) -> str:
    lowest, highest = format(min(values), form), format(max(values), form)
    return lowest if lowest == highest else f"{lowest} to {highest}"


def _train_member(task: FoldTask, table: TrainTable, number: int, count: EpochCount) -> Iterator[TrainedNetwork]:
    """The fold's network, or one more of its kind from another seed, in a folder of its own; so is each snapshot."""
    folder = task.folder / f"{MEMBER}-{number + 1}" if number else task.folder
    seed = derive_seed(task.seed, MEMBER, number) if number else task.seed
    for old in folder.glob(f"{SNAPSHOT}-*"):
        shutil.rmtree(old)
    assert task.start is not None
    lineage = task.start.lineage.meet((*task.training, *task.validation), labels=True)
    task = replace(task, seed=seed)
    for cycle, trained in enumerate(
        _train_cycles(task, table, task.training, task.validation, count=count, folder=folder)
    ):
        path = _name_snapshot(folder, cycle) / NETWORK
        channels = trained.network.channels
        save_network(path, trained.network, name=task.model, channels=channels, lineage=lineage)
        yield trained


def _name_snapshot(folder: Path, cycle: int) -> Path:
    return folder / f"{SNAPSHOT}-{cycle + 1}" if cycle else folder


def _train_cycles(
    task: FoldTask,
    table: TrainTable,
    training: Cases,
    validation: Cases,
    *,
    count: EpochCount,
    folder: Path | None = None,
) -> Iterator[TrainedNetwork]:
    """A network after each cycle of the schedule, which goes on from the one before at the full rate.

    Each cycle keeps the epoch that ``train.keep`` says, draws order and augmentation of its own, and starts a new
    optimizer.

    References:
        Huang et al. (2017), arXiv:1704.00109 (snapshot ensembles).
    """
    network = None
    planned = table.epochs if folder is None else find_most_epochs(task.table)
    planned = 0 if table.is_frozen(task.model) else planned // table.snapshots
    for cycle in range(table.snapshots):
        rise = {"warmup_epochs": 0} if cycle else {}
        once = table.model_copy(update={"epochs": table.epochs // table.snapshots} | rise)
        seeded = replace(task, seed=derive_seed(task.seed, SNAPSHOT, cycle)) if cycle else task
        with ExitStack() as followers:
            follow = [followers.enter_context(count.follow(planned))]
            if folder is not None:
                journal = _follow_epochs(seeded, once, _name_snapshot(folder, cycle))
                follow.append(followers.enter_context(journal))
            trained = _train(seeded, once, training, validation, follow, network=network)
        network = copy.deepcopy(trained.network).cpu()
        yield trained


@contextmanager
def _follow_epochs(task: FoldTask, table: TrainTable, folder: Path) -> Iterator[Callable[[EpochRecord], None]]:
    """What is told of each epoch of one network: the folder's history, and MLflow where the study tracks."""
    place = {"model": task.model, "repeat": task.repeat, "fold": task.fold, "seed": task.seed}
    settings = table.model_dump(exclude={"models", "members", "snapshots", "parts", "search", "tracking"})
    parameters = place | settings | {f"augment.{key}": value for key, value in task.augment}
    part = folder.relative_to(task.folder)
    name = f"{task.name} {part}" if part.name else task.name
    with Journal(folder) as journal, Tracker(task.tracking, name, parameters) as tracker:

        def follow(record: EpochRecord) -> None:
            journal.add(record)
            tracker.add(record)

        yield follow


def train_open_folds(tasks: Sequence[FoldTask], cases: Sequence[PreparedCase], *, workers: int, what: str) -> None:
    """Train the folds that are not finished, several at once; under torchrun one after the other, each by all ranks.

    Args:
        tasks: All folds; finished ones are kept.
        cases: Every case of them, for what a frozen encoder sees once for all.
        workers: Folds at once.
        what: What is trained, for the display of progress.

    Raises:
        DataError: If a fold failed, after the others were tried.
    """
    to_do = [task for task in tasks if not task.is_finished()]
    for task in {task.features: task for task in to_do if task.features}.values():
        share_features(task, cases)
    planned = {task.folder: plan_epochs(task.table, task.model) for task in to_do if task.start}
    for folder in planned:
        (folder / COUNT).unlink(missing_ok=True)  # of an attempt that was killed
    over: set[Path] = set()

    def count_epochs() -> int:
        return sum(whole if folder in over else count_done(folder) for folder, whole in planned.items())

    total = sum(planned.values())
    epochs = Inner("epochs", total, count_epochs) if total else None
    failures: list[str] = []
    with show_progress(what, len(to_do), inner=epochs) as advance:
        at_once = workers if current_ranks().size == 1 else 1
        for outcome in run_many(train_fold, to_do, workers=at_once, describe=lambda task: task.name):
            if outcome.failure:
                failures.append(f"{outcome.item.name}: {outcome.failure}")
                if not are_together():
                    break
            over.add(outcome.item.folder)
            advance(f"{outcome.item.name}: {outcome.value or outcome.failure}")
    if failures:
        raise DataError(
            f"{len(failures)} of {len(tasks)} folds failed in {what}, such as {failures[0]} "
            "(the same command trains only what is not finished)"
        )


def list_networks(folder: Path) -> list[Path]:
    """The files of a fold's networks, one a member and snapshot: a score is their mean."""
    members = [folder, *_list_numbered(folder, MEMBER)]
    return [place / NETWORK for member in members for place in (member, *_list_numbered(member, SNAPSHOT))]


def load_networks(folder: Path) -> list[Network]:
    """A finished fold's networks, in evaluation mode, as ``list_networks`` lists them.

    Raises:
        DataError: If a file is missing, damaged or holds another network.
    """
    record = read_json(folder / RECORD)
    return [load_network(path, name=record["model"], channels=record["channels"]) for path in list_networks(folder)]


def _list_numbered(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{name}-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def share_features(task: FoldTask, cases: Sequence[PreparedCase]) -> None:
    """Compute what a frozen encoder makes of every case, once for all folds of its model."""
    assert task.start is not None
    open_fabric(task.resolution)
    network, _ = build_start(task.start, count_channels(cases), task.encoder_seed)
    _read_features(task, network, cases)


def _train(
    task: FoldTask,
    table: TrainTable,
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
    followers: Sequence[Callable[[EpochRecord], None]],
    *,
    network: Network | None = None,
) -> TrainedNetwork:
    assert task.start is not None

    def follow(record: EpochRecord) -> None:
        for follower in followers:
            follower(record)

    is_frozen = table.is_frozen(task.model)
    if network is None:
        seed = task.encoder_seed if is_frozen else task.seed
        network, _ = build_start(task.start, count_channels(training), seed)
    if is_frozen:
        cases = (*training, *validation)
        trained = fit_probe(network, _read_features(task, network, cases), training, validation)
        follow(trained.best)
        return trained
    return train_together(
        network=network,
        training=training,
        validation=validation,
        table=table,
        augment=task.augment,
        resolution=task.resolution,
        seed=task.seed,
        channels=task.preprocess.channels,
        follow=follow,
    )


def _read_features(task: FoldTask, network: Network, cases: Sequence[PreparedCase]) -> Mapping[str, Array]:
    device, batch_size = task.resolution.device, task.table.batch_size
    if task.features:
        return cache_features(task.features, network, cases, device, batch_size)
    return {case.key: row for case, row in zip(cases, pool_features(network, cases, device, batch_size), strict=True)}


def _tabulate(trials: Sequence[Trial]) -> pd.DataFrame:
    rows = [trial.settings | {f"loss_{fold}": loss for fold, loss in enumerate(trial.losses)} for trial in trials]
    return pd.DataFrame(rows).assign(loss=[trial.loss for trial in trials])
