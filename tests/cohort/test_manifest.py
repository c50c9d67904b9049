from pathlib import Path

import numpy as np
import pytest

from genovox.cohort.manifest import describe_columns, private_columns, read_manifest, read_marks
from genovox.core.errors import TableError
from genovox.core.volume import Volume, write_nifti

HEADER = "case_id,patient_id,image"


def _write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _refusal(path: Path, part_column: str = "") -> str:
    with pytest.raises(TableError) as caught:
        read_manifest(path, part_column=part_column)
    return str(caught.value)


def test_a_whole_row(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "a,p,pre.nii; post.nii,L,north,f1,test,0; 90.5,GE,m.nii",
        header=HEADER + ",laterality,site,family_id,part,phase_times_s,Scanner Model,mask",
    )
    (case,) = read_manifest(path, part_column="part")
    assert case.images == ("pre.nii", "post.nii")
    assert (case.laterality, case.site, case.family_id, case.part) == ("left", "north", "f1", "test")
    assert case.phase_times_s == (0.0, 90.5)
    assert case.scan == {"scan_scanner_model": "GE"}
    assert case.label is None
    assert describe_columns(path, part_column="part") == ["column mask is kept but has no effect in this version"]


def test_spreadsheet_habits_are_no_error(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes("\ufeff case_id , patient_id,image \r\n a , p ,x.nii \r\n\r\nb,p,y.nii\r\n".encode())
    assert [(case.case_id, case.images) for case in read_manifest(path)] == [("a", ("x.nii",)), ("b", ("y.nii",))]


def test_rows_are_counted_as_a_spreadsheet_does(tmp_path: Path) -> None:
    assert "manifest.csv row 4: case_id" in _refusal(_write(tmp_path, "a,p,x.nii", "", "../x,p,y.nii"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",p,x.nii", "manifest.csv row 3: case_id must not be empty; fill it in or delete the row"),
        ("b,,x.nii", "manifest.csv row 3: patient_id must not be empty"),
        ("b,p,", "manifest.csv row 3: image must not be empty"),
        ("b,p, ; ", "manifest.csv row 3: image must name at least one file, got ';'; fill it in"),
        ("a,p,y.nii", "manifest.csv: case_id must be unique, 'a' stands in rows 2, 3; give each case an id"),
        ("../x,p,y.nii", "manifest.csv row 3: case_id names files, so it takes up to 120 letters"),
        ("a b,p,y.nii", "got 'a b'; rename it"),
        (".hidden,p,y.nii", "got '.hidden'; rename it"),
        ("x" * 121 + ",p,y.nii", "case_id names files"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: str, words: str) -> None:
    assert words in _refusal(_write(tmp_path, "a,p,x.nii", row))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("laterality", "both", "row 2: laterality must be left, right, bilateral or empty, got 'both'; correct it"),
        ("phase_times_s", "0;soon", "row 2: phase_times_s must be seconds joined by ;, got '0;soon'; correct it"),
        ("phase_times_s", "0;nan", "row 2: phase_times_s must be seconds joined by ;, got '0;nan'; correct it"),
        ("phase_times_s", "0;1;2", "row 2: 2 phases but 3 phase_times_s; give one time a phase"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, column: str, value: str, words: str) -> None:
    assert words in _refusal(_write(tmp_path, f"a,p,x.nii;y.nii,{value}", header=f"{HEADER},{column}"))


@pytest.mark.parametrize("part", ["", "training", "0"])
def test_a_wrong_part(tmp_path: Path, part: str) -> None:
    path = _write(tmp_path, f"a,p,x.nii,{part}", header=HEADER + ",Split")
    assert f"row 2: Split must be train, val or test, got {part!r}; correct it" in _refusal(path, "Split")
    assert read_manifest(path)[0].part == ""


def test_tables_that_are_no_manifest(tmp_path: Path) -> None:
    assert "must hold at least one case, got no rows" in _refusal(_write(tmp_path))
    assert "add image" in _refusal(_write(tmp_path, "a,p", header="case_id,patient_id"))
    assert "has no column 'fold', which cohort.splits.part_column names" in _refusal(_write(tmp_path, "a,p,x"), "fold")
    assert f"make a manifest of its NIfTI or NRRD files with: genovox init {tmp_path}" in _refusal(tmp_path)
    assert "cells than the header" in _refusal(_write(tmp_path, "a,p,x.nii,left"))


@pytest.mark.parametrize(
    "column",
    ["name", "Patient Name", "patient_name", "last name", "birth_date", "DOB", "accession_number", "mrn", "email"],
)
def test_what_identifies_a_person_stays_in_the_manifest(tmp_path: Path, column: str) -> None:
    path = _write(tmp_path, "a,p,x.nii,Jane Roe", header=f"{HEADER},{column}")
    assert read_manifest(path)[0].scan == {}
    assert describe_columns(path) == [f"column {column} looks like a person's and was left out"]


def test_what_describes_a_scanner_is_kept() -> None:
    assert private_columns(["series_name", "sequence_name", "scanner_name", "vendor", "model", "field_strength"]) == []


def test_a_part_column_without_effect_is_told(tmp_path: Path) -> None:
    path = _write(tmp_path, "a,p,x.nii,test", header=f"{HEADER},part")
    assert "cohort.splits.part_column" in describe_columns(path)[0]
    assert describe_columns(path, part_column="part") == []


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("patient_id,side", "P1,left", r"must have the columns patient_id, point \(or mask, or box\), got patient"),
        ("patient_id,box", "P1,1;2;3", r"row 2: box must be x0;y0;z0;x1;y1;z1 in mm \(right, anterior, superior\)"),
        ("patient_id,box", "P1,1;2;3;4;5;six", "row 2: box must be"),
        ("patient_id,mask", "P1,gone.nii.gz", "row 2: mask: no such image: gone.nii.gz; check the path"),
        ("patient_id,mask", "P1,empty.nii.gz", "row 2: the mask empty.nii.gz is empty; mark the lesion in it, or give"),
        ("patient_id,mask,box,point", "P1,,,", "row 2: patient_id and point must not be empty"),
        ("patient_id,point,use", "P1,1;2;3,maybe", "row 2: use must be yes, no or empty, got 'maybe'; correct it"),
    ],
)
def test_marks_that_mark_nothing_are_named(tmp_path: Path, header: str, row: str, words: str) -> None:
    write_nifti(tmp_path / "empty.nii.gz", Volume(np.zeros((1, 3, 3, 3), np.float32), np.eye(4)))
    (tmp_path / "marks.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(TableError, match=words):
        read_marks(tmp_path / "marks.csv", str)


def test_a_mark_is_a_point_or_else_a_mask_or_else_a_box(tmp_path: Path) -> None:
    array = np.zeros((1, 4, 4, 4), np.float32)
    array[0, 1:3, 2, 3] = 1
    write_nifti(tmp_path / "mask.nii.gz", Volume(array, np.diag([2.0, 3, 4, 1])))
    (tmp_path / "marks.csv").write_text(
        "patient_id,point,mask,box,use\n"
        "P1,1;2;3,mask.nii.gz,0;0;0;1;1;1,Yes\n"
        "P1,,mask.nii.gz,0;0;0;1;1;1,\n"
        "P1,,,-4;0;0;-2;6;1,\n"
        "P1,,,,no\n"
    )
    marks = read_marks(tmp_path / "marks.csv", str.lower)
    assert [mark.point_mm for mark in marks["p1"]] == [(1, 2, 3), (6, 6, 6), (-3, 3, 0.5)]
