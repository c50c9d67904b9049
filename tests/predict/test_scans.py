"""Which scans there are to score, and which cannot be."""

import csv
import stat
from pathlib import Path

import pytest

from genovox.core.errors import DataError, UsageError
from genovox.predict.scans import list_scans


def _write(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_images_of_a_manifest_are_found_from_the_folder_of_the_scores(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "scans" / "a.nii").write_bytes(b"a")
    table = _write(
        tmp_path / "manifest.csv", "case_id,patient_id,image,point", "A,P1,scans/a.nii,1;2;3", "B,P2,scans/b.nii,"
    )
    scans = list_scans(table, tmp_path / "out", unit="volume")
    assert [case.images for case in scans.cases] == [("../scans/a.nii",), ("../scans/b.nii",)]
    assert scans.digests["../scans/b.nii"] == "missing"
    assert len(scans.digests["../scans/a.nii"]) == 32
    assert scans.cases[0].point_mm == ()  # this run crops around nothing
    assert scans.lost == {}


def test_lesions_of_a_manifest_need_a_place(tmp_path: Path) -> None:
    table = _write(
        tmp_path / "m.csv", "case_id,patient_id,image,point", "A,P1,a.nii,1;2;3", "B,P2,b.nii,", "C,P3,c.nii,"
    )
    marks = _write(tmp_path / "marks.csv", "case_id,point", "B,4;5;6")
    scans = list_scans(table, tmp_path, unit="lesion", marks=marks)
    assert [case.point_mm for case in scans.cases] == [(1, 2, 3), (4, 5, 6), ()]
    assert list(scans.lost) == ["C"]
    assert list(list_scans(table, tmp_path, unit="lesion").lost) == ["B", "C"]


def test_a_breast_must_have_a_side_and_both_are_two_cases(tmp_path: Path) -> None:
    table = _write(
        tmp_path / "m.csv", "case_id,patient_id,image,laterality", "A,P1,a.nii,b", "B,P2,b.nii,", "C,P3,c.nii,l"
    )
    scans = list_scans(table, tmp_path, unit="breast")
    assert [(case.case_id, case.laterality) for case in scans.cases] == [
        ("A-left", "left"),
        ("A-right", "right"),
        ("B", ""),
        ("C", "left"),
    ]
    assert scans.lost == {"B": "the unit of the run is a breast, the laterality is unknown; fill it in"}


def test_a_tree_of_files_gives_exams_and_says_who_is_who(simulated_hospital: Path, tmp_path: Path) -> None:
    scans = list_scans(simulated_hospital / "dicom", tmp_path, unit="exam")
    assert len({case.patient_id for case in scans.cases}) == 8
    assert scans.lost == {}
    assert all(image in scans.digests for case in scans.cases for image in case.images)
    who = tmp_path / ".genovox" / "patients.csv"
    assert stat.S_IMODE(who.stat().st_mode) == 0o600
    with who.open(newline="") as file:
        rows = {row["patient_id"]: row["id_in_headers"] for row in csv.DictReader(file)}
    assert rows.keys() == {case.patient_id for case in scans.cases}
    halves = list_scans(simulated_hospital / "dicom", tmp_path, unit="breast")
    assert {case.laterality for case in halves.cases} <= {"left", "right"}
    with pytest.raises(UsageError, match="say where they are: --marks TABLE with patient_id,point"):
        list_scans(simulated_hospital / "dicom", tmp_path, unit="lesion")
    marks = _write(tmp_path / "marks.csv", "patient_id,point", "SIM-0001,0;900;0")
    lesions = list_scans(simulated_hospital / "dicom", tmp_path, unit="lesion", marks=marks)
    assert len(lesions.lost) == len(lesions.cases) == 8
    assert {reason.split(";")[0] for reason in lesions.lost.values()} == {
        "no mark of a lesion in use",
        "the mark lies outside the scan, or on another side or visit",
    }


def test_what_cannot_be_listed_says_why(simulated_hospital: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*gone; give a folder of DICOM files or a manifest.csv"):
        list_scans(tmp_path / "gone", tmp_path, unit="exam")
    with pytest.raises(UsageError, match="not lesions, so marks have no use; leave --marks out"):
        list_scans(tmp_path, tmp_path, unit="exam", marks=tmp_path / "marks.csv")
    with pytest.raises(DataError, match="no DICOM file under"):
        list_scans(tmp_path, tmp_path / "out", unit="exam")
    (tmp_path / "lost").mkdir()
    t2 = simulated_hospital / "dicom" / "SIM-0001" / "1" / "2"
    (tmp_path / "lost" / "2").symlink_to(t2)
    scans = list_scans(tmp_path / "lost" / "2", tmp_path / "out", unit="exam")
    assert list(scans.lost) == ["SIM-0001"]
    assert scans.lost["SIM-0001"].startswith("no usable dynamic exam in 1 series")
