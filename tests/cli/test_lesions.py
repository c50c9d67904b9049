"""``genovox lesions``, and a cohort around the lesions it proposed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from genovox.cli.lesions import _print_summary, summarise_rows
from genovox.cli.main import run_command
from genovox.cohort.intake import take_in
from genovox.core.artifacts import read_table, write_table
from genovox.core.study import Study
from genovox.simulate.hospital import Plan, simulate_cohort
from tests.conftest import on_one_core


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients as DICOM; their lesions are proposed."""
    out = tmp_path_factory.mktemp("lesions") / "cohort"
    plan = Plan(
        patients=2, effect="full", prevalence=0.5, sites=1, shortcut="none", site_prevalences=(), seed=7, matrix=64
    )
    simulate_cohort(out, plan, preview=False, workers=1)
    with on_one_core():
        assert run_command(["lesions", str(out / "study.toml"), "--workers", "1", "--quiet"]) == 0
    return out


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["lesions", "--help"]) == 0
    assert "Example: genovox lesions study.toml" in capsys.readouterr().out


def test_the_sheet_serves_as_marks(hospital: Path) -> None:
    sheet = read_table(hospital / "lesions.csv")
    truth = {row["patient_id"]: row for row in read_table(hospital / "truth.csv").to_dict("records")}
    for patient_id, rows in sheet.groupby("patient_id"):
        true = truth[patient_id]
        true_mm = [float(true[f"lesion_{axis}_mm"]) for axis in "xyz"]
        away_mm = [
            np.linalg.norm(np.subtract([float(x) for x in point.split(";")], true_mm)) for point in rows["point"]
        ]
        assert min(away_mm[:2]) < float(true["lesion_radius_mm"])
        assert (hospital / "lesions" / f"{patient_id}.png").exists()
        assert all((hospital / mask).exists() for mask in rows["mask"])
    sheet["use"] = np.where(sheet["rank"] == "1", "yes", "no")
    write_table(hospital / "edited.csv", sheet)
    study = Study.load(hospital / "study.toml", ('cohort.marks="edited.csv"',))
    with on_one_core():
        intake = take_in(study)
    firsts = sheet[sheet["rank"] == "1"]
    assert intake.lost == {}
    assert [case.case_id for case in intake.cases] == [
        f"{row.patient_id}-{row.laterality}" for row in firsts.itertuples()
    ]
    points = [tuple(float(number) for number in point.split(";")) for point in firsts["point"]]
    assert [case.point_mm for case in intake.cases] == points


def test_an_edited_sheet_is_never_replaced_unasked(
    hospital: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = shutil.copytree(hospital, tmp_path / "copy") / "study.toml"
    sheet = study.parent / "lesions.csv"
    found = sheet.read_text()
    sheet.write_text("mine")
    assert run_command(["lesions", str(study)]) == 2
    assert "lesions.csv exists and may have been edited; rename it, or --overwrite" in capfd.readouterr().err
    assert sheet.read_text() == "mine"
    with on_one_core():
        assert run_command(["lesions", str(study), "--overwrite", "--json", "--quiet"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert sheet.read_text() == found
    assert (summary["exams"], summary["failed"]) == (2, {})
    assert summary["used"] + len(summary["unsure"]) == 2
    with on_one_core():
        assert run_command(["lesions", str(study), "--overwrite", "--quiet"]) == 0
    out = capfd.readouterr().out
    assert out.startswith(f"2 exams: {summary['used']} with a lesion of confidence 0.75 or more\n")
    assert out.endswith('then in study.toml: [cohort] unit = "lesion", marks = "lesions.csv"\n')


def test_who_is_to_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"case_id": "a", "use": "yes", "rank": "1", "confidence": "0.90", "evidence": "compact"},
        {"case_id": "a", "use": "no", "rank": "2", "confidence": "0.20", "evidence": "irregular"},
        {"case_id": "b", "use": "no", "rank": "1", "confidence": "0.30", "evidence": "at the skin"},
        {"case_id": "b", "use": "no", "rank": "2", "confidence": "0.10", "evidence": "irregular"},
        {"case_id": "c", "use": "no", "evidence": "nothing in the breasts stands out"},
        {"case_id": "d", "use": "no", "evidence": "no breast was found"},
    ]
    summary = summarise_rows(rows, 4, {"d": "no breast was found"})
    assert summary["used"] == 1
    assert [(one["case_id"], one["confidence"]) for one in summary["unsure"]] == [("b", "0.30"), ("c", "")]
    _print_summary(summary | {"sheet": "s/lesions.csv"})
    out = capsys.readouterr().out
    assert "  b, confidence 0.30: at the skin" in out
    assert "  c, confidence none: nothing in the breasts stands out" in out
    assert "1 exam that could not be looked at:\n  d: no breast was found" in out
    assert "-> s/lesions.csv, pictures and masks in s/lesions" in out
    _print_summary(summarise_rows(rows[:1], 1, {}) | {"sheet": "lesions.csv"})
    assert "look at" not in capsys.readouterr().out
