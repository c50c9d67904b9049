"""A first manifest and study from a folder."""

from pathlib import Path

import numpy as np
import pytest

from examples.shapes import write_scans
from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from genovox.core.study import Study
from genovox.core.volume import Volume, write_nifti


def test_makes_a_study_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans = write_scans(tmp_path, patients=6, seed=1)
    assert run_command(["init", str(scans), "--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "6 cases of 6 patients, 3 phases" in out
    assert "next: genovox run" in out
    study = Study.load(tmp_path / "study.toml")
    assert study.preprocess.channels == ("pre", "subtraction1", "washout")
    assert (study.preprocess.foreground, study.augment.preset) == ("body", "breast-dce")
    manifest = read_table(tmp_path / "manifest.csv")
    assert manifest["patient_id"].tolist() == [f"P{n:03d}" for n in range(1, 7)]
    assert all(cell.count(";") == 2 for cell in manifest["image"])


def test_a_cut_out_has_no_body_and_no_left_and_right(tmp_path: Path) -> None:
    for number in range(4):
        crop = Volume(np.random.default_rng(number).random((1, 28, 28, 28), np.float32), np.eye(4))
        write_nifti(tmp_path / "crops" / f"N{number}.nii", crop)
    (tmp_path / "labels.csv").write_text(
        "case_id,label\n" + "".join(f"N{number},{number % 2}\n" for number in range(4))
    )
    arguments = ["init", str(tmp_path / "crops"), "--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path)]
    assert run_command(arguments) == 0
    study = Study.load(tmp_path / "study.toml")
    assert study.preprocess.shape == (32, 32, 32)
    assert (study.preprocess.foreground, study.augment.preset) == ("none", "isotropic")
    assert study.train.models == ("light", "radiomics", "light+radiomics")


def test_never_replaces_a_file_unasked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scans = write_scans(tmp_path, patients=4, seed=1)
    (tmp_path / "manifest.csv").write_text("mine")
    arguments = ["init", str(scans), "--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path)]
    assert run_command(arguments) == 2
    assert "--force" in capfd.readouterr().err
    assert (tmp_path / "manifest.csv").read_text() == "mine"
    assert run_command([*arguments, "--force"]) == 0


def test_without_labels_gives_a_table_to_fill_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans = write_scans(tmp_path, patients=4, seed=1)
    (tmp_path / "labels.csv").unlink()
    assert run_command(["init", str(scans), "--out", str(tmp_path)]) == 0
    assert read_table(tmp_path / "labels.csv")["label"].tolist() == [""] * 4
    assert "fill in labels.csv" in capsys.readouterr().out
