"""Many scans in one table: as one by one, resumable, and nothing dropped unsaid."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import examples.shapes
from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from genovox.core.case import read_cases
from genovox.core.errors import DataError, UsageError
from genovox.predict.inference import NOTICE, predict_scan
from genovox.predict.scores import SEEN, score_scans
from genovox.preprocess.pipeline import Subject
from tests.conftest import FinishedRun, on_one_core

PHASES = ("pre", "post1", "post2")


@pytest.fixture(scope="module")
def new_scans(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of three new patients, one of the study, one whose file is damaged and one whose file is gone."""
    folder = tmp_path_factory.mktemp("new")
    examples.shapes.write_scans(folder, patients=4, seed=9)
    (folder / "scans" / "P004_post1.nii.gz").write_bytes(b"no image")
    known = finished_run.study.parent / "scans"
    rows = [
        *((f"N{n}", f"new-{n}", ";".join(f"scans/P00{n}_{phase}.nii.gz" for phase in PHASES)) for n in (1, 2, 3)),
        ("old", "copied", ";".join(str(known / f"P001_{phase}.nii.gz") for phase in PHASES)),
        ("damaged", "new-4", ";".join(f"scans/P004_{phase}.nii.gz" for phase in PHASES)),
        ("gone", "new-5", "scans/gone.nii.gz"),
    ]
    pd.DataFrame(rows, columns=["case_id", "patient_id", "image"]).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def scored(finished_run: FinishedRun, new_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of their scores."""
    out = tmp_path_factory.mktemp("scores") / "out"
    assert run_command(["predict", str(finished_run.run), str(new_scans), f"--out={out}", "--workers=1"]) == 0
    return out


def test_scores_are_those_of_one_scan_alone(finished_run: FinishedRun, new_scans: Path, scored: Path) -> None:
    table = read_table(scored / "scores.csv").set_index("case_id")
    for number in (1, 2, 3):
        paths = [new_scans.parent / "scans" / f"P00{number}_{phase}.nii.gz" for phase in PHASES]
        alone = predict_scan(finished_run.run, paths)
        row = table.loc[f"N{number}"]
        assert float(str(row["score_light"])) == pytest.approx(alone.probability, abs=1e-6)
        assert float(str(row["sd_light"])) == pytest.approx(alone.spread_sd, abs=1e-6)
        assert float(str(row["percentile_light"])) == pytest.approx(alone.place.percentile)
        assert float(str(row["percentile_carriers_light"])) == pytest.approx(alone.place.percentile_carriers)
        assert row["warnings"] == " | ".join(alone.warnings)
        assert row["engine_light"] == "torch float32"
        assert row["reason"] == ""


def test_every_scan_has_a_row_and_every_failure_a_reason(scored: Path) -> None:
    table = read_table(scored / "scores.csv")
    assert list(table["case_id"]) == ["N1", "N2", "N3", "old", "damaged", "gone"]
    assert list(table["score_light"] == "") == list(table["reason"] != "") == [False] * 4 + [True] * 2
    assert "P004_post1.nii.gz" in table["reason"].iloc[4]
    assert "gone.nii.gz" in table["reason"].iloc[5]
    assert set(table["notice"]) == {NOTICE}
    assert (scored / "preprocess" / "qc" / "N1.png").exists()


def test_a_scan_of_the_study_is_said_to_be_one(finished_run: FinishedRun, scored: Path, tmp_path: Path) -> None:
    warnings = read_table(scored / "scores.csv").set_index("case_id")["warnings"]
    assert SEEN in warnings["old"]
    assert not any(SEEN in warnings[name] for name in ("N1", "N2", "N3"))


def test_the_same_command_does_only_what_is_not_finished(
    finished_run: FinishedRun, new_scans: Path, scored: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    shutil.copytree(new_scans.parent, folder)
    shutil.copytree(scored, tmp_path / "out")
    before = (scored / "scores.csv").read_bytes()
    images, out = str(folder / "manifest.csv"), f"--out={tmp_path / 'out'}"
    arguments = ["predict", str(finished_run.run), images, out, "--workers=1"]
    assert run_command(arguments) == 0
    captured = capfd.readouterr()
    assert (tmp_path / "out" / "scores.csv").read_bytes() == before
    assert "scoring with light" not in captured.err
    assert "6 scans of 6 patients" in captured.out
    assert "2 failed, each with a reason in its row:" in captured.out
    assert "Research use only" in captured.out
    assert all(len(line) <= 80 for line in captured.out.splitlines() if str(tmp_path) not in line)
    shutil.copy(folder / "scans" / "P001_post1.nii.gz", folder / "scans" / "P004_post1.nii.gz")
    assert run_command(arguments) == 0
    assert "scoring with light 1/1" in capfd.readouterr().err
    after = read_table(tmp_path / "out" / "scores.csv")
    assert list(after["reason"] != "") == [False] * 5 + [True]
    assert list(after["score_light"][:4]) == list(read_table(scored / "scores.csv")["score_light"][:4])


def test_a_killed_command_goes_on_to_the_same_bytes(
    finished_run: FinishedRun, new_scans: Path, scored: Path, tmp_path: Path
) -> None:
    shutil.copytree(scored, tmp_path / "out")
    (tmp_path / "out" / "scores.csv").unlink()
    kept = sorted((tmp_path / "out" / ".genovox" / "cache" / "scores").iterdir())
    assert len(kept) == 4
    shutil.rmtree(kept[0])
    (kept[1] / "record.json").write_text("{")  # damaged: made anew
    score_scans(finished_run.run, new_scans, tmp_path / "out", workers=1)
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (scored / "scores.csv").read_bytes()


def test_nothing_scored_is_an_error_with_a_table(
    finished_run: FinishedRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.csv").write_text("case_id,patient_id,image\nA,P,gone.nii\n")
    out = tmp_path / "out"
    assert run_command(["predict", str(finished_run.run), str(tmp_path / "manifest.csv"), f"--out={out}"]) == 3
    assert "none of 1 scans could be scored" in capfd.readouterr().err
    assert "gone.nii" in read_table(out / "scores.csv")["reason"].iloc[0]


def test_a_score_that_is_no_number_is_a_reason(
    finished_run: FinishedRun, new_scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genovox.predict.inference.Predictor.score_volume", lambda *_: np.array([np.nan]))
    with pytest.raises(DataError, match=r"light: a score must be a number, a network gave none; look at .*N1.png"):
        score_scans(finished_run.run, new_scans, tmp_path / "out", workers=1)
    assert (read_table(tmp_path / "out" / "scores.csv")["reason"] != "").all()


def test_a_run_is_no_place_for_scores(finished_run: FinishedRun, new_scans: Path) -> None:
    with pytest.raises(UsageError, match="is a run; scores of other scans need a folder of their own"):
        score_scans(finished_run.run, new_scans, finished_run.run)


def test_folders_of_dicom_patients_are_scored_around_their_lesions(
    finished_archive_run: FinishedRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The run's own archive: the stored volume, and so the score of one scan alone, come back."""
    study = finished_archive_run.study.parent
    with on_one_core():
        arguments = [
            str(study / "dicom"),
            f"--out={tmp_path}",
            f"--marks={study / 'marks.csv'}",
            "--json",
            "--workers=1",
        ]
        assert run_command(["predict", str(finished_archive_run.run), *arguments]) == 0
    summary = json.loads(capfd.readouterr().out)
    cases = read_cases(finished_archive_run.run / "cohort" / "cases.csv")
    assert summary["models"]["light"]["scored"] == len(cases) == summary["scans"]
    assert summary["failed"] == {}
    table = read_table(tmp_path / "scores.csv").set_index("case_id")
    assert table["warnings"].str.contains("the study holds this scan").all()
    case = cases[0]
    alone = predict_scan(finished_archive_run.run, [study / "dicom" / case.patient_id], Subject(case.point_mm))
    assert float(str(table.loc[case.case_id, "score_light"])) == pytest.approx(alone.probability, abs=1e-6)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands are given."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scans.csv"], "scans.csv is a table of scans; say where the scores shall go: --out FOLDER"),
        (["a.nii", "--marks=m.csv"], "--marks and --workers are for many scans; add --out FOLDER"),
        (["a.nii", "b.nii", "--out=o"], "--out takes one DICOM folder or one manifest.csv, got a.nii, b.nii"),
        (["m.csv", "--out=o", "--point=1,2,3"], "--point, --side and --times are of one scan"),
        (["m.csv", "--out=o"], "there is no m.csv"),
        (["m.csv", "--out=o", "--model=resnet18"], "--model must be a network, as only they score a scan: light"),
    ],
)
def test_wrong_usage_says_what_is_right_and_leaves_nothing(
    finished_run: FinishedRun,
    arguments: list[str],
    words: str,
    empty_folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_command(["predict", str(finished_run.run), *arguments]) == 2
    assert words in capfd.readouterr().err
    assert not list(empty_folder.iterdir())
