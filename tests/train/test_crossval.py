"""Cross-validation: one table, finished folds kept, nothing shared between parts."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import read_json, read_table
from genovox.core.study import Study
from genovox.learning.resolution import resolve
from genovox.train.crossval import PREDICTION_COLUMNS, gather_predictions
from genovox.train.plan import plan_tasks
from tests.conftest import FinishedRun, write_study


@pytest.fixture
def copied_run(finished_run: FinishedRun, tmp_path: Path) -> FinishedRun:
    """The finished run, free to be changed."""
    folder = tmp_path / "study"
    shutil.copytree(finished_run.study.parent, folder)
    return FinishedRun(folder / "study.toml", folder / "runs" / "small")


def test_every_case_is_tested_once_with_the_label_of_the_cohort(finished_run: FinishedRun) -> None:
    predictions = read_table(finished_run.run / "train" / "predictions.csv")
    assert list(predictions.columns) == PREDICTION_COLUMNS
    cases = read_table(finished_run.run / "cohort" / "cases.csv").set_index("case_id")
    tested = predictions[predictions["part"] == "test"]
    assert sorted(tested["case_id"]) == sorted(cases.index)
    assert (tested["label"].to_numpy() == cases.loc[tested["case_id"], "label"].to_numpy()).all()
    assert tested["score"].astype(float).between(0, 1).all()


def test_no_patient_is_validated_and_tested_in_one_fold(finished_run: FinishedRun) -> None:
    predictions = read_table(finished_run.run / "train" / "predictions.csv")
    for _, rows in predictions.groupby(["repeat", "fold"]):
        parts = rows.groupby("part")["patient_id"].agg(set)
        assert not parts["val"] & parts["test"]


def test_a_finished_fold_is_kept_and_a_lost_one_comes_back_the_same(copied_run: FinishedRun) -> None:
    train = copied_run.run / "train"
    before = (train / "predictions.csv").read_bytes()
    kept, lost = (train / "light" / "repeat-0" / f"fold-{fold}" for fold in (0, 1))
    stamp = (kept / "network.safetensors").stat().st_mtime_ns
    shutil.rmtree(lost)
    (train / "stage.json").unlink()
    (train / "predictions.csv").unlink()
    assert run_command(["train", str(copied_run.study), "--quiet", "--workers=1"]) == 0
    assert (train / "predictions.csv").read_bytes() == before
    assert (kept / "network.safetensors").stat().st_mtime_ns == stamp


def test_where_no_fold_is_open_nothing_is_asked_of_the_machine(
    copied_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genovox.train.crossval.list_needs", lambda *_: pytest.fail("memory was estimated"))
    (copied_run.run / "train" / "stage.json").unlink()
    assert run_command(["train", str(copied_run.study), "--quiet", "--workers=1"]) == 0


def test_workers_change_nothing(copied_run: FinishedRun) -> None:
    train = copied_run.run / "train"
    before = (train / "predictions.csv").read_bytes()
    shutil.rmtree(train / "light")
    (train / "stage.json").unlink()
    assert run_command(["train", str(copied_run.study), "--workers", "2", "--quiet"]) == 0
    assert (train / "predictions.csv").read_bytes() == before


def test_another_model_leaves_finished_folds_alone(copied_run: FinishedRun) -> None:
    study = Study.load(copied_run.study)
    resolution = resolve(copied_run.run / "train", "cpu", study.train)
    assert all(task.is_finished() for task in plan_tasks(study, copied_run.run, resolution, {}))
    more = study.model_copy(update={"train": study.train.model_copy(update={"models": ("light", "resnet10")})})
    finished = [task.is_finished() for task in plan_tasks(more, copied_run.run, resolution, {})]
    assert finished == [True] * 3 + [False] * 3
    longer = study.model_copy(update={"train": study.train.model_copy(update={"epochs": 3})})
    assert not any(task.is_finished() for task in plan_tasks(longer, copied_run.run, resolution, {}))


def test_a_fixed_test_part_is_scored_once_by_all_networks(tmp_path: Path) -> None:
    study = write_study(tmp_path, patients=28)
    manifest = pd.read_csv(tmp_path / "manifest.csv", dtype=str, keep_default_na=False)
    manifest["split"] = ["test" if number < 8 else "train" for number in range(28)]
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    options = ["--set", 'cohort.splits.part_column="split"', "--set", "train.epochs=1", "--quiet", "--workers=1"]
    for verb in ("cohort", "preprocess", "train", "evaluate"):
        assert run_command([verb, str(study), *options]) == 0
    run = tmp_path / "runs" / "small"
    predictions = read_table(run / "train" / "predictions.csv")
    fixed = predictions[predictions["fold"] == "fixed"]
    assert sorted(fixed["case_id"]) == sorted(manifest.loc[manifest["split"] == "test", "case_id"])
    assert set(fixed["part"]) == {"test"}
    rotating = predictions[predictions["fold"] != "fixed"]
    assert not set(rotating["case_id"]) & set(fixed["case_id"])
    scores = [read_table(path) for path in sorted((run / "train" / "light").glob("*/*/scores.csv"))]
    one = fixed["case_id"].iloc[0]
    of_one = [float(table.loc[table["case_id"] == one, "score"].iloc[0]) for table in scores]
    assert float(fixed["score"].iloc[0]) == pytest.approx(np.mean(of_one), abs=1e-8)
    assert read_json(run / "evaluate" / "metrics.json")["models"]["light"]["fixed"]["n_cases"] == 8


def test_gathering_reads_what_folds_wrote(finished_run: FinishedRun) -> None:
    study = Study.load(finished_run.study)
    tasks = plan_tasks(study, finished_run.run, resolve(finished_run.run / "train", "cpu", study.train), {})
    table = gather_predictions(tasks)
    assert len(table) == len(read_table(finished_run.run / "train" / "predictions.csv"))
    assert replace(tasks[0], key="other").is_finished() is False
