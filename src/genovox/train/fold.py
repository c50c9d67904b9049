"""One fold of one network: train, score, and write its folder."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from genovox.cohort.splits import FIXED
from genovox.core.artifacts import write_json, write_table
from genovox.core.sections import TrainTable
from genovox.core.volume import Array
from genovox.dataset.cases import PreparedCase
from genovox.learning.checkpoint import save_network
from genovox.learning.journal import EpochRecord, Journal
from genovox.learning.loop import TrainedNetwork, count_channels, score_cases, train_network
from genovox.learning.probe import cache_features, fit_probe, pool_features
from genovox.learning.start import build_start
from genovox.models.blocks import Network
from genovox.models.build import parameter_count
from genovox.train.fitted import attach_map, fit_map, save_map
from genovox.train.plan import RECORD, FoldTask
from genovox.train.search import Cases, Trial, choose_settings

SEARCH = "search.csv"


def train_fold(task: FoldTask) -> str:
    """Train one network, write its folder (``fold.json`` last) and say how it went."""
    started = time.monotonic()
    (task.folder / RECORD).unlink(missing_ok=True)
    (task.folder / SEARCH).unlink(missing_ok=True)
    fitted = fit_map(task.training, task.preprocess)
    task = replace(
        task,
        training=attach_map(task.training, fitted),
        validation=attach_map(task.validation, fitted),
        test=attach_map(task.test, fitted),
        fixed_test=attach_map(task.fixed_test, fitted),
    )

    def measure(table: TrainTable, rest: Cases, held_out: Cases) -> float:
        return _train(task, table, rest, held_out).best.validation_loss

    table, trials = choose_settings(task.table, (*task.training, *task.validation), task.seed, measure)
    if trials:
        write_table(task.folder / SEARCH, _tabulate(trials))
    journal = Journal(task.folder)
    trained = _train(task, table, task.training, task.validation, journal.add)
    journal.close()
    rows: list[dict[str, Any]] = []
    for part, cases in (("val", task.validation), ("test", task.test), (FIXED, task.fixed_test)):
        scores = score_cases(trained.network, cases, task.resolution.device, table.batch_size, flips=table.test_flips)
        rows += [{"case_id": case.case_id, "part": part, "score": s} for case, s in zip(cases, scores, strict=True)]
    channels = trained.network.channels
    save_network(task.folder / "network.safetensors", trained.network, name=task.model, channels=channels)
    save_map(task.folder, fitted)
    write_table(task.folder / "scores.csv", pd.DataFrame(rows))
    wall_s = round(time.monotonic() - started, 3)
    best = trained.best
    write_json(
        task.folder / RECORD,
        {
            "key": task.key,
            "model": task.model,
            "repeat": task.repeat,
            "fold": task.fold,
            "seed": task.seed,
            "channels": channels,
            "parameters": parameter_count(trained.network),
            "settings": {key: getattr(table, key) for key in trials[0].settings} if trials else {},
            "best_epoch": best.epoch,
            "epochs": len(trained.history),
            "validation_loss": best.validation_loss,
            "stopped": trained.stopped,
            "wall_s": wall_s,
        },
    )
    note = f"validation loss {best.validation_loss:.3f} in epoch {best.epoch} of {len(trained.history)}, {wall_s:.0f} s"
    return f"{note}; {trained.stopped}" if trained.stopped else note


def share_features(task: FoldTask, cases: Sequence[PreparedCase]) -> None:
    """Compute what a frozen encoder makes of every case, once for all folds of its model."""
    network, _ = build_start(task.start, count_channels(cases), task.seed)
    _read_features(task, network, cases)


def _train(
    task: FoldTask,
    table: TrainTable,
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
    follow: Callable[[EpochRecord], None] = lambda _: None,
) -> TrainedNetwork:
    network, _ = build_start(task.start, count_channels(training), task.seed)
    if table.is_frozen(task.model):
        cases = (*training, *validation)
        trained = fit_probe(network, _read_features(task, network, cases), training, validation)
        follow(trained.best)
        return trained
    return train_network(
        network,
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
