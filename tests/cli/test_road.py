"""Stages are rebuilt when, and only when, what they read has changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import STAGES
from tests.conftest import ARCHIVE_OPTIONS, FinishedRun


@pytest.fixture
def copied(finished_run: FinishedRun, tmp_path: Path) -> FinishedRun:
    """The finished run, free to be changed."""
    shutil.copytree(finished_run.study.parent, tmp_path / "study")
    return FinishedRun(tmp_path / "study" / "study.toml", tmp_path / "study" / "runs" / "small")


def test_a_second_run_does_nothing(copied: FinishedRun, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.run.rglob("stage.json")}
    assert len(before) == len(STAGES)
    assert run_command(["run", str(copied.study)]) == 0
    captured = capfd.readouterr()
    assert captured.err.count("up to date") == len(STAGES)
    assert {path: path.stat().st_mtime_ns for path in copied.run.rglob("stage.json")} == before
    assert "Research use only" in captured.out


def test_dry_run_names_what_changed_and_does_nothing(copied: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(copied.study), "--dry-run", "--set", "preprocess.normalise=percentile"]
    assert run_command(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["cohort", "up", "to", "date"]
    assert 'normalise "joint-z" -> "percentile"' in lines[1]
    assert all("would run: preprocess would be made anew" in line for line in lines[2:])
    assert run_command(["run", str(copied.study), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("up to date") == len(STAGES)


def test_a_verb_refuses_a_stale_upstream(copied: FinishedRun, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["train", str(copied.study), "--set", "preprocess.normalise=none"]) == 2
    error = capfd.readouterr().err
    assert "preprocess, which is stale" in error
    # Without its options the command would find the old study up to date.
    again = f"{copied.study} --set preprocess.normalise=none"
    assert f"run first: genovox preprocess {again}, or everything: genovox run {again}" in error


def test_another_studys_run_is_left_alone(copied: FinishedRun, capfd: pytest.CaptureFixture[str]) -> None:
    before = (copied.run / "study.json").read_bytes()
    foreign = copied.study.with_name("foreign.toml")
    foreign.write_text(copied.study.read_text().replace('name = "small"', 'name = "foreign"'))
    assert run_command(["cohort", str(foreign), "--out", str(copied.run)]) == 2
    assert 'holds the run of another study, "small"' in capfd.readouterr().err
    assert (copied.run / "study.json").read_bytes() == before


def test_a_study_that_a_stage_refuses_is_not_kept(copied: FinishedRun, capfd: pytest.CaptureFixture[str]) -> None:
    before = (copied.run / "study.json").read_bytes()
    assert run_command(["train", str(copied.run), "--set", 'train.models=["resnet10@nowhere.pth"]']) == 2
    assert "nowhere.pth" in capfd.readouterr().err
    assert (copied.run / "study.json").read_bytes() == before
    assert run_command(["run", str(copied.run), "--dry-run"]) == 0
    assert capfd.readouterr().out.count("up to date") == len(STAGES)


def test_a_changed_scan_is_noticed(copied: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    scans = copied.study.parent / "scans"
    shutil.copy(scans / "P003_post1.nii.gz", scans / "P004_post2.nii.gz")
    assert run_command(["run", str(copied.study), "--dry-run"]) == 0
    assert "scans/P004_post2.nii.gz changed" in capsys.readouterr().out


def test_a_run_folder_can_be_moved_with_its_study(copied: FinishedRun, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.move(copied.study.parent, moved)
    assert run_command(["report", str(moved / "runs" / "small"), "--quiet"]) == 0
    assert run_command(["run", str(moved / "runs" / "small"), "--quiet"]) == 0


def test_json_is_json_and_nothing_else(copied: FinishedRun, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", str(copied.study), "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["stages"] == dict.fromkeys(STAGES, "done")
    assert answer["metrics"]["roc_auc"]["estimate"] is not None
    assert answer["verdict"] in ("signal", "no-signal", "underpowered")


def test_absolute_paths_of_the_input_become_relative(copied: FinishedRun) -> None:
    root = copied.study.parent
    manifest = (root / "manifest.csv").read_text().replace("scans/", f"{root}/scans/")
    (root / "manifest.csv").write_text(manifest)
    study = copied.study.read_text().replace('"labels.csv"', f'"{root}/labels.csv"')
    copied.study.write_text(study)
    assert run_command(["cohort", str(copied.study), "--quiet"]) == 0
    for path in [copied.run / "study.json", *(copied.run / "cohort").iterdir()]:
        assert str(root).encode() not in path.read_bytes(), path


def test_a_look_from_another_machine_changes_nothing(copied: FinishedRun) -> None:
    """The networks were trained elsewhere: reports are made here, nothing is decided anew."""
    path = copied.run / "train" / "resolved.json"
    before = path.read_bytes()
    assert run_command(["run", str(copied.study), "--dry-run"]) == 0
    assert run_command(["evaluate", str(copied.run), "--set", "evaluate.resamples=300", "--quiet"]) == 0
    assert path.read_bytes() == before


def test_no_absolute_path_stands_in_a_run(finished_run: FinishedRun) -> None:
    root = str(finished_run.study.parent)
    for path in finished_run.run.rglob("*"):
        if path.suffix in (".csv", ".json", ".html", ".md", ".log"):
            assert root not in path.read_text(), path


def test_a_finished_archive_is_left_alone_wherever_it_is(
    finished_archive_run: FinishedRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Moved with its run: no stage is done again; what the oracle scores is told beside the headline."""
    shutil.copytree(finished_archive_run.study.parent, tmp_path / "moved")
    options = [option for option in ARCHIVE_OPTIONS if option != "--quiet"]
    assert run_command(["run", str(tmp_path / "moved" / "study.toml"), *options]) == 0
    captured = capfd.readouterr()
    assert captured.err.count("up to date") == len(STAGES)
    assert "reading headers" not in captured.err
    assert "Oracle: AUC " in captured.out
    headline, oracle, verdict = (captured.out.index(word) for word in ("light: AUC", "Oracle: AUC", "Verdict: "))
    assert headline < oracle < verdict


def test_a_new_scan_in_the_archive_is_noticed(
    finished_archive_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cohort"
    shutil.copytree(finished_archive_run.study.parent, folder)
    shutil.rmtree(folder / "dicom" / "SIM-0001" / "1" / "2")  # a T2 series, no phase of an exam
    arguments = ["run", str(folder / "study.toml"), *ARCHIVE_OPTIONS, "--dry-run"]
    assert run_command(arguments) == 0
    assert "would run: dicom changed" in capsys.readouterr().out


def test_no_path_of_the_input_stands_in_a_run_of_an_archive(finished_archive_run: FinishedRun) -> None:
    root = str(finished_archive_run.study.parent)
    for path in finished_archive_run.run.rglob("*"):
        if path.suffix in (".csv", ".json", ".html", ".md", ".log"):
            text = path.read_text()
            assert root not in text, path
            assert ".dcm" not in text, path


def test_a_stage_before_its_time_names_what_can_be_run(
    shapes_study: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    study = shapes_study(patients=4)
    assert run_command(["preprocess", str(study)]) == 2
    assert f"run first: genovox cohort {study}, or everything: genovox run {study}" in capfd.readouterr().err
    assert run_command(["cohort", str(study), "--quiet"]) == 0
