"""A cohort on disk: what is written, that it repeats, and that nothing but the shortcuts tells the label."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.dataset import FileDataset

from genovox.core.artifacts import read_json, read_table
from genovox.core.errors import UsageError
from genovox.simulate import hospital
from genovox.simulate.hospital import Plan, render_patient, simulate_cohort
from genovox.simulate.patients import Patient
from genovox.simulate.sites import open_sites

PLAN = Plan(patients=8, effect="none", prevalence=0.5, sites=4, shortcut="none", site_prevalences=(), seed=7, matrix=64)
PAIR = replace(PLAN, patients=2, sites=1)  # a carrier and another
TABLES = ("truth.csv", "marks.csv", "genetic_tests.csv", "clinical.csv", "study.toml", "simulation.json")
# What tells one patient, visit, series or slice from another and nothing else.
OWN = {
    "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "StudyTime", "SeriesTime", "AcquisitionTime",
    "ContentTime", "PatientName", "PatientID", "PatientAge", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID",
    "FrameOfReferenceUID", "ImagePositionPatient", "SliceLocation", "InstanceNumber", "PixelData",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients of four hospitals, half of them carriers, no effect; read only."""
    out = tmp_path_factory.mktemp("hospital") / "cohort"
    simulate_cohort(out, PLAN, preview=False, workers=1)
    return out


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _series(folder: Path) -> dict[int, list[FileDataset]]:
    """Headers and pixels of each series of a visit."""
    return {
        int(series.name): [pydicom.dcmread(path) for path in sorted(series.iterdir())]
        for series in sorted(folder.iterdir(), key=lambda path: int(path.name))
    }


@cache
def _phases(visit: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The dynamic phases as (phase, voxel) values, RAS positions of the voxels, and the phases' times."""
    slices = [
        header
        for series in _series(visit).values()
        for header in series
        if list(header.ImageType) == ["ORIGINAL", "PRIMARY", "M", "ND"]
    ]
    times = sorted({header.AcquisitionTime for header in slices})
    values, places = [], []
    for time in times:
        phase = [header for header in slices if header.AcquisitionTime == time]
        values.append(np.concatenate([header.pixel_array.ravel().astype(float) for header in phase]))
        places.append(np.concatenate([_place(header) for header in phase]))
    assert all(np.array_equal(place, places[0]) for place in places)
    return np.stack(values), places[0], times


def _place(header: FileDataset) -> np.ndarray:
    orientation = np.array(header.ImageOrientationPatient, float)
    between_rows, between_columns = (float(value) for value in header.PixelSpacing)
    rows, columns = np.mgrid[: header.Rows, : header.Columns]
    lps = (
        np.array(header.ImagePositionPatient, float)
        + columns[..., None] * between_columns * orientation[:3]
        + rows[..., None] * between_rows * orientation[3:]
    )
    return np.asarray((lps * [-1, -1, 1]).reshape(-1, 3))


def _seconds(clock: str) -> float:
    return int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + float(clock[4:])


def test_folder_holds_what_the_docstring_says(cohort: Path) -> None:
    names = {path.name for path in cohort.iterdir()}
    assert names == {*TABLES, "dicom", ".simulation"}
    ids = [f"SIM-{number:04d}" for number in range(1, 9)]
    assert sorted(path.name for path in (cohort / "dicom").iterdir()) == ids
    assert not list(cohort.rglob("*.partial"))
    record = read_json(cohort / "simulation.json")
    assert record["plan"]["patients"] == 8
    assert record["plan"]["matrix"] == 64


def test_truth_is_what_was_drawn(cohort: Path) -> None:
    drawn = PLAN.draw()
    truth = read_table(cohort / "truth.csv")
    sites = open_sites(4, matrix=64)
    assert truth["patient_id"].tolist() == [patient.patient_id for patient in drawn]
    assert truth["gene"].tolist() == [patient.gene for patient in drawn]
    assert truth["label"].tolist() == [str(int(patient.gene != "")) for patient in drawn]
    assert truth["label"].value_counts().to_dict() == {"0": 4, "1": 4}
    assert truth["hospital"].tolist() == [sites[patient.site].hospital for patient in drawn]
    assert truth["hospital"].nunique() == 4
    assert truth["lesion_radius_mm"].astype(float).tolist() == pytest.approx([p.diameter_mm / 2 for p in drawn])
    assert truth["oracle"].astype(float).tolist() == pytest.approx([patient.oracle for patient in drawn])


def test_tables_name_the_same_patients(cohort: Path) -> None:
    ids = set(read_table(cohort / "truth.csv")["patient_id"])
    assert set(read_table(cohort / "clinical.csv")["patient_id"]) == ids
    assert set(read_table(cohort / "genetic_tests.csv")["patient_id"]) <= ids
    assert set(read_table(cohort / "marks.csv")["patient_id"]) == ids
    for column in ("gene", "label", "oracle"):  # truth stays in truth.csv
        assert column not in read_table(cohort / "clinical.csv").columns
        assert column not in read_table(cohort / "marks.csv").columns


def test_marks_point_where_contrast_agent_goes(cohort: Path) -> None:
    truth = read_table(cohort / "truth.csv").set_index("patient_id")
    marks = read_table(cohort / "marks.csv")
    assert marks.columns.tolist() == ["patient_id", "laterality", "point"]
    first_of_each_site = {patient.site: patient.patient_id for patient in reversed(PLAN.draw())}
    assert len(marks) >= 8
    for mark in marks[marks["patient_id"].isin(first_of_each_site.values())].itertuples():
        point = np.array(str(mark.point).split(";"), float)
        assert (point[0] < 0) == (mark.laterality == "left")
        row = {str(name): str(value) for name, value in truth.loc[str(mark.patient_id)].items()}
        if row["bilateral_disease"] == "False":
            assert mark.laterality == row["side"]
            assert point == pytest.approx([float(row[f"lesion_{axis}_mm"]) for axis in "xyz"], abs=0.06)
        values, places, _ = _phases(cohort / "dicom" / str(mark.patient_id) / "1")
        uptake = values[1] - values[0]
        near = np.linalg.norm(places - point, axis=1) < max(0.8 * float(row["lesion_radius_mm"]), 5)
        same_side = (places[:, 0] < 0) == (point[0] < 0)
        breast = same_side & (places[:, 1] > -20) & (values[0] > 0.15 * np.percentile(values[0], 99)) & ~near
        assert near.sum() >= 5
        ratio = uptake[near].mean() / uptake[breast].mean()
        print(f"{mark.patient_id}: uptake around the mark {ratio:.1f} times the breast's")
        assert ratio > 2


def test_phases_have_the_sites_times(cohort: Path) -> None:
    sites = open_sites(4, matrix=64)
    for patient in {patient.site: patient for patient in reversed(PLAN.draw())}.values():
        site = sites[patient.site]
        values, places, times = _phases(cohort / "dicom" / patient.patient_id / "1")
        assert len(values) == site.phases
        seconds = [_seconds(time) for time in times]
        expected = site.phase_times_s()
        assert np.diff(seconds) == pytest.approx(np.diff(expected))
        for axis, (size, step) in enumerate(zip(site.shape_ras, site.spacing_ras_mm, strict=True)):
            found = np.unique(np.round(places[:, axis], 2))
            assert len(found) == size
            assert np.diff(found) == pytest.approx(step, abs=0.02)


def test_visit_has_localizer_t2_and_subtraction_too(cohort: Path) -> None:
    sites = open_sites(4, matrix=64)
    for patient in PLAN.draw()[:4]:
        site = sites[patient.site]
        series = _series(cohort / "dicom" / patient.patient_id / "1")
        dynamic = 1 if site.packing == "one series" else site.phases
        assert list(series) == list(range(1, 4 + dynamic))
        assert len({tuple(header.ImageOrientationPatient) for header in series[1]}) == 3
        assert [header.InstanceNumber for header in series[1]] == [1, 2, 3]
        assert {header.EchoTime for header in series[2]} == {90}
        steps = {float(header.SliceThickness) for header in series[2]}
        assert all(3.5 <= step <= 6.5 for step in steps)
        last = series[3 + dynamic]
        assert last[0].SeriesDescription == site.subtraction
        assert list(last[0].ImageType) == ["DERIVED", "SECONDARY", "SUBTRACTION"]
        temporal = [header.get("TemporalPositionIdentifier") for header in series[3]]
        expected = list(range(1, site.phases + 1)) if site.timing == "temporal position" else [None]
        assert list(dict.fromkeys(temporal)) == expected


@pytest.mark.slow
def test_number_of_workers_changes_no_byte(cohort: Path, tmp_path: Path) -> None:
    simulate_cohort(tmp_path / "again", PLAN, preview=False, workers=2)
    assert _files(tmp_path / "again") == _files(cohort)


def test_interrupted_work_is_kept(cohort: Path, tmp_path: Path) -> None:
    """Also that two processes write the same bytes as one: the missing patients are made by a pool."""
    out = tmp_path / "cohort"
    shutil.copytree(cohort, out)
    expected = _files(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "dicom").rglob("*.dcm")}
    # Killed while it wrote SIM-0003, before SIM-0006 and the tables.
    shutil.move(out / "dicom" / "SIM-0003", out / "dicom" / ".SIM-0003.partial")
    shutil.rmtree(out / "dicom" / "SIM-0006")
    for name in ("SIM-0003.json", "SIM-0006.json"):
        (out / ".simulation" / name).unlink()
    for name in ("truth.csv", "marks.csv", "study.toml"):
        (out / name).unlink()
    simulate_cohort(out, PLAN, preview=False, workers=2)
    found = _files(out)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    remade = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert {path.relative_to(out / "dicom").parts[0] for path in remade} == {"SIM-0003", "SIM-0006"}


def test_finished_cohort_is_not_made_again(cohort: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in cohort.rglob("*.dcm")}
    simulate_cohort(cohort, PLAN, preview=False, workers=1)
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_other_content_is_refused_and_left_alone(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"must be empty or new.*choose another folder"):
        simulate_cohort(tmp_path, PLAN, preview=False, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    before = _files(cohort)
    for other in (replace(PLAN, seed=8), replace(PLAN, effect="full"), replace(PLAN, patients=9)):
        with pytest.raises(UsageError, match=r"another simulated cohort.*choose another folder"):
            simulate_cohort(cohort, other, preview=False, workers=1)
    assert _files(cohort) == before


def test_a_wrong_plan_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="prevalence"):
        simulate_cohort(tmp_path / "new", replace(PLAN, prevalence=1.5), preview=False, workers=1)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("text", "shares"), [("", ()), ("0.1,0.4", (0.1, 0.4)), (" 0.1, 0.4 ,", (0.1, 0.4))])
def test_plan_reads_site_prevalences(text: str, shares: tuple[float, ...]) -> None:
    values = {name: value for name, value in vars(PLAN).items() if name != "site_prevalences"}
    assert Plan.parse(site_prevalences=text, **values) == replace(PLAN, site_prevalences=shares)
    with pytest.raises(UsageError, match=r"numbers joined by commas.*'a,b'"):
        Plan.parse(site_prevalences="a,b", **values)


def _vocabulary(cohort: Path, patient: Patient) -> set[tuple[str, str]]:
    """What a patient's headers say that is not her own: tags and values."""
    found = set()
    for series in (cohort / "dicom" / patient.patient_id / "1").iterdir():
        files = sorted(series.iterdir())
        for path in (files[0], files[-1]):
            header = pydicom.dcmread(path)
            elements = [*header.file_meta, *header]
            found |= {
                (element.keyword, "" if element.keyword in OWN else str(element.value))
                for element in elements
                if element.keyword != "MediaStorageSOPInstanceUID"
            }
    return found


def test_headers_do_not_tell_carriers_from_others(cohort: Path) -> None:
    patients = PLAN.draw()
    for site in range(4):
        carriers, others = (
            [_vocabulary(cohort, p) for p in patients if p.site == site and bool(p.gene) is carrier]
            for carrier in (True, False)
        )
        assert carriers
        assert others
        assert set.union(*carriers) == set.union(*others)


def test_archive_holds_no_word_about_the_gene(cohort: Path) -> None:
    patients = {patient.patient_id: patient for patient in PLAN.draw()}
    for folder in (cohort / "dicom").iterdir():
        patient = patients[folder.name]
        assert {path.stem for path in folder.rglob("*") if path.is_file()} <= {f"{n:04d}" for n in range(1, 1000)}
        for series in (folder / "1").iterdir():
            path = min(series.iterdir())
            content = path.read_bytes()[:4000].lower()
            for word in (
                b"brca",
                b"carrier",
                b"pathogenic",
                b"menopaus",
                b"high risk",
                patient.subtype.lower().encode(),
            ):
                assert word not in content
            header = pydicom.dcmread(path)
            ages = [e.keyword for e in header if e.keyword != "PixelData" and f"{patient.age:03d}Y" in str(e.value)]
            assert ages == ["PatientAge"]


def test_images_do_not_depend_on_gene_clinic_or_test() -> None:
    """What the gene does to the images, it does through the latents the oracle reads."""
    patient = next(patient for patient in PLAN.draw() if not patient.gene)
    site = open_sites(4, matrix=64)[3]
    other = replace(
        patient,
        gene="BRCA1",
        patient_id="SIM-9999",
        age=patient.age + 20,
        menopausal=not patient.menopausal,
        subtype="HER2",
        grade=1,
        family_history=not patient.family_history,
        indication="high risk",
        test="untested",
        oracle=0.01,
    )
    drawn = [render_patient(each, site, np.random.default_rng(1)) for each in (patient, other)]
    (exam, grid, lesions), (same, same_grid, same_lesions) = drawn
    assert (grid, lesions) == (same_grid, same_lesions)
    assert all(np.array_equal(one, two) for one, two in zip(exam.phases, same.phases, strict=True))
    assert np.array_equal(exam.t2, same.t2)


def test_shortcut_format_gives_carriers_screenshots(tmp_path: Path) -> None:
    plan = replace(PAIR, shortcut="format")
    for patient in simulate_cohort(tmp_path, plan, preview=False, workers=1):
        for number, series in _series(tmp_path / "dicom" / patient.patient_id / "1").items():
            expected = 4 if patient.gene and number > 2 else 1
            assert {header.SamplesPerPixel for header in series} == {expected}, (patient.patient_id, number)
            assert {header.BitsAllocated for header in series} == {8 if expected == 4 else 16}
    assert '"simulated-none-format"' in (tmp_path / "study.toml").read_text()


def test_shortcut_scanner_gives_carriers_their_own(tmp_path: Path) -> None:
    plan = replace(PAIR, sites=2, shortcut="scanner")
    scanners: dict[bool, set[str]] = {True: set(), False: set()}
    for patient in simulate_cohort(tmp_path, plan, preview=False, workers=1):
        for path in (tmp_path / "dicom" / patient.patient_id).rglob("0001.dcm"):
            scanners[bool(patient.gene)].add(pydicom.dcmread(path).ManufacturerModelName)
    assert len(scanners[True]) == len(scanners[False]) == 1
    assert not scanners[True] & scanners[False]


def test_some_patients_come_back_for_a_biopsy_and_pictures_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hospital, "BIOPSY_SHARE", 1.0)
    (first, _) = simulate_cohort(tmp_path, PAIR, preview=False, workers=1)
    visits = [_series(tmp_path / "dicom" / first.patient_id / visit) for visit in ("1", "2")]
    dates = [pd.Timestamp(visit[1][0].StudyDate) for visit in visits]
    assert (dates[1] - dates[0]).days == 14
    uids = [{header.SOPInstanceUID for series in visit.values() for header in series} for visit in visits]
    assert not uids[0] & uids[1]
    assert {header.StudyDescription for series in visits[1].values() for header in series} == {"MR GUIDED BIOPSY"}
    assert len({visit[1][0].StudyInstanceUID for visit in visits}) == 2
    # The pictures can be asked for later; the scans stay the same, to the byte.
    before = _files(tmp_path)
    simulate_cohort(tmp_path, PAIR, preview=True, workers=1)
    after = _files(tmp_path)
    assert {Path(name).name for name in after.keys() - before.keys()} == {"preview.png", "SIM-0001.png", "SIM-0002.png"}
    assert all(after[name] == content for name, content in before.items())


def test_seed_and_number_decide_the_images(cohort: Path) -> None:
    volumes = [_phases(cohort / "dicom" / patient.patient_id / "1")[0] for patient in PLAN.draw() if patient.site == 0]
    assert volumes[0].shape == volumes[1].shape
    assert (volumes[0] != volumes[1]).mean() > 0.9


def test_record_is_json_a_person_can_read(cohort: Path) -> None:
    record = json.loads((cohort / ".simulation" / "SIM-0001.json").read_text())
    assert set(record) == {"truth", "marks"}
    assert record["truth"]["patient_id"] == "SIM-0001"
