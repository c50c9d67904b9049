"""Features that a run keeps are found; a deal is trained on its own labels, once, and failures stop it."""

from pathlib import Path

import numpy as np
import pytest

from genovox.core.artifacts import read_table
from genovox.core.errors import DataError
from genovox.core.study import Study
from genovox.dataset.cases import read_prepared_cases
from genovox.learning.resolution import Resolution, resolve
from genovox.train.fold import share_features
from genovox.train.permuted import open_cached_features, plan_model, train_deal
from genovox.train.plan import plan_tasks
from tests.conftest import FinishedRun


def _open(finished_run: FinishedRun) -> tuple[Study, Resolution]:
    study = Study.load(finished_run.study)
    return study, resolve(finished_run.run / "train", "cpu", study.train)


def test_features_of_tables_and_of_frozen_encoders_are_found(finished_run: FinishedRun) -> None:
    study, resolution = _open(finished_run)
    assert open_cached_features(study, finished_run.run, resolution, "light") is None
    metadata = open_cached_features(study, finished_run.run, resolution, "metadata")
    assert metadata is not None
    assert len(metadata) == 24
    model = "light@runs/small/train/light/repeat-0/fold-0/network.safetensors"
    own = study.train.model_copy(update={"models": (model,), "transfer": "frozen"})
    frozen = study.model_copy(update={"train": own})
    assert open_cached_features(frozen, finished_run.run, resolution, model) is None
    task = plan_model(frozen, finished_run.run, resolution, model)[0]
    cases = read_prepared_cases(finished_run.run)
    share_features(task, list(cases.values()))
    table = open_cached_features(frozen, finished_run.run, resolution, model)
    assert table is not None
    assert sorted(table.index) == sorted(cases)
    assert np.isfinite(table.to_numpy()).all()


def test_a_deal_is_scored_against_its_own_labels_and_kept(finished_run: FinishedRun, tmp_path: Path) -> None:
    study, resolution = _open(finished_run)
    tasks = plan_model(study, finished_run.run, resolution, "metadata")
    cases = read_prepared_cases(finished_run.run)
    labels = {case_id: 1 - case.label for case_id, case in cases.items()}
    table = train_deal(study, tasks, labels, tmp_path, workers=1)
    assert (table["label"] == table["case_id"].map(labels)).all()
    again = train_deal(study, tasks, labels, tmp_path, workers=1)
    assert np.allclose(again["score"], table["score"])
    other = train_deal(study, tasks, {case_id: case.label for case_id, case in cases.items()}, tmp_path, workers=1)
    assert (other["label"] != table["label"]).all()


def test_parts_of_another_model_are_no_obstacle(finished_run: FinishedRun) -> None:
    study, resolution = _open(finished_run)
    other = "light@runs/small/train/light/repeat-0/fold-0/network.safetensors"
    changes = {"models": ("light", other), "parts": {other: ("conv1",)}}
    both = study.model_copy(update={"train": study.train.model_copy(update=changes)})
    keys = [task.key for task in plan_model(both, finished_run.run, resolution, "light")]
    assert keys == [task.key for task in plan_tasks(both, finished_run.run, resolution, {}) if task.model == "light"]


def test_a_fold_that_fails_stops_the_deal(finished_run: FinishedRun, tmp_path: Path) -> None:
    study, resolution = _open(finished_run)
    tasks = plan_model(study, finished_run.run, resolution, "metadata")
    labels = dict.fromkeys(read_table(finished_run.run / "cohort" / "cases.csv")["case_id"], 0)
    with pytest.raises(DataError, match="same command trains only"):
        train_deal(study, tasks, labels, tmp_path, workers=1)
