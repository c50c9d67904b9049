"""``genovox phases``, and a cohort by a sheet that a person edited."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from tests.conftest import on_one_core

TABLE = """PatientID,StudyInstanceUID,SeriesInstanceUID,SeriesNumber,SeriesDescription,instanceCount
P1,1,1.1,1,localizer,9
P1,1,1.2,2,dyn pre,60
P1,1,1.3,3,dyn post,60
P2,2,2.1,4,t1 post,60
P3,3,3.1,4,Ax Vibrant MULTIPHASE,400
P4,4,4.1,4,dyn pre,60
P4,4,4.2,5,dyn post,180
P5,5,5.1,4,t1 se,30
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "series.csv"
    path.write_text(TABLE)
    return path


def _edit(path: Path, change: Callable[[dict[str, str]], None]) -> None:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        change(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["phases", "--help"]) == 0
    assert "Example: genovox phases dicom/ --out phases.csv" in capsys.readouterr().out


def test_a_table_becomes_a_sheet_and_a_summary(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.parent / "phases.csv"
    assert run_command(["phases", str(table), "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 MR series of 5 studies, 5 patients"
    assert sorted(line.strip() for line in lines[1:5]) == [
        "1 study: a series a phase",
        "1 study: phases in one series",
        "1 study: pre, and posts in one series",
        "2 studies: no dynamic exam",
    ]
    assert "  pre 2, post 1, dynamic 1, dynamic-post 1, localizer 1, other 2" in lines
    at = lines.index("2 studies to look at:")
    assert lines[at + 1].startswith("  P2, series 4: other? a volume after contrast by its name")
    assert lines[-1].startswith("correct it by hand")
    assert all(len(line) <= 80 for line in lines[:-2])
    assert [row["role"] for row in read_table(out).to_dict("records")][:3] == ["localizer", "pre", "post"]


def test_long_lists_of_doubt_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"P{n},9.{n},8.{n},4,t1 post,60" for n in range(12)]
    (tmp_path / "series.csv").write_text("\n".join([TABLE.splitlines()[0], *rows]))
    arguments = ["phases", str(tmp_path / "series.csv"), "--out", str(tmp_path / "phases.csv")]
    assert run_command(arguments) == 0
    assert "  and 4 more: the rows whose confidence is low" in capsys.readouterr().out


def test_an_edited_sheet_is_not_overwritten_unasked(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.parent / "phases.csv"
    out.write_text("edited")
    assert run_command(["phases", str(table), "--out", str(out)]) == 2
    assert "exists and may have been edited" in capsys.readouterr().err
    assert out.read_text() == "edited"
    assert run_command(["phases", str(table), "--out", str(out), "--overwrite", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["series"], found["roles"]["pre"], len(found["doubtful"])) == (8, 2, 2)


@pytest.mark.parametrize("source", ["nowhere", "empty"])
def test_no_scans_and_no_table(tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run_command(["phases", str(tmp_path / source), "--out", str(tmp_path / "phases.csv")]) == 3
    assert "give" in capsys.readouterr().err
    assert not (tmp_path / "phases.csv").exists()


FOLDS = "--set=cohort.splits.folds=5"  # more than so few can be split into: the cohort is written all the same


def _cohort(study: Path, *more: str) -> int:
    sheet = '--set=cohort.phases="phases.csv"'
    with on_one_core():
        return run_command(["cohort", str(study), "--quiet", FOLDS, sheet, *more])


def test_a_cohort_follows_the_sheet(
    simulated_hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As written the sheet changes nothing; roles swapped by hand change the case, contradictions leave it out."""
    folder = tmp_path / "hospital"
    shutil.copytree(simulated_hospital, folder)
    study, sheet = folder / "study.toml", folder / "phases.csv"
    cohort = folder / "runs" / "simulated-full" / "cohort"
    with on_one_core():
        assert run_command(["cohort", str(study), "--quiet", FOLDS]) == 0
        assert run_command(["phases", str(folder / "dicom"), "--out", str(sheet), "--quiet"]) == 0
    before = read_table(cohort / "cases.csv")
    assert _cohort(study) == 0
    assert read_table(cohort / "cases.csv").equals(before)
    told = read_table(cohort / "exclusions.csv")["reason"]
    assert any(reason.startswith("t2: by phases.csv row ") for reason in told)

    with sheet.open(newline="") as file:
        swapped, lost, mixed = sorted({row["patient_id"] for row in csv.DictReader(file) if row["role"] == "post"})[:3]
    new = {("pre", "0"): ("post", "1"), ("post", "1"): ("pre", "0")}

    def change(row: dict[str, str]) -> None:
        if row["patient_id"] == swapped:
            row["role"], row["phase"] = new.get((row["role"], row["phase"]), (row["role"], row["phase"]))
        if row["patient_id"] == lost and row["role"] == "pre":
            row["role"], row["phase"] = "other", ""
        if row["patient_id"] == mixed and row["role"] == "t2":
            row["role"], row["phase"] = "post", "9"

    _edit(sheet, change)
    capsys.readouterr()
    assert _cohort(study) == 0
    assert "orders 1 exam against the time of acquisition" in capsys.readouterr().err
    after = read_table(cohort / "cases.csv").set_index("patient_id")
    old = before.set_index("patient_id")
    images = str(old.loc[swapped, "images"]).split(";")
    assert str(after.loc[swapped, "images"]).split(";") == [images[1], images[0], *images[2:]]
    assert after.loc[swapped, "phase_times_s"] == ""
    assert set(old.index) - set(after.index) == {lost, mixed}
    reasons = read_table(cohort / "exclusions.csv").set_index("case_id")["reason"]
    assert "an exam needs a pre-contrast phase, phases.csv row " in reasons[lost]
    assert "phases must run 0, 1, 2" in reasons[mixed]
    # No UID of the input enters the run.
    with sheet.open(newline="") as file:
        uids = [row["series_uid"] for row in csv.DictReader(file)]
    written = b"".join(path.read_bytes() for path in cohort.parent.rglob("*") if path.is_file())
    assert not any(uid.encode() in written for uid in uids)


def test_a_wrong_sheet_stops_the_cohort(
    simulated_hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study.toml"
    shutil.copy(simulated_hospital / "study.toml", study)
    for name in ("genetic_tests.csv", "clinical.csv", "marks.csv", "truth.csv"):
        shutil.copy(simulated_hospital / name, tmp_path / name)
    (tmp_path / "dicom").symlink_to(simulated_hospital / "dicom")
    (tmp_path / "phases.csv").write_text("series_uid,role,phase\n1.2,postt,1\n")
    assert _cohort(study) == 3
    assert capsys.readouterr().err.startswith(
        "error: phases.csv, row 2: role 'postt' is unknown; did you mean \"post\"?"
    )
    (tmp_path / "manifest.csv").write_text("case_id,patient_id,image\nA,A,a.nii\n")
    assert (
        _cohort(study, '--set=cohort.images="manifest.csv"', '--set=cohort.unit="volume"', '--set=cohort.marks=""') == 2
    )
    assert "cohort.phases goes with a DICOM tree" in capsys.readouterr().err
