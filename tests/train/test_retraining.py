"""Features that a run keeps are found; what is trained anew learns from its own labels or hospitals, and once."""

from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np
import pytest

from genovox.core.artifacts import read_table
from genovox.core.errors import DataError
from genovox.core.study import Study
from genovox.dataset.cases import PreparedCase, read_prepared_cases
from genovox.learning.resolution import Resolution, resolve
from genovox.train.fold import share_features, train_fold, train_open_folds
from genovox.train.plan import FoldTask, plan_tasks
from genovox.train.retraining import (
    open_cached_features,
    plan_model,
    plan_without_sites,
    train_deal,
    train_without_sites,
)
from tests.conftest import FinishedRun


def _open(finished_run: FinishedRun) -> tuple[Study, Resolution]:
    study = Study.load(finished_run.study)
    return study, resolve(finished_run.run / "train", "cpu", study.train)


def _copy_network(finished_run: FinishedRun, folder: Path) -> str:
    """A model that starts from a network of a fold, copied out of the run."""
    network = finished_run.run / "train" / "light" / "repeat-0" / "fold-0" / "network.safetensors"
    return f"light@{copy(network, folder / 'elsewhere.safetensors')}"


def test_features_of_tables_and_of_frozen_encoders_are_found(finished_run: FinishedRun, tmp_path: Path) -> None:
    study, resolution = _open(finished_run)
    assert open_cached_features(study, finished_run.run, resolution, "light") is None
    metadata = open_cached_features(study, finished_run.run, resolution, "metadata")
    assert metadata is not None
    assert len(metadata) == 24
    model = _copy_network(finished_run, tmp_path)
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


def test_parts_of_another_model_are_no_obstacle(finished_run: FinishedRun, tmp_path: Path) -> None:
    study, resolution = _open(finished_run)
    other = _copy_network(finished_run, tmp_path)
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


def _name_sites(tasks: list[FoldTask], sites: dict[str, str], families: dict[str, str]) -> list[FoldTask]:
    def name(cases: tuple[PreparedCase, ...]) -> tuple[PreparedCase, ...]:
        ids = [case.case_id for case in cases]
        return tuple(
            replace(case, site=sites[case_id], family_id=families.get(case_id, ""))
            for case, case_id in zip(cases, ids, strict=True)
        )

    return [
        replace(task, training=name(task.training), validation=name(task.validation), test=name(task.test))
        for task in tasks
    ]


def test_nobody_of_a_hospital_or_of_her_family_is_learnt_from_where_it_is_left_out(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    study, resolution = _open(finished_run)
    tasks = plan_model(study, finished_run.run, resolution, "metadata")
    cases = sorted(read_prepared_cases(finished_run.run).values(), key=lambda case: (case.label, case.case_id))
    sites = {case.case_id: ("north", "south")[row % 2] for row, case in enumerate(cases)}
    sisters = {cases[0].case_id: "f", cases[1].case_id: "f"}
    planned = plan_without_sites(study, _name_sites(tasks, sites, sisters), tmp_path)
    assert [task.fold for task in planned] == ["without north", "without south"]
    for task in planned:
        site = task.fold.removeprefix("without ")
        assert {case.case_id for case in task.test} == {case_id for case_id, name in sites.items() if name == site}
        learnt = (*task.training, *task.validation)
        assert len(learnt) == 11
        assert not {case.case_id for case in learnt} & set(sisters)
        assert not {case.patient_id for case in task.training} & {case.patient_id for case in task.validation}
        assert {case.site for case in learnt} == {"north", "south"} - {site}
        assert {case.label for case in task.training} == {case.label for case in task.validation} == {0, 1}
    assert not {task.key for task in planned} & {task.key for task in tasks}
    one = dict(sites) | {case.case_id: "south" for case in cases[12:] if case.case_id != cases[12].case_id}
    assert plan_without_sites(study, _name_sites(tasks, one, {}), tmp_path) == []


def test_networks_without_a_hospital_go_on_where_they_stopped(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, resolution = _open(finished_run)
    cases = sorted(read_prepared_cases(finished_run.run).values(), key=lambda case: (case.label, case.case_id))
    sites = {case.case_id: ("north", "south")[row % 2] for row, case in enumerate(cases)}
    tasks = _name_sites(plan_model(study, finished_run.run, resolution, "light"), sites, {})
    planned = plan_without_sites(study, tasks, tmp_path)
    train_fold(planned[0])
    made = (planned[0].folder / "fold.json").read_bytes()
    trained: list[str] = []

    def watch(tasks: list[FoldTask], cases: list[PreparedCase], *, workers: int, what: str) -> None:
        trained.extend(task.name for task in tasks if not task.is_finished())
        assert (planned[0].folder / "fold.json").read_bytes() == made
        train_open_folds(tasks, cases, workers=workers, what=what)

    monkeypatch.setattr("genovox.train.retraining.train_open_folds", watch)
    table = train_without_sites(study, planned, tmp_path, workers=1)
    assert trained == ["light repeat 0 fold without south"]
    tested = table[table["part"] == "test"]
    assert dict(zip(tested["case_id"], tested["site"], strict=True)) == sites
    assert not list(tmp_path.glob("**/*.safetensors"))
    again = train_without_sites(study, planned, tmp_path, workers=1)
    assert np.allclose(again["score"], table["score"])
    assert len(trained) == 1
