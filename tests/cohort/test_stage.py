from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from genovox.cohort import stage as cohort_stage
from genovox.cohort.intake import take_in
from genovox.cohort.stage import _code_cells, build_stage, describe_clinic, open_stage
from genovox.core.artifacts import Stage, read_json, read_table
from genovox.core.errors import DataError, GateError, StudyError
from genovox.core.study import Study

MakeStudy = Callable[..., Path]


def _build(path: Path, workers: int = 1) -> tuple[Stage, pd.DataFrame, pd.DataFrame]:
    study = Study.load(path)
    stage = open_stage(study, path.parent / "run", "cpu")
    stage.bring_up_to_date(lambda: build_stage(study, stage, workers))
    return stage, read_table(stage.folder / "cases.csv"), read_table(stage.folder / "exclusions.csv")


def test_a_bad_case_never_ends_the_run(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=16)
    root = path.parent
    (root / "scans" / "P001_post1.nii.gz").write_bytes(b"garbage")
    (root / "scans" / "P002_pre.nii.gz").unlink()
    manifest = root / "manifest.csv"
    manifest.write_text(manifest.read_text() + f"C099,P099,{'x' * 300}.nii,north\nC100,P003,scans,north\n")
    labels = root / "labels.csv"
    labels.write_text(labels.read_text().replace("P004,1\n", "P004,\n") + "P099,1\nP777,0\n")
    stage, cases, excluded = _build(path, workers=2)
    assert set(excluded["case_id"]) == {"C001", "C002", "C004", "C099", "C100"}
    assert sorted([*cases["case_id"], *excluded["case_id"]]) == sorted(read_table(manifest)["case_id"])
    reasons = excluded.set_index("case_id")["reason"]
    assert (reasons != "").all()
    assert "P001_post1.nii.gz cannot be read" in reasons["C001"]
    assert reasons["C002"] == "no such image: P002_pre.nii.gz; check the path"
    assert reasons["C004"] == "label empty: no reason given in labels.csv"
    flow = read_json(stage.folder / "flow.json")
    assert flow["manifest"]["cases"] == 18
    assert flow["included"]["cases"] + sum(entry["cases"] for entry in flow["excluded"]) == 18
    evidence = read_table(stage.folder / "label_evidence.csv")
    assert len(evidence) == 18


def test_nothing_is_read_again_when_only_labels_change(
    shapes_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shapes_study(patients=12)
    before, _, _ = _build(path)
    labels = path.parent / "labels.csv"
    labels.write_text(labels.read_text().replace("P001,0", "P001,1"))
    monkeypatch.setattr(cohort_stage, "inspect_case", lambda task: pytest.fail(f"{task} was read again"))
    after, cases, _ = _build(path)
    assert after.key != before.key
    assert cases["label"][0] == "1"


def test_a_side_that_is_unknown(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    text = path.read_text().replace('labels = "labels.csv"', 'labels = "labels.csv"\nunit = "breast"\nbreasts = "both"')
    path.write_text(text)
    with pytest.raises(DataError, match=r"no case is left of 4: 4 side unknown; see .*exclusions.csv"):
        _build(path)
    assert len(read_table(path.parent / "run" / "cohort" / "exclusions.csv")) == 4


def test_a_cohort_too_small_for_folds_is_kept(shapes_study: MakeStudy) -> None:
    stage, cases, _ = _build(shapes_study(patients=4))
    assert len(cases) == 4
    assert "folds need at least" in read_json(stage.folder / "flow.json")["no_folds"]
    assert not (stage.folder / "folds.csv").exists()


def test_labels_are_needed(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    path.write_text('[cohort]\nimages = "manifest.csv"\n')
    with pytest.raises(StudyError, match=r"cohort\.labels is empty"):
        open_stage(Study.load(path), path.parent / "run", "cpu")


def test_unused_columns_are_told(shapes_study: MakeStudy, caplog: pytest.LogCaptureFixture) -> None:
    path = shapes_study(patients=4)
    manifest = path.parent / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",site\n", ",mask\n"))
    _build(path)
    assert "manifest.csv: column mask is kept but has no effect in this version" in caplog.text


def test_two_breasts_need_two_images(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=8)
    path.write_text(path.read_text().replace("[cohort]\n", '[cohort]\nunit = "breast"\nbreasts = "both"\n'))
    manifest = path.parent / "manifest.csv"
    lines = manifest.read_text().splitlines()
    rows = [f"{row},left" for row in lines[1:]] + [lines[1].replace("C001", "C001-right") + ",right"]
    manifest.write_text("\n".join([lines[0] + ",laterality", *rows]) + "\n")
    with pytest.raises(DataError, match="C001 and C001-right are the same voxels"):
        _build(path)
    manifest.write_text("\n".join([lines[0] + ",laterality", *rows[:-2], lines[8] + ","]) + "\n")
    _, cases, excluded = _build(path)
    assert len(cases) == 7
    assert excluded["rule"].tolist() == ["side"]


def test_a_file_that_opens_but_cannot_be_read_costs_its_own_case_only(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=12)
    scan = path.parent / "scans" / "P001_pre.nii.gz"
    scan.unlink()
    scan.symlink_to("/proc/self/mem")  # opens, and fails with an input/output error at the first byte
    _, cases, excluded = _build(path)
    assert excluded["case_id"].tolist() == ["C001"]
    assert "cannot be read" in excluded["reason"][0]
    assert len(cases) == 11


def _give_clinic(root: Path, patients: int) -> None:
    rows = [f"P{number:03d},{40 + number // 2},{'high' if number % 3 else 'low'}" for number in range(1, patients + 1)]
    (root / "clinical.csv").write_text("\n".join(["patient_id,age,density", *rows]) + "\n")


def test_a_matched_cohort(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=24)
    _give_clinic(path.parent, 24)
    wanted = ("cohort.clinical=clinical.csv", 'cohort.matching.on=["age", "density"]', "cohort.matching.caliper=0.1")
    study = Study.load(path, wanted)
    stage = open_stage(study, path.parent / "run", "cpu")
    stage.bring_up_to_date(lambda: build_stage(study, stage, 1))
    cases, excluded = read_table(stage.folder / "cases.csv"), read_table(stage.folder / "exclusions.csv")
    sets = read_table(stage.folder / "matching.csv")
    assert set(sets["patient_id"]) == set(cases["patient_id"])
    assert (cases["label"] == "1").sum() == (cases["label"] == "0").sum() > 2
    assert set(excluded["rule"]) == {"unmatched"}
    assert set(excluded["label"]) == {""}  # by design, so it is no loss to compare
    assert len(cases) + len(excluded) == 24
    balance = read_table(stage.folder / "balance.csv")
    assert set(balance["comparison"]) == {"carriers", "chosen"}
    unmatched = Study.load(path, wanted[:1])
    again = open_stage(unmatched, path.parent / "run", "cpu")
    again.bring_up_to_date(lambda: build_stage(unmatched, again, 1))
    assert not (again.folder / "matching.csv").exists()


def test_labels_of_cases_cannot_be_matched(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=8)
    labels = path.parent / "labels.csv"
    labels.write_text(labels.read_text().replace("patient_id", "case_id").replace("P0", "C0"))
    study = Study.load(path, ('cohort.matching.on=["site"]',))
    stage = open_stage(study, path.parent / "run", "cpu")
    with pytest.raises(StudyError, match="matching matches patients, the labels belong to cases"):
        build_stage(study, stage, 1)


def test_a_hospital_is_kept_for_one_last_test(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=24)
    study = Study.load(path, ('cohort.splits.test_sites=["south"]',))
    stage = open_stage(study, path.parent / "run", "cpu")
    stage.bring_up_to_date(lambda: build_stage(study, stage, 1))
    cases, folds = read_table(stage.folder / "cases.csv"), read_table(stage.folder / "folds.csv")
    south = set(cases.loc[cases["site"] == "south", "case_id"])
    assert set(folds.loc[folds["fold"] == "fixed", "case_id"]) == south
    assert not south & set(folds.loc[folds["fold"] != "fixed", "case_id"])
    assert read_json(stage.folder / "flow.json")["included"]["fixed_test"] == len(south)


def test_what_one_class_lacks_closes_a_gate(shapes_study: MakeStudy, caplog: pytest.LogCaptureFixture) -> None:
    path = shapes_study(patients=24)
    labels = read_table(path.parent / "labels.csv").set_index("patient_id")["label"]
    rows = [f"{patient},{'' if label == '1' else 50}" for patient, label in labels.items()]
    (path.parent / "clinical.csv").write_text("\n".join(["patient_id,age", *rows]) + "\n")
    study = Study.load(path, ("cohort.clinical=clinical.csv",))
    stage = open_stage(study, path.parent / "run", "cpu")
    with pytest.raises(GateError, match="carriers and 0 of 12 non-carriers have no age") as caught:
        build_stage(study, stage, 1)
    assert caught.value.check == "missing-values"


def test_who_was_not_tested_is_compared(shapes_study: MakeStudy, caplog: pytest.LogCaptureFixture) -> None:
    path = shapes_study(patients=16)
    _give_clinic(path.parent, 16)
    labels = path.parent / "labels.csv"
    kept = [line for line in labels.read_text().splitlines() if line[:4] not in ("P001", "P002", "P003", "P004")]
    labels.write_text("\n".join(kept) + "\n")
    study = Study.load(path, ("cohort.clinical=clinical.csv",))
    stage = open_stage(study, path.parent / "run", "cpu")
    build_stage(study, stage, 1)
    balance = read_table(stage.folder / "balance.csv").astype({"difference": float})
    age = balance[(balance["comparison"] == "tested") & (balance["variable"] == "age")]["difference"].iloc[0]
    assert age > 1  # those without a test are the youngest
    assert "tested and untested patients differ" in caplog.text
    assert "age" in caplog.text


def test_a_ratio_without_anything_to_match_on(shapes_study: MakeStudy) -> None:
    with pytest.raises(StudyError, match=r"cohort.matching.ratio needs cohort.matching.on, what to match on"):
        Study.load(shapes_study(patients=4), ("cohort.matching.ratio=2",))


def test_matching_that_leaves_the_classes_unlike_says_so(
    shapes_study: MakeStudy, caplog: pytest.LogCaptureFixture
) -> None:
    path = shapes_study(patients=24)
    labels = read_table(path.parent / "labels.csv").set_index("patient_id")["label"]
    ages = [f"{patient},{40 + 20 * (label == '1') + at % 5}" for at, (patient, label) in enumerate(labels.items())]
    (path.parent / "clinical.csv").write_text("\n".join(["patient_id,age", *ages]) + "\n")
    carriers = [name for name, label in labels.items() if label == "1"]
    labels_file = path.parent / "labels.csv"
    labels_file.write_text(labels_file.read_text().replace(f"{carriers[0]},1", f"{carriers[0]},"))
    wanted = ("cohort.clinical=clinical.csv", 'cohort.matching.on=["age"]', "cohort.matching.caliper=99.0")
    study = Study.load(path, wanted)
    build_stage(study, open_stage(study, path.parent / "run", "cpu"), 1)
    assert "matching leaves the classes unlike in age: use a smaller caliper" in caplog.text


def _clinic(shapes_study: MakeStudy, header: str, rows: list[str], *wanted: str) -> Path:
    """Build the cohort of 12 patients with a clinical table; returns where the run keeps it."""
    path = shapes_study(patients=12)
    manifest = path.parent / "manifest.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([f"{lines[0]},exam_date", *(f"{line},2020-03-01" for line in lines[1:])]) + "\n")
    (path.parent / "clinical.csv").write_text("\n".join([header, *rows]) + "\n")
    study = Study.load(path, ("cohort.clinical=clinical.csv", *wanted))
    stage = open_stage(study, path.parent / "run", "cpu")
    build_stage(study, stage, 1)
    return stage.folder / "clinical.csv"


def test_the_clinic_is_kept_without_what_tells_a_person_or_a_label(
    shapes_study: MakeStudy, caplog: pytest.LogCaptureFixture
) -> None:
    header = (
        "patient_id,age,indication,remark,hospital_number,surgery_date,birth_date,BRCA1 result,gene_tested,"
        "XYZ2 found,generation,affected_side"
    )
    rows = [
        f"P{n:03d},{40 + n},{'staging' if n % 2 else 'screening' if n > 2 else 'Dr Roe asks'},note {n},{8812300 + n},"
        f"2020-03-{n + 1:02d},1970-01-01,positive,yes,no,first,{'both' if n == 1 else 'left'}"
        for n in range(1, 12)
    ]
    table = read_table(_clinic(shapes_study, header, rows, 'cohort.genes=["XYZ2"]')).set_index("case_id")
    assert sorted(table.columns) == ["affected_side", "age", "generation", "indication", "surgery_date_days"]
    assert table.loc["C001"].to_dict() == {
        "affected_side": "bilateral",
        "age": "41",
        "generation": "first",
        "indication": "staging",
        "surgery_date_days": "1",
    }
    assert table.loc["C002", "indication"] == "other"
    assert set(table.loc["C012"]) == {""}
    assert "BRCA1 result, gene_tested, XYZ2 found may tell the label" in caplog.text
    assert len(table) == 12


def test_a_clinic_that_tells_nothing_leaves_no_table(shapes_study: MakeStudy, caplog: pytest.LogCaptureFixture) -> None:
    rows = [f"P{n:03d},note {n}" for n in range(1, 13)]
    assert not _clinic(shapes_study, "patient_id,remark", rows).exists()
    assert "left out as ids or free text: remark; a name such as" in caplog.text


def test_ages_that_hardly_repeat_stay_and_running_numbers_go(
    shapes_study: MakeStudy, caplog: pytest.LogCaptureFixture
) -> None:
    path = shapes_study(patients=24)
    rows = [f"P{n:03d},{40 + n},{40 + n}.3,{700 + 2 * n},{8812300 + n}" for n in range(1, 25)]
    (path.parent / "clinical.csv").write_text("\n".join(["patient_id,age,marker,arrival,chart", *rows]) + "\n")
    intake = take_in(Study.load(path, ("cohort.clinical=clinical.csv",)))
    table = describe_clinic(intake, intake.cases[::-1], ["BRCA1"])
    assert list(table.columns) == ["case_id", "age", "marker"]
    assert table["age"].tolist() == [str(40 + n) for n in range(24, 0, -1)]
    assert "left out as ids or free text: arrival, chart; a name such as size_mm says that" in caplog.text


def _tell(name: str, cells: list[str]) -> set[str]:
    return set(_code_cells(name, {f"p{number}": cell for number, cell in enumerate(cells)}).values())


RISING = [str(31 + number) for number in range(40)]
SCATTERED = [str(1000 + 37 * number % 4001) for number in range(40)]


@pytest.mark.parametrize("name", ["Age_at_diagnosis", "BMI", "tumour size (mm)", "Ki67", "months_to_scan", "parity"])
def test_what_is_measured_stays_however_rarely_it_repeats(name: str) -> None:
    for cells in (RISING, SCATTERED, [f"{cell}.3" for cell in RISING], [f"{9 * int(cell)}000" for cell in RISING]):
        assert _tell(name, cells) == set(cells)


@pytest.mark.parametrize(
    "name", ["hospital_number", "PatientID", "record nr", "Fallnummer", "MRN", "serial", "visit_no"]
)
def test_what_is_named_an_identifier_goes(name: str) -> None:
    for cells in (SCATTERED, RISING, [f"{cell}.0" for cell in SCATTERED]):
        assert _tell(name, cells) == {"other"}
    assert _tell(name, ["1", "2"] * 10) == {"1", "2"}  # a scanner's, shared by many


def test_numbers_without_a_telling_name() -> None:
    mixed = [*SCATTERED[5:], *SCATTERED[:5]]
    assert _tell("marker", mixed) == set(mixed)
    assert _tell("number_of_foci", mixed) == set(mixed)
    assert _tell("volume_of_breast", ["812300.5"]) == {"812300.5"}
    for running in (RISING, RISING[::-1], [*RISING[::2], *RISING[1::2]], [f"{cell}.0" for cell in RISING]):
        assert _tell("marker", running) == {"other"}
    assert _tell("marker", [f"88{cell}00" for cell in mixed]) == {"other"}
    assert _tell("marker", RISING[:9]) == set(RISING[:9])  # too few to be told from chance


def test_how_numbers_are_written() -> None:
    assert _tell("marker", ["46,5", "12,25", "7.5", "-1", "007", "1,234"]) == {"46.5", "12.25", "7.5", "-1", "other"}
