"""Untested patients teach the networks of a study, tested ones only if the study says so."""

from pathlib import Path

import pandas as pd
import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import read_json, read_table
from genovox.core.case import read_cases
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
    assert run_command(["run", str(study), *OPTIONS, *SELF]) == 3
    assert "pretraining needs 10 patients or more, there are 0 without a label" in capsys.readouterr().err
