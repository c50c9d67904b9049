"""Every error is one line with the next step and the right exit code, never a traceback."""

import gzip
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from tests.conftest import FinishedRun, write_study

GENOVOX = [sys.executable, "-c", "from genovox.cli.main import main; main()"]


@pytest.fixture
def study(finished_run: FinishedRun, tmp_path: Path) -> Path:
    """The small study's inputs, free to be broken."""
    for name in ("manifest.csv", "labels.csv", "study.toml"):
        shutil.copy(finished_run.study.parent / name, tmp_path / name)
    shutil.copytree(finished_run.study.parent / "scans", tmp_path / "scans")
    return tmp_path / "study.toml"


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GENOVOX, *map(str, arguments)], capture_output=True, text=True, check=False)


def _edit_table(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def test_help_answers_at_once_and_without_torch() -> None:
    code = (
        "import sys; from genovox.cli.main import run_command; run_command(['--help']);"
        "heavy = {'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules); sys.exit(9 if heavy else 0)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "predict" in done.stdout
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("verb", ["init", "run", "cohort", "train", "predict", "doctor"])
def test_each_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([verb, "--help"]) == 0
    assert f"Example: genovox {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.toml"], "genovox init"),
        (["frobnicate"], "error: no such command 'frobnicate'; see: genovox --help\n"),
        (["run"], "error: missing argument 'STUDY'; see: genovox run --help\n"),
        (["run", ".", "--workers", "0"], "error: --workers must be 1 or more, got 0; see: genovox run --help\n"),
        (["run", ".", "--workers", "many"], "error: --workers must be a whole number, got many; see: genovox run"),
        (["predict", ".", "a.nii", "--side", "mid"], "error: --side: 'mid' is not one of 'left', 'right'; see: "),
        (["run", ".", "--workers"], "error: option '--workers' requires an argument; see: genovox"),
        ([], "Usage: genovox"),
    ],
)
def test_wrong_usage_exits_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(arguments) == 2
    assert words in capfd.readouterr().err


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("train.epohcs=3", 'did you mean "epochs"?'),
        ("preprocess.bias=n5", 'preprocess.bias = "n5"'),
        ('train.models=["lite@self"]', 'did you mean "light@self"?'),
        ('train.models=["resnet50"]', "resnet50 needs 32 voxels a side"),
        ('train.models=["resnet81"]', 'did you mean "resnet18"?'),
        ("study.schema=99", "update genovox"),
        ("train.epochs=-1", "train.epochs = -1"),
        ("nonsense", "TABLE.KEY=VALUE"),
        ("cohort.labels=", "cohort.labels is empty"),
    ],
)
def test_wrong_study_exits_2(study: Path, assignment: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", str(study), "--set", assignment]) == 2
    error = capfd.readouterr().err
    assert words in error
    assert "Traceback" not in error


def _drop_column(folder: Path) -> None:
    _edit_table(folder / "manifest.csv", lambda table: table.drop(columns="patient_id"))


def _repeat_case(folder: Path) -> None:
    _edit_table(folder / "manifest.csv", lambda table: pd.concat([table, table.head(1)]))


def _coded_one_two(folder: Path) -> None:
    _edit_table(folder / "labels.csv", lambda table: table.assign(label=table["label"].map({"0": "2", "1": "1"})))


def _one_class(folder: Path) -> None:
    _edit_table(folder / "labels.csv", lambda table: table.assign(label="1"))


def _three_patients(folder: Path) -> None:
    _edit_table(folder / "manifest.csv", lambda table: table.head(3))


def _disorder(folder: Path) -> None:
    _edit_table(
        folder / "manifest.csv",
        lambda table: table.assign(image=[";".join(cell.split(";")[::-1]) for cell in table["image"]]),
    )


def _no_rows(folder: Path) -> None:
    _edit_table(folder / "manifest.csv", lambda table: table.head(0))


def _empty_table(folder: Path) -> None:
    (folder / "manifest.csv").write_text("")


def _folder_for_table(folder: Path) -> None:
    (folder / "manifest.csv").unlink()
    (folder / "manifest.csv").mkdir()


def _empty_archive(folder: Path) -> None:
    _folder_for_table(folder)
    text = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(text.replace("[cohort]", '[cohort]\nunit = "exam"'))


def _split_family(folder: Path) -> None:
    """A patient in the fixed test part and in the folds."""
    parts = ["test"] * 4 + ["train"] * 20
    patients = ["same", "", "", "", "", "same"] + [""] * 18
    _edit_table(folder / "manifest.csv", lambda table: table.assign(part=parts, family_id=patients))
    text = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(text.replace("folds = 3", 'folds = 3\npart_column = "part"'))


def _same_volume(folder: Path) -> None:
    for phase in ("pre", "post1", "post2"):
        shutil.copy(folder / "scans" / f"P001_{phase}.nii.gz", folder / "scans" / f"P002_{phase}.nii.gz")


def test_a_cohort_of_one_class_can_be_looked_at_and_says_what_it_cannot(study: Path) -> None:
    _one_class(study.parent)
    for _ in range(2):  # made, and found as it was
        done = _run("cohort", study)
        assert done.returncode == 0, done.stderr
        last = " ".join(done.stderr.split("nothing can be trained")[-1].split())
        assert last.startswith("on this cohort: labels must hold carriers and non-carriers, got ")
        assert last.endswith("; widen the cohort, then run genovox cohort again")


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        (_drop_column, 3, "add patient_id"),
        (_repeat_case, 3, "stands in rows 2, 26"),
        (_coded_one_two, 3, "got 12 groups (patients or families) with carriers and 0 with non-carriers"),
        (_one_class, 3, "widen the cohort"),
        (_three_patients, 3, "3 folds need at least 3 groups of each class"),
        (_no_rows, 3, "at least one case"),
        (_disorder, 3, "phases must run pre, post1, post2"),
        (_empty_table, 3, "not a readable CSV table"),
        (_folder_for_table, 2, 'cohort.unit = "volume" is a row of a manifest, manifest.csv is a DICOM tree'),
        (_empty_archive, 3, "manifest.csv; give the folder that holds the scans, or a manifest.csv"),
        (_split_family, 4, "must stay in one part"),
        (_same_volume, 4, "--accept duplicate-volumes"),
    ],
)
def test_bad_tables_are_one_clear_error(study: Path, damage: Callable[[Path], None], code: int, words: str) -> None:
    damage(study.parent)
    done = _run("run", study, "--quiet")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1


def _spoil(path: Path, kind: str) -> None:
    image: Any = nibabel.load(path)
    data = np.asarray(image.dataobj, dtype=np.float32)
    affine = image.affine.copy()
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:2000])
        return
    if kind == "garbage":
        path.write_bytes(b"this is no image")
        return
    if kind == "missing":
        path.unlink()
        return
    if kind == "nan":
        data[3, 3, 3] = np.nan
    if kind == "constant":
        data[:] = 7
    spoiled = nibabel.Nifti1Image(data, affine)
    if kind in ("zero spacing", "singular"):
        header = spoiled.header
        header["sform_code"], header["qform_code"] = 1, 0
        matrix = np.diag([3.0, 3.0, 0.0]) if kind == "zero spacing" else np.ones((3, 3))
        for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
            header[name] = [*matrix[row], 0.0]
        blob = bytearray(spoiled.to_bytes())
        blob[280:328] = np.concatenate([np.c_[matrix, np.zeros(3)]]).astype("<f4").tobytes()
        path.write_bytes(gzip.compress(bytes(blob)))
        return
    nibabel.save(spoiled, path)


@pytest.mark.parametrize("kind", ["truncated", "garbage", "missing", "nan", "constant", "zero spacing", "singular"])
def test_a_bad_image_is_a_row_of_exclusions(study: Path, kind: str) -> None:
    name = "P005_post1" if kind != "constant" else "P005_pre"
    _spoil(study.parent / "scans" / f"{name}.nii.gz", kind)
    if kind == "constant":
        for phase in ("post1", "post2"):
            _spoil(study.parent / "scans" / f"P005_{phase}.nii.gz", kind)
    done = _run("cohort", study, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    run = study.parent / "runs" / "small" / "cohort"
    exclusions = read_table(run / "exclusions.csv")
    assert exclusions["case_id"].tolist() == ["P005"]
    assert exclusions["reason"].iloc[0].endswith(("source", "check the path"))
    assert len(read_table(run / "cases.csv")) == 23


def test_a_label_of_2_is_a_row_of_exclusions(study: Path) -> None:
    _edit_table(study.parent / "labels.csv", lambda table: table.assign(label=["2", *table["label"].iloc[1:]]))
    done = _run("cohort", study)
    assert done.returncode == 0, done.stderr
    assert "1 case left out: labels.csv row 2, label '2' is neither 0" in done.stderr
    exclusions = read_table(study.parent / "runs" / "small" / "cohort" / "exclusions.csv")
    assert exclusions[["case_id", "rule"]].to_numpy().tolist() == [["P001", "label"]]


def test_empty_folder_is_one_clear_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scans").mkdir()
    assert run_command(["init", str(tmp_path / "scans"), "--out", str(tmp_path)]) == 3
    assert "no NIfTI or NRRD file" in capfd.readouterr().err


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def test_a_full_disk_is_one_clear_error(study: Path) -> None:
    # The measurement of coverage writes files too, and would be what the limit stops.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [*GENOVOX, "run", str(study), "--quiet"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_limit_file_size,
    )
    assert done.returncode == 3, done.stderr
    assert "free space" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system to fill can be mounted by root only")
def test_a_full_file_system_is_one_clear_error(study: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], check=False).returncode:
        pytest.skip("this machine allows no mounts")
    try:
        done = _run("run", study, "--out", small / "run", "--quiet")
        assert done.returncode == 3, done.stderr
        assert "free space" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_accepted_gate_goes_on_with_its_reason(study: Path) -> None:
    _same_volume(study.parent)
    assert run_command(["cohort", str(study), "--accept", "duplicate-volumes", "--quiet"]) == 2
    arguments = ["--accept", "duplicate-volumes", "--reason", "phantom scans", "--set", "train.epochs=1", "--quiet"]
    assert run_command(["run", str(study), *arguments]) == 0
    run = study.parent / "runs" / "small"
    assert "phantom scans" in (run / "report" / "index.html").read_text()
    assert '"verdict": "leaking"' in (run / "audit" / "audit.json").read_text()


def test_another_process_in_the_run_is_refused(finished_run: FinishedRun) -> None:
    from genovox.core.artifacts import hold_run

    with hold_run(finished_run.run):
        done = _run("report", finished_run.run)
    assert done.returncode == 2
    assert "another genovox process" in done.stderr


def test_interruption_exits_130_and_leaves_nothing_behind(study: Path) -> None:
    process = subprocess.Popen(
        [*GENOVOX, "run", str(study), "--set", "train.epochs=500", "--set", "train.patience=500"],
        stderr=subprocess.PIPE,
        text=True,
    )
    log = study.parent / "runs" / "small" / "run.log"
    deadline = time.monotonic() + 90
    while "train: to do" not in (log.read_text() if log.exists() else "") and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)
    process.send_signal(2)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "goes on where it stopped" in errors
    assert "Traceback" not in errors


def test_a_study_without_write_permission(finished_run: FinishedRun, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    study = write_study(tmp_path, patients=12)
    tmp_path.chmod(0o500)
    assert run_command(["cohort", str(study), "--quiet"]) in (2, 3)
    tmp_path.chmod(0o700)
