"""What comes in, by the study's unit: exams, breasts and lesions of an archive, rows of a manifest."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from genovox.cli.main import run_command
from genovox.cohort import stage as cohort_stage
from genovox.cohort.intake import Intake, take_in
from genovox.core.artifacts import read_json, read_table
from genovox.core.errors import DataError, StudyError, TableError
from genovox.core.study import Study
from genovox.core.volume import Volume, write_nifti
from genovox.simulate.hospital import Plan, simulate_cohort
from tests.conftest import keep_every_fourth_slice

from .conftest import NORTH, POST1, POST2, POST3, PRE, SOUTH, Tree, edit_files, renew_uids

MakeStudy = Callable[..., Path]
LEFT, RIGHT = "-70;10;0", "70;10;0"  # inside either breast of every simulated scan
OUTSIDE = "0;900;0"


def _write(tree: Tree, name: str, *rows: str) -> None:
    (tree.root / name).write_text("\n".join(rows) + "\n")


def _open(tree: Tree, *lines: str, labels: str = 'labels = "labels.csv"') -> Intake:
    if not (tree.root / "labels.csv").exists():
        _write(tree, "labels.csv", "patient_id,label", f"{NORTH},1", f"{SOUTH},0")
    _write(tree, "study.toml", "[cohort]", 'images = "dicom"', labels, *lines)
    return take_in(Study.load(tree.root / "study.toml"))


def _lesions(tree: Tree, *rows: str, header: str = "patient_id,laterality,point") -> Intake:
    _write(tree, "marks.csv", header, *rows)
    return _open(tree, 'unit = "lesion"', 'marks = "marks.csv"')


def _ids(intake: Intake) -> list[str]:
    return [case.case_id for case in intake.cases]


def _add_sides(tree: Tree) -> None:
    """A patient whose breasts are scanned apart."""
    for path in tree.files(tree.add(SOUTH, PRE, POST1)):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID += ".1" if float(dataset.ImagePositionPatient[0]) > 0 else ".2"  # LPS
        dataset.save_as(path)


def _add_second_visit(tree: Tree) -> None:
    later = tree.add(NORTH, PRE, POST1, visit="2")
    renew_uids(tree.files(later), "2")
    edit_files(tree.files(later), StudyDate="20300101")


def test_exams_of_an_archive(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    _add_sides(tree)
    intake = _open(tree, 'unit = "exam"')
    assert _ids(intake) == [NORTH, f"{SOUTH}-left", f"{SOUTH}-right"]
    assert intake.lost == {}
    assert all(case.point_mm == () for case in intake.cases)
    assert set(intake.inputs) == {"dicom", *(image for case in intake.cases for image in case.images)}
    assert [intake.labels.find_evidence(case).label for case in intake.cases] == [1, 0, 0]


def test_a_row_of_a_manifest_is_no_unit_of_an_archive(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    with pytest.raises(StudyError, match=r'cohort.unit = "volume" is a row of a manifest, dicom is a DICOM tree; use'):
        _open(tree)
    with pytest.raises(StudyError, match=r"splits.part_column names a column of a manifest, cohort.images is a DICOM"):
        _open(tree, 'unit = "exam"', "[cohort.splits]", 'part_column = "part"')
    assert not (tree.root / ".genovox").exists()  # told before a header is read


def test_a_lesion_needs_marks(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    with pytest.raises(StudyError, match=r'unit = "lesion" needs cohort.marks, a table with patient_id,point; or use'):
        _open(tree, 'unit = "lesion"')
    with pytest.raises(TableError, match="no such table"):
        _open(tree, 'unit = "lesion"', 'marks = "marks.csv"')


def test_labels_have_one_source(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    with pytest.raises(StudyError, match="both are given; drop one"):
        _open(tree, 'unit = "exam"', 'tests = ["genetic_tests.csv"]')
    with pytest.raises(StudyError, match=r"cohort.labels is empty and so is cohort.tests; give a table"):
        _open(tree, 'unit = "exam"', labels="")


def test_a_lesion_is_a_case_at_its_mark(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    tree.add(SOUTH, PRE, POST1)
    intake = _lesions(tree, f"{NORTH},left,{LEFT}", f"{NORTH},R,{RIGHT}", f"{SOUTH},,{LEFT}")
    found = {case.case_id: (case.patient_id, case.laterality, case.point_mm) for case in intake.cases}
    assert found == {
        f"{NORTH}-left": (NORTH, "left", (-70.0, 10.0, 0.0)),
        f"{NORTH}-right": (NORTH, "right", (70.0, 10.0, 0.0)),
        f"{SOUTH}-1": (SOUTH, "bilateral", (-70.0, 10.0, 0.0)),
    }
    assert intake.lost == {}
    assert intake.cases[0].images == intake.cases[1].images  # two lesions of one scan


def test_lesions_of_one_side_are_numbered(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    intake = _lesions(tree, f"{NORTH},left,{LEFT}", f"{NORTH},right,{RIGHT}", f"{NORTH},left,-60;10;0")
    assert _ids(intake) == [f"{NORTH}-1", f"{NORTH}-right", f"{NORTH}-3"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{NORTH},left,{OUTSIDE}", "the mark lies outside the scan, or on another side or visit; correct it"),
        (f"{SOUTH},left,{LEFT}", "no mark of a lesion in use; add a row to the table of marks"),
    ],
)
def test_a_patient_without_a_usable_mark_is_left_out_with_the_reason(tree: Tree, row: str, reason: str) -> None:
    tree.add(NORTH, PRE, POST1)
    intake = _lesions(tree, row)
    (case,) = intake.cases
    assert case.case_id == (f"{NORTH}-left" if OUTSIDE in row else NORTH)
    assert intake.lost == {case.case_id: ("mark", reason)}
    assert intake.labels.find_evidence(case).label == 1  # so that the exclusion is tested against the label


@pytest.mark.parametrize("far", [0.49, 0.51])
def test_the_scan_ends_half_a_voxel_beyond_its_last_centre(tree: Tree, far: float) -> None:
    tree.add(NORTH, PRE, POST1)
    first = pydicom.dcmread(tree.files()[0], stop_before_pixels=True)
    x, y, z = (float(value) for value in first.ImagePositionPatient)
    across = float(first.PixelSpacing[1])
    assert list(first.ImageOrientationPatient[:3]) == [1, 0, 0]
    intake = _lesions(tree, f"{NORTH},,{-x + far * across};{-y};{z}")
    assert bool(intake.lost) == (far > 0.5)


def test_a_mark_finds_the_exam_of_its_side(tree: Tree) -> None:
    _add_sides(tree)
    intake = _lesions(tree, f"{SOUTH},left,{LEFT}", f"{SOUTH},right,{RIGHT}")
    left, right = intake.cases
    assert intake.lost == {}
    assert (left.laterality, right.laterality) == ("left", "right")
    assert left.images != right.images
    unsaid = _lesions(tree, f"{SOUTH},,{LEFT}", f"{SOUTH},,{RIGHT}")  # the field of view tells
    assert [(case.images, case.laterality) for case in unsaid.cases] == [(left.images, "left"), (right.images, "right")]
    crossed = _lesions(tree, f"{SOUTH},right,{LEFT}")
    assert crossed.lost[f"{SOUTH}-right"][1].startswith("the mark lies outside the scan, or on another side")


def test_a_mark_of_two_visits_says_which(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    _add_second_visit(tree)
    unsaid = _lesions(tree, f"{NORTH},left,{LEFT}")
    assert unsaid.lost[f"{NORTH}-left"] == (
        "mark",
        "2 exams hold the mark; say which in a column exam, 1 for the first",
    )
    header = "patient_id,point,exam"
    first, second = _lesions(tree, f"{NORTH},{LEFT},1", f"{NORTH},{LEFT},2", header=header).cases
    assert first.scan["scan_year"] < second.scan["scan_year"] == "2030"
    assert first.images != second.images
    third = _lesions(tree, f"{NORTH},{LEFT},3", header=header)
    assert third.lost[f"{NORTH}-1"][0] == "mark"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"{NORTH},1;2,", "marks.csv row 2: point must be x;y;z in mm"),
        (f"{NORTH},1;2;nan,", "point must be x;y;z in mm"),
        (f"{NORTH},one;2;3,", "point must be x;y;z in mm"),
        (f"{NORTH},,", "patient_id and point must not be empty; fill them in or delete the row"),
        (f",{LEFT},", "patient_id and point must not be empty"),
        (f"{NORTH},{LEFT},first", "exam must be a number, 1 for the first, got 'first'; correct it"),
    ],
)
def test_a_wrong_mark_is_named(tree: Tree, row: str, words: str) -> None:
    tree.add(NORTH, PRE, POST1)
    with pytest.raises(TableError, match=words):
        _lesions(tree, row, header="patient_id,point,exam")


def test_breasts_of_an_archive(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    _add_sides(tree)
    both = _open(tree, 'unit = "breast"', 'breasts = "both"')
    assert _ids(both) == [f"{NORTH}-left", f"{NORTH}-right", f"{SOUTH}-left", f"{SOUTH}-right"]
    assert both.lost == {}  # one volume of both breasts is two cases, cropped each to its side
    left, right = both.cases[:2]
    assert left.images == right.images
    assert (left.laterality, right.laterality) == ("left", "right")
    _write(tree, "clinical.csv", "patient_id,affected_side", f"{NORTH},both", f"{SOUTH},L")
    affected = _open(tree, 'unit = "breast"', 'clinical = "clinical.csv"')
    assert set(affected.lost) == {f"{SOUTH}-right"}
    assert affected.lost[f"{SOUTH}-right"] == ("unasked", 'the right breast is not asked for by breasts = "affected"')
    other = _open(tree, 'unit = "breast"', 'breasts = "contralateral"', 'clinical = "clinical.csv"')
    assert set(other.lost) == {f"{NORTH}-left", f"{NORTH}-right", f"{SOUTH}-left"}


def test_the_clinic_knows_family_and_hospital(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    tree.add(SOUTH, PRE, POST1)
    _write(tree, "clinical.csv", "patient_id,family_id,site", f"{NORTH},F1,Seaside", f"{SOUTH},,Hill")
    north, south = _open(tree, 'unit = "exam"', 'clinical = "clinical.csv"').cases
    assert (north.family_id, north.site) == ("F1", "Seaside")
    assert (south.family_id, south.site) == ("", "Hill")


def test_one_hospital_never_has_two_names(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    tree.add(NORTH, PRE, POST1)
    tree.add(SOUTH, PRE, POST1)
    _write(tree, "clinical.csv", "patient_id,family_id,site", f"{NORTH},F1,Seaside", f"{SOUTH},,")
    north, south = _open(tree, 'unit = "exam"', 'clinical = "clinical.csv"').cases
    assert (north.family_id, north.site, south.site) == ("F1", "site-1", "site-2")
    assert "names the hospital of 1 of 2 patients: the headers' hospitals are used for all" in caplog.text


def test_tables_with_the_ids_of_named_files_still_match(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    edit_files(tree.files(), PatientIdentityRemoved=None)
    _write(tree, "clinical.csv", "patient_id,family_id,affected_side", f"{NORTH},Roe,left")
    intake = _lesions(tree, f"{NORTH},left,{LEFT}")
    (case,) = intake.cases
    assert case.patient_id.startswith("P-")
    assert case.case_id == f"{case.patient_id}-left"
    assert intake.labels.find_evidence(case).label == 1
    (case,) = _open(tree, 'unit = "exam"', 'clinical = "clinical.csv"').cases
    assert case.family_id.startswith("P-")  # a family is often called by its name
    header = "patient_id,gene,hgvs,classification,result,genes_tested,scope,origin"
    row = f"{NORTH},BRCA1,NM_007294.4:c.68_69del,Pathogenic,detected,BRCA1;BRCA2,full,germline"
    _write(tree, "tests.csv", header, row)
    by_tests = _open(tree, 'unit = "exam"', labels='tests = ["tests.csv"]')
    assert by_tests.labels.find_evidence(by_tests.cases[0]).label == 1
    _write(tree, "tests.csv", "patient,variant,result,origin", f"{NORTH},BRCA1 300T>G,positive,germline")
    _write(tree, "sheet.csv", "gene,hgvs,class", "BRCA1,c.181T>G,Likely pathogenic")
    files = 'tests = ["tests.csv"]\nclassifications = "sheet.csv"'
    by_sheet = _open(tree, 'unit = "exam"', labels=files)
    evidence = by_sheet.labels.find_evidence(by_sheet.cases[0])
    assert (evidence.label, evidence.statuses) == (1, "BRCA1 likely-carrier; BRCA2 not-tested")
    assert not re.search(r"300|181|NORTH", f"{evidence} {by_sheet.labels.notes}")


def test_ids_that_meet_are_refused(tree: Tree) -> None:
    """Patient P has two visits, P-1 and P-2; another patient is called P-1."""
    tree.add(NORTH, PRE, POST1)
    _add_second_visit(tree)
    edit_files(tree.files(), PatientID="P")
    other = tree.files(tree.add(NORTH, PRE, POST1, to="other"))
    renew_uids(other, "3")
    edit_files(other, PatientID="P-1")
    words = "a case has an id of its own, P-1 is made of patient P and of patient P-1; give one of them another"
    with pytest.raises(DataError, match=words):
        _open(tree, 'unit = "exam"')
    assert len(_lesions(tree, f"P,left,{LEFT}").cases) == 2
    with pytest.raises(DataError, match="P-1 is made of patient P and of patient P-1"):
        _lesions(tree, f"P,,{LEFT}")


def test_a_patient_without_an_exam_is_a_case_that_is_left_out(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    tree.add(SOUTH, PRE)
    for intake in (_open(tree, 'unit = "exam"'), _lesions(tree, f"{NORTH},left,{LEFT}")):
        case = intake.cases[-1]
        assert (case.case_id, case.patient_id, case.images) == (SOUTH, SOUTH, ())
        assert intake.lost[SOUTH][0] == "exam"
        assert intake.labels.find_evidence(case).label == 0
        assert [row.level for row in intake.series] == ["series"]


def _manifest(path: Path, *rows: str, header: str = "case_id,patient_id,image,laterality") -> None:
    (path.parent / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize(
    ("breasts", "kept"),
    [("affected", {"C1l", "C2r", "C3l", "C3r"}), ("contralateral", {"C1r", "C2l"})],
)
def test_the_affected_breast_of_a_manifest(shapes_study: MakeStudy, breasts: str, kept: set[str]) -> None:
    path = shapes_study(patients=4)
    rows = [f"C{n}{side[0]},P00{n},scans/P00{n}_pre.nii.gz,{side}" for n in range(1, 5) for side in ("left", "right")]
    _manifest(path, *rows, "C9,P001,scans/P001_pre.nii.gz,")
    sides = ["P001,left", "P002,R", "P003,both", "P004,"]
    (path.parent / "clinical.csv").write_text("\n".join(["patient_id,affected_side", *sides]) + "\n")
    extra = f'cohort.breasts="{breasts}"'
    intake = take_in(Study.load(path, ('cohort.unit="breast"', 'cohort.clinical="clinical.csv"', extra)))
    assert set(_ids(intake)) - set(intake.lost) == kept
    assert {rule for rule, _ in intake.lost.values()} == {"side", "unasked"}
    assert intake.lost["C4l"][1] == "the affected side is not in the clinical table; fill in affected_side"
    assert "the laterality is unknown" in intake.lost["C9"][1]


def test_both_breasts_of_a_manifest_need_no_clinic(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=2)
    _manifest(path, "a,P001,scans/P001_pre.nii.gz,left", "b,P002,scans/P002_pre.nii.gz,bilateral")
    intake = take_in(Study.load(path, ('cohort.unit="breast"', 'cohort.breasts="both"')))
    assert [(case.case_id, case.laterality) for case in intake.cases] == [
        ("a", "left"),
        ("b-left", "left"),
        ("b-right", "right"),
    ]
    assert intake.lost == {}


def test_the_clinic_knows_families_of_a_manifest_too(shapes_study: MakeStudy) -> None:
    """Or a family that only the clinical table names would stand on both sides of a fold."""
    path = shapes_study(patients=4)
    rows = [f"C{n},P00{n},scans/P00{n}_pre.nii.gz,{'own' if n == 3 else ''},north" for n in range(1, 4)]
    _manifest(path, *rows, header="case_id,patient_id,image,family_id,site")
    table = "patient_id,family_id,site\nP001,F1,\nP002,F1,south\nP003,F2,\n"
    (path.parent / "clinical.csv").write_text(table)
    cases = take_in(Study.load(path, ('cohort.clinical="clinical.csv"',))).cases
    assert [case.family_id for case in cases] == ["F1", "F1", "own"]  # the manifest's own word comes first
    assert [case.site for case in cases] == ["north"] * 3


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("P001,left\nP001,right", "row 3: patient_id must be there and stand once; correct it or delete the row"),
        (",left", "row 2: patient_id must be there and stand once"),
        ("P001,middle", "row 2: laterality must be left, right, bilateral or empty, got 'middle'; correct it"),
    ],
)
def test_a_wrong_row_of_the_clinic_is_named(shapes_study: MakeStudy, row: str, words: str) -> None:
    path = shapes_study(patients=2)
    (path.parent / "clinical.csv").write_text(f"patient_id,affected_side\n{row}\n")
    with pytest.raises(TableError, match=words):
        take_in(Study.load(path, ('cohort.clinical="clinical.csv"',)))


def test_lesions_of_a_manifest_stand_in_its_column_point(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    rows = ["a,P001,scans/P001_pre.nii.gz,1;2.5;-3", "b,P002,scans/P002_pre.nii.gz,"]
    _manifest(path, *rows, header="case_id,patient_id,image,point")
    intake = take_in(Study.load(path, ('cohort.unit="lesion"',)))
    assert intake.cases[0].point_mm == (1.0, 2.5, -3.0)
    assert intake.lost == {"b": ("mark", 'the unit is a lesion and the manifest\'s column "point" is empty')}
    _manifest(path, "a,P001,scans/P001_pre.nii.gz,1;2", header="case_id,patient_id,image,point")
    with pytest.raises(TableError, match=r"row 2: point must be x;y;z in mm \(right, anterior, superior\), got '1;2'"):
        take_in(Study.load(path, ('cohort.unit="lesion"',)))


def test_marks_of_a_manifest_name_its_cases(shapes_study: MakeStudy, caplog: pytest.LogCaptureFixture) -> None:
    path = shapes_study(patients=4)
    rows = [f"{case},P00{n},scans/P00{n}_pre.nii.gz,9;9;9" for n, case in enumerate("abc", start=1)]
    rows.append("d,P004,scans/P004_pre.nii.gz,")
    _manifest(path, *rows, header="case_id,patient_id,image,point")
    marks = path.parent / "marks.csv"
    marks.write_text("case_id,point,use\na,1;2.5;-3,yes\nb,1;1;1,\nb,2;2;2,yes\nc,3;3;3,no\nz,1;1;1,\n")
    study = Study.load(path, ('cohort.unit="lesion"', 'cohort.marks="marks.csv"'))
    intake = take_in(study)
    assert [case.point_mm for case in intake.cases] == [(1, 2.5, -3), (1, 1, 1), (9, 9, 9), ()]
    assert intake.lost == {
        "b": ("mark", "2 marks of one case; say in the column use which counts"),
        "d": (
            "mark",
            (
                "the unit is a lesion, the table of marks has no row of it in use and the manifest's column "
                '"point" is empty'
            ),
        ),
    }
    assert "marks: 1 of 3 cases are not in the manifest" in caplog.text
    before = intake.inputs["marks.csv"]
    marks.write_text(marks.read_text().replace("2.5", "2.6"))
    assert take_in(study).inputs["marks.csv"] != before
    marks.write_text("patient_id,point\na,1;2;3\n")
    with pytest.raises(TableError, match="must have the columns case_id, got patient_id, point; add case_id"):
        take_in(study)
    caplog.clear()
    assert all(case.point_mm == () for case in take_in(Study.load(path, ('cohort.marks="marks.csv"',))).cases)
    assert 'cohort.marks has no effect with unit = "volume"' in caplog.text


def test_marks_may_name_patients_as_the_study_does(tree: Tree) -> None:
    """A sheet that the study wrote is read back, and one of the hospital's ids as well."""
    tree.add(NORTH, PRE, POST1)
    edit_files(tree.files(), PatientIdentityRemoved="NO")
    (exam,) = _open(tree, 'unit = "exam"').cases
    assert exam.patient_id.startswith("P-")
    for name in (exam.patient_id, NORTH):
        intake = _lesions(tree, f"{name},left,{LEFT}")
        assert _ids(intake) == [f"{exam.patient_id}-left"]
        assert intake.lost == {}


def test_a_change_of_a_mask_is_a_change_of_the_marks(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    affine = np.diag([10.0, 10, 10, 1])
    affine[:3, 3] = (-90, 0, -20)
    array = np.zeros((1, 5, 5, 5), np.float32)
    array[0, 2, 1, 2] = 1
    write_nifti(tree.root / "mask.nii.gz", Volume(array, affine))
    before = _lesions(tree, f"{NORTH},mask.nii.gz", header="patient_id,mask")
    assert before.cases[0].point_mm == pytest.approx((-70, 10, 0))
    array[0, 3, 1, 2] = 1
    write_nifti(tree.root / "mask.nii.gz", Volume(array, affine))
    after = _lesions(tree, f"{NORTH},mask.nii.gz", header="patient_id,mask")
    assert after.cases[0].point_mm == pytest.approx((-70, 10, 5))
    assert after.inputs["marks.csv"] != before.inputs["marks.csv"]


def test_what_is_left_out_has_its_rows(tree: Tree) -> None:
    """Cases without images go through the whole stage, series are listed and counted apart."""
    tree.add(NORTH, PRE, POST1)
    tree.add(SOUTH, PRE)
    _lesions(tree, f"{NORTH},left,{LEFT}", f"{NORTH},right,{OUTSIDE}")
    study = Study.load(tree.root / "study.toml")
    stage = cohort_stage.open_stage(study, tree.root / "run", "cpu")
    stage.bring_up_to_date(lambda: cohort_stage.build_stage(study, stage, 1))
    assert read_table(stage.folder / "cases.csv")["case_id"].tolist() == [f"{NORTH}-left"]
    excluded = read_table(stage.folder / "exclusions.csv")
    assert excluded[["level", "case_id", "rule", "label"]].to_numpy().tolist() == [
        ["case", f"{NORTH}-right", "mark", "1"],
        ["case", SOUTH, "exam", "0"],
        ["series", excluded["case_id"][2], "series", ""],
    ]
    flow = read_json(stage.folder / "flow.json")
    assert flow["source"] == "archive"
    assert flow["manifest"] == {"cases": 3, "patients": 2}
    assert {entry["rule"]: entry["cases"] for entry in flow["excluded"]} == {"mark": 1, "exam": 1}
    assert cohort_stage.open_stage(study, tree.root / "run", "cpu").is_current()
    (tree.root / "marks.csv").write_text((tree.root / "marks.csv").read_text().replace("-70", "-71"))
    assert "marks.csv changed" in cohort_stage.open_stage(study, tree.root / "run", "cpu").describe_change()


SCREENSHOTS = Plan(
    patients=10, effect="none", prevalence=0.5, sites=1, shortcut="format", site_prevalences=(), seed=7, matrix=64
)


def test_carriers_lost_to_their_file_format_close_the_gate(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As in the study that started this: one class as screenshots. Nobody may go on without a word."""
    out = tmp_path / "cohort"
    patients = simulate_cohort(out, SCREENSHOTS, preview=False, workers=1)
    keep_every_fourth_slice(out, SCREENSHOTS, patients)
    carriers = {patient.patient_id for patient in patients if patient.gene}
    assert len(carriers) == 5
    assert run_command(["cohort", str(out / "study.toml"), "--quiet"]) == 4
    error = capfd.readouterr().err
    assert "exclusions: exclusion must not depend on the label, 5 of 5 carriers and 0 of 5 non-carriers" in error
    assert "--accept exclusions" in error
    excluded = read_table(out / "runs" / "simulated-none-format" / "cohort" / "exclusions.csv")
    lost = excluded[excluded["level"] == "case"]
    assert set(lost["patient_id"]) == carriers
    assert set(lost["label"]) == {"1"}
    assert set(lost["rule"]) == {"exam"}
    assert lost["reason"].str.contains("a secondary capture in RGB").all()


def test_the_rules_choose_exams_before_a_reader_marks_them(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    _add_second_visit(tree)
    tree.add(SOUTH, PRE, POST1)
    _write(tree, "marks.csv", "patient_id,laterality,point", f"{NORTH},left,{LEFT}", f"{NORTH},right,{RIGHT}")
    rules = ('unit = "lesion"', 'marks = "marks.csv"', "[cohort.eligibility]", 'exams = "earliest"')
    intake = _open(tree, *rules)
    assert {case_id: rule for case_id, (rule, _) in intake.lost.items()} == {
        f"{NORTH}-2-exam": "later",
        SOUTH: "mark",
    }
    assert set(_ids(intake)) == {f"{NORTH}-2-exam", f"{NORTH}-left", f"{NORTH}-right", SOUTH}
    assert intake.facts[f"{NORTH}-left"].visit == 1


def test_a_scan_after_surgery_stays_out(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    tree.add(SOUTH, PRE, POST1)
    edit_files(tree.files(), StudyDate="20300110")
    _write(tree, "clinical.csv", "patient_id,surgery_date,age", f"{NORTH},2030-01-05,44", f"{SOUTH},,51")
    intake = _open(
        tree, 'unit = "exam"', 'clinical = "clinical.csv"', "[cohort.eligibility]", 'before = ["surgery_date"]'
    )
    assert intake.lost == {NORTH: ("event", "the exam lies 5 days after surgery_date")}
    assert intake.clinical[NORTH].details == {"age": "44"}
    known = intake.describe_patients(intake.cases)
    assert known.loc[SOUTH, "age"] == "51"
    assert "surgery_date" not in known.columns


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('eligibility.roles=["t2"]', "eligibility.roles asks what a DICOM study holds"),
        ('eligibility.leave_out=["biopsy"]', "eligibility.leave_out asks what a DICOM study holds"),
        (
            'eligibility.exams="earliest"',
            "eligibility.exams needs the date of each exam; give the manifest a column exa",
        ),
        ("eligibility.to_date=2020-01-01", "eligibility.to_date needs the date of each exam"),
        ("splits.test_from=2020-01-01", "splits.test_from needs the date of each exam"),
    ],
)
def test_rules_of_which_a_manifest_says_nothing(shapes_study: MakeStudy, rule: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        take_in(Study.load(shapes_study(patients=4), (f"cohort.{rule}",)))


def test_a_manifest_may_say_when(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    manifest = path.parent / "manifest.csv"
    lines = manifest.read_text().splitlines()
    dated = [f"{lines[0]},exam_date", *(f"{line},{2018 + number}-06-01" for number, line in enumerate(lines[1:]))]
    manifest.write_text("\n".join(dated) + "\n")
    intake = take_in(Study.load(path, ("cohort.eligibility.from_date=2019-01-01",)))
    assert list(intake.lost) == ["C001"]
    assert not any("date" in name for case in intake.cases for name in case.scan)


def test_a_mark_of_the_other_breast_is_told(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    intake = _lesions(tree, f"{NORTH},right,{LEFT}")
    assert intake.lost == {
        f"{NORTH}-right": ("mark", "the mark lies outside the scan, or on another side or visit; correct it")
    }
    assert _lesions(tree, f'{NORTH},right,"5;10;0"'.replace('"', "")).lost == {}  # near the middle nothing is sure


def test_a_phase_that_is_damaged_takes_the_exam_with_it(tree: Tree) -> None:
    """Its successor would be called by its number."""
    tree.add(NORTH, PRE, POST1, POST2, POST3)
    tree.add(SOUTH, PRE, POST1)
    broken = tree.files(tree.dicom / NORTH / "1" / POST2)
    broken[3].write_bytes(broken[3].read_bytes()[:300])
    intake = _open(tree, 'unit = "exam"')
    rule, reason = intake.lost[NORTH]
    assert rule == "exam"
    assert "a series among the phases cannot be used" in reason
    assert "the next one would take its number" in reason


def test_the_last_phase_may_be_damaged(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1, POST2)
    broken = tree.files(tree.dicom / NORTH / "1" / POST2)
    broken[3].write_bytes(broken[3].read_bytes()[:300])
    (case,) = _open(tree, 'unit = "exam"').cases
    assert len(case.images) == 2


def test_images_that_are_nowhere_are_named(tree: Tree) -> None:
    tree.root.mkdir()
    with pytest.raises(StudyError, match=r'cohort.images = "dicom": there is no such file or folder'):
        _open(tree, 'unit = "exam"')
