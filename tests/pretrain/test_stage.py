"""Untested patients teach the networks of a study, tested ones only if the study says so."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import read_json, read_table
from genovox.core.case import read_cases
from genovox.learning.journal import EpochRecord
from genovox.learning.loop import TrainedNetwork
from genovox.models.blocks import Network
from tests.conftest import write_study

OPTIONS = [
    "--quiet",
    "--workers=1",
    "--set",
    "pretrain.epochs=2",
    "--set",
    "pretrain.batch_size=4",
    "--set",
    "train.epochs=1",
]
SELF = ["--set", 'train.models=["light@self", "light"]']


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which every other patient was never tested, and one of those is a tested patient's sister."""
    folder = tmp_path_factory.mktemp("pretrain")
    study = write_study(folder, patients=48)
    labels = pd.read_csv(folder / "labels.csv", dtype=str)
    manifest = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    patients = list(dict.fromkeys(manifest["patient_id"]))
    tested = {name for number, name in enumerate(patients) if number % 4 < 2}
    labels[labels["patient_id"].isin(tested)].to_csv(folder / "labels.csv", index=False)
    manifest["family_id"] = ["sisters" if name in {patients[0], patients[2]} else "" for name in manifest["patient_id"]]
    manifest.to_csv(folder / "manifest.csv", index=False)
    return study


def test_nothing_is_pretrained_unless_a_model_starts_there(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("cohort", "preprocess"):
        assert run_command([verb, str(study), *OPTIONS]) == 0
    run = study.parent / "runs" / "small"
    assert not (run / "cohort" / "untested.csv").exists()
    capsys.readouterr()
    assert run_command(["pretrain", str(study), *OPTIONS]) == 2
    assert "add one such as light@self" in capsys.readouterr().err


def test_a_dry_run_says_what_comes_first(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("cohort", "preprocess"):
        assert run_command([verb, str(study), *OPTIONS, *SELF]) == 0
    capsys.readouterr()
    assert run_command(["train", str(study), *OPTIONS, *SELF, "--dry-run"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("train       would be refused: train reads pretrain, which is not made yet; run first: ")
    assert "genovox pretrain" in line
    assert run_command(["run", str(study), *OPTIONS, *SELF, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["pretrain    would run: not made yet", "train       would run: pretrain would be made anew"]


def test_untested_patients_teach_and_their_relatives_do_not(study: Path) -> None:
    assert run_command(["run", str(study), *OPTIONS, *SELF]) == 0
    run = study.parent / "runs" / "small"
    untested = read_cases(run / "cohort" / "untested.csv")
    tested = read_cases(run / "cohort" / "cases.csv")
    assert {case.label for case in untested} == {None}
    assert len(untested) == 23  # 24, less the sister
    assert not {case.patient_id for case in untested} & {case.patient_id for case in tested}
    record = read_json(run / "pretrain" / "pretrain.json")
    assert record["cases"] == 23
    assert not record["transductive"]
    assert read_json(run / "train" / "light@self" / "weights.json")["coverage"]["percent"] == 100
    assert "transductive" not in read_json(run / "audit" / "audit.json")["headline"]
    scores = read_table(run / "train" / "predictions.csv")
    by_model = {model: list(rows["score"]) for model, rows in scores.groupby("model", sort=False)}
    assert by_model["light@self"] != by_model["light"]


def test_the_same_study_pretrains_once_and_the_same(study: Path) -> None:
    assert run_command(["run", str(study), *OPTIONS, *SELF]) == 0
    run = study.parent / "runs" / "small"
    path = run / "pretrain" / "light.safetensors"
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert run_command(["run", str(study), *OPTIONS, *SELF]) == 0
    assert path.stat().st_mtime_ns == stamp
    (run / "pretrain" / "stage.json").unlink()
    assert run_command(["pretrain", str(study), *OPTIONS, *SELF]) == 0
    assert path.read_bytes() == before


def test_learning_from_tested_patients_is_in_the_headline(study: Path) -> None:
    every = ["--set", 'pretrain.cases="all"']
    assert run_command(["run", str(study), *OPTIONS, *SELF, *every]) == 0
    run = study.parent / "runs" / "small"
    assert read_json(run / "pretrain" / "pretrain.json")["transductive"]
    assert read_json(run / "audit" / "audit.json")["headline"].endswith(
        "transductive: its weights have learnt from the test patients' scans"
    )


def test_a_study_without_untested_patients_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(tmp_path, patients=24)
    words = "pretraining needs 10 patients or more, there are 0 without a label"
    assert run_command(["run", str(study), *OPTIONS, *SELF]) == 3
    assert words in capsys.readouterr().err
    assert not (tmp_path / "runs" / "small" / "preprocess").exists()  # said at once, not hours later
    assert run_command(["cohort", str(study), *OPTIONS, *SELF]) == 0
    assert f"warning: {words}" in capsys.readouterr().err
    assert run_command(["preprocess", str(study), *OPTIONS, *SELF]) == 0
    assert run_command(["pretrain", str(study), *OPTIONS, *SELF]) == 3
    assert words in capsys.readouterr().err
    assert run_command(["run", str(study), *OPTIONS, *SELF, "--set", 'pretrain.cases="all"']) == 0


def test_a_fault_is_on_record_and_the_epochs_before_it_are_kept(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop_early(network: Network, *, follow: Callable[[EpochRecord], None], **_: object) -> TrainedNetwork:
        follow(EpochRecord(1, 1e-3, 0.9, 0.8, best=True))
        history = [EpochRecord(1, 1e-3, 0.9, 0.8, best=True)]
        return TrainedNetwork(network, history, "stopped in epoch 2: the loss must stay finite, it did not in c1, c2")

    for verb in ("cohort", "preprocess"):
        assert run_command([verb, str(study), *OPTIONS, *SELF]) == 0
    monkeypatch.setattr("genovox.pretrain.stage.pretrain_network", stop_early)
    capsys.readouterr()
    assert run_command(["pretrain", str(study), *OPTIONS, *SELF, "--set", "pretrain.learning_rate=7"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "warning: pretrain light: stopped in epoch 2: the loss must stay finite, it did not in c1, c2; " in told
    assert "what the epoch before made is kept; lower pretrain.learning_rate (now 7)" in told
    record = read_json(study.parent / "runs" / "small" / "pretrain" / "pretrain.json")["networks"]["light"]
    assert record["epochs"] == 1
    assert record["stopped"].startswith("stopped in epoch 2")
